"""Many clients at once on the local service: what each request takes, and whether any goes wrong.

    python -m tests.bench.clients [--clients 500] [--recordings 3] [--beside DIRECTORY]

The service is a process of its own with a double for its engine, on loopback. Each client has a connection of its
own, and for each recording uploads a second of audio, submits it, and asks once a second until it is done.
``--beside`` is another version of the source, whose service is measured with the same clients.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.show import show
from tests.support.places import ROOT
from tests.support.recordings import wav

HERE = ROOT
SERVICE = """
import asyncio, sys
from pathlib import Path
from tests.support.service import start_service

async def main():
    async with start_service(Path(sys.argv[1]), seconds=0.5, slots=50) as service:
        print(service.base_url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""
"""Runs until its standard input ends."""


@asynccontextmanager
async def service_of(source: Path, folder: Path) -> AsyncIterator[str]:
    """The address of the service of the source in a directory."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, str(folder), cwd=source, env=os.environ | {"PYTHONPATH": str(source)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin and child.stdout
    try:
        yield (await child.stdout.readline()).decode().strip()
    finally:
        child.stdin.close()
        await child.wait()


class Timings:
    """What requests of each kind took, in seconds, and how many went wrong."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.wrong = 0

    async def ask(self, session: aiohttp.ClientSession, kind: str, method: str, url: str, **given: Any) -> Any:
        """The answer of one request; None if it went wrong."""
        began = time.perf_counter()
        try:
            async with session.request(method, url, **given) as answer:
                said = await answer.json()
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError):
            self.wrong += 1
            return None
        self.seconds[kind].append(time.perf_counter() - began)
        return said


async def carry(base_url: str, number: int, recordings: int, timings: Timings) -> int:
    """What one client does; how many of its recordings were transcribed."""
    done = 0
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector, headers={"authorization": "any"}) as session:
        for each in range(recordings):
            audio = wav(f"{number} {each} ".encode() * 1000)
            sent = await timings.ask(session, "upload", "POST", f"{base_url}/v2/upload", data=audio)
            asked = {"audio_url": sent["upload_url"]} if sent else {}
            job = await timings.ask(session, "submit", "POST", f"{base_url}/v2/transcript", json=asked)
            while job and job["status"] in ("queued", "processing"):
                await asyncio.sleep(1)
                job = await timings.ask(session, "fetch", "GET", f"{base_url}/v2/transcript/{job['id']}")
            done += bool(job) and job["status"] == "completed"
    return done


async def measure(who: str, source: Path, clients: int, recordings: int) -> list[dict[str, Any]]:
    timings = Timings()
    with tempfile.TemporaryDirectory() as folder:
        async with service_of(source, Path(folder, "service")) as base_url:
            began = time.monotonic()
            done = await asyncio.gather(*(carry(base_url, number, recordings, timings) for number in range(clients)))
            took = time.monotonic() - began
    return [
        {
            "who": who,
            "request": kind,
            "requests": len(seconds),
            "median ms": round(statistics.median(seconds) * 1000, 1),
            "p99 ms": round(statistics.quantiles(seconds, n=100)[98] * 1000, 1),
            "longest ms": round(max(seconds) * 1000, 1),
            "errors": timings.wrong,
            "not done": clients * recordings - sum(done),
            "seconds in all": round(took, 1),
        }
        for kind, seconds in timings.seconds.items()
    ]  # fmt: skip


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--recordings", type=int, default=3)
    parser.add_argument("--beside", type=Path)
    given = parser.parse_args()
    sources = ({"beside": given.beside} if given.beside else {}) | {"here": HERE}
    show(
        [
            each
            for who, source in sources.items()
            for each in await measure(who, source, given.clients, given.recordings)
        ]
    )


if __name__ == "__main__":
    asyncio.run(main())
