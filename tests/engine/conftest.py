"""Sound for the engine's tests: made here, or carried by the installed moonshine-voice."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from batch.engine.interface import Engine

RATE = 16_000
PACKAGES = ("numpy", "av", "onnxruntime", "pocketsphinx", "moonshine_voice")
PURE = {"test_pronunciation.py", "test_file_type.py", "test_disfluencies.py"}

if not all(map(importlib.util.find_spec, PACKAGES)):  # an installation for the cloud only
    here = Path(__file__).parent
    collect_ignore = [str(path.relative_to(here)) for path in here.rglob("test_*.py") if path.name not in PURE]


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The built-in engine, loaded once."""
    from batch.engine.registry import load

    return load("moonshine")


@pytest.fixture(scope="session")
def speech() -> Callable[[str], NDArray[np.int16]]:
    """A real recording out of the models' package, by its name, at 16 kHz: ``beckett`` (one voice, 10 s),
    ``endgame_nagg_nell`` (two)."""
    from batch.engine.decoding import decode
    from batch.engine.weights import package_folder

    def read(name: str) -> NDArray[np.int16]:
        path = package_folder() / "assets" / f"{name}.wav"
        if not path.is_file():
            pytest.skip(f"{path} is not in this release of moonshine-voice")
        sound: NDArray[np.int16] = decode(path).channels[0]
        return sound

    return read


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Writes sound, shape (samples,) or (channels, samples), floats within -1 to 1 or 16-bit, to a file by codec."""
    import av
    import numpy as np

    def write(name: str, sound: Any, codec: str = "pcm_s16le", rate: int = RATE) -> Path:
        channels = np.atleast_2d(sound)
        if channels.dtype != np.int16:
            channels = (np.clip(channels, -1, 1) * 32767).astype(np.int16)
        layout = {1: "mono", 2: "stereo"}[len(channels)]
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, layout=layout)
            frame = av.AudioFrame.from_ndarray(channels.T.reshape(1, -1).copy(), format="s16", layout=layout)
            frame.sample_rate = rate
            resampler = av.AudioResampler(stream.format.name, layout, rate, frame_size=stream.frame_size or 1024)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        return path

    return write
