"""What can still be read of a journal that is damaged."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from batch import errors
from batch.archive.journal import remembered
from batch.archive.journal_schema import COLUMNS, job_of_row
from batch.archive.migrations import columns_of
from batch.errors import FailureKind
from batch.model import Job
from batch.storage import sqlite


class Salvaged(msgspec.Struct, frozen=True):
    """What can still be read of a journal: its jobs, those of which it remembers that others have taken their place,
    and its notes (None: it has forgotten that one on purpose)."""

    jobs: list[Job]
    replaced: list[Job]
    notes: dict[str, str | None]


def salvage(path: Path) -> Salvaged:
    """What can still be read of a journal of any version, however damaged. Blocks. Raises ``UnavailableError`` if it
    is the system that refuses (a full disk, a lock, rights): then nobody knows what could be read."""
    return Salvaged(_salvaged(path, "jobs"), _salvaged(path, "replaced"), salvaged_notes(path))


def salvaged_notes(path: Path) -> dict[str, str | None]:
    """The notes among it."""
    with _up_to_damage(path), contextlib.closing(sqlite.open_to_read(path)) as db:
        if "value" in columns_of(db, "notes"):
            return dict(db.execute("SELECT name, value FROM notes").fetchall())
    return dict(remembered(path))


def _salvaged(path: Path, table: str) -> list[Job]:
    found: dict[int, Job] = {}
    with _up_to_damage(path), contextlib.closing(sqlite.open_to_read(path)) as db:
        db.execute("PRAGMA writable_schema = ON")  # what is wrong in the schema is passed over
        if there := columns_of(db, table):
            given = ", ".join(name if name in there else "NULL" for name in COLUMNS)
            for row in _all_readable(db, f"SELECT {given}, rowid FROM {table}", _pages(path)):
                with contextlib.suppress(msgspec.DecodeError, ValueError, TypeError):
                    found.setdefault(row[-1], job_of_row(row[:-1]))
    return [job for _, job in sorted(found.items(), key=lambda each: each[0])]


@contextlib.contextmanager
def _up_to_damage(path: Path) -> Iterator[None]:
    """Whoever reads a journal that may be damaged ends where it breaks."""
    try:
        yield
    except sqlite3.Error as error:
        _check_is_damage(error, path)


def _check_is_damage(error: sqlite3.Error, path: Path) -> None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    if code & 0xFF in _REFUSED and code not in _UNREADABLE:
        raise errors.UnavailableError(
            f"{path} cannot be read: {sqlite.explained(error, path)}; then run the same command again: nothing has "
            "been changed",
            kind=FailureKind.JOURNAL_UNREADABLE,
        ) from error


_REFUSED: Final = (
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
)  # fmt: skip
_UNREADABLE: Final = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
"""A bad disk, or a file that was cut."""


def _all_readable(db: sqlite3.Connection, query: str, pages: int) -> Iterator[tuple[Any, ...]]:
    """The rows from either end up to where the table breaks; then, of what lies between the breaks, those from the
    middle on to either side, and so on. What takes far longer than there are pages is given up."""
    gaps, tries = deque([(_LEAST_ROW, _LAST_ROW)]), pages * _TRIES_A_PAGE
    while gaps and tries > 0:
        low, high = gaps.popleft()
        tries -= 1
        for row in _up_to_a_break(db, query, low, high, "ASC"):
            yield row
            low = row[-1] + 1
        for row in _up_to_a_break(db, query, low, high, "DESC"):
            yield row
            high = row[-1] - 1
        high = min(high, low + pages * _MOST_ROWS_A_PAGE)
        if low < high:
            middle = (low + high) // 2
            gaps += [(low, middle), (middle + 1, high)]


def _up_to_a_break(db: sqlite3.Connection, query: str, low: int, high: int, order: str) -> Iterator[tuple[Any, ...]]:
    """A row at a time, so that none is asked for before the one ahead of it is had."""
    single = f"{query} WHERE rowid BETWEEN ? AND ? ORDER BY rowid {order} LIMIT 1"
    try:
        while row := db.execute(single, (low, high)).fetchone():
            yield row
            low, high = (row[-1] + 1, high) if order == "ASC" else (low, row[-1] - 1)
    except sqlite3.Error as error:
        _check_is_damage(error, Path(db.execute("PRAGMA database_list").fetchone()[2]))


_LEAST_ROW, _LAST_ROW = 1, 2**63 - 1
_PAGE_BYTES, _MOST_ROWS_A_PAGE, _TRIES_A_PAGE = 4096, 64, 32


def _pages(path: Path) -> int:
    log = path.with_name(f"{path.name}-wal")
    return sum(each.stat().st_size for each in (path, log) if each.exists()) // _PAGE_BYTES + 1
