"""SQLite where not everything can be written: databases that are only looked at, and room for temporary tables."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from batch.errors import FailureKind, UnavailableError
from batch.storage import disk_errors

_MEMORY_PAGES: Final = 65_536
"""256 MB: the most that temporary tables take where no folder can be written."""
_FOLDERS: Final = ("/var/tmp", "/usr/tmp", "/tmp", ".")
"""Where SQLite puts temporary files by itself (https://www.sqlite.org/tempfiles.html, section 5)."""
_OF_SYSTEM: Final[Mapping[int, int]] = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EACCES,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_BUSY: errno.EBUSY,
    sqlite3.SQLITE_LOCKED: errno.EBUSY,
    sqlite3.SQLITE_PROTOCOL: errno.ENOLCK,
}

_LEAST_BYTES: Final = 1 << 16
_NO_ROOM_BESIDE: Final = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR)
"""What SQLite says where it cannot make its files beside a database: on a read-only disk, or on a full one."""


def open_to_read(path: Path) -> sqlite3.Connection:
    """The database at ``path`` as it stands, also where nothing can be written beside it: SQLite makes files there
    even to read what it has written with a write-ahead log.

    Raises what SQLite raises, and ``UnavailableError`` if such a log was not folded in and there is no room for a
    copy.
    """
    db = _connected(path, "ro")
    try:
        db.execute("PRAGMA user_version").fetchone()
        return db
    except sqlite3.OperationalError as error:
        db.close()
        if error.sqlite_errorcode & 0xFF not in _NO_ROOM_BESIDE:
            raise
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        return _copied(path, log)
    return _connected(path, "ro&immutable=1")


def scratch(beside: Path) -> sqlite3.Connection:
    """An empty database that goes with its connection, kept as ``keep_temporaries`` says."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    if not _in_files(db, beside):
        db.execute(f"PRAGMA max_page_count = {_MEMORY_PAGES}")
        return db
    db.close()
    return sqlite3.connect("", isolation_level=None, check_same_thread=False)


def keep_temporaries(db: sqlite3.Connection, beside: Path) -> None:
    """Keep temporary tables in files (without a name) in the folder ``beside`` if it can be written, else where the
    system has such files, so that memory does not grow with them; if there is no such place, in memory up to a bound.

    Not first in the system's place, which is often memory, or small.
    """
    if _in_files(db, beside):
        db.execute("PRAGMA temp_store = FILE")
    else:
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute(f"PRAGMA temp.max_page_count = {_MEMORY_PAGES}")


def explained(error: sqlite3.Error | OSError, path: Path) -> str:
    """What went wrong with the database at ``path``, and what to do, as two sentences without the end."""
    found = error if isinstance(error, OSError) else _of_system(error, path)
    if _is_full(path) and (found is None or found.errno == errno.EIO):
        found = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if found is None:
        return f"{error}. Look at it with `diarist doctor`"
    reason = str(found.strerror) if found is error else f"{error} ({found.strerror})"
    return f"{reason}. {disk_errors.advice(found, 'Choose another --out')}"


def _is_full(path: Path) -> bool:
    """Whether the disk has no room: SQLite may tell that as an error of reading and writing."""
    with contextlib.suppress(OSError):
        return shutil.disk_usage(path.parent).free < _LEAST_BYTES
    return False


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{urllib.parse.quote(str(path.absolute()))}?mode={mode}", uri=True, isolation_level=None
    )


def _copied(path: Path, log: Path) -> sqlite3.Connection:
    """The open file outlives its name."""
    try:
        with tempfile.TemporaryDirectory(prefix="diarist-") as folder:
            copy = Path(folder) / path.name
            for file in (path, log):
                shutil.copyfile(file, copy.with_name(file.name))
            with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as db:
                db.execute("PRAGMA journal_mode = DELETE")
            return _connected(copy, "ro&immutable=1")
    except (OSError, sqlite3.OperationalError) as error:
        needed = (path.stat().st_size + log.stat().st_size) / 1e6
        raise UnavailableError(
            f"{path} was not closed and nothing can be written beside it: to be read it must be copied, for which "
            f"there is no room ({error}). Set TMPDIR to a folder with {2 * needed:.0f} MB free",
            kind=FailureKind.NO_COPY,
        ) from error


def _in_files(db: sqlite3.Connection, beside: Path) -> bool:
    """Whether there is a folder for temporary files. SQLite has one for the whole process: the first that was given
    stays for as long as it can be written, since another thread may be using it."""
    given = db.execute("PRAGMA temp_store_directory").fetchone()
    if given and given[0] and _can_hold(given[0]):
        return True
    if _can_hold(beside):
        quoted = str(beside.absolute()).replace("'", "''")
        db.execute(f"PRAGMA temp_store_directory = '{quoted}'")
        return True
    named = filter(None, map(os.environ.get, ("SQLITE_TMPDIR", "TMPDIR")))
    return any(map(_can_hold, (*named, *_FOLDERS)))


def _can_hold(folder: Path | str) -> bool:
    return os.path.isdir(folder) and os.access(folder, os.W_OK | os.X_OK)  # noqa: PTH112


def _of_system(error: sqlite3.Error, path: Path) -> OSError | None:
    """The system's own word for it, if it is trouble with the file."""
    number = error.sqlite_errorcode & 0xFF
    if number in _OF_SYSTEM:
        return OSError(_OF_SYSTEM[number], os.strerror(_OF_SYSTEM[number]))
    return _refusal(path) if number in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR) else None


def _refusal(path: Path) -> OSError:
    """Why a database cannot be opened, which SQLite does not tell. The file itself must not be opened here: closing
    it would drop the locks of whoever else has it open in this process."""
    try:
        with Path(os.devnull).open("rb"):
            pass
        if path.exists() and not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        return error
    return OSError(errno.EIO, os.strerror(errno.EIO))
