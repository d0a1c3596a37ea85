"""Brings the index up to date with the results on disk, whatever has happened to them since."""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from batch.archive.layout import inner_of
from batch.archive.parallel import on_all_cores
from batch.archive.results import result_paths
from batch.archive.search import database
from batch.archive.search.documents import Document, read_document
from batch.storage import sqlite

_GROUP: Final = 500
_NEWS: Final = """
CREATE TEMP TABLE news AS SELECT key FROM found
WHERE (key, size_bytes, mtime_ns) NOT IN (SELECT key, size_bytes, mtime_ns FROM recordings) ORDER BY rowid
"""
_GONE: Final = """
CREATE TEMP TABLE gone AS SELECT id FROM recordings WHERE key NOT IN (SELECT key FROM found)
"""


def find_changes(db: sqlite3.Connection, directory: Path) -> int:
    """Note which results of ``directory`` the index does not know as they are, and which it knows and are gone: how
    many. Notes are in temporary tables, so that memory does not grow with the archive."""
    sqlite.keep_temporaries(db, inner_of(directory))
    db.executescript(
        "DROP TABLE IF EXISTS temp.found; DROP TABLE IF EXISTS temp.news; DROP TABLE IF EXISTS temp.gone;"
        "CREATE TEMP TABLE found (key TEXT UNIQUE, size_bytes INTEGER, mtime_ns INTEGER)"
    )
    db.execute("BEGIN")
    db.execute("SELECT 1 FROM recordings").fetchone()  # what a run indexes from now on is not taken for gone
    db.executemany("INSERT OR IGNORE INTO found VALUES (?, ?, ?)", _found(directory))
    db.execute(_NEWS)
    db.execute(_GONE)
    db.execute("COMMIT")
    count: int = db.execute("SELECT (SELECT count(*) FROM news) + (SELECT count(*) FROM gone)").fetchone()[0]
    return count


def apply_changes(db: sqlite3.Connection, directory: Path, on_warning: Callable[[str], None]) -> None:
    """Do what ``find_changes`` has noted, in groups: whoever else reads or writes waits for one of them at most.

    A file that is no result is told once, and not looked at again until it changes.
    """
    _drop_gone(db)
    keys = db.execute("SELECT key FROM news ORDER BY rowid")
    paths = (directory / f"{key}.json" for (key,) in keys)
    with contextlib.closing(on_all_cores(partial(read_document, directory), paths)) as entries:
        while group := list(itertools.islice(entries, _GROUP)):
            there = [entry for entry in group if entry]
            database.put(db, there)
            _tell(there, directory, on_warning)


def _drop_gone(db: sqlite3.Connection) -> None:
    gone = (recording for (recording,) in db.execute("SELECT id FROM gone ORDER BY rowid").fetchall())
    while group := list(itertools.islice(gone, _GROUP)):
        with database.transaction(db):
            for recording in group:
                database.drop(db, recording)


def _tell(entries: list[Document], directory: Path, on_warning: Callable[[str], None]) -> None:
    for entry in entries:
        if entry.problem:
            on_warning(f"cannot be searched: {directory / entry.key}.json: {entry.problem}")


def _found(directory: Path) -> Iterator[tuple[str, int, int]]:
    """Key, size in bytes and time of modification in ns of every result."""
    outer = len(str(directory))
    for path in result_paths(directory):
        try:
            path.encode()
            stamp = os.stat(path)  # noqa: PTH116 (a hot path)
        except (OSError, UnicodeEncodeError):  # gone meanwhile; a name that no manifest can give
            continue
        yield path[outer : -len(".json")].lstrip("/"), stamp.st_size, stamp.st_mtime_ns
