"""The rows that a command is about: read, looked at once before anything is made, counted."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from batch import errors
from batch.config import Settings
from batch.jobs.planning.selection import Selection
from batch.manifest import reader
from batch.manifest.option_schema import OptionSchema
from batch.model import Recording, Reject
from batch.telemetry.events import Event, Notice, RowsCounted

_COUNTED_ROWS: Final = 2000


def rows_of(
    manifests: Sequence[str],
    settings: Settings,
    options: OptionSchema,
    stdin: IO[bytes] | None,
    on_event: Callable[[Event], None],
) -> Iterator[Recording | Reject]:
    def on_warning(message: str) -> None:
        on_event(Notice(message))

    return reader.read(
        manifests, options=options, defaults=settings.options, dialect=settings.dialect or None,
        prefix=settings.prefix, columns_named=settings.columns, stdin=stdin, cwd=Path.cwd(),
        on_warning=on_warning,
    )  # fmt: skip


def peeked(rows: Iterator[Recording | Reject]) -> Iterator[Recording | Reject]:
    """The same rows, the first of them already read: a manifest that is not there is told before anything is made."""
    first = next(rows, None)

    def again() -> Iterator[Recording | Reject]:
        if first is not None:
            yield first
        yield from rows

    return again()


async def count_rows(
    manifests: Sequence[str],
    settings: Settings,
    options: OptionSchema,
    select: Selection,
    on_event: Callable[[Event], None],
) -> None:
    """Tell how many rows there are, for what is left of them: reads the manifests once more, beside the run."""
    if "-" in manifests or not select.is_countable:
        return
    rows = rows_of(manifests, settings, options, None, lambda event: None)
    total = 0
    with contextlib.suppress(errors.RunError):  # told by the run itself
        while batch := await asyncio.to_thread(lambda: list(itertools.islice(rows, _COUNTED_ROWS))):
            total += sum(isinstance(row, Reject) or select.in_shard(row.key) for row in batch)
        on_event(RowsCounted(total))
