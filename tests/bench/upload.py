"""How fast recordings are uploaded against ``curl -T``, and in how much memory.

    python -m tests.bench.upload [--bytes 1000000000] [--rounds 3] [--at-once 8] [--to sink|service]

The server is a process of its own on loopback: a ``sink``, which reads and forgets, so that the client is what is
measured; or the local ``service``, which writes to disk. Each round gives both clients the same file, and the ratio
is the median of the rounds'. diarist makes the SHA-256 of what it sends meanwhile, curl does not: where client and
server share two cores that is what limits it, and ``without digest`` is the same without. ``TMPDIR=/dev/shm`` takes
the disk out of it.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from batch.providers.assemblyai.client import connect
from batch.storage.audio import AudioFile, chunk_bytes
from tests.bench.show import show

_BUFFER_BYTES = 1 << 20


def sink() -> None:
    """A server that reads uploads and forgets them: a thread a connection. Prints its port; ends with its parent."""
    server = socket.create_server(("127.0.0.1", 0))
    print(server.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        threading.Thread(target=_swallow, args=(server.accept()[0],), daemon=True).start()


def _swallow(connection: socket.socket) -> None:
    buffer = bytearray(_BUFFER_BYTES)
    with connection:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        head, _, body = head.partition(b"\r\n\r\n")
        left = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]) - len(body)
        if b"100-continue" in head:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        while left > 0 and (got := connection.recv_into(buffer)):
            left -= got
        said = b'{"upload_url":"http://127.0.0.1/upload/1"}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(said) + said)


class NoDigest:
    def update(self, chunk: bytes) -> None: ...

    def hexdigest(self) -> str:
        return ""


async def upload(base_url: str, path: str, at_once: int) -> None:
    """Upload the file so many times at once, and print how long that took and the most memory it needed."""
    async with connect(base_url, None, connections=at_once) as api:
        began = time.monotonic()
        await asyncio.gather(*(_upload(api, path) for _ in range(at_once)))
        took = time.monotonic() - began
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(json.dumps({"seconds": took, "peak_mb": int(peak) // 1024}))


EXECUTOR = ThreadPoolExecutor(32)


async def _upload(api: Any, path: str) -> None:
    with closing(AudioFile(path, EXECUTOR, chunk_bytes=chunk_bytes(8))) as file:
        await api.upload(file.chunks(), file.stamp.size_bytes)
        file.sha256()


def by_diarist(base_url: str, path: Path, at_once: int, *more: str) -> dict[str, Any]:
    child = [sys.executable, "-m", "tests.bench.upload", "--send", base_url, str(path), "--at-once", str(at_once)]
    child += more
    said: dict[str, Any] = json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout)
    return said


def by_curl(base_url: str, path: Path, at_once: int) -> float:
    curl = ["curl", "-sS", "-f", "-X", "POST", "-o", os.devnull, "-T", str(path), f"{base_url}/v2/upload"]
    began = time.monotonic()
    children = [subprocess.Popen(curl) for _ in range(at_once)]
    assert not any(child.wait() for child in children)
    return time.monotonic() - began


@contextmanager
def sinking() -> Iterator[str]:
    sink = [sys.executable, "-m", "tests.bench.upload", "--sink"]
    child = subprocess.Popen(sink, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin
    assert child.stdout
    try:
        yield f"http://127.0.0.1:{child.stdout.readline().strip()}"
    finally:
        child.stdin.close()
        child.wait()


def measure(base_url: str, to: str, path: Path, rounds: int, at_once: int, uploads: Path) -> dict[str, Any]:
    """``uploads`` is where the server keeps what it is given: emptied after each turn."""
    size = path.stat().st_size * at_once
    ours, bare, theirs = [], [], []
    for _ in range(rounds):
        theirs.append(by_curl(base_url, path, at_once))
        _empty(uploads)
        ours.append(by_diarist(base_url, path, at_once))
        _empty(uploads)
        bare.append(by_diarist(base_url, path, at_once, "--no-digest"))
        _empty(uploads)
    return {
        "what": "upload",
        "to": to,
        "at_once": at_once,
        "mb": size // 1_000_000,
        "mb_a_second": round(size / 1e6 / statistics.median(one["seconds"] for one in ours)),
        "curl_mb_a_second": round(size / 1e6 / statistics.median(theirs)),
        "speed_to_curls": _speed(ours, theirs),
        "without_digest": _speed(bare, theirs),
        "peak_mb": max(one["peak_mb"] for one in ours),
    }


def _speed(ours: list[dict[str, Any]], theirs: list[float]) -> float:
    return round(statistics.median(curl / one["seconds"] for curl, one in zip(theirs, ours, strict=True)), 2)


def _empty(folder: Path) -> None:
    for path in folder.glob("*"):
        path.unlink()


@contextmanager
def serving(data: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "batch", "serve", "--port", "0", "--data", str(data), "--until-stdin-closes"]
    child = subprocess.Popen(
        [*command, "--engine", "tests.bench.upload:Deaf"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin
    assert child.stdout
    try:
        yield json.loads(child.stdout.readline())["base_url"]
    finally:
        child.stdin.close()
        child.wait()


class Deaf:
    """An engine for a service that is only uploaded to."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=int, default=1_000_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--to", choices=["sink", "service"], default="sink")
    parser.add_argument("--sink", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--send", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--no-digest", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sink:
        return sink()
    if given.no_digest:
        hashlib.sha256 = NoDigest
    if given.send:
        return asyncio.run(upload(*given.send, given.at_once))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recording.wav")
        with path.open("wb") as file:
            for _ in range(given.bytes // 1_000_000):
                file.write(os.urandom(1_000_000))
        data = Path(folder, "data")
        with serving(data) if given.to == "service" else sinking() as base_url:
            figures = [
                measure(base_url, given.to, path, given.rounds, at_once, data / "uploads")
                for at_once in (1, given.at_once)
            ]
        show(figures)
    return None


if __name__ == "__main__":
    main()
