"""Makes the demo recordings, their references and nothing else, from dialogues.toml.

Needs, on Debian 12: ``apt-get install flite ffmpeg``, and numpy. Run it anywhere: ``python configs/demo/make.py``.
"""

from __future__ import annotations

import random
import subprocess
import tempfile
import tomllib
import wave
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
RATE = 16_000
PAUSE_SECONDS = (0.35, 0.8)
LOUDNESS = 0.08  # root mean square of each turn, of full scale
ROOM_NOISE = 0.0008
QUIET = 0.004  # below this, at the ends of a turn, nobody speaks
Sound = NDArray[np.float32]


class Turn(NamedTuple):
    """Somebody's turn: ``start`` and the sound, in samples."""

    speaker: str
    text: str
    start: int
    sound: Sound


def spoken(text: str, voice: str) -> Sound:
    """The text in one of flite's voices, without the silence around it, at the common loudness."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", file.name], check=True)
        with wave.open(file.name) as speech:
            assert speech.getframerate() == RATE, f"voice {voice} does not speak at {RATE} Hz"
            samples = np.frombuffer(speech.readframes(speech.getnframes()), np.int16)
    sound = samples.astype(np.float32) / 32768
    loud = np.flatnonzero(np.abs(sound) > QUIET)
    sound = sound[loud[0] : loud[-1] + 1]
    return np.asarray(sound * (LOUDNESS / np.sqrt(np.mean(sound**2))), np.float32)


def turns(dialogue: dict[str, Any], chance: random.Random) -> list[Turn]:
    """The dialogue's turns, one after the other, with pauses between them."""
    at, made = int(0.5 * RATE), []
    for speaker, text in dialogue["turns"]:
        sound = spoken(text, dialogue["voices"][speaker])
        made.append(Turn(speaker, text, at, sound))
        at += len(sound) + int(chance.uniform(*PAUSE_SECONDS) * RATE)
    return made


def mixed(dialogue: dict[str, Any], said: list[Turn], noise: np.random.Generator) -> Sound:
    """Samples by channels: everybody on one, or each speaker on the channel that the dialogue names."""
    channels = dialogue.get("channels", ["everybody"])
    length = said[-1].start + len(said[-1].sound) + RATE // 2
    mix = noise.normal(0, ROOM_NOISE, (length, len(channels))).astype(np.float32)
    for turn in said:
        channel = channels.index(turn.speaker) if turn.speaker in channels else 0
        mix[turn.start : turn.start + len(turn.sound), channel] += turn.sound
    return mix


def encode(mix: Sound, dialogue: dict[str, Any]) -> None:
    samples = (np.clip(mix, -1, 1) * 32767).astype("<i2").tobytes()
    source = ["-f", "s16le", "-ar", str(RATE), "-ac", str(mix.shape[1]), "-i", "-"]
    plain = ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags", "+bitexact"]
    target = str(HERE / dialogue["file"])
    command = ["ffmpeg", "-y", "-loglevel", "error", *source, *dialogue["encoding"], *plain, target]
    subprocess.run(command, input=samples, check=True)


def write_references(name: str, said: list[Turn]) -> None:
    """The words, a line a turn, and the turns as RTTM (NIST, ten fields; times in seconds)."""
    (HERE / f"{name}.txt").write_text("".join(f"{turn.text}\n" for turn in said), "utf-8")
    lines = (
        f"SPEAKER {name} 1 {turn.start / RATE:.3f} {len(turn.sound) / RATE:.3f} <NA> <NA> {turn.speaker} <NA> <NA>\n"
        for turn in said
    )
    (HERE / f"{name}.rttm").write_text("".join(lines), "utf-8")


def main() -> None:
    for number, dialogue in enumerate(tomllib.loads((HERE / "dialogues.toml").read_text("utf-8"))["dialogue"]):
        said = turns(dialogue, random.Random(number))
        encode(mixed(dialogue, said, np.random.default_rng(number)), dialogue)
        write_references(dialogue["name"], said)


if __name__ == "__main__":
    main()
