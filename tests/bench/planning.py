"""How fast a manifest is planned, and how fast headers are read against the best library alone.

    python -m tests.bench.planning [--rows 100000] [--files 2000]

Rows name small WAV files of their own; the files are copies of the demo recordings (FLAC, MP3, M4A, Opus). The plan
is that of a child process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import tinytag

from batch.storage.audio_headers import probe
from tests.bench.scale import _peak_mb
from tests.bench.show import show
from tests.support.places import DEMO
from tests.support.recordings import wav


async def rows(folder: Path, count: int) -> dict[str, Any]:
    for number in range(count):
        path = folder / str(number // 1000) / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(wav(number.to_bytes(4, "big") * (500 + number % 500)))
    manifest = folder / "manifest.csv"
    manifest.write_text("id,audio\n" + "".join(f"{n},{n // 1000}/{n}.wav\n" for n in range(count)))
    arguments = ["plan", str(manifest), "--out", str(folder / "out"), "--service", "http://127.0.0.1:9"]
    began = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batch", *arguments, stdout=asyncio.subprocess.DEVNULL, env=os.environ
    )
    peak = await _peak_mb(child)
    took = time.monotonic() - began
    return {"what": "plan, rows", "count": count, "a_second": round(count / took), "peak_mb": peak}


def headers(folder: Path, count: int) -> list[dict[str, Any]]:
    recordings = sorted(path for path in DEMO.iterdir() if path.suffix in (".flac", ".mp3", ".m4a", ".ogg"))
    paths = []
    for number in range(count):
        source = recordings[number % len(recordings)]
        paths.append(str(shutil.copy(source, folder / f"{number}{source.suffix}")))

    def by_av(path: str) -> None:
        with av.open(path) as container:
            assert container.duration

    libraries: dict[str, Callable[[str], Any]] = {
        "diarist": probe, "tinytag alone": lambda path: tinytag.TinyTag.get(path, tags=False), "PyAV alone": by_av,
    }  # fmt: skip
    figures = []
    for name, look in libraries.items():
        began = time.perf_counter()
        for path in paths:
            look(path)
        took = time.perf_counter() - began
        figures.append({"what": f"headers, {name}", "count": count, "a_second": round(count / took), "peak_mb": None})
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=2000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        show([asyncio.run(rows(Path(one), given.rows)), *headers(Path(other), given.files)])


if __name__ == "__main__":
    main()
