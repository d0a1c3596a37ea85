"""How a run bears a service that refuses: by a true limit on requests, by chance, or among other misfortunes.

    python -m tests.bench.throttling [--recordings 300] [--beside DIRECTORY] [--only NAME ...]

The service is the local one with a double for its engine, on loopback; whoever is measured is a child of this
process. Each refusal asks for a second of silence. ``--beside`` is another version of the source, measured on the
same work.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from batch.server.faults import Fault, FaultKind, Faults
from tests.bench.show import show
from tests.support.limiter import Limiter
from tests.support.places import ROOT
from tests.support.recordings import archive
from tests.support.service import FOUR_PERCENT, start_service

IN_FLIGHT, JOB_SECONDS = 100, 0.5
HERE = ROOT


class Situation(NamedTuple):
    rate: float | None = None
    faults: tuple[Fault, ...] = ()


def noise(share: float) -> Situation:
    return Situation(faults=(Fault(FaultKind.THROTTLE, probability=share, seconds=1),))


SITUATIONS: Mapping[str, Situation] = {
    "undisturbed": Situation(),
    "limit 15/s": Situation(15),
    "limit 40/s": Situation(40),
    "noise 1 %": noise(0.01),
    "noise 4 %": noise(0.04),
    "noise 10 %": noise(0.10),
    "4 % of eight misfortunes": Situation(faults=tuple(FOUR_PERCENT)),
}


async def measure(name: str, situation: Situation, who: str, source: Path, recordings: int) -> dict[str, Any]:
    limiter = Limiter(situation.rate, 1) if situation.rate else Limiter()
    faults = Faults(situation.faults, random.Random(3)) if situation.faults else None
    with tempfile.TemporaryDirectory() as folder:
        manifest = archive(Path(folder, "audio"), recordings)
        service = start_service(
            Path(folder, "service"), seconds=JOB_SECONDS, slots=IN_FLIGHT, faults=faults,
            middlewares=[limiter.middleware],
        )  # fmt: skip
        async with service as double:
            began = time.monotonic()
            code = await carry(source, manifest, Path(folder, "out"), double.base_url)
            took = time.monotonic() - began
        answers = [(answered, status) for _, answered, status in double.answers]
        done = sum(path.is_file() for path in Path(folder, "out", "calls").glob("*.json"))
    refused = sorted(at for at, status in answers if status == 429)
    least = len(double.requests) / situation.rate - 1 if situation.rate else silence(refused)
    return {
        "service": name,
        "who": who,
        "seconds": round(took, 1),
        "at least": round(least, 1),
        "429s": len(refused),
        "requests": len(answers),
        "not done": recordings - done,
        "exit": code,
    }  # fmt: skip


def silence(refused: list[float]) -> float:
    """For how many seconds in all a refusal asked for silence."""
    return sum(min(1.0, after - at) for at, after in pairwise([*refused, math.inf]))


async def carry(source: Path, manifest: Path, out: Path, base_url: str) -> int:
    """One run of the source in a directory, with the settings of everybody; its exit code."""
    arguments = ["run", manifest, "--out", out, "--service", base_url, "-c", IN_FLIGHT, "--progress", "off"]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batch", *map(str, arguments), cwd=source, env=os.environ | {"PYTHONPATH": str(source)},
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await child.wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=300)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--only", nargs="*", choices=SITUATIONS, default=list(SITUATIONS))
    given = parser.parse_args()
    sources = ({"beside": given.beside} if given.beside else {}) | {"here": HERE}
    figures = []
    for name in given.only:
        for who, source in sources.items():
            figures.append(await measure(name, SITUATIONS[name], who, source, given.recordings))
            print(figures[-1], file=sys.stderr, flush=True)
    show(figures)


if __name__ == "__main__":
    asyncio.run(main())
