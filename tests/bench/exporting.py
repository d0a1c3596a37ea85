"""How fast stored results become other formats, and in how much memory.

    python -m tests.bench.exporting [--results 10000]

The results are those of the demo recordings, again and again; those of an hour have their utterances 80 times over.
Memory is the most that the command had resident; each of the processes that it starts has as much again, or less.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.scale import _peak_mb
from tests.bench.show import show
from tests.support.places import ROOT

ARCHIVE = ROOT / "tests" / "support" / "demo_archive"
FORMATS = ("srt", "txt,srt,vtt,rttm", "csv,speakers", "parquet", "lhotse")


def demo(directory: Path, count: int) -> None:
    for folder in range(-(-count // 1000)):
        (directory / str(folder)).mkdir(parents=True)
    recordings = sorted(ARCHIVE.glob("*.json"))
    for number in range(count):
        shutil.copy(recordings[number % len(recordings)], directory / str(number // 1000) / f"{number}.json")


def hours(directory: Path, count: int) -> None:
    directory.mkdir()
    result = json.loads((ARCHIVE / "planning-meeting.json").read_bytes())
    step = 1000 * result["audio_duration"]
    result["utterances"] = [_later(said, n * step) for n in range(80) for said in result["utterances"]]
    for number in range(count):
        (directory / f"{number}.json").write_text(json.dumps(result), "utf-8")


def _later(said: dict[str, Any], by: float) -> dict[str, Any]:
    moved = said | {"start": said["start"] + by, "end": said["end"] + by}
    return moved | ({"words": [_later(word, by) for word in said["words"]]} if "words" in said else {})


async def export(what: str, directory: Path, count: int, formats: str, out: Path) -> dict[str, Any]:
    arguments = ["export", str(directory), "--to", formats, "--out", str(out)]
    began = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batch", *arguments, stderr=asyncio.subprocess.DEVNULL
    )
    peak = await _peak_mb(child)
    took = time.monotonic() - began
    assert child.returncode == 0
    size = sum(path.stat().st_size for path in directory.rglob("*.json")) / 1e6
    return {
        "results": f"{count} {what}",
        "to": formats,
        "seconds": round(took, 1),
        "results_a_second": round(count / took),
        "mb_a_second": round(size / took, 1),
        "peak_mb": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=10_000)
    count = parser.parse_args().results
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo(folder / "demo", count)
        hours(folder / "hours", count // 50)
        for number, formats in enumerate(FORMATS):
            out = folder / f"out-{number}"
            figures.append(asyncio.run(export("of 37 s", folder / "demo", count, formats, out)))
        figures.append(asyncio.run(export("of an hour", folder / "hours", count // 50, "srt", folder / "long")))
    show(figures)


if __name__ == "__main__":
    main()
