"""Sound that a benchmark made, as a file."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from batch.engine.spans import RATE, Audio, Floats


def write(path: Path, sound: Audio | Floats) -> Path:
    """A mono WAV at 16 kHz of 16-bit samples, or of floats within -1 to 1."""
    samples = sound if sound.dtype == np.int16 else np.clip(sound, -1, 1) * 32767
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return path
