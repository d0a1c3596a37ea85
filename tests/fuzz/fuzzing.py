"""A running `diarist serve` under hostile inputs and hostile requests: ``python -m tests.fuzz.fuzzing``.

The service is a process of its own; its workers decode as they always do, and then say how much they have heard. What
must hold of a ``Report`` is said in ``test_hostile``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from batch.engine.interface import EngineRequest, EngineTranscript
from batch.providers.assemblyai.protocol import job_error
from tests.fuzz.hostile import hostile, silence

_ADDRESS: Final = re.compile(rb"serving AssemblyAI v2 at (http://\S+)")
_WARM_UP: Final = 100
"""Inputs before the first measurement: by then everything is loaded that ever will be."""


class DecodeOnly:
    """The built-in engine's decoding, and no speech."""

    name = "decode only"

    def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript:
        from batch.engine.decoding import decode

        recording = decode(path, multichannel=request.multichannel)
        text = f"{len(recording.channels)} channels of {recording.seconds} seconds"
        return EngineTranscript(text, (), None, 0.0, recording.seconds, warnings=recording.warnings)


class Taken(msgspec.Struct, frozen=True):
    """What the service and its workers take: resident bytes, open files, processes."""

    service_bytes: int
    workers_bytes: int
    files: int
    worker_files: int
    workers: tuple[int, ...]


class Report(msgspec.Struct):
    """What happened. ``outcomes`` counts by kind of input and kind of end; ``longest``: the slowest job's seconds and
    its seed."""

    inputs: int
    seconds: float = 0.0
    outcomes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    answers: Counter[str] = msgspec.field(default_factory=Counter)
    longest: tuple[float, int] = (0.0, 0)
    workers: set[int] = msgspec.field(default_factory=set)
    before: Taken | None = None
    after: Taken | None = None
    left: list[str] = msgspec.field(default_factory=list)
    said: str = ""
    exit_code: int | None = None

    def ended(self) -> Counter[str]:
        told: Counter[str] = Counter()
        for (_, end), count in self.outcomes.items():
            told[end] += count
        return told


class Service:
    """A running service, as its caller and its machine see it."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, session: aiohttp.ClientSession) -> None:
        self.process, self.folder, self.session = process, folder, session

    @property
    def port(self) -> int:
        assert self.session._base_url
        return self.session._base_url.port or 0

    async def job(self, audio: bytes, **asked: Any) -> dict[str, Any]:
        """Upload, submit, wait: the transcript object in the end."""
        async with self.session.post("/v2/upload", data=audio) as answer:
            if answer.status != 200:
                return {"status": "refused", "error": await answer.text()}
            link = (await answer.json())["upload_url"]
        async with self.session.post("/v2/transcript", json={"audio_url": link, **asked}) as answer:
            transcript_id = (await answer.json())["id"]
        for pause in itertools.count(1):
            async with self.session.get(f"/v2/transcript/{transcript_id}") as answer:
                said: dict[str, Any] = await answer.json()
            if said["status"] in ("completed", "error"):
                return said
            await asyncio.sleep(min(0.5, 0.005 * pause))
        raise AssertionError

    async def taken(self) -> Taken:
        pid = self.process.pid
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        workers = tuple(sorted({int(child) for task in tasks for child in task.read_text().split()}))
        return Taken(
            _resident(pid), sum(map(_resident, workers)), _files(pid), sum(map(_files, workers)), workers,
        )  # fmt: skip


def _resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return 1024 * int(found[1]) if found else 0


def _files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208


@contextlib.asynccontextmanager
async def serving(folder: Path, *arguments: str, engine: str) -> AsyncIterator[Service]:
    """`diarist serve` with its data in ``folder``, until the context ends; what it says goes to ``folder/said``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "said").open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "batch", "serve", "--port", "0", "--data", str(folder / "data"), "--engine", engine,
            *arguments, stderr=said, env={**os.environ, "DIARIST_SERVICE_KEY": ""},
        )  # fmt: skip
    try:
        async with aiohttp.ClientSession(await _address(process, folder / "said")) as session:
            yield Service(process, folder, session)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _address(process: asyncio.subprocess.Process, said: Path) -> str:
    """Where the newest life of the service listens."""
    lives = len(_ADDRESS.findall(said.read_bytes()))
    while process.returncode is None:
        found = _ADDRESS.findall(said.read_bytes())
        if len(found) > lives:
            return str(found[-1].decode())
        await asyncio.sleep(0.02)
    raise AssertionError(said.read_text())


