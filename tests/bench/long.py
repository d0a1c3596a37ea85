"""An hour and more: whether speakers stay who they are, and what it takes in time and memory.

    python -m tests.bench.long [--minutes N] [FOLDER]

Plays the recordings of FOLDER (the dialogues of tests.bench.accuracy) one after the other and again, each time louder
or softer and with other noise, until so many minutes (60) are full. Their ``.rttm`` are put together likewise, so the
same voice must have the same name in the first minute and in the last. Without recordings there is nothing to do.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import wave
from itertools import cycle
from pathlib import Path

import numpy as np
from pyannote.core import Annotation
from pyannote.database.util import load_rttm

from batch.engine.decoding import decode
from batch.engine.interface import EngineRequest
from batch.engine.registry import load
from batch.engine.spans import RATE, Audio
from tests.bench.accuracy import SETS, diarization, recordings
from tests.bench.show import show


def louder(sound: Audio, rng: np.random.Generator) -> Audio:
    """From 8 dB softer to 4 dB louder, over noise at -70 to -50 dBFS."""
    changed = sound * 10 ** (rng.uniform(-8, 4) / 20)
    changed += rng.standard_normal(len(sound)) * 32768 * 10 ** (rng.uniform(-70, -50) / 20)
    return np.asarray(np.clip(changed, -32768, 32767), np.int16)


def write(path: Path, chosen: list[Path], minutes: float) -> int:
    """The long recording and its ``.rttm``; how many seconds it has."""
    rng, length, lines = np.random.default_rng(7), 0, list[str]()
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for one in cycle(chosen):
            if length >= minutes * 60 * RATE:
                break
            sound = decode(one).channels[0]
            for turn, _, who in _turns(one).itertracks(yield_label=True):
                start = turn.start + length / RATE
                lines.append(f"SPEAKER {path.stem} 1 {start:.3f} {turn.duration:.3f} <NA> <NA> {who} <NA> <NA>\n")
            file.writeframes(louder(sound, rng).tobytes())
            length += len(sound)
    path.with_suffix(".rttm").write_text("".join(lines), "utf-8")
    return length // RATE


def _turns(recording: Path) -> Annotation:
    return next(iter(load_rttm(recording.with_suffix(".rttm")).values()))


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path)
    given = parser.parse_args()
    dialogues = next(folder for folder in SETS if folder.name == "dialogues")
    folder = given.folder or dialogues
    if not folder.is_dir():
        print(f"There are no recordings to make a long one of in {folder}.")
        return
    measure(recordings(folder), given.minutes)


def measure(chosen: list[Path], minutes: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        seconds = write(path, chosen, minutes)
        engine = load("moonshine")
        before, began, used = peak_megabytes(), time.monotonic(), time.process_time()
        transcript = engine.transcribe(path, EngineRequest(speaker_labels=True))
        took, busy = time.monotonic() - began, time.process_time() - used
        found = diarization(path, transcript.words)
        there = len(_turns(path).labels())
    show([{
        "minutes": round(seconds / 60, 1),
        "real-time factor": round(took / seconds, 3),
        "of one core": round(busy / seconds, 3),
        "MB before": round(before),
        "MB at most": round(peak_megabytes()),
        "speakers": f"{len({word.speaker for word in transcript.words})}/{there}",
        "DER": f"{found['diarization error rate']:.1%}",
        "confusion": f"{found['confusion'] / found['total']:.1%}",
    }])  # fmt: skip


if __name__ == "__main__":
    main()
