"""Making a report: once through the journal and the results, to a page that is there whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from batch.archive.journal import Journal
from batch.archive.layout import LOCK, inner_of, journal_of, last_run, replaced
from batch.archive.parallel import on_all_cores
from batch.archive.report.page import Page, html
from batch.archive.report.recording_details import RecordingDetails, read_details
from batch.archive.report.rows import Table, TranscriptParts
from batch.archive.report.statistics import Statistics
from batch.archive.results import Results, is_result
from batch.config import PriceTable
from batch.errors import UsageError
from batch.model import Job
from batch.storage import lock

INLINE_BYTES: Final = 1_500_000
"""So much of packed transcripts is in the page itself; more lies beside it, read when a recording is opened."""
_GROUP: Final = 2000
_OURS: Final = re.compile(r"[0-9a-f]{8}-\d+\.js")


class ReportRequest(msgspec.Struct, frozen=True):
    """``page`` is the file to write; ``since`` (seconds since the epoch): only recordings that ended
    then or later, or have not ended yet."""

    page: Path
    prices: PriceTable
    since: float | None = None


class Reported(msgspec.Struct):
    """What was written: how large the page is, how many files of transcripts beside it; how many results could not be
    read."""

    recordings: int
    problems: int
    page_bytes: int
    parts: int


def report(directory: Path, wanted: ReportRequest, on_warning: Callable[[str], None]) -> Reported:
    """Write the report of ``directory``. A result that cannot be read is told, and its row has no transcript.

    Raises ``UsageError`` if nothing has run there, the journal is damaged or the page would replace a result,
    ``UnavailableError`` if the disk refuses.
    """
    journal = journal_of(directory)
    if is_result(wanted.page):
        raise UsageError(f"{wanted.page} is a result, which nothing may replace: give another -o")
    statistics, table = Statistics(wanted.prices), Table()
    beside = _PartFiles(wanted.page)
    parts = TranscriptParts(table)
    try:
        for job, details in _read_in_order(directory, journal, wanted.since):
            if details.problem:
                on_warning(details.problem)
            for part in parts.add(details.detail):
                beside.write(part)
            statistics.note(job, details)
            table.add(job, details)
        for part in parts.rest():
            beside.write(part)
        written = _write(directory, wanted, statistics, table, beside)
    except BaseException:
        beside.undo()
        raise
    beside.tidy()
    return Reported(statistics.total, statistics.problems, written, beside.written)


def _read_in_order(directory: Path, journal: Path, since: float | None) -> Iterator[tuple[Job, RecordingDetails]]:
    """Every job, in the order of the journal, with what its result says."""
    return on_all_cores(partial(_both, directory), _jobs(journal, since or 0.0))


def _both(directory: Path, job: Job) -> tuple[Job, RecordingDetails]:
    return job, read_details(directory, job)


def _jobs(path: Path, since: float) -> Iterator[Job]:
    with asyncio.Runner() as runner, contextlib.closing(Journal(path, read_only=True)) as journal:
        place = 0
        while group := runner.run(journal.listed(place, _GROUP)):
            place = group[-1][0]
            yield from (job for _, job in group if job.ended_at is None or job.ended_at >= since)


def _write(directory: Path, wanted: ReportRequest, statistics: Statistics, table: Table, beside: _PartFiles) -> int:
    results = os.path.relpath(directory.resolve(), wanted.page.parent.resolve())
    results = "" if results == "." else f"{results}/"
    page = Page(
        directory=str(directory),
        made=datetime.now(UTC),
        statistics=statistics,
        run=last_run(directory),
        replaced=replaced(directory),
        at_work=lock.holder(inner_of(directory) / LOCK),
        since=datetime.fromtimestamp(wanted.since, UTC) if wanted.since else None,
        rows=table.packed(results=results, beside=beside.prefix, directory=str(directory)),
        parts=beside.inline,
    )
    with Results(wanted.page.parent, make=False).open_table(wanted.page.name, is_marked=True) as file:
        for piece in html(page):
            file.write(piece.encode("utf-8", "replace"))
        return file.tell()


class _PartFiles:
    """The parts of a report: in the page while they are few, else in a directory beside it.

    Their names are new each time, so that an older page keeps its own until the new one is in its place.
    """

    def __init__(self, page: Path) -> None:
        self._folder = page.with_name(f"{page.stem}.parts")
        self._stamp = secrets.token_hex(4)
        self._results = Results(page.parent, make=False)
        self.inline: list[str] = []
        self.written = 0

    @property
    def prefix(self) -> str | None:
        """What stands before the number of a part in its address, seen from the page; None: they are in it."""
        return f"{self._folder.name}/{self._stamp}-" if self.written else None

    def write(self, part: str) -> None:
        self.inline.append(part)
        if self.written or sum(map(len, self.inline)) > INLINE_BYTES:
            for waiting in self.inline:
                self._put(waiting)
            self.inline.clear()

    def undo(self) -> None:
        """Leave no part of this report."""
        self._remove(lambda name: name.startswith(self._stamp))

    def tidy(self) -> None:
        """Leave no part of an older one."""
        self._remove(lambda name: not name.startswith(self._stamp))

    def _put(self, part: str) -> None:
        name = f"{self._folder.name}/{self._stamp}-{self.written}.js"
        with self._results.open_table(name, durable=False, is_marked=True) as file:
            file.write(f'diarist({self.written},"{part}")\n'.encode())
        self.written += 1

    def _remove(self, is_meant: Callable[[str], bool]) -> None:
        with contextlib.suppress(OSError):
            found: Iterable[Path] = list(self._folder.iterdir()) if self._folder.is_dir() else ()
            for path in found:
                if _OURS.fullmatch(path.name) and is_meant(path.name):
                    path.unlink()
            self._folder.rmdir()  # if nothing is left
