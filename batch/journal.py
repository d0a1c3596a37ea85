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
import urllib.parse
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

from batch import errors
from batch.model import Job, Recording, State

T = TypeVar("T")
_SCHEMA_VERSION: Final = 2
_OF_RECORDING: Final = ("key", "source", "manifest", "line", "options", "labels")
_OF_JOB: Final = tuple(name for name in Job.__struct_fields__ if name != "recording")
_COLUMNS: Final = (*_OF_RECORDING, *_OF_JOB)
_STATE, _PAST_IDS = _OF_JOB.index("state"), _OF_JOB.index("past_ids")
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS jobs (
    key TEXT PRIMARY KEY, manifest TEXT, line INTEGER, source TEXT, options TEXT, labels TEXT,
    service TEXT, state TEXT, audio_url TEXT, staged_at REAL, sha256 TEXT, size_bytes INTEGER, mtime_ns INTEGER,
    intent_at REAL, transcript_id TEXT, submitted_at REAL, submissions INTEGER, failures INTEGER, past_ids TEXT,
    ended_at REAL, audio_seconds REAL, speakers INTEGER, kind TEXT, reason TEXT,
    shared_with TEXT
);
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (state) WHERE state NOT IN ('collected', 'failed');
CREATE INDEX IF NOT EXISTS jobs_by_transcript ON jobs (transcript_id) WHERE transcript_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_audio ON jobs (size_bytes, sha256) WHERE sha256 IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_source ON jobs (source) WHERE sha256 IS NULL;
PRAGMA user_version = {_SCHEMA_VERSION};
"""
_MIGRATIONS: Final = {1: "ALTER TABLE jobs ADD COLUMN shared_with TEXT"}
"""By the version of the journal that is found: what makes the next version of it."""
_CLAIMED: Final = "CREATE TEMP TABLE claimed (key TEXT PRIMARY KEY, row TEXT) WITHOUT ROWID"
_UPSERT: Final = (
    f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
    f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
)
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM jobs"
_GROUP_LIMIT: Final = 2000


class Journal:
    """The journal at ``path``, opened (and made) at once. Every method but ``close`` may be awaited concurrently.

    ``read_only`` is for onlookers: it may be another run's, and one that is not there is as good as empty.

    Raises ``Usage`` if the file is not a journal, is damaged or was written by a newer diarist, and ``Unavailable``
    when the disk refuses a write: nothing that was acknowledged is lost, and the same command continues.
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
        row = _row(job)
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

    async def claim(self, recordings: Sequence[Recording]) -> list[Recording | None]:
        """For each recording, the row of this run that took its key first, or None if it is itself the first.

        Lives in a temporary table for this run only, so a manifest of millions costs no memory.
        """
        return await self._ask(lambda db: [_claim(db, recording) for recording in recordings])

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
        """The newest job with the same audio (or source, if its bytes are not known) and options whose transcript,
        submitted ``since`` then, is good or may become so."""
        audio, values = _same_audio(job)
        where = (
            f"{audio} AND key != ? AND service = ? AND options = ? AND submitted_at >= ? "
            "AND kind IS NULL AND state IN ('submitted', 'collected')"
        )
        values += (job.key, job.service, _text(job.recording.options), since)
        query = f"{_SELECT} WHERE {where} ORDER BY submitted_at DESC"
        found = await self._ask(lambda db: [_job(row) for row in db.execute(query, values)])
        return next((twin for twin in found if twin.transcript_id not in job.past_ids), None)

    async def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        query = "SELECT state, count(*) FROM jobs GROUP BY state"
        return await self._ask(lambda db: {State(state): count for state, count in db.execute(query)})

    async def listed(self, after: int, limit: int) -> list[tuple[int, Job]]:
        """The next ``limit`` jobs behind the place ``after``, in the order in which they were first recorded, each
        with its own place: how an onlooker goes through a journal of any length."""
        query = f"SELECT {', '.join(_COLUMNS)}, rowid FROM jobs WHERE rowid > ? ORDER BY rowid LIMIT ?"
        return await self._ask(lambda db: [(row[-1], _job(row[:-1])) for row in db.execute(query, (after, limit))])

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
            db = _open_to_read(self.path) if self._read_only else _open(self.path)
        except BaseException as error:
            opened.put(_explained(error, self.path))
            return
        opened.put(None)
        while asks := self._group():
            _settle(asks, *_commit(db, asks, self.path))
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


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, isolation_level=None)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > _SCHEMA_VERSION:
        raise errors.Usage(f"{path} was written by a newer diarist (schema {version}): upgrade, or use another --out")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA temp_store = FILE")
    for older in range(version or _SCHEMA_VERSION, _SCHEMA_VERSION):
        db.execute(_MIGRATIONS[older])
    db.executescript(_SCHEMA)
    db.execute(_CLAIMED)
    return db


