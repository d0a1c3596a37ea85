"""The durable memory of a run: every job's state, in SQLite, behind one writer thread that commits for all waiters.

One connection does everything, on its own thread. Whoever awaits ``record`` is woken after the commit that holds the
fact, with ``synchronous=FULL``: a fact that was acknowledged survives a crash of the machine. Commits are shared by
all who wait at that moment, because the disk's fsync, not SQLite, sets the pace.

WAL needs shared memory, so the journal must lie on a local disk (https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

from batch import errors
from batch.archive.journal_schema import ALL_COLUMNS, COLUMNS, TYPES, as_text, canonical_options, job_of_row, row_of
from batch.archive.migrations import columns_of, open_to_read, open_to_write
from batch.errors import FailureKind
from batch.model import Job, Recording, State
from batch.providers import registry
from batch.storage import files, sqlite
from batch.storage.locations import identity

T = TypeVar("T")
_CLAIMED: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS claimed (place TEXT PRIMARY KEY, row TEXT, is_carried INTEGER) WITHOUT ROWID"
)
_COPIES: Final = "CREATE TEMP TABLE IF NOT EXISTS copies (name TEXT PRIMARY KEY, size_bytes INTEGER) WITHOUT ROWID"
_UPSERT: Final = (
    f"INSERT INTO jobs ({ALL_COLUMNS}) VALUES ({', '.join('?' * len(TYPES))}) "
    f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in TYPES if name != 'key')}"
)
_KEEP: Final = f"INSERT OR IGNORE INTO replaced ({ALL_COLUMNS}) VALUES ({', '.join('?' * len(TYPES))})"
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM jobs"
_SELECT_REPLACED: Final = f"SELECT {', '.join(COLUMNS)} FROM replaced"
_GROUP_LIMIT: Final = 2000


class Journal:
    """The journal at ``path``, opened (and made) at once. Every method but ``close`` may be awaited concurrently.

    ``read_only`` is for onlookers: it may be another run's, and one that is not there is as good as empty.

    Raises ``UsageError`` if the file is not a journal, is damaged or was written by a newer diarist, and
    ``UnavailableError`` when the disk refuses a write: nothing that was acknowledged is lost, and the same command
    continues. Once a disk has failed everything is refused: what it says then (a sync that succeeds, pages that are
    not what they were) is not to be believed.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path, self._read_only = path, read_only
        self._asked: queue.SimpleQueue[_Ask[Any] | None] = queue.SimpleQueue()
        opened: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, args=(opened,), name="journal", daemon=True)
        self._thread.start()
        if problem := opened.get():
            raise problem

    async def record(self, job: Job) -> Job:
        """Write the job's facts; return it when they are on disk."""
        row = row_of(job)
        await self._ask(lambda db: db.execute(_UPSERT, row))
        return job

    async def find(self, keys: Sequence[str]) -> dict[str, Job]:
        """The jobs known under ``keys``, by key."""
        return await self._ask(lambda db: {job.key: job for job in _select(db, "key", keys)})

    async def in_states(self, states: Iterable[State]) -> list[Job]:
        """All jobs in ``states``, in the order of their manifests."""
        names = sorted(states)
        return await self._ask(lambda db: _select(db, "state", names))

    async def known_ids(self, transcript_ids: Sequence[str]) -> dict[str, float]:
        """Of ``transcript_ids``, those that belong to a job, with the time of their submission."""
        return await self._ask(lambda db: _known_ids(db, transcript_ids))

    async def of_links(self, links: Collection[str]) -> dict[str, list[Job]]:
        """The jobs whose audio was uploaded to these links, or read under them, by link. Looks at every job."""
        marks = ", ".join("?" * len(links))
        query = f"WHERE audio_url IN ({marks}) AND audio_url != source"
        found: dict[str, list[Job]] = {}
        both = f"{_SELECT} {query} UNION ALL {_SELECT_REPLACED} {query}"
        for job in await self._ask(lambda db: [job_of_row(row) for row in db.execute(both, (*links, *links))]):
            found.setdefault(job.audio_url or "", []).append(job)
        return found

    async def replaced(self, keys: Sequence[str]) -> dict[str, list[Job]]:
        """The collected jobs whose places under ``keys`` new ones have taken, newest first, by key."""
        marks = ", ".join("?" * len(keys))
        query = f"{_SELECT_REPLACED} WHERE key IN ({marks}) ORDER BY submitted_at DESC"
        found: dict[str, list[Job]] = {}
        for job in await self._ask(lambda db: [job_of_row(row) for row in db.execute(query, tuple(keys))]):
            found.setdefault(job.key, []).append(job)
        return found

    async def keep(self, job: Job) -> None:
        """Remember a collected job whose place another has."""
        row = row_of(job)
        await self._ask(lambda db: db.execute(_KEEP, row))

    async def claim(
        self, recordings: Sequence[Recording], places: Sequence[str], *, is_carried: bool = False
    ) -> list[Recording | None]:
        """For each recording, the row of this run that stands in the way of its result, or None if it may have it.

        ``places`` are the keys as the disk compares them: the row that claimed the same one first is in the way, and
        one whose result would have to be a directory of this one's, or the other way round. ``is_carried``: the
        recordings are carried anyway, and their own rows may still claim their places. Lives in a temporary table for
        this run only, so a manifest of millions costs no memory.
        """
        claims = list(zip(recordings, places, strict=True))
        return await self._ask(lambda db: _claim_all(db, claims, is_carried))

    async def add_copies(self, names: Sequence[tuple[str, int]]) -> None:
        """Note objects that lie in the bucket of the results, with their sizes in bytes, for this run only."""
        await self._ask(lambda db: _add_copies(db, names))

    async def copies(self, names: Sequence[str]) -> dict[str, int]:
        """Of ``names``, those that were noted, with their sizes in bytes."""
        return await self._ask(lambda db: _copies(db, names))

    async def fill(self, jobs: Iterable[Job], replaced: Iterable[Job], notes: Mapping[str, str | None]) -> None:
        """Write down all of them in one transaction, those of ``replaced`` as ``keep`` does."""

        def work(db: sqlite3.Connection) -> None:
            db.executemany(_UPSERT, map(row_of, jobs))
            db.executemany(_KEEP, map(row_of, replaced))
            db.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", notes.items())

        await self._ask(work)

    async def note(self, name: str) -> str | None:
        """What the directory remembers under ``name``."""
        return await self._ask(lambda db: _notes(db).get(name))

    async def set_note(self, name: str, value: str | None) -> None:
        """Remember ``value`` under ``name``, for this and later runs; None: forget it."""
        await self._ask(lambda db: db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value)))

    async def has_results(self) -> bool:
        """Whether any recording was ever collected."""
        query = "SELECT 1 FROM jobs WHERE state = 'collected' UNION ALL SELECT 1 FROM replaced LIMIT 1"
        return await self._ask(lambda db: db.execute(query).fetchone() is not None)

    async def known_sizes(self, sizes: Collection[int]) -> set[int]:
        """Of ``sizes`` in bytes, those that some job's audio has: only such audio can be identical."""
        marks = ", ".join("?" * len(sizes))
        query = f"SELECT DISTINCT size_bytes FROM jobs WHERE size_bytes IN ({marks}) AND sha256 IS NOT NULL"
        return await self._ask(lambda db: {row[0] for row in db.execute(query, tuple(sizes))})

    async def turnarounds(self, service: str) -> list[tuple[float, float]]:
        """Of the last 200 recordings that ``service`` has transcribed: seconds from submission to result, and seconds
        of audio."""
        query = (
            "SELECT ended_at - submitted_at, audio_seconds FROM jobs WHERE state = 'collected' AND service = ? "
            "AND shared_with IS NULL AND submitted_at > 0 AND audio_seconds > 0 ORDER BY rowid DESC LIMIT 200"
        )
        return await self._ask(lambda db: db.execute(query, (service,)).fetchall())

    async def twin(self, job: Job, since: float) -> Job | None:
        """The newest job of another key with the same audio (or source, if its content is not known) and options,
        whose transcript, submitted ``since`` then, is good or may become so."""
        audio, values = _same_audio(job)
        where = (
            f"WHERE {audio} AND key != ? AND service = ? AND asked = ? AND coalesce(submitted_at, 0) >= ? "
            "AND kind IS NULL AND state IN ('submitted', 'collected')"
        )
        values += (job.key, job.service, canonical_options(job.service, as_text(job.recording.options)), since)
        query = f"{_SELECT} {where} UNION ALL {_SELECT_REPLACED} {where} ORDER BY submitted_at DESC"
        found = await self._ask(lambda db: [job_of_row(row) for row in db.execute(query, values * 2)])
        return next((twin for twin in found if twin.transcript_id not in job.past_ids), None)

    async def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        query = "SELECT state, count(*) FROM jobs GROUP BY state"
        return await self._ask(lambda db: {State(state): count for state, count in db.execute(query)})

    async def listed(self, after: int, limit: int) -> list[tuple[int, Job]]:
        """The next ``limit`` jobs behind the place ``after``, in the order in which they were first recorded, each
        with its own place: how an onlooker goes through a journal of any length."""
        query = f"SELECT {', '.join(COLUMNS)}, rowid FROM jobs WHERE rowid > ? ORDER BY rowid LIMIT ?"
        return await self._ask(
            lambda db: [(row[-1], job_of_row(row[:-1])) for row in db.execute(query, (after, limit))]
        )

    async def failed(self, after: Job | None, limit: int) -> list[Job]:
        """The next ``limit`` failed jobs behind ``after`` (None: the first), in the order of their manifests."""
        place = (after.recording.manifest, after.recording.line, after.key) if after else ("", -1, "")
        order = "manifest, line, key"
        query = f"{_SELECT} WHERE state = 'failed' AND ({order}) > (?, ?, ?) ORDER BY {order} LIMIT ?"
        return await self._ask(lambda db: [job_of_row(row) for row in db.execute(query, (*place, limit))])

    def close(self) -> None:
        """Commit what is asked so far, fold the write-ahead log into the file, end the thread."""
        self._asked.put(None)
        self._thread.join()

    async def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        ask: _Ask[T] = _Ask(work, asyncio.get_running_loop())
        self._asked.put(ask)
        return await ask.answer

    def _serve(self, opened: queue.SimpleQueue[BaseException | None]) -> None:
        try:
            db = open_to_read(self.path) if self._read_only else open_to_write(self.path)
        except BaseException as error:
            opened.put(_explained(error, self.path))
            return
        opened.put(None)
        refused: Any = None
        while asks := self._group():
            answers = [refused] * len(asks) if refused else _commit(db, asks, self.path)
            refused = refused or next(filter(_is_of_a_failing_disk, answers), None)
            _settle(asks, answers)
        with contextlib.suppress(sqlite3.Error):  # a disk that has gone; what was acknowledged is on it
            db.close()

    def _group(self) -> list[_Ask[Any]]:
        """Wait for one ask, then take all that have come meanwhile; empty at the end."""
        first = self._asked.get()
        asks = [first] if first else []
        while asks and len(asks) < _GROUP_LIMIT and not self._asked.empty():
            ask = self._asked.get()
            if ask is None:
                self._asked.put(None)
                break
            asks.append(ask)
        return asks


