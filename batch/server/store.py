"""The service's durable memory: transcripts in SQLite, uploads as files, both under one data directory.

What was acknowledged, an upload or a submission, is on disk before: not even a power cut takes it along. All else is
``synchronous=NORMAL``: a state that is lost is found out again, by doing the job again. All of SQLite happens on one
thread, and so does the removal of uploads: no job can come in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from batch.providers.assemblyai.protocol import DONE, Status
from batch.server.retention import UPLOAD_LIFE_SECONDS, RetentionPolicy
from batch.server.uploads import Full, IncomingUpload, Uploads, name_of
from batch.storage import files, private_files

T = TypeVar("T")
_BATCH: Final = 100  # removals in a row, before a job that waits for the database gets its turn
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS transcripts (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, created TEXT NOT NULL,
    completed TEXT, audio_url TEXT NOT NULL, error TEXT, request TEXT NOT NULL, object BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS transcripts_open ON transcripts (number) WHERE status IN ('queued', 'processing');
CREATE INDEX IF NOT EXISTS transcripts_by_status ON transcripts (status, number);
CREATE INDEX IF NOT EXISTS transcripts_ended ON transcripts (completed) WHERE completed IS NOT NULL;
CREATE INDEX IF NOT EXISTS transcripts_by_upload ON transcripts (substr(audio_url, -32));
CREATE TABLE IF NOT EXISTS notices (transcript_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class JobRow(msgspec.Struct, frozen=True):
    """A line of the list; ``number`` counts submissions, and so orders them."""

    number: int
    id: str
    status: Status
    created: str
    completed: str | None
    audio_url: str
    error: str | None


_LINE: Final = "SELECT number, id, status, created, completed, audio_url, error FROM transcripts"


class _Need(msgspec.Struct, frozen=True):
    """What the jobs that name an upload say: how many have not ended, and when (seconds since the epoch) the last of
    the others did."""

    waiting: int
    ended: float | None


class Store:
    """Opened, and made, at once; ``close`` it in the end. Raises Full where the disk is; sqlite3.Error and OSError as
    they come."""

    def __init__(self, directory: Path, budget_bytes: int | None = None) -> None:
        files.make(directory, 0o700)
        self.uploads = Uploads(directory / "uploads", budget_bytes)
        self._thread = ThreadPoolExecutor(1, "store")
        try:
            self._db = self._thread.submit(_open, directory / "service.db").result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def add(self, transcript_id: str, request: Mapping[str, Any], body: bytes) -> None:
        """A new submission, queued."""
        row = (transcript_id, Status.QUEUED, _now(), request["audio_url"], _json(request), body)
        query = "INSERT INTO transcripts (id, status, created, audio_url, request, object) VALUES (?, ?, ?, ?, ?, ?)"

        def insert(db: sqlite3.Connection) -> None:
            with _durable(db), _transaction(db):
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

    async def delete(self, line: JobRow, status: Status, body: bytes, *, audio_url: str, error: str | None) -> None:
        """Leave nothing but ``body`` of a transcript, which has ended, if it had not, with ``status``; nor of its
        upload, unless another job waits for that."""
        query = (
            "UPDATE transcripts SET status = ?, object = ?, audio_url = ?, error = ?, request = '{}', "
            "completed = coalesce(completed, ?) WHERE id = ?"
        )
        row = (status, body, audio_url, error, _now(), line.id)

        def forget(db: sqlite3.Connection) -> None:
            db.execute(query, row)
            path = self.upload(name_of(line.audio_url) or "")
            if path:
                self._remove([path], lambda need, path: True, db)

        await self._do(forget)

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

    async def line(self, transcript_id: str) -> JobRow | None:
        query = f"{_LINE} WHERE id = ?"
        row = await self._do(lambda db: db.execute(query, (transcript_id,)).fetchone())
        return _line(row) if row else None

    async def unfinished(self) -> list[str]:
        """The ids of the jobs that wait or were under way, oldest first."""
        query = "SELECT id FROM transcripts WHERE status IN ('queued', 'processing') AND completed IS NULL"
        return await self._do(lambda db: [row[0] for row in db.execute(f"{query} ORDER BY number")])

    async def undelivered(self) -> list[JobRow]:
        """The jobs that have ended, but whose webhook has not been told yet."""
        query = f"{_LINE} WHERE id IN (SELECT transcript_id FROM notices) AND completed IS NOT NULL"
        return await self._do(lambda db: [_line(row) for row in db.execute(query)])

    async def delivered(self, transcript_id: str, status_code: int | None) -> None:
        """The webhook has been told, or cannot be: the object says with which HTTP status."""
        update = "json_set(CAST(object AS TEXT), '$.webhook_status_code', ?)"
        query = f"UPDATE transcripts SET object = CAST({update} AS BLOB) WHERE id = ?"

        def note(db: sqlite3.Connection) -> None:
            with _transaction(db):
                db.execute(query, (status_code, transcript_id))
                db.execute("DELETE FROM notices WHERE transcript_id = ?", (transcript_id,))

        await self._do(note)

    async def page(
        self, limit: int, *, status: str | None = None, created_on: str | None = None,
        before: int | None = None, after: int | None = None,
    ) -> list[JobRow]:  # fmt: skip
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
        return self.uploads.path(name)

    def receive(self, promised: int, ending: str = "") -> contextlib.AbstractAsyncContextManager[IncomingUpload]:
        """See ``Uploads.receive``."""
        return self.uploads.receive(promised, self._make_room, ending)

    async def expire(self, keep: RetentionPolicy) -> None:
        """Remove the uploads and transcripts whose time is over. What a job still waits for is never removed."""

        def due(need: _Need | None, path: Path) -> bool:
            if need is None or need.ended is None:
                return time.time() - path.stat().st_mtime > UPLOAD_LIFE_SECONDS
            return time.time() - need.ended > keep.uploads

        for paths in _batches(await asyncio.to_thread(self.uploads.all)):
            await self._do(partial(self._remove, paths, due))
        if keep.transcripts is not None:
            before = datetime.fromtimestamp(time.time() - keep.transcripts, UTC)
            while await self._do(partial(_forget, before=_naive(before))):
                pass

    async def forget_uploads(self) -> None:
        """Remove every upload that no job waits for."""
        for paths in _batches(await asyncio.to_thread(self.uploads.all)):
            await self._do(partial(self._remove, paths, lambda need, path: True))

    async def _make_room(self, size: int) -> None:
        """Remove uploads whose jobs have all ended, the oldest first, until so many bytes are free."""

        def over(need: _Need | None, path: Path) -> bool:
            return need is not None and need.ended is not None

        for paths in _batches(await asyncio.to_thread(self.uploads.all)):
            if size > 0:
                size -= await self._do(partial(self._remove, paths, over, enough=size))

    def _remove(
        self, paths: Sequence[Path], wanted: Callable[[_Need | None, Path], bool], db: sqlite3.Connection,
        enough: float = float("inf"),
    ) -> int:  # fmt: skip
        """Remove those that no job waits for and that are ``wanted``, until there is enough; return the bytes."""
        needs, removed = self._needs(db, paths), 0
        for path in paths:
            need = needs.get(path.name)
            with contextlib.suppress(FileNotFoundError):
                if removed < enough and not (need and need.waiting) and wanted(need, path):
                    removed += self.uploads.remove(path)
        return removed

    def _needs(self, db: sqlite3.Connection, paths: Sequence[Path]) -> dict[str, _Need]:
        """By the names of uploads, of those that jobs have named."""
        query = (
            "SELECT substr(audio_url, -32), sum(completed IS NULL), strftime('%s', max(completed)) "
            "FROM transcripts "
            "WHERE substr(audio_url, -32) IN (SELECT value FROM json_each(?)) GROUP BY 1"
        )
        rows = db.execute(query, (_json([path.name for path in paths]),))
        return {name: _Need(waiting, float(ended) if ended else None) for name, waiting, ended in rows}

    def close(self) -> None:
        self._thread.submit(self._db.close).result()
        self._thread.shutdown()

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
                raise Full("The disk of the service is full: try again later") from error
            raise


def _open(path: Path) -> sqlite3.Connection:
    private_files.make_database(path)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript(_SCHEMA)
    return db


@contextlib.contextmanager
def _durable(db: sqlite3.Connection) -> Iterator[None]:
    """What is committed meanwhile survives a power cut."""
    db.execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        db.execute("PRAGMA synchronous = NORMAL")


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN")
    with db:
        yield


def _forget(db: sqlite3.Connection, before: str) -> int:
    """Delete some of the transcripts that had ended before that time, and owe nobody a webhook; return how many."""
    ended = "SELECT number FROM transcripts WHERE completed < ? AND id NOT IN (SELECT transcript_id FROM notices)"
    return db.execute(f"DELETE FROM transcripts WHERE number IN ({ended} LIMIT {_BATCH})", (before,)).rowcount


def _batches(paths: list[Path]) -> Iterator[list[Path]]:
    for first in range(0, len(paths), _BATCH):
        yield paths[first : first + _BATCH]


def _line(row: Sequence[Any]) -> JobRow:
    number, id_, status, *rest = row
    return JobRow(number, id_, Status(status), *rest)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _now() -> str:
    """A naive ISO time with microseconds, as v2 gives it; ours is UTC."""
    return _naive(datetime.now(UTC))


def _naive(time: datetime) -> str:
    return time.replace(tzinfo=None).isoformat(timespec="microseconds")