def _open_to_read(path: Path) -> sqlite3.Connection:
    place = f"file:{urllib.parse.quote(str(path))}?mode=ro" if path.exists() else ":memory:"
    db = sqlite3.connect(place, uri=True, isolation_level=None)
    if place == ":memory:":
        db.executescript(_SCHEMA)
    elif db.execute("PRAGMA user_version").fetchone()[0] < _SCHEMA_VERSION:
        raise errors.Usage(f"{path} was written by an older diarist: `diarist run` brings it up to date")
    db.execute(_CLAIMED)
    return db


def _commit(
    db: sqlite3.Connection, asks: Sequence[_Ask[Any]], path: Path
) -> tuple[Sequence[Any], BaseException | None]:
    """All of ``asks`` in one transaction: their answers, or the error that undid them together."""
    try:
        db.execute("BEGIN")
        answers = [ask.work(db) for ask in asks]
        db.execute("COMMIT")
    except BaseException as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return (), _explained(error, path)
    return answers, None


def _settle(asks: Sequence[_Ask[Any]], answers: Sequence[Any], error: BaseException | None) -> None:
    """Wake each loop's waiters, in one call a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for index, ask in enumerate(asks):
        by_loop.setdefault(ask.loop, []).append((ask.answer, None if error else answers[index]))
    for loop, waiters in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_wake, waiters, error)


def _wake(waiters: Iterable[tuple[asyncio.Future[Any], Any]], error: BaseException | None) -> None:
    for future, answer in waiters:
        if future.cancelled():
            continue
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)


def _explained(error: BaseException, path: Path) -> BaseException:
    """SQLite's errors in our words; whatever is not SQLite's or the system's is a bug and stays as it is."""
    if isinstance(error, sqlite3.OperationalError | OSError):
        return errors.Unavailable(
            f"cannot write the journal {path}: {error}. Free some space or make it writable, then run the same "
            "command again: what was recorded so far is safe",
            kind="journal_unwritable",
        )
    if isinstance(error, sqlite3.DatabaseError):
        return errors.Usage(
            f"the journal {path} is damaged: {error}. `diarist recover DIR` makes it anew from "
            "the results and from what can still be read of it",
            kind="journal_damaged",
        )
    return error


def salvage(path: Path) -> list[Job]:
    """The jobs that can still be read from a damaged journal, from either end up to where it breaks. Blocks."""
    found: dict[str, Job] = {}
    for order in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_open_to_read(path)) as db:
            for row in db.execute(f"{_SELECT} ORDER BY rowid {order}"):
                with contextlib.suppress(msgspec.DecodeError, ValueError, TypeError):
                    job = _job(row)
                    found.setdefault(job.key, job)
    return list(found.values())


def _select(db: sqlite3.Connection, column: str, values: Sequence[str]) -> list[Job]:
    marks = ", ".join("?" * len(values))
    query = f"{_SELECT} WHERE {column} IN ({marks}) ORDER BY manifest, line, rowid"
    return [_job(row) for row in db.execute(query, values)]


def _known_ids(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, float]:
    marks = ", ".join("?" * len(ids))
    query = f"SELECT transcript_id, submitted_at FROM jobs WHERE transcript_id IN ({marks})"
    return {transcript_id: at or 0.0 for transcript_id, at in db.execute(query, ids)}


def _same_audio(job: Job) -> tuple[str, tuple[Any, ...]]:
    if job.sha256 is None:
        return "source = ? AND sha256 IS NULL", (job.recording.source,)
    return "size_bytes = ? AND sha256 = ?", (job.size_bytes, job.sha256)


def _claim(db: sqlite3.Connection, recording: Recording) -> Recording | None:
    row = msgspec.json.encode(msgspec.structs.replace(recording, labels={})).decode()
    if db.execute("INSERT OR IGNORE INTO claimed VALUES (?, ?)", (recording.key, row)).rowcount:
        return None
    first = db.execute("SELECT row FROM claimed WHERE key = ?", (recording.key,)).fetchone()[0]
    return msgspec.json.decode(first, type=Recording)


def _row(job: Job) -> tuple[Any, ...]:
    row = [getattr(job.recording, name) for name in _OF_RECORDING] + [getattr(job, name) for name in _OF_JOB]
    return tuple(map(_text, row))


def _text(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | tuple) else value


def _job(row: Sequence[Any]) -> Job:
    """A job of its row: by position, because a second run over millions of rows does little else."""
    key, source, manifest, line, options, labels = row[: len(_OF_RECORDING)]
    decode = msgspec.json.decode
    recording = Recording(key, source, manifest, line, decode(options), decode(labels))
    facts = list(row[len(_OF_RECORDING) :])
    facts[_STATE] = State(facts[_STATE])
    facts[_PAST_IDS] = tuple(decode(facts[_PAST_IDS]))
    return Job(recording, *facts)
