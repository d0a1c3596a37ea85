"""What watching from outside costs a run: a log of every event, and metrics that are scraped each second.

    python -m tests.bench.outside [--rows 50000] [--recordings 2000]

``--rows`` finished ones are passed over, a line of the log each; ``--recordings`` are uploaded, submitted and
fetched, 200 in flight, from a double that takes 0.2 s for each. CPU is that of the run's own process.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.scale import _run, nothing_to_do
from tests.bench.show import show
from tests.support.recordings import archive
from tests.support.service import start_service


def ways(folder: Path) -> dict[str, Sequence[str]]:
    """Nobody, the log, the metrics, by name, and the flags for each."""
    return {"nobody": (), "log": ("--log-file", str(folder / "log")), "metrics": ("--metrics-port", str(free_port()))}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def passing_over(way: str, rows: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        flags = ways(Path(name))[way]
        before = cpu_seconds()
        done = await nothing_to_do(Path(name), rows, *flags)
        return {
            "what": f"{rows} finished rows",
            "watched_by": way,
            "seconds": done["seconds"],
            "cpu_ms_each": round((cpu_seconds() - before) / rows * 1000, 3),
            "log_bytes_each": logged(Path(name), rows),
        }


async def carrying(way: str, recordings: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest, flags = archive(folder / "audio", recordings), ways(folder)[way]
        async with start_service(folder / "service", seconds=0.2, slots=200) as service:
            before, began = cpu_seconds(), time.monotonic()
            child = await _run(manifest, folder / "out", service.base_url, "-c", "200", *flags)
            scraping = asyncio.create_task(scrape(int(flags[1]))) if way == "metrics" else None
            assert await child.wait() == 0
            took = time.monotonic() - began
            if scraping:
                scraping.cancel()
            assert len(service.submissions) == recordings
        return {"what": f"{recordings} recordings", "watched_by": way, "seconds": round(took, 1),
                "cpu_ms_each": round((cpu_seconds() - before) / recordings * 1000, 3),
                "log_bytes_each": logged(folder, recordings)}  # fmt: skip


def cpu_seconds() -> float:
    """That of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def scrape(port: int) -> None:
    async with aiohttp.ClientSession() as session:
        while True:
            await asyncio.sleep(1)
            async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                assert answer.status == 200


def logged(folder: Path, count: int) -> int | None:
    log = folder / "log"
    return round(log.stat().st_size / count) if log.exists() else None


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--recordings", type=int, default=2000)
    given = parser.parse_args()
    figures = [await passing_over(way, given.rows) for way in ("nobody", "log")]
    figures += [await carrying(way, given.recordings) for way in ("nobody", "log", "metrics")]
    show(figures)


if __name__ == "__main__":
    asyncio.run(main())
