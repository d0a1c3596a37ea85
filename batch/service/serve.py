"""``diarist serve``: puts the service together and keeps it up until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from batch.errors import Usage
from batch.service import app, fetch, workers
from batch.service.engine import EngineMissing
from batch.service.store import Store


def main(*, host: str, port: int, data: str, engine: str, workers: int | None, until_stdin_closes: bool) -> int:
    """Serve until SIGINT or SIGTERM; with ``until_stdin_closes`` also until a parent that holds our input is gone,
    whom one line of JSON on standard output tells the ``base_url``, or the ``error``. Returns the exit code."""
    announce = _to_parent if until_stdin_closes else _to_person
    key = os.environ.get("DIARIST_SERVICE_KEY") or None
    try:
        asyncio.run(_serve(host, port, Path(data), engine, workers, key, announce, until_stdin_closes))
    except (EngineMissing, Usage, OSError) as error:
        if until_stdin_closes:
            _tell({"error": str(error)})
            return 2
        raise Usage(str(error)) from error
    return 0


async def _serve(
    host: str,
    port: int,
    data: Path,
    engine: str,
    count: int | None,
    key: str | None,
    announce: Callable[[str], None],
    until_stdin_closes: bool,
) -> None:
    if not key and not _is_loopback(host):
        raise Usage(f"--host {host} is reachable by others: set a key in DIARIST_SERVICE_KEY")
    stopped = _stopped(until_stdin_closes)
    await workers.check(engine)
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(contextlib.closing(Store(data)))
        session = await stack.enter_async_context(fetch.session())
        locate = fetch.Fetcher(store, session).locate
        slots = count or os.cpu_count() or 1
        queue = workers.Queue(store, workers.transcriber(engine, slots), locate, slots=slots, engine=engine)
        announce(await stack.enter_async_context(app.listening(app.make_app(store, queue, key=key), host, port)))
        await stopped.wait()


def _stopped(until_stdin_closes: bool) -> asyncio.Event:
    """Set by SIGINT and SIGTERM, and where asked for when standard input ends."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    return stopped


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _to_parent(base_url: str) -> None:
    _tell({"base_url": base_url})


def _to_person(base_url: str) -> None:
    sys.stderr.write(f"serving AssemblyAI v2 at {base_url} (Ctrl-C ends it)\n")


def _tell(message: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
