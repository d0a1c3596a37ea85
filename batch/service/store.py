"""The service's durable memory: transcripts in SQLite, uploads as files, both under one data directory.

``synchronous=NORMAL``: a crash of the machine may take the last jobs along, which costs nobody money here, and the
caller's own journal finds that out. All of SQLite happens on one thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from batch.protocol import DONE, Status

T = TypeVar("T")
UPLOAD_LIFE_SECONDS: Final = 24 * 3600.0
_UPLOAD: Final = re.compile(r"[0-9a-f]{32}")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS transcripts (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, created TEXT NOT NULL,
    completed TEXT, audio_url TEXT NOT NULL, error TEXT, request TEXT NOT NULL, object BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS transcripts_open ON transcripts (number) WHERE status IN ('queued', 'processing');
CREATE INDEX IF NOT EXISTS transcripts_by_status ON transcripts (status, number);
CREATE TABLE IF NOT EXISTS notices (transcript_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Line(msgspec.Struct, frozen=True):
    """A line of the list; ``number`` counts submissions, and so orders them."""

    number: int
    id: str
    status: Status
    created: str
    completed: str | None
    audio_url: str
    error: str | None


_LINE: Final = "SELECT number, id, status, created, completed, audio_url, error FROM transcripts"


class Store:
    """Opened, and made, at once; ``close`` it in the end. Raises sqlite3.Error and OSError as they come."""

    def __init__(self, directory: Path) -> None:
        self.uploads = directory / "uploads"
        self.uploads.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, "store")
        self._db = self._thread.submit(_open, directory / "service.db").result()

    async def add(self, transcript_id: str, request: Mapping[str, Any], body: bytes) -> None:
        """A new submission, queued."""
        row = (transcript_id, Status.QUEUED, _now(), request["audio_url"], _json(request), body)
        query = "INSERT INTO transcripts (id, status, created, audio_url, request, object) VALUES (?, ?, ?, ?, ?, ?)"

        def insert(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute(query, row)
                if "webhook_url" in request:
                    db.execute("INSERT INTO notices VALUES (?)", (transcript_id,))

        await self._do(insert)

    async def change(self, transcript_id: str, status: Status, body: bytes, error: str | None = None) -> None:
        """A new state of a transcript that has not been deleted meanwhile."""
        completed = _now() if status in DONE else None
        query = "UPDATE transcripts SET status = ?, completed = ?, error = ?, object = ?"
        where = "WHERE id = ? AND completed IS NULL"
        await self._do(lambda db: db.execute(f"{query} {where}", (status, completed, error, body, transcript_id)))

    async def delete(
        self, transcript_id: str, status: Status, body: bytes, *, audio_url: str, error: str | None
    ) -> None:
        """Leave nothing but ``body`` of a transcript, which has ended, if it had not, with ``status``."""
        query = (
            "UPDATE transcripts SET status = ?, object = ?, audio_url = ?, error = ?, request = '{}', "
            "completed = coalesce(completed, ?) WHERE id = ?"
        )
        row = (status, body, audio_url, error, _now(), transcript_id)
        await self._do(lambda db: db.execute(query, row))

    async def body(self, transcript_id: str) -> bytes | None:
        """The transcript's object as JSON; None for an unknown id."""
        query = "SELECT object FROM transcripts WHERE id = ?"
        row = await self._do(lambda db: db.execute(query, (transcript_id,)).fetchone())
        return row[0] if row else None

    async def request(self, transcript_id: str) -> dict[str, Any]:
        """What was asked for; empty if it was deleted."""
        query = "SELECT request FROM transcripts WHERE id = ?"
        row = await self._do(lambda db: db.execute(query, (transcript_id,)).fetchone())
        asked: dict[str, Any] = msgspec.json.decode(row[0])
        return asked

    async def line(self, transcript_id: str) -> Line | None:
        query = f"{_LINE} WHERE id = ?"
        row = await self._do(lambda db: db.execute(query, (transcript_id,)).fetchone())
        return _line(row) if row else None

    async def unfinished(self) -> list[str]:
        """The ids of the jobs that wait or were under way, oldest first."""
        query = "SELECT id FROM transcripts WHERE status IN ('queued', 'processing') AND completed IS NULL"
        return await self._do(lambda db: [row[0] for row in db.execute(f"{query} ORDER BY number")])

    async def undelivered(self) -> list[Line]:
        """The jobs that have ended, but whose webhook has not been told yet."""
        query = f"{_LINE} WHERE id IN (SELECT transcript_id FROM notices) AND completed IS NOT NULL"
        return await self._do(lambda db: [_line(row) for row in db.execute(query)])

    async def delivered(self, transcript_id: str, status_code: int | None) -> None:
        """The webhook has been told, or cannot be: the object says with which HTTP status."""
        said = "json_set(CAST(object AS TEXT), '$.webhook_status_code', ?)"
        query = f"UPDATE transcripts SET object = CAST({said} AS BLOB) WHERE id = ?"

        def note(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute(query, (status_code, transcript_id))
                db.execute("DELETE FROM notices WHERE transcript_id = ?", (transcript_id,))

        await self._do(note)

    async def page(
        self, limit: int, *, status: str | None = None, created_on: str | None = None,
        before: int | None = None, after: int | None = None,
    ) -> list[Line]:  # fmt: skip
        """At most ``limit`` lines, newest first; with ``after`` the oldest of those that are newer than it."""
        conditions = {
            "status = ?": status,
            "date(created) = ?": created_on,
            "number < ?": before,
            "number > ?": after,
        }
        given = {condition: value for condition, value in conditions.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        query = f"{_LINE}{where} ORDER BY number {'ASC' if after is not None else 'DESC'} LIMIT ?"
        rows = await self._do(lambda db: db.execute(query, (*given.values(), limit)).fetchall())
        return sorted(map(_line, rows), key=lambda line: -line.number)

    def upload(self, name: str) -> Path | None:
        """The file of an upload that is there. Only names that we gave lead anywhere."""
        path = self.uploads / name
        return path if _UPLOAD.fullmatch(name) and path.is_file() else None

    def new_upload(self) -> Path:
        """Where a new upload shall be once it is whole."""
        return self.uploads / uuid.uuid4().hex

    def expire_uploads(self) -> None:
        """Remove uploads past their life, and what interrupted ones have left. Blocks."""
        for path in self.uploads.iterdir():
            if time.time() - path.stat().st_mtime > UPLOAD_LIFE_SECONDS:
                path.unlink(missing_ok=True)

    def close(self) -> None:
        self._thread.submit(self._db.close).result()
        self._thread.shutdown()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._db)


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(_SCHEMA)
    return db


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    with db:
        yield


def _line(row: Sequence[Any]) -> Line:
    number, id_, status, *rest = row
    return Line(number, id_, Status(status), *rest)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> str:
    """A naive ISO time with microseconds, as v2 gives it; ours is UTC."""
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
