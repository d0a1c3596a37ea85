"""The index: one SQLite file with the utterances of all results and FTS5 over them.

``.diarist/search.db`` is made of the results and can be removed at any time. Many may read and write it at once
(write-ahead log, short transactions). Whoever has it open holds ``search.lock`` shared; whoever makes it anew holds
it alone, because SQLite finds the files beside a database by their names, not by the file that it has open.
"""

from __future__ import annotations

import contextlib
import fcntl
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from batch.archive.layout import SEARCH_INDEX, inner_of
from batch.archive.search.documents import Document
from batch.errors import UnavailableError, UsageError
from batch.storage import private_files, sqlite

_VERSION: Final = 2
BITS: Final = 24
"""An utterance's id is its recording's, shifted so far, plus its place: neighbours and recording need no look-up."""
_BUSY_SECONDS: Final = 60.0
_SCHEMA: Final = f"""
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, size_bytes INTEGER, mtime_ns INTEGER, source TEXT,
    problem TEXT
);
CREATE TABLE labels (recording INTEGER, name TEXT, value TEXT);
CREATE INDEX labels_by_value ON labels (name, value, recording);
CREATE INDEX labels_by_recording ON labels (recording);
CREATE TABLE utterances (
    id INTEGER PRIMARY KEY, speaker TEXT, name TEXT, channel TEXT, "start" INTEGER, "end" INTEGER, text TEXT,
    times BLOB
);
CREATE VIRTUAL TABLE said USING fts5 (
    text, content = 'utterances', content_rowid = 'id', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2'
);
PRAGMA user_version = {_VERSION};
"""
_SIGNS: Final = (
    "malformed", "not a database", "corrupt", "missing row", "constructor failed", "no such table", "no such column",
)  # fmt: skip
"""What SQLite says of a file that is not what it was."""


class Damaged(Exception):
    """The index is not what it should be: make it anew."""


class Unwritable(Exception):
    """The index cannot be kept where it belongs. Says why."""


@contextlib.contextmanager
def opened(directory: Path, on_warning: Callable[[str], None]) -> Iterator[sqlite3.Connection]:
    """The index of the results in ``directory``, made if it is not there, and anew if it is damaged or of another
    version. Raises ``Damaged`` for damage that is found later, ``Unwritable`` if it cannot be written."""
    path = inner_of(directory) / SEARCH_INDEX
    with _explained(), _lock(path) as lock:
        if why := _wrong(path):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if why := _wrong(path):
                if path.exists():
                    on_warning(f"the search index {path} is made anew: {why}")
                _make(path)
            fcntl.flock(lock, fcntl.LOCK_SH)
        with contextlib.closing(_connect(path)) as db:
            yield db


@contextlib.contextmanager
def opened_to_read(directory: Path) -> Iterator[sqlite3.Connection]:
    """The index as it stands, where nothing can be written. Raises ``Unwritable`` if that is not possible."""
    path = inner_of(directory) / SEARCH_INDEX
    with _explained():
        if not path.exists():
            raise Unwritable(f"{path} is not there")
        with contextlib.closing(sqlite.open_to_read(path)) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                raise Unwritable(f"{path} is another version's")
            yield db


@contextlib.contextmanager
def temporary(directory: Path) -> Iterator[sqlite3.Connection]:
    """An empty index that nobody else sees, of the results in ``directory``."""
    with _explained(), contextlib.closing(sqlite.scratch(inner_of(directory))) as db:
        db.executescript(_SCHEMA)
        yield db


def remove(directory: Path) -> None:
    """Remove the index, once nobody has it open."""
    path = inner_of(directory) / SEARCH_INDEX
    with _explained(), _lock(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _unlink(path)


def put(db: sqlite3.Connection, entries: Iterable[Document]) -> None:
    """Put results into the index, over what it had of them; all of them or none."""
    with transaction(db):
        for entry in entries:
            known = db.execute(
                "SELECT id, size_bytes, mtime_ns FROM recordings WHERE key = ?", (entry.key,)
            ).fetchone()
            if known and known[1:] == (entry.size_bytes, entry.mtime_ns):
                continue  # another process was here first
            if known:
                drop(db, known[0])
            _insert(db, entry)


def drop(db: sqlite3.Connection, recording: int) -> None:
    """Take a recording out, inside a transaction."""
    own = (recording << BITS, (recording + 1) << BITS)
    db.execute(
        "INSERT INTO said (said, rowid, text) SELECT 'delete', id, text FROM utterances WHERE id >= ? AND id < ?", own
    )
    db.execute("DELETE FROM utterances WHERE id >= ? AND id < ?", own)
    db.execute("DELETE FROM labels WHERE recording = ?", (recording,))
    db.execute("DELETE FROM recordings WHERE id = ?", (recording,))


@contextlib.contextmanager
def transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All or nothing; a ``DEFERRED`` one that only reads sees everything as it is at one moment."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _insert(db: sqlite3.Connection, entry: Document) -> None:
    about = (entry.key, entry.size_bytes, entry.mtime_ns, entry.source, entry.problem)
    columns = "key, size_bytes, mtime_ns, source, problem"
    recording = db.execute(f"INSERT INTO recordings ({columns}) VALUES (?, ?, ?, ?, ?)", about).lastrowid or 0
    db.executemany("INSERT INTO labels VALUES (?, ?, ?)", ((recording, *label) for label in entry.labels.items()))
    rows = [(place, *row) for place, row in enumerate(entry.rows, recording << BITS)]
    db.executemany("INSERT INTO utterances VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    db.executemany("INSERT INTO said (rowid, text) VALUES (?, ?)", ((row[0], row[6]) for row in rows))


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    db.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is indexed again
    return db


def _make(path: Path) -> None:
    _unlink(path)
    private_files.make_database(path)
    with contextlib.closing(_connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        with transaction(db):
            for statement in _SCHEMA.split(";"):
                db.execute(statement)


def _unlink(path: Path) -> None:
    try:
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    except OSError as error:
        raise Unwritable(str(error)) from error


def _wrong(path: Path) -> str:
    """What is wrong with the index, as far as can be seen at once."""
    if not path.exists():
        return "it is not there"
    try:
        with contextlib.closing(_connect(path)) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version == _VERSION:
                db.execute("SELECT 1 FROM said, recordings LIMIT 1")
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            return f"it was damaged ({error})"
        raise
    return "" if version == _VERSION else f"it is of version {version}, not {_VERSION}"


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[IO[str]]:
    try:
        private_files.make_folder(path.parent)
        file = path.with_name("search.lock").open("a", encoding="utf-8")
        with contextlib.ExitStack() as stack:
            stack.enter_context(file)
            fcntl.flock(file, fcntl.LOCK_SH)
            stack.pop_all()
    except OSError as error:
        raise Unwritable(str(error)) from error
    with file:
        yield file


def _is_damage(error: sqlite3.Error) -> bool:
    return any(sign in str(error) for sign in _SIGNS)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except UnavailableError as error:
        raise Unwritable(str(error)) from error
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            raise Damaged(str(error)) from error
        if "fts5" in str(error):
            raise UsageError(f"this Python's SQLite cannot search text: {error}") from error
        if isinstance(error, sqlite3.OperationalError):
            raise Unwritable(str(error)) from error
        raise
