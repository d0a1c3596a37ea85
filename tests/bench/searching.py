"""How long the index of an archive takes to make, how big it is, and how soon a search answers.

    python -m tests.bench.searching [--results 10000]

The results are those of ``tests.bench.exporting``; ten times as many are links to some of them. What a run pays is
the time of one core for each result that arrives, in groups of as many as come in a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batch.archive.results import result_files
from batch.archive.search import database
from batch.archive.search.documents import read_document
from tests.bench.exporting import demo, hours
from tests.bench.scale import _peak_mb
from tests.bench.show import show

PHRASES = ("library building", "the", "zeppelin")


async def search(directory: Path, phrase: str) -> dict[str, Any]:
    """The command as it is typed: its seconds, those of the cores, and the most memory of its first process."""
    began, spent = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batch", "search", str(directory), phrase,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    peak = await _peak_mb(child)
    assert child.returncode in (0, 7)
    took, used = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - spent.ru_utime - spent.ru_stime
    return {"seconds": round(took, 2), "cpu_seconds": round(cpu, 2), "peak_mb": peak}


def links(directory: Path, count: int) -> None:
    """So many results in folders of a thousand, of which each links to its own first four."""
    for number in range(0, count, 1000):
        folder = directory / str(number // 1000)
        demo(folder, 4)
        for other in range(4, 1000):
            os.link(folder / "0" / f"{other % 4}.json", folder / f"{other}.json")


async def searches(what: str, directory: Path) -> list[dict[str, Any]]:
    """The first search, which indexes everything, then others."""
    results = [path.stat().st_size for path in result_files(directory)]
    figures = [{"results": f"{len(results)} {what}", "search": "the first", **await search(directory, PHRASES[0])}]
    size = (directory / ".diarist" / "search.db").stat().st_size
    figures[0] |= {"index_mb": round(size / 1e6, 1), "index_to_results": round(size / sum(results), 3)}
    for phrase in PHRASES:
        figures.append({"results": f"{len(results)} {what}", "search": phrase, **await search(directory, phrase)})
    return figures


def arrivals(what: str, directory: Path, each_second: int) -> dict[str, Any]:
    """What a run pays for each result while so many arrive in a second."""
    paths = list(result_files(directory))[:2000]
    shutil.rmtree(directory / ".diarist")
    began = time.process_time()
    for group in groups(paths, each_second):
        with database.opened(directory, print) as db:
            database.put(db, [entry for path in group if (entry := read_document(directory, path))])
    took = time.process_time() - began
    return {"arriving": what, "a_second": each_second, "cpu_ms_each": round(1000 * took / len(paths), 2)}


def groups(paths: Sequence[Path], size: int) -> list[Sequence[Path]]:
    return [paths[start : start + size] for start in range(0, len(paths), size)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=10_000)
    count = parser.parse_args().results
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo(folder / "demo", count)
        hours(folder / "hours", count // 50)
        links(folder / "many", 10 * count)
        figures = [
            *asyncio.run(searches("of 37 s", folder / "demo")),
            *asyncio.run(searches("of an hour", folder / "hours")),
            *asyncio.run(searches("of 37 s", folder / "many")),
        ]
        show(figures)
        show([arrivals("of 37 s", folder / "demo", 10), arrivals("of 37 s", folder / "demo", 100)])
        show([arrivals("of an hour", folder / "hours", 10)])


if __name__ == "__main__":
    main()
