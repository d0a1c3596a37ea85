"""How fast the engine is, and how much memory it takes: on one core and two, alone and shared out, cold and warm.

    python -m tests.bench.engine_speed [--minutes 60] [--part 10]

The recording is made of the demo recordings, one after the other at changing loudness. ``--minutes`` of it are heard
by a process a core, ``--part`` minutes of it by one process, and by two. Five minutes on two idle cores. On a machine
that does other things, too, go by the CPU seconds: those of all processes together.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import tempfile
import time
import wave
from collections.abc import Awaitable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from batch.engine.decoding import decode
from batch.engine.interface import EngineRequest
from batch.engine.registry import EngineChoice
from batch.engine.spans import RATE
from batch.server.engine_pool import EnginePool
from tests.bench.show import show
from tests.support.places import DEMO

LONG_ONES = ("planning-meeting.mp3", "kitchen-talk.m4a", "radio-interview.flac")
SHORT_ONE = DEMO / "kitchen-talk.m4a"
ASKED = EngineRequest(speaker_labels=True)


def long_recording(minutes: float, path: Path) -> Path:
    """So many minutes of talk, as 16-bit WAV."""
    sounds = [decode(DEMO / name).channels[0] for name in LONG_ONES]
    loudness = np.random.default_rng(1)
    left = round(minutes * 60 * RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for sound in itertools.cycle(sounds):
            file.writeframes((sound[:left] * loudness.uniform(0.3, 1)).astype(np.int16).tobytes())
            if (left := left - len(sound)) <= 0:
                return path
    raise AssertionError


def workers() -> Iterator[Path]:
    """The processes that this one has started, in /proc."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue  # ended meanwhile
        if int(parent) == os.getpid():
            yield folder


def most_mb() -> list[int]:
    """What each worker process has had in memory at most, in MB, mapped files included."""
    lines = [line for folder in workers() for line in (folder / "status").read_text().splitlines()]
    return sorted(int(line.split()[1]) // 1000 for line in lines if line.startswith("VmHWM"))


def cpu_seconds() -> float:
    """What all worker processes have used so far."""
    ticks = [(folder / "stat").read_text().rpartition(")")[2].split()[11:13] for folder in workers()]
    return sum(int(tick) for used in ticks for tick in used) / os.sysconf("SC_CLK_TCK")


class Taken(NamedTuple):
    seconds: float
    cpu_seconds: float


async def taken(work: Awaitable[Any]) -> Taken:
    began, used = time.monotonic(), cpu_seconds()
    await work
    return Taken(time.monotonic() - began, cpu_seconds() - used)


def figure(what: str, processes: int, audio_seconds: float, took: Taken) -> dict[str, Any]:
    times = {"seconds": round(took.seconds, 2), "CPU_seconds": round(took.cpu_seconds, 2)}
    factors = {f"{name}_a_second": round(value / audio_seconds, 4) for name, value in times.items()}
    return {"what": what, "processes": processes, "audio": round(audio_seconds), **times, **factors,
            "MB_a_process": most_mb()}  # fmt: skip


async def first_results() -> list[dict[str, Any]]:
    """From nothing to the first result, and to the next, of a recording of half a minute."""
    seconds = decode(SHORT_ONE).seconds
    pool = EnginePool(EngineChoice())

    async def from_nothing() -> None:
        await pool.check()
        await pool.transcribe(SHORT_ONE, ASKED)

    cold, warm = await taken(from_nothing()), await taken(pool.transcribe(SHORT_ONE, ASKED))
    return [figure("first result, cold", 1, seconds, cold), figure("first result, warm", 1, seconds, warm)]


async def alone(what: str, path: Path, processes: int, minutes: float) -> dict[str, Any]:
    """One recording, with nothing else to do."""
    pool = EnginePool(EngineChoice(), processes)
    await pool.warm()
    return figure(what, processes, minutes * 60, await taken(pool.transcribe(path, ASKED)))


async def beside_each_other(path: Path, processes: int, minutes: float) -> dict[str, Any]:
    """As many recordings as there are processes."""
    pool = EnginePool(EngineChoice(), processes)
    await pool.warm()
    took = await taken(asyncio.gather(*(pool.transcribe(path, ASKED) for _ in range(processes))))
    return figure("one recording a process", processes, minutes * 60 * processes, took)


async def decoding() -> dict[str, Any]:
    """The share of decoding, which is not done ahead: mp3, m4a and flac, as they are."""
    began, used = time.monotonic(), time.process_time()
    seconds = sum(decode(DEMO / name).seconds for name in LONG_ONES * 5)
    return figure("decoding alone", 1, seconds, Taken(time.monotonic() - began, time.process_time() - used))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--part", type=float, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        part = long_recording(given.part, Path(name) / "part.wav")
        whole = long_recording(given.minutes, Path(name) / "whole.wav")
        cores = os.cpu_count() or 1
        runs = (
            first_results,
            lambda: alone("a recording alone", part, 1, given.part),
            lambda: alone("a recording alone", part, 2, given.part),
            lambda: beside_each_other(part, 2, given.part),
            lambda: alone("a long recording alone", whole, cores, given.minutes),
            decoding,
        )
        figures: list[dict[str, Any]] = []
        for run in runs:  # each with processes of its own
            told = asyncio.run(run())
            figures += told if isinstance(told, list) else [told]
    show(figures)


if __name__ == "__main__":
    main()
