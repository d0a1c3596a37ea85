"""What a run tells of itself in its output directory: ``summary.json`` and ``failed.jsonl``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from batch import errors, lock
from batch.endpoint import Endpoint
from batch.journal import Journal
from batch.manifest import called
from batch.meter import WINDOW_SECONDS
from batch.model import State
from batch.progress import progress
from batch.results import Results
from batch.settings import Settings
from batch.summary import Stage, Summary
from batch.wiring.plans import prices_of

_REPORT_SECONDS: Final = 2.0


def named(manifests: Sequence[str], out: Path | str) -> Stage:
    """What a run is about, in a form that can be printed and stored."""
    return Stage(tuple(map(called, manifests)), called(str(out)))


def stage_of(manifests: Sequence[str], out: Path | str, service: Endpoint, settings: Settings) -> Stage:
    rate, prices = settings.rate, prices_of(service, settings)
    limit = round(rate.requests * WINDOW_SECONDS / rate.window_seconds) if service.base_url else 0
    as_of = prices.as_of if prices else None
    return msgspec.structs.replace(
        named(manifests, out), service=service.name, concurrency=settings.concurrency, requests_limit=limit or None,
        prices_as_of=as_of,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def reported(results: Results, summary: Summary) -> AsyncIterator[None]:
    """``summary.json``, for other processes: written every other second, and in the end. A disk that refuses it says
    so when it refuses a result."""

    async def write(*, is_over: bool = False) -> None:
        said = msgspec.json.encode(progress(summary, is_over=is_over))
        with contextlib.suppress(errors.DiaristError):
            await asyncio.to_thread(results.write_summary, said)

    over = asyncio.Event()

    async def keep_writing() -> None:
        while not over.is_set():  # never cancelled: a write under way would come after the last one
            await write()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _REPORT_SECONDS)

    writing = asyncio.create_task(keep_writing())
    try:
        with summary.ending():
            yield
    finally:
        over.set()
        await asyncio.wait([writing])
        await write(is_over=True)


async def report_no_beginning(directory: Path, inner: Path, summary: Summary) -> None:
    """``summary.json`` of a run that could not begin, where there is one of an earlier run, which it would belie.

    Nothing is made for it, and nothing of a run at work is touched.
    """
    if getattr(summary.stopped_by, "kind", "") == "locked" or not await asyncio.to_thread(inner.is_dir):
        return
    said = msgspec.json.encode(progress(summary, is_over=True))
    with contextlib.suppress(errors.DiaristError, OSError), lock.held(inner / "lock", datetime.now()):
        await asyncio.to_thread(Results(directory, inner=inner, make=False).write_summary, said)


async def list_failed(journal: Journal, results: Results, summary: Summary) -> None:
    """``failed.jsonl``, unless the disk refuses that too: the first thing that stopped the run is the one to tell."""
    try:
        await asyncio.to_thread(results.write_failed, await journal.in_states([State.FAILED]))
    except errors.Fatal as error:
        summary.stopped_by = summary.stopped_by or error
