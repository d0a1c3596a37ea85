"""``diarist status``: how the run in a directory stands, seen from outside, while it goes on or afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import msgspec

from batch.archive.journal import Journal
from batch.archive.layout import LOCK, Kept, journal_of, last_run, replaced
from batch.storage import lock
from batch.telemetry.progress import Progress


class Status(msgspec.Struct, frozen=True):
    """``at_work`` says who is (None: nobody); ``progress`` is that of the run at work, or of the last one (None: it
    was an older diarist's); ``journal`` counts all recordings of the directory by state; ``replaced`` are older
    results that are kept."""

    at_work: str | None
    progress: Progress | None
    journal: dict[str, int]
    replaced: Kept = Kept()


async def look(directory: Path) -> Status:
    """Raises ``UsageError`` if nothing has ever run there."""
    path = journal_of(directory)
    at_work = lock.holder(path.with_name(LOCK))
    with contextlib.closing(Journal(path, read_only=True)) as journal:
        counts = await journal.counts()
    held = {state.value: count for state, count in sorted(counts.items())}
    return Status(at_work, last_run(directory), held, await asyncio.to_thread(replaced, directory))
