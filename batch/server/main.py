"""``diarist serve``: puts the service together and keeps it up until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import signal
import sqlite3
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.config import Device, read_size
from batch.engine.interface import EngineMissing
from batch.engine.registry import EngineChoice
from batch.errors import AuthenticationError, FailureKind, UnavailableError, UsageError
from batch.network.addresses import is_loopback
from batch.providers.assemblyai.endpoints import read_key
from batch.server import app, download, outbound, webhooks
from batch.server.engine_pool import EnginePool
from batch.server.faults import Faults, read
from batch.server.queue import Locate, Queue
from batch.server.retention import read_rules
from batch.server.store import Store
from batch.server.uploads import Full
from batch.storage import lock

_ENDING_SECONDS: Final = 5.0


class ServeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What ``diarist serve`` is asked for. ``workers`` None: one a core; ``keep``, ``disk_budget`` and
    ``worker_memory``: see `keeping`; ``private_network``: audio URLs and webhooks may
    be of addresses that are not public; ``faults``: a file of misfortunes.

    ``until_stdin_closes``: a parent holds our standard input; when it is gone, so are we.
    """

    host: str
    port: int
    data: str
    engine: str = "moonshine"
    speakers: str = "community-1"
    device: Device = "auto"
    workers: int | None = None
    keep: tuple[str, ...] = ()
    disk_budget: str | None = None
    worker_memory: str | None = None
    private_network: bool = False
    faults: str | None = None
    until_stdin_closes: bool = False


def main(asked: ServeOptions) -> int:
    """Serve until SIGINT or SIGTERM, or until the parent is gone; return the exit code.

    A parent is told the ``base_url``, or the ``error``, by a line of JSON on standard output, and then of how many
    processes are ``ready``; a person on standard error. Raises ``UsageError`` if it cannot begin and there is no
    parent.
    """
    try:
        asyncio.run(_serve(asked, read_key(os.environ, "DIARIST_SERVICE_KEY")))
    except (EngineMissing, UsageError, AuthenticationError, OSError, sqlite3.Error, Full) as error:
        if asked.until_stdin_closes:
            _tell({"error": str(error)})
            return 2
        raise UsageError(str(error)) from error
    return 0


async def _serve(asked: ServeOptions, key: str | None) -> None:
    if not key and not is_loopback(asked.host):
        raise UsageError(f"--host {asked.host} is reachable by others: set a key in DIARIST_SERVICE_KEY")
    faults = Faults(read(Path(asked.faults)), random.Random()) if asked.faults else None
    _open_all_files()
    stopped = _stopped(asked.until_stdin_closes)
    keep = read_rules(asked.keep)
    budget, memory = (read_size(given) if given else None for given in (asked.disk_budget, asked.worker_memory))
    choice, data = EngineChoice(asked.engine, asked.speakers, asked.device), Path(asked.data)
    pool = EnginePool(choice, asked.workers, folder=data / "parts", memory_bytes=memory)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(await _alone(data))
        able = await pool.check()
        store = stack.enter_context(contextlib.closing(Store(data, budget)))
        pool.clear()
        session = await stack.enter_async_context(download.session(private=asked.private_network))
        locate: Locate = download.Fetcher(store, session).locate
        locate = faults.on_the_way(locate) if faults else locate
        outward = await stack.enter_async_context(outbound.ways(_for_webhooks(asked, key)))
        notify = webhooks.WebhookSender(outward).send
        queue = Queue(store, pool.transcribe, locate, notify, slots=pool.size, engine=choice.label)
        befall = [faults.middleware] if faults else []
        made = app.make_app(store, queue, key=key, keep=keep, able=able, middlewares=befall)
        base_url = await stack.enter_async_context(app.listening(made, asked.host, asked.port))
        _announce(base_url, asked.until_stdin_closes)
        told = partial(_announce_ready, pool.size) if asked.until_stdin_closes else lambda ready: None
        warming = asyncio.create_task(pool.warm(told))
        await stopped.wait()
        warming.cancel()
        if asked.until_stdin_closes:  # the service of a run, whose recordings are where they were
            await store.forget_uploads()


def _for_webhooks(asked: ServeOptions, key: str | None) -> outbound.May:
    """Which addresses webhooks reach: without a key only programs of this machine are served, which reach this
    machine anyway."""
    if asked.private_network or asked.until_stdin_closes:  # those of a run's own service are the run's own
        return outbound.anywhere
    return outbound.public if key else outbound.public_or_here


def _open_all_files() -> None:
    """As many connections as the system allows, where the usual 1,024 are soon taken by callers who only wait."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _alone(data: Path) -> contextlib.ExitStack:
    """Hold the data directory: two services would do every job twice. One that is just ending is waited for.

    Raises Usage if another keeps it.
    """
    await asyncio.to_thread(data.mkdir, mode=0o700, parents=True, exist_ok=True)
    until = time.monotonic() + _ENDING_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock.held(data / "lock", datetime.now()))
                return stack.pop_all()
            except UnavailableError as error:
                if error.kind is not FailureKind.LOCKED:
                    raise UsageError(str(error)) from error
                if time.monotonic() > until:
                    holder = lock.holder(data / "lock")
                    raise UsageError(
                        f"another service has its jobs in {data}: {holder}. Choose another --data"
                    ) from None
            await asyncio.sleep(0.1)


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


def _announce_ready(size: int, ready: int) -> None:
    _tell({"ready": ready, "of": size})


def _tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()
