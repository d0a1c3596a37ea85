"""What diarist has written beside its results: other formats and tables carry no mark of their own, so it is noted
which they are, and whoever would replace one asks whether it still is what was written.

``written.db`` holds the digest of each file by its name. It may be removed: then what is there is taken for somebody
else's, and stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from batch.archive.layout import WRITTEN
from batch.storage import private_files

_BUSY_SECONDS: Final = 60.0
Note = tuple[str, bytes]
"""The name of a file, and the digest of what was written."""


class Written:
    """The files that were written into ``directory``, noted in ``inner``. Every method blocks, and may be called by
    several processes at once.

    ``pending`` are notes that are not written down yet: of a worker that writes many files, which hands them to
    whoever keeps the notes.
    """

    def __init__(self, directory: Path, inner: Path) -> None:
        self._directory, self._inner = directory, inner
        self.pending: list[Note] = []

    def note(self, name: str) -> None:
        """Remember the file as ours, once the notes are kept."""
        self.pending.append((name, _digest(self._directory / name)))

    def keep(self, notes: Sequence[Note] = ()) -> None:
        """Write down what is pending, and ``notes``. What cannot be is taken for somebody else's."""
        notes, self.pending = [*self.pending, *notes], []
        with contextlib.suppress(sqlite3.Error, OSError), self._opened() as db:
            db.execute("BEGIN")
            db.executemany("INSERT OR REPLACE INTO written VALUES (?, ?)", notes)
            db.execute("COMMIT")

    def is_ours(self, name: str) -> bool:
        """Whether the file may be replaced: it is not there, or it is as it was written. Raises ``OSError``."""
        path = self._directory / name
        if not path.exists():
            return True
        with contextlib.suppress(sqlite3.Error, FileNotFoundError), self._opened() as db:
            noted = db.execute("SELECT digest FROM written WHERE name = ?", (name,)).fetchone()
            return noted is not None and noted[0] == _digest(path)
        return False

    def is_noted(self, name: str) -> bool:
        """Whether a file of that name was ever written by us."""
        with contextlib.suppress(sqlite3.Error, OSError), self._opened() as db:
            return db.execute("SELECT 1 FROM written WHERE name = ?", (name,)).fetchone() is not None
        return False

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        private_files.make_folder(self._inner)
        private_files.make_database(self._inner / WRITTEN)
        with contextlib.closing(sqlite3.connect(self._inner / WRITTEN, _BUSY_SECONDS, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = OFF")
            db.execute("CREATE TABLE IF NOT EXISTS written (name TEXT PRIMARY KEY, digest BLOB) WITHOUT ROWID")
            yield db


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
