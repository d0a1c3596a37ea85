"""How long a run takes against the ideal schedule, and what it asks of the service.

    python -m tests.bench.makespan [--recordings 1000] [--in-flight 200] [--seconds 4] [--rivals]

The service is the local one with a double for its engine, on loopback, and runs in this process; whoever is measured
is a child of it. Jobs take a log-normal time whose median is ``--seconds``. The ideal schedule gives each job in turn
to the slot that is free first, and takes no time for anything else. ``--rivals`` runs the vendor's SDK
(``pip install assemblyai``) on the same work.
"""

from __future__ import annotations

import argparse
import asyncio
import bisect
import heapq
import math
import random
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from batch.engine.interface import EngineRequest
from tests.bench.show import show
from tests.support.service import heard, start_service

SPREAD = 0.5
"""Standard deviation of the logarithm of a job's time: one in twenty takes more than twice the median."""


class Work(NamedTuple):
    """The recordings, and how many seconds the service takes for each, by its bytes."""

    folder: Path
    manifest: Path
    paths: list[Path]
    seconds: dict[bytes, float]


def work(folder: Path, count: int, median: float) -> Work:
    rng = random.Random(count)
    folder.mkdir()
    seconds, paths = {}, []
    for number in range(count):
        path, audio = folder / f"{number}.wav", b"RIFF%d " % number + rng.randbytes(20_000)
        path.write_bytes(audio)
        paths.append(path)
        seconds[audio] = median * math.exp(rng.gauss(0, SPREAD))
    manifest = folder / "manifest.txt"
    manifest.write_text("".join(f"{path.name}\n" for path in paths))
    return Work(folder, manifest, paths, seconds)


def ideal_seconds(durations: Iterable[float], slots: int) -> float:
    """The makespan of list scheduling in the order given (Graham, 1966) without any overhead."""
    free = [0.0] * slots
    for duration in durations:
        heapq.heapreplace(free, free[0] + duration)
    return max(free)


def most_within(seconds: float, times: Sequence[float]) -> int:
    """The most of ``times`` (sorted) in any window of so many seconds."""
    return max(bisect.bisect_left(times, came + seconds) - number for number, came in enumerate(times))


@asynccontextmanager
async def service(folder: Path, todo: Work, slots: int) -> Any:
    """A double whose jobs take what ``todo`` says, and when each was done (loop time) by the digest of its audio."""
    async with start_service(folder, slots=slots) as double:
        loop, done_at = asyncio.get_running_loop(), {}

        async def transcribe(path: Path, request: EngineRequest) -> Any:
            audio = await asyncio.to_thread(path.read_bytes)
            await asyncio.sleep(todo.seconds[audio])
            double._open -= 1
            transcript = heard(audio, request)
            done_at[transcript.words[1].text] = loop.time()
            return transcript

        double.queue._transcribe = transcribe
        yield double, done_at


async def run_diarist(base_url: str, todo: Work, out: Path, slots: int) -> float:
    """Seconds of CPU that the client took, its start included."""
    arguments = [str(todo.manifest), "--out", str(out), "--service", base_url, "-c", str(slots), "--progress", "off"]
    return await _child("-m", "batch", "run", *arguments)


SDK = """
import os, sys, assemblyai as aai
aai.settings.api_key, aai.settings.base_url = "none", sys.argv[1]
paths = sys.argv[3:]
config = aai.TranscriptionConfig(speaker_labels=True)
group = aai.Transcriber(config=config, max_workers=int(sys.argv[2])).transcribe_group(paths)
assert all(t.status == "completed" for t in group.transcripts), "a transcript failed"
"""


async def run_sdk(base_url: str, todo: Work, out: Path, slots: int) -> float:
    """The vendor's SDK: transcribe_group with a thread a recording in flight, as its documentation has it."""
    return await _child("-c", SDK, base_url, str(slots), *map(str, todo.paths))


async def _child(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.PIPE)
    _, said = await child.communicate()
    assert child.returncode == 0, said.decode()[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


Runner = Callable[[str, Work, Path, int], Awaitable[float]]


async def measure(name: str, runner: Runner, count: int, slots: int, median: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        todo = work(Path(folder, "audio"), count, median)
        async with service(Path(folder, "service"), todo, slots) as (double, done_at):
            began = time.monotonic()
            cpu = await runner(double.base_url, todo, Path(folder, "out"), slots)
            took = time.monotonic() - began
            delays = sorted(double.fetched[digest] - at for digest, at in done_at.items() if digest in double.fetched)
        ideal = ideal_seconds(todo.seconds.values(), slots)
        return {
            "who": name,
            "recordings": count,
            "in_flight": slots,
            "seconds": round(took, 2),
            "ideal": round(ideal, 2),
            "ratio": round(took / ideal, 3),
            "requests_each": round(len(double.answers) / count, 2),
            "in_5_minutes": most_within(300.0, sorted(came for came, *_ in double.answers)),
            "most_open": double.most_open,
            "p95_to_fetched": round(delays[int(0.95 * len(delays))], 2) if delays else None,
            "cpu_ms_each": round(1000 * cpu / count, 1),
        }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--in-flight", type=int, nargs="*", default=[200])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rivals", action="store_true")
    given = parser.parse_args()
    runners: dict[str, Runner] = {"diarist": run_diarist} | ({"vendor's SDK": run_sdk} if given.rivals else {})
    figures = []
    for slots in given.in_flight:
        for name, runner in runners.items():
            figures.append(await measure(name, runner, given.recordings, slots, given.seconds))
    show(figures)


if __name__ == "__main__":
    asyncio.run(main())
