"""Words that nobody said: how many the engine writes over sounds without speech, in a minute of them.

    python -m tests.bench.nobody [--seconds N]

Each sound is made here, heard by itself, and heard between two takes of a real voice (out of the models' package),
where only words inside the sound count. Nothing is random but by a fixed seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from batch.engine.decoding import decode
from batch.engine.interface import Engine, EngineRequest
from batch.engine.registry import load
from batch.engine.spans import RATE
from batch.engine.weights import package_folder
from batch.model import Word
from tests.bench.show import show
from tests.bench.sound import write

Sound = NDArray[np.float64]


def coloured(seconds: int, slope: float, seed: int) -> Sound:
    """Noise whose power falls with the frequency to this power: 0 is white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(seconds * RATE))
    spectrum[1:] /= np.arange(1, len(spectrum)) ** (slope / 2)
    spectrum[0] = 0
    return loud(np.fft.irfft(spectrum), 0.05)


def loud(sound: Sound, level: float) -> Sound:
    return np.asarray(sound / max(1e-9, np.sqrt(np.mean(sound**2))) * level)


def tones(seconds: int, *hertz: float) -> Sound:
    time = np.arange(seconds * RATE) / RATE
    return loud(np.sum([np.sin(2 * np.pi * one * time) for one in hertz], axis=0), 0.05)


def plucked(seconds: int, seed: int, voices: int, beat: float) -> Sound:
    """Notes of a pentatonic scale with eight overtones that die away, so many at once: something like a guitar."""
    rng = np.random.default_rng(seed)
    sound = np.zeros((seconds + 4) * RATE)
    time = np.arange(2 * RATE) / RATE
    for at in np.arange(0, seconds, beat):
        for note in rng.choice([0, 2, 4, 7, 9, 12, 14, 16], voices, replace=False):
            pitch = 196 * 2 ** (note / 12)
            harmonics = [np.sin(2 * np.pi * pitch * n * time) * np.exp(-time * n * 1.5) / n for n in range(1, 9)]
            sound[int(at * RATE) : int(at * RATE) + len(time)] += np.sum(harmonics, axis=0)
    return loud(sound[: seconds * RATE], 0.06)


def pulsed(sound: Sound, on: float, off: float) -> Sound:
    """The sound for ``on`` seconds out of every ``on + off``."""
    return np.asarray(sound * (np.arange(len(sound)) % int((on + off) * RATE) < on * RATE))


def beats(seconds: int) -> Sound:
    """A drum machine: thuds and hisses."""
    time = np.arange(seconds * RATE) / RATE
    thud = np.sin(2 * np.pi * 60 * time) * np.exp(-(time % 0.5) * 20)
    hiss = coloured(seconds, 0, 5) * 4 * np.exp(-((time + 0.25) % 0.5) * 40)
    return loud(thud + hiss, 0.06)


def breathing(seconds: int) -> Sound:
    time = np.arange(seconds * RATE) / RATE
    return np.asarray(coloured(seconds, 1, 6) * np.clip(np.sin(2 * np.pi * time / 4), 0, 1) ** 2)


SOUNDS: dict[str, Callable[[int], Sound]] = {
    "silence": lambda n: np.zeros(n * RATE),
    "hiss below hearing": lambda n: coloured(n, 0, 1) * 0.004,
    "white noise": lambda n: coloured(n, 0, 1),
    "pink noise": lambda n: coloured(n, 1, 2),
    "brown noise": lambda n: coloured(n, 2, 3),
    "noise in gusts": lambda n: pulsed(coloured(n, 1, 4), 0.7, 1.3),
    "throbbing noise": lambda n: coloured(n, 0, 1) * (1 + np.sin(2 * np.pi * 4 * np.arange(n * RATE) / RATE)),
    "breathing": breathing,
    "mains hum": lambda n: tones(n, 50, 100, 150, 200, 250),
    "tone": lambda n: tones(n, 440),
    "ringing": lambda n: pulsed(tones(n, 440, 480), 2, 4),
    "engaged": lambda n: pulsed(tones(n, 480, 620), 0.5, 0.5),
    "keypad": lambda n: pulsed(tones(n, 697, 1209), 0.2, 0.3),
    "chord": lambda n: tones(n, 220, 277.2, 329.6),
    "melody": lambda n: plucked(n, 1, 1, 0.5),
    "guitar": lambda n: plucked(n, 2, 3, 0.4),
    "fast guitar": lambda n: plucked(n, 3, 2, 0.15),
    "drums": beats,
    "drums and guitar": lambda n: beats(n) + plucked(n, 4, 3, 0.5),
}


def words(engine: Engine, sound: Sound, folder: Path) -> tuple[Word, ...]:
    path = write(folder / "a.wav", sound.astype(np.float32))
    return engine.transcribe(path, EngineRequest(disfluencies=True)).words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=40)
    seconds = parser.parse_args().seconds
    voice = decode(package_folder() / "assets" / "beckett.wav").channels[0] / 32768
    start, end = len(voice) / RATE * 1000, (len(voice) / RATE + seconds) * 1000
    engine = load("moonshine")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, make in SOUNDS.items():
            sound = make(seconds)
            alone = words(engine, sound, Path(folder))
            between = words(engine, np.concatenate([voice, sound, voice]), Path(folder))
            inside = [word for word in between if start <= word.start < end]
            rows.append((name, len(alone), len(inside), " ".join(word.text for word in [*alone, *inside])[:60]))
    total = len(SOUNDS) * seconds / 60
    rows.append(("= words a minute", *(round(sum(row[at] for row in rows) / total, 2) for at in (1, 2)), ""))
    show([dict(zip(("sound", "words", "between two takes", "which"), row, strict=True)) for row in rows])


if __name__ == "__main__":
    main()
