"""What a run tells of itself in its output directory: ``summary.json`` and ``failed.jsonl``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Final

import msgspec

from batch import errors
from batch.archive.journal import Journal
from batch.archive.layout import LOCK
from batch.archive.results import Results
from batch.config import Settings
from batch.errors import FailureKind
from batch.jobs.places import local_workers
from batch.jobs.planning.selection import Selection
from batch.manifest.reader import called
from batch.manifest.rows import printable
from batch.model import Job, Reject
from batch.providers.interface import Provider
from batch.storage import disk_errors, lock
from batch.telemetry.events import Event, RowRejected
from batch.telemetry.progress import snapshot
from batch.telemetry.rates import WINDOW_SECONDS
from batch.telemetry.redaction import redact
from batch.telemetry.summary import FailedList, RunContext, Summary

_REPORT_SECONDS: Final = 2.0
_GROUP: Final = 2000


def asked(
    manifests: Sequence[str], out: Path | str, command: Sequence[str], secrets: tuple[str, ...] = ()
) -> RunContext:
    """What a run was asked, before its service is known."""
    hidden = partial(redact, secrets=secrets)
    words = tuple(printable(hidden(word)) for word in command)
    return RunContext(tuple(map(called, manifests)), called(str(out)), command=words, cwd=printable(str(Path.cwd())))


def staged(stage: RunContext, service: Provider, settings: Settings) -> RunContext:
    """The same, with what it works at and with."""
    rate, pricing = settings.rate, service.pricing(settings.prices)
    limit = round(rate.requests * WINDOW_SECONDS / rate.window_seconds) if service.address else 0
    return msgspec.structs.replace(
        stage, service=service.name, requests_limit=limit or None,
        concurrency=min(settings.concurrency, local_workers(service, settings) or settings.concurrency),
        prices_as_of=pricing.as_of if pricing else None,
    )  # fmt: skip


def command_of(manifests: Sequence[str], out: Path | str, settings: Settings, select: Selection) -> tuple[str, ...]:
    """The command that does what a caller from Python has asked; none if no command can say it.

    What only sets the pace, or who watches, is left out.
    """
    usual = Settings().options
    options = {name: value for name, value in settings.options.items() if usual.get(name) != value}
    if usual.keys() - settings.options.keys() or any(isinstance(value, dict | list) for value in options.values()):
        return ()
    flags: list[tuple[str, object]] = [
        ("--out", out),
        ("--service", settings.service),
        ("--dialect", settings.dialect),
    ]
    flags += [("--format", ",".join(settings.formats)), ("--limit", select.limit), ("--sample", select.sample)]
    flags += [("--shard", f"{select.shard}/{select.shards}" * (select.shards > 1))]
    for name, at in (("--since", select.since), ("--until", select.until)):
        flags.append((name, "" if at is None else datetime.fromtimestamp(at).astimezone().isoformat()))
    flags += [("--column", f"{meaning}={column}") for meaning, column in settings.columns.items()]
    flags += [("--set", f"options.{name}={_plain(value)}") for name, value in sorted(options.items())]
    given = [(flag, str(value)) for flag, value in flags if value]
    return ("diarist", "run", *manifests, *itertools.chain.from_iterable(given))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


@contextlib.asynccontextmanager
async def reported(results: Results, summary: Summary) -> AsyncIterator[None]:
    """``summary.json``, for other processes: written every other second, and in the end. A disk that refuses it says
    so when it refuses a result."""

    async def write(*, is_over: bool = False) -> None:
        content = msgspec.json.encode(snapshot(summary, is_over=is_over))
        with contextlib.suppress(errors.DiaristError):
            await asyncio.to_thread(results.write_summary, content)

    over = asyncio.Event()

    async def keep_writing() -> None:
        while not over.is_set():  # never cancelled: a write under way would come after the last one
            await write()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _REPORT_SECONDS)

    writing = asyncio.create_task(keep_writing())
    try:
        with summary.record_exit(), disk_errors.explained():
            yield
    finally:
        over.set()
        await asyncio.wait([writing])
        await write(is_over=True)


async def report_no_beginning(directory: Path, inner: Path, summary: Summary) -> None:
    """``summary.json`` of a run that could not begin, where there is one of an earlier run, which it would belie.

    Nothing is made for it, and nothing of a run at work is touched.
    """
    stopped = summary.stopped_by
    if isinstance(stopped, errors.DiaristError) and stopped.kind is FailureKind.LOCKED:
        return
    content = msgspec.json.encode(snapshot(summary, is_over=True))
    with contextlib.suppress(errors.DiaristError, OSError):
        if await asyncio.to_thread(inner.is_dir):
            with lock.held(inner / LOCK, datetime.now()):
                await asyncio.to_thread(Results(directory, inner=inner, make=False).write_summary, content)


class Rejected:
    """The rows of a run that were rejected, on disk until the end: there may be a million of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._error: OSError | None = None

    def note(self, event: Event) -> None:
        """What the disk refuses is told by ``rows``: the run itself goes on."""
        if not isinstance(event, RowRejected) or self._error:
            return
        try:
            self._file = self._file or tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (see close)
            self._file.write(msgspec.json.encode(event.reject) + b"\n")
        except OSError as error:
            self._error = error

    def rows(self) -> Iterator[Reject]:
        """All of them, in their order. Blocks."""
        if self._error:
            raise self._error
        if self._file:
            self._file.seek(0)
            yield from (msgspec.json.decode(line, type=Reject) for line in self._file)

    def close(self) -> None:
        if self._file:
            with contextlib.suppress(OSError):
                self._file.close()


async def list_failed(journal: Path, rejected: Rejected, results: Results, summary: Summary) -> str:
    """``failed.jsonl``: every failed recording of the directory, and the rejected rows of this run.

    A disk that refuses that, too, stops the run, unless something has before: that is the one to tell. What is to be
    noticed, if anything.
    """

    def failed() -> Iterator[Job | Reject]:
        yield from _failed_jobs(journal)
        yield from rejected.rows()

    try:
        path, lines = await asyncio.to_thread(lambda: results.write_failed(failed()))
    except errors.RunError as error:
        summary.stopped_by = summary.stopped_by or error
        return ""
    except errors.DiaristError as error:
        return str(error)
    ours = summary.failed + summary.rejected + summary.skipped["failed before"]
    summary.failed_list = FailedList(str(path), lines, lines - ours) if lines else None
    if lines and path.parent != results.directory:
        return f"{results.directory / path.name} is not ours and stays as it is: what failed is listed in {path}"
    return ""


def _failed_jobs(journal: Path) -> Iterator[Job]:
    """Those of all runs, a group at a time. Blocks: with a view of the journal of its own."""
    with asyncio.Runner() as runner, contextlib.closing(Journal(journal, read_only=True)) as view:
        last = None
        while group := runner.run(view.failed(last, _GROUP)):
            yield from group
            last = group[-1]
