"""An archive in an object store: how fast it is planned and run, and how many of its bytes pass through us.

    python -m tests.bench.stores [--objects 10000]

The store is an S3 server on loopback (moto in a process of its own, which sets the pace), the service
a double without an engine, which reads the audio under signed links.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import batch
from batch import jobs
from batch.config import ObjectStoreSettings, Settings
from batch.jobs.planning.admission import Rerun
from batch.jobs.planning.selection import Selection
from tests.bench.show import show
from tests.support.object_store import BUCKET, S3, named, running
from tests.support.recordings import settings, wav
from tests.support.service import start_service


async def measure(s3: S3, folder: Path, objects: int) -> list[dict[str, Any]]:
    def put(number: int) -> None:
        s3.put(f"calls/{number}.wav", wav(random.Random(number).randbytes(20_000)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(objects)))
    figures = []
    async with start_service(folder / "service", private=True, slots=200) as service:
        linking = settings(service.base_url, concurrency=200)
        uploading = settings(service.base_url, concurrency=200, stores=ObjectStoreSettings(by="upload"))
        for what, asked, out in (
            ("plan", linking, "out"),
            ("run, by link", linking, "out"),
            ("run again", linking, "out"),
            ("run, uploaded", uploading, "uploaded"),
        ):
            sent, began = s3.bytes_sent, time.monotonic()
            recordings = await (plan if what == "plan" else run)(asked, folder / out)
            took = time.monotonic() - began
            passed = s3.bytes_sent - sent
            figures.append({
                "what": what, "objects": objects, "recordings": recordings, "seconds": round(took, 1),
                "objects_a_second": round(objects / took), "mb_through_us": round(passed["client"] / 1e6, 2),
                "mb_by_link": round(passed["link"] / 1e6, 2),
            })  # fmt: skip
    return figures


async def run(asked: Settings, out: Path) -> int:
    summary = await batch.run(f"s3://{BUCKET}/calls/", out, settings=asked)
    assert summary.exit_code == 0
    return int(summary.collected)


async def plan(asked: Settings, out: Path) -> int:
    manifests = [f"s3://{BUCKET}/calls/"]
    async with jobs.open_planner(
        manifests, out, settings=asked, rerun=Rerun(), select=Selection(), environ={}
    ) as planner:
        async for _ in planner.rows():
            pass
    return planner.plan.recordings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=10_000)
    given = parser.parse_args()
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory() as folder,
        running() as s3,
        named(patch, s3),
    ):
        show(asyncio.run(measure(s3, Path(folder), given.objects)))


if __name__ == "__main__":
    main()
