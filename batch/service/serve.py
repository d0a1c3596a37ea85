"""``diarist serve``: puts the service together and keeps it up until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from pathlib import Path

import aiohttp
import msgspec

from batch.errors import Usage
from batch.service import app, fetch, notices, workers
from batch.service.engine import Choice, Device, EngineMissing
from batch.service.faults import Faults, read
from batch.service.pool import Pool
from batch.service.store import Store


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What ``diarist serve`` is asked for. ``workers`` None: one a core; ``faults``: a file of misfortunes.

    ``until_stdin_closes``: a parent holds our standard input; when it is gone, so are we.
    """

    host: str
    port: int
    data: str
    engine: str = "moonshine"
    speakers: str = "community-1"
    device: Device = "auto"
    workers: int | None = None
    faults: str | None = None
    until_stdin_closes: bool = False


def main(asked: Serving) -> int:
    """Serve until SIGINT or SIGTERM, or until the parent is gone; return the exit code.

    A parent is told the ``base_url``, or the ``error``, by one line of JSON on standard output; a person on standard
    error. Raises ``Usage`` if it cannot begin and there is no parent.
    """
    try:
        asyncio.run(_serve(asked, os.environ.get("DIARIST_SERVICE_KEY") or None))
    except (EngineMissing, Usage, OSError) as error:
        if asked.until_stdin_closes:
            _tell({"error": str(error)})
            return 2
        raise Usage(str(error)) from error
    return 0


async def _serve(asked: Serving, key: str | None) -> None:
    if not key and not fetch.is_loopback(asked.host):
        raise Usage(f"--host {asked.host} is reachable by others: set a key in DIARIST_SERVICE_KEY")
    faults = Faults(read(Path(asked.faults)), random.Random()) if asked.faults else None
    stopped = _stopped(asked.until_stdin_closes)
    pool = Pool(Choice(asked.engine, asked.speakers, asked.device), asked.workers, Path(asked.data) / "parts")
    able = await pool.check()
    async with contextlib.AsyncExitStack() as stack:
        store = stack.enter_context(contextlib.closing(Store(Path(asked.data))))
        pool.clear()
        session = await stack.enter_async_context(fetch.session())
        locate: workers.Locate = fetch.Fetcher(store, session).locate
        locate = faults.on_the_way(locate) if faults else locate
        notify = notices.Notices(await stack.enter_async_context(aiohttp.ClientSession())).send
        queue = workers.Queue(store, pool.transcribe, locate, notify, slots=pool.size, engine=pool.choice.label)
        befall = [faults.middleware] if faults else []
        made = app.make_app(store, queue, key=key, languages=able.languages, middlewares=befall)
        base_url = await stack.enter_async_context(app.listening(made, asked.host, asked.port))
        _announce(base_url, asked.until_stdin_closes)
        warming = asyncio.create_task(pool.warm())
        await stopped.wait()
        warming.cancel()


def _stopped(until_stdin_closes: bool) -> asyncio.Event:
    """Set by SIGINT and SIGTERM, and where asked for when standard input ends."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    if until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), stopped.set)
    return stopped


def _announce(base_url: str, to_parent: bool) -> None:
    if to_parent:
        _tell({"base_url": base_url})
    else:
        sys.stderr.write(f"serving AssemblyAI v2 at {base_url} (Ctrl-C ends it)\n")


def _tell(message: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