class _Ask(Generic[T]):
    """Work for the journal's thread, and the loop and future that wait for its answer."""

    __slots__ = ("answer", "loop", "work")

    def __init__(self, work: Callable[[sqlite3.Connection], T], loop: asyncio.AbstractEventLoop) -> None:
        self.work, self.loop = work, loop
        self.answer: asyncio.Future[T] = loop.create_future()


def _commit(db: sqlite3.Connection, asks: Sequence[_Ask[Any]], path: Path) -> Sequence[Any]:
    """All of ``asks`` in one transaction: for each its answer, or the exception that it has met.

    If one cannot be done, all are done again, each in a transaction of its own: nobody suffers for another.
    """
    try:
        return _in_one_transaction(db, asks)
    except BaseException as error:
        explained = _explained(error, path)
    if len(asks) == 1 or isinstance(explained, errors.DiaristError):
        return [explained] * len(asks)
    return [answer for ask in asks for answer in _commit(db, [ask], path)]


def _in_one_transaction(db: sqlite3.Connection, asks: Sequence[_Ask[Any]]) -> Sequence[Any]:
    try:
        db.execute("BEGIN")
        answers = [ask.work(db) for ask in asks]
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return answers


def _settle(asks: Sequence[_Ask[Any]], answers: Sequence[Any]) -> None:
    """Wake each loop's waiters, in one call a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for ask, answer in zip(asks, answers, strict=True):
        by_loop.setdefault(ask.loop, []).append((ask.answer, answer))
    for loop, waiters in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_wake, waiters)


def _wake(waiters: Iterable[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in waiters:
        if future.cancelled():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)


def _explained(error: BaseException, path: Path) -> BaseException:
    """SQLite's errors in our words; whatever is not SQLite's or the system's is a bug and stays as it is."""
    if isinstance(error, sqlite3.OperationalError | OSError):
        refused = errors.UnavailableError(
            f"the journal {path} cannot be used: {sqlite.explained(error, path)}; then run the same command again: "
            "what was recorded so far is safe",
            kind=FailureKind.JOURNAL_UNWRITABLE,
        )
        refused.__cause__ = error
        return refused
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _OF_ONE_ROW):
        return errors.UsageError(
            f"the journal {path} is damaged: {error}. `diarist recover DIR` makes it anew from "
            "the results and from what can still be read of it",
            kind=FailureKind.JOURNAL_DAMAGED,
        )
    return error


