"""Manifests of a million rows: when the first submission goes out, how fast finished rows are passed over, and in
how much memory.

    python -m tests.bench.scale [--rows 1000000] [--finished 100000]

Each figure is that of a child process: ``diarist run`` on a manifest of ``--rows`` rows, stopped once it has
submitted a hundred and counted them all; and on ``--finished`` rows whose results and recordings are all there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec

from batch.archive.journal import Journal
from batch.archive.results import encoded
from batch.model import Job, Recording, State
from tests.bench.show import show
from tests.support.service import start_service

_GROUP = 20_000


async def first_submission(folder: Path, rows: int) -> dict[str, Any]:
    """All rows name one of a thousand recordings, under keys of their own."""
    for number in range(1000):
        (folder / f"{number}.wav").write_bytes(b"RIFF%d" % number)
    manifest = folder / "manifest.csv"
    with manifest.open("w") as file:
        file.write("id,audio,speakers_expected,customer\n")
        file.writelines(f"calls/{n},{n % 1000}.wav,{n % 3 + 1},customer {n}\n" for n in range(rows))
    async with start_service(folder / "service", seconds=30, slots=100) as service:
        began = time.monotonic()
        child = await _run(manifest, folder / "out", service.base_url, "-c", "100")
        memory = asyncio.create_task(_peak_mb(child))
        while not service.submissions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        first = time.monotonic() - began
        while len(service.submissions) < 100:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(rows / 50_000)  # for the rows to be counted beside the run
        child.send_signal(signal.SIGINT)
        peak = await memory
    return {
        "what": "first submission",
        "rows": rows,
        "seconds": round(first, 2),
        "rows_a_second": None,
        "peak_mb": peak,
    }


async def nothing_to_do(folder: Path, rows: int, *more: str) -> dict[str, Any]:
    service, out = "http://127.0.0.1:9", folder / "out"
    with closing(Journal(out / ".diarist" / "journal.db")) as journal:
        for start in range(0, rows, _GROUP):
            jobs = [_finished(folder, out, n, service) for n in range(start, min(rows, start + _GROUP))]
            await asyncio.gather(*map(journal.record, jobs))
    manifest = folder / "manifest.csv"
    lines = (f"{n // 1000}/{n},audio/{n // 1000}/{n}.wav,2\n" for n in range(rows))
    with manifest.open("w") as file:
        file.write("id,audio,speakers_expected\n")
        file.writelines(lines)
    began = time.monotonic()
    child = await _run(manifest, out, service, *more)
    peak = await _peak_mb(child)
    assert child.returncode == 0
    took = time.monotonic() - began
    return {
        "what": "nothing to do", "rows": rows, "seconds": round(took, 2), "rows_a_second": round(rows / took),
        "peak_mb": peak,
    }  # fmt: skip


def _finished(folder: Path, out: Path, number: int, service: str) -> Job:
    key = f"{number // 1000}/{number}"
    audio, result = folder / "audio" / f"{key}.wav", out / f"{key}.json"
    if number % 1000 == 0:
        audio.parent.mkdir(parents=True)
        result.parent.mkdir(parents=True)
    audio.write_bytes(b"RIFF%d" % number)
    facts = audio.stat()
    options = {"speaker_labels": True, "speakers_expected": 2}
    recording = Recording(key, str(audio), "manifest.csv", number + 2, options)
    job = Job(
        recording, service, State.COLLECTED, sha256="0" * 64, size_bytes=facts.st_size, mtime_ns=facts.st_mtime_ns,
        transcript_id=f"t{number}", audio_seconds=1.0, speakers=2,
    )  # fmt: skip
    result.write_bytes(encoded(job, b'{"id":"t%d","status":"completed"}' % number))
    there = result.stat()
    return msgspec.structs.replace(job, result_bytes=there.st_size, result_mtime_ns=there.st_mtime_ns)


async def _run(manifest: Path, out: Path, service: str, *more: str) -> asyncio.subprocess.Process:
    arguments = ["run", str(manifest), "--out", str(out), "--service", service, "--progress", "off", *more]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batch", *arguments, stderr=asyncio.subprocess.DEVNULL, env=os.environ
    )


async def _peak_mb(child: asyncio.subprocess.Process) -> int:
    """Wait for the child; the most memory that it has had resident (VmHWM, proc(5))."""
    peak = 0
    while child.returncode is None:
        with suppress(OSError, IndexError):
            status = Path(f"/proc/{child.pid}/status").read_text()
            peak = max(peak, int(status.split("VmHWM:")[1].split()[0]) // 1024)
        with suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), 0.05)
    return peak


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--finished", type=int, default=100_000)
    given = parser.parse_args()
    figures = []
    for measure, rows in ((nothing_to_do, given.finished), (first_submission, given.rows)):
        with tempfile.TemporaryDirectory() as folder:
            figures.append(await measure(Path(folder), rows))
    show(figures)


if __name__ == "__main__":
    asyncio.run(main())