async def fuzz(folder: Path, inputs: int, seed: int, workers: int = 2) -> Report:
    """So many hostile inputs, from ``seed`` on, and a hostile request beside every tenth."""
    report = Report(inputs)
    engine = f"{DecodeOnly.__module__.replace('__main__', 'tests.fuzz.fuzzing')}:DecodeOnly"
    async with serving(folder, "--workers", str(workers), engine=engine) as service:
        began = time.monotonic()
        warm = seed + min(_WARM_UP, inputs // 2)
        await _feed(service, range(seed, warm), report, 2 * workers)
        largest = silence(9.5)  # that is accepted: what a process has once had, it keeps
        await asyncio.gather(*(service.job(largest) for _ in range(workers)))
        report.before = await service.taken()
        await _feed(service, range(warm, seed + inputs), report, 2 * workers)
        report.seconds = time.monotonic() - began
        report.left = await _left(folder / "data/uploads")
        report.after = await service.taken()
        report.exit_code = service.process.returncode
    report.said = (folder / "said").read_text()
    return report


async def _left(uploads: Path) -> list[str]:
    """What is no whole upload, and has not gone ten seconds after the last request broke off."""
    for _ in range(100):
        left = [path.name for path in uploads.iterdir() if not re.fullmatch(r"[0-9a-f]{32}", path.name)]
        if not left:
            break
        await asyncio.sleep(0.1)
    return left


async def _feed(service: Service, seeds: Iterable[int], report: Report, at_once: int) -> None:
    left = iter(seeds)
    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(_feed_one_by_one(service, left, report))


async def _feed_one_by_one(service: Service, seeds: Iterator[int], report: Report) -> None:
    for seed in seeds:
        kind, audio = hostile(seed)
        began = time.monotonic()
        said = await service.job(audio, multichannel=seed % 4 == 0)
        report.longest = max(report.longest, (time.monotonic() - began, seed))
        error = said["error"] if said["status"] == "error" else None
        report.outcomes[kind, job_error(error).kind if error else said["status"]] += 1
        if seed % 10 == 0:
            report.answers[await provoke(service.port, seed)] += 1
        if seed % 20 == 0:
            report.workers |= set((await service.taken()).workers)


# ── Hostile requests ────────────────────────────────────────────────────────────────────────────────────────────

_HEAD: Final = b"POST /v2/upload HTTP/1.1\r\nHost: localhost\r\n"
_JSON: Final = b"POST /v2/transcript HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def request(seed: int) -> tuple[str, list[bytes]]:
    """A request that no client of good will sends: its kind, and the pieces in which it is sent."""
    rng = random.Random(seed)
    noise = rng.randbytes(rng.choice((10, 1000, 20_000)))
    kinds: dict[str, list[bytes]] = {
        "noise": [noise],
        "a body that breaks off": [_HEAD + b"Content-Length: 100000\r\n\r\n", noise],
        "chunks that break off": [_HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", b"ffffff\r\nabc"],
        "a chunk of no size": [_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"-1\r\nabc\r\n0\r\n\r\n"],
        "a chunk of all sizes": [_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"f" * 5000 + b"\r\nabc"],
        "two lengths": [
            _HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        ],
        "a length below nothing": [_HEAD + b"Content-Length: -5\r\n\r\nabc"],
        "a length beyond all": [_HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nabc"],
        "gigabytes promised": [_HEAD + b"Content-Length: 2100000000\r\n\r\nabc"],
        "a body that lies about its packing": [_HEAD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde"],
        "headers without end": [_HEAD, *[b"X-%d: %s\r\n" % (number, b"x" * 100) for number in range(2000)]],
        "a header without end": [_HEAD + b"X: " + b"x" * 100_000],
        "a slow header": [bytes((byte,)) for byte in _HEAD],
        "a path without end": [b"GET /v2/transcript/" + b"a/" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"],
        "JSON that is none": [_JSON + b"Content-Length: %d\r\n\r\n" % len(noise), noise],
        "JSON in JSON": [_JSON + b"Content-Length: 200000\r\n\r\n" + b'{"a":' * 40_000],
        "numbers without end": [
            _JSON + b"Content-Length: 50024\r\n\r\n" + b'{"speakers_expected":' + b"9" * 50_000 + b"}  "
        ],
        "Expect": [_HEAD + b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"],
        "Upgrade": [
            b"GET /v2/transcript HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        ],
        "many at once": [b"GET /v2/transcript?limit=200 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100],
        "HTTP/2": [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", noise],
        "TLS": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", noise],
        "nothing": [],
    }
    return rng.choice([*kinds.items()])


async def provoke(port: int, seed: int) -> str:
    """Send a hostile request, read for a moment, hang up; return its kind and the status that came, if any."""
    kind, pieces = request(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(0.2):
            answer = await reader.read(100)
    writer.transport.abort()
    status = re.match(rb"HTTP/1\.[01] (\d+)", answer)
    return f"{kind}: {status[1].decode() if status else 'no answer'}"


# ── By hand ─────────────────────────────────────────────────────────────────────────────────────────────────────


def shown(report: Report) -> str:
    megabyte = 1 << 20
    assert report.before
    assert report.after
    kinds = sorted({kind for kind, _ in report.outcomes})
    longest, seed = report.longest
    lines = [f"{report.inputs} inputs in {report.seconds:.0f} s; the longest job took {longest:.1f} s (seed {seed})"]
    lines += [f"ended: {dict(report.ended().most_common())}"]
    for kind in kinds:
        lines += [f"  {kind}: { ({end: n for (each, end), n in report.outcomes.most_common() if each == kind}) }"]
    for when, taken in (("before", report.before), ("after", report.after)):
        lines += [
            f"{when}: service {taken.service_bytes // megabyte} MB, {taken.files} files; "
            f"{len(taken.workers)} workers {taken.workers_bytes // megabyte} MB, {taken.worker_files} files"
        ]
    dead = report.workers.difference(report.after.workers)
    lines += [f"workers that died: {len(dead)}; left in uploads: {report.left}; requests:"]
    return "\n".join([*lines, *(f"  {what} x {count}" for what, count in sorted(report.answers.items()))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(fuzz(Path(folder), given.inputs, given.seed, given.workers))
    print(shown(report))
    print("the service said:", report.said[:5000], sep="\n")


if __name__ == "__main__":
    main()