def _is_of_a_failing_disk(answer: object) -> bool:
    """Whether an answer is that the disk has failed. A full one has not: once there is space it does as it says."""
    cause = answer.__cause__ if isinstance(answer, errors.UnavailableError) else None
    return (getattr(cause, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_IOERR


_OF_ONE_ROW: Final = (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError)


def remembered(path: Path) -> dict[str, str]:
    """What the journal at ``path`` remembers of its runs, by name; nothing if there is none that can be read. Of a
    journal of an older diarist: the service of its newest job. Blocks."""
    if not path.exists():
        return {}
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite.open_to_read(path)) as db:
        if "value" in columns_of(db, "notes"):
            return _notes(db)
        newest = db.execute("SELECT service FROM jobs ORDER BY rowid DESC LIMIT 1").fetchone()
        return {"service": registry.canonical(newest[0])} if newest else {}
    return {}


def _notes(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT name, value FROM notes WHERE value IS NOT NULL").fetchall())


def seal(path: Path) -> None:
    """Put everything into the one file of a journal that nobody has open, for good, so that it can be renamed. Raises
    as ``Journal``."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode = DELETE")
        files.sync(path)
        files.sync(path.parent)
    except (sqlite3.Error, OSError) as error:
        raise _explained(error, path) from error


def _select(db: sqlite3.Connection, column: str, values: Sequence[str]) -> list[Job]:
    marks = ", ".join("?" * len(values))
    query = f"{_SELECT} WHERE {column} IN ({marks}) ORDER BY manifest, line, rowid"
    return [job_of_row(row) for row in db.execute(query, values)]


def _known_ids(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, float]:
    marks = ", ".join("?" * len(ids))
    query = f"SELECT transcript_id, submitted_at FROM {{}} WHERE transcript_id IN ({marks})"
    tables = " UNION ALL ".join(map(query.format, ("replaced", "jobs")))
    return {transcript_id: at or 0.0 for transcript_id, at in db.execute(tables, (*ids, *ids))}


def _same_audio(job: Job) -> tuple[str, tuple[Any, ...]]:
    if job.sha256 is None and job.etag:
        return "etag = ? AND size_bytes = ?", (job.etag, job.size_bytes)
    if job.sha256 is None:
        return "origin = ? AND sha256 IS NULL", (identity(job.recording.source),)
    return "size_bytes = ? AND sha256 = ?", (job.size_bytes, job.sha256)


def _add_copies(db: sqlite3.Connection, names: Sequence[tuple[str, int]]) -> None:
    db.execute(_COPIES)
    db.executemany("INSERT OR REPLACE INTO copies VALUES (?, ?)", names)


def _copies(db: sqlite3.Connection, names: Sequence[str]) -> dict[str, int]:
    db.execute(_COPIES)
    marks = ", ".join("?" * len(names))
    return dict(db.execute(f"SELECT name, size_bytes FROM copies WHERE name IN ({marks})", tuple(names)).fetchall())


def _claim_all(
    db: sqlite3.Connection, claims: Iterable[tuple[Recording, str]], is_carried: bool
) -> list[Recording | None]:
    db.execute(_CLAIMED)
    return [_claim(db, row, place, is_carried) for row, place in claims]


def _claim(db: sqlite3.Connection, recording: Recording, place: str, is_carried: bool) -> Recording | None:
    """The row in the way of a recording, if there is one; else the place is its own from now on."""
    inside = f"{place}.json/"
    ancestors = [place[:at] for at in range(len(place)) if place.startswith(".json/", at)]
    other = db.execute(
        "SELECT row FROM claimed WHERE place >= ? AND place < ?", (inside, inside[:-1] + "0")
    ).fetchone()
    for ancestor in ancestors:
        other = other or db.execute("SELECT row FROM claimed WHERE place = ?", (ancestor,)).fetchone()
    if other:
        return msgspec.json.decode(other[0], type=Recording)
    first = db.execute("SELECT row, is_carried FROM claimed WHERE place = ?", (place,)).fetchone()
    owner = msgspec.json.decode(first[0], type=Recording) if first else None
    if owner and not (first[1] and owner.key == recording.key):
        return owner
    row = msgspec.json.encode(recording).decode()
    db.execute("INSERT OR REPLACE INTO claimed VALUES (?, ?, ?)", (place, row, is_carried))
    return None
