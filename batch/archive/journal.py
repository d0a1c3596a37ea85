"""The durable memory of a run: every job's state, in SQLite, behind one writer thread that commits for all waiters.

One connection does everything, on its own thread. Whoever awaits ``record`` is woken after the commit that holds the
fact, with ``synchronous=FULL``: a fact that was acknowledged survives a crash of the machine. Commits are shared by
all who wait at that moment, because the disk's fsync, not SQLite, sets the pace.

WAL needs shared memory, so the journal must lie on a local disk (https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

from batch import errors
from batch.errors import FailureKind
from batch.model import Job, Recording, State
from batch.providers import registry
from batch.storage import files, private_files, sqlite
from batch.storage.locations import identity

T = TypeVar("T")
_SCHEMA_VERSION: Final = 4
_OF_RECORDING: Final = ("key", "source", "manifest", "line", "options", "labels")
_OF_JOB: Final = tuple(name for name in Job.__struct_fields__ if name != "recording")
_COLUMNS: Final = (*_OF_RECORDING, *_OF_JOB)
_DERIVED: Final = ("origin", "asked")
"""What jobs are compared by: ``sources.identity`` of the source, ``OptionSchema.canonical`` of the
options."""
_OPTIONS: Final = _OF_RECORDING.index("options")
_STATE, _PAST_IDS = _OF_JOB.index("state"), _OF_JOB.index("past_ids")
_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys((*_COLUMNS, *_DERIVED), "TEXT"),
    **dict.fromkeys(("staged_at", "intent_at", "submitted_at", "ended_at", "audio_seconds"), "REAL"),
    **dict.fromkeys(("line", "size_bytes", "mtime_ns", "submissions", "failures", "speakers"), "INTEGER"),
    **dict.fromkeys(("result_bytes", "result_mtime_ns"), "INTEGER"),
}
_ALL: Final = ", ".join(_TYPES)
_TYPED: Final = ", ".join(f"{name} {kind}" for name, kind in _TYPES.items())
_TABLES: Final = (
    f"CREATE TABLE IF NOT EXISTS jobs ({_TYPED}, PRIMARY KEY (key))",
    f"CREATE TABLE IF NOT EXISTS replaced ({_TYPED}, PRIMARY KEY (key, transcript_id))",
    "CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT)",
)
"""``replaced`` remembers each collected job whose place a new one has taken: its transcript is paid, and serves again
whoever asks for the same. ``notes`` are what the directory remembers of its runs."""
_DERIVE: Final = (
    "UPDATE jobs SET origin = identity(source), asked = canonical(service, options), "
    "service = canonical_service(service) WHERE origin IS NULL"
)
_REST: Final = (
    "CREATE INDEX IF NOT EXISTS jobs_open ON jobs (state) WHERE state NOT IN ('collected', 'failed')",
    "CREATE INDEX IF NOT EXISTS jobs_failed ON jobs (manifest, line, key) WHERE state = 'failed'",
    "CREATE INDEX IF NOT EXISTS jobs_by_transcript ON jobs (transcript_id) WHERE transcript_id IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS jobs_by_audio ON jobs (size_bytes, sha256) WHERE sha256 IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS jobs_by_etag ON jobs (etag) WHERE etag IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS jobs_by_origin ON jobs (origin) WHERE sha256 IS NULL",
    "CREATE INDEX IF NOT EXISTS replaced_by_audio ON replaced (size_bytes, sha256) WHERE sha256 IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS replaced_by_etag ON replaced (etag) WHERE etag IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS replaced_by_transcript ON replaced (transcript_id)",
    "DROP INDEX IF EXISTS jobs_by_source",
    "DROP TRIGGER IF EXISTS keep_what_was_paid",
    f"""
    CREATE TRIGGER keep_what_was_paid BEFORE UPDATE ON jobs
    WHEN OLD.state = 'collected' AND OLD.transcript_id IS NOT NULL AND OLD.transcript_id IS NOT NEW.transcript_id
    BEGIN
        DELETE FROM replaced WHERE key = OLD.key AND transcript_id = OLD.transcript_id;
        INSERT INTO replaced ({_ALL}) VALUES ({", ".join(f"OLD.{name}" for name in _TYPES)});
    END
    """,
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)
_CLAIMED: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS claimed (place TEXT PRIMARY KEY, row TEXT, is_carried INTEGER) WITHOUT ROWID"
)
_COPIES: Final = "CREATE TEMP TABLE IF NOT EXISTS copies (name TEXT PRIMARY KEY, size_bytes INTEGER) WITHOUT ROWID"
_UPSERT: Final = (
    f"INSERT INTO jobs ({_ALL}) VALUES ({', '.join('?' * len(_TYPES))}) "
    f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _TYPES if name != 'key')}"
)
_KEEP: Final = f"INSERT OR IGNORE INTO replaced ({_ALL}) VALUES ({', '.join('?' * len(_TYPES))})"
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM jobs"
_SELECT_REPLACED: Final = f"SELECT {', '.join(_COLUMNS)} FROM replaced"
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

    async def of_links(self, links: Collection[str]) -> dict[str, list[Job]]:
        """The jobs whose audio was uploaded to these links, or read under them, by link. Looks at every job."""
        marks = ", ".join("?" * len(links))
        query = f"WHERE audio_url IN ({marks}) AND audio_url != source"
        found: dict[str, list[Job]] = {}
        both = f"{_SELECT} {query} UNION ALL {_SELECT_REPLACED} {query}"
        for job in await self._ask(lambda db: [_job(row) for row in db.execute(both, (*links, *links))]):
            found.setdefault(job.audio_url or "", []).append(job)
        return found

    async def replaced(self, keys: Sequence[str]) -> dict[str, list[Job]]:
        """The collected jobs whose places under ``keys`` new ones have taken, newest first, by key."""
        marks = ", ".join("?" * len(keys))
        query = f"{_SELECT_REPLACED} WHERE key IN ({marks}) ORDER BY submitted_at DESC"
        found: dict[str, list[Job]] = {}
        for job in await self._ask(lambda db: [_job(row) for row in db.execute(query, tuple(keys))]):
            found.setdefault(job.key, []).append(job)
        return found

    async def keep(self, job: Job) -> None:
        """Remember a collected job whose place another has."""
        row = _row(job)
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
            db.executemany(_UPSERT, map(_row, jobs))
            db.executemany(_KEEP, map(_row, replaced))
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
        values += (job.key, job.service, _asked(job.service, _text(job.recording.options)), since)
        query = f"{_SELECT} {where} UNION ALL {_SELECT_REPLACED} {where} ORDER BY submitted_at DESC"
        found = await self._ask(lambda db: [_job(row) for row in db.execute(query, values * 2)])
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

    async def failed(self, after: Job | None, limit: int) -> list[Job]:
        """The next ``limit`` failed jobs behind ``after`` (None: the first), in the order of their manifests."""
        place = (after.recording.manifest, after.recording.line, after.key) if after else ("", -1, "")
        order = "manifest, line, key"
        query = f"{_SELECT} WHERE state = 'failed' AND ({order}) > (?, ?, ?) ORDER BY {order} LIMIT ?"
        return await self._ask(lambda db: [_job(row) for row in db.execute(query, (*place, limit))])

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


def _open(path: Path) -> sqlite3.Connection:
    check_not_vanished(path)
    files.make(path.parent, private_files.FOLDER)
    private_files.make_folder(path.parent)
    private_files.make_database(path)
    db = sqlite3.connect(path, isolation_level=None)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > _SCHEMA_VERSION:
        raise errors.UsageError(
            f"{path} was written by a newer diarist (schema {version}): upgrade, or use another --out"
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    sqlite.keep_temporaries(db, path.parent)
    if version < _SCHEMA_VERSION:
        _migrate(db)
    return db


def _migrate(db: sqlite3.Connection) -> None:
    """Make the schema what it should be, whatever was there: in one transaction with its version, so that a journal
    is never between two versions. One that an older diarist left there is completed."""
    db.create_function("identity", 1, identity, deterministic=True)
    db.create_function("canonical", 2, _asked, deterministic=True)
    db.create_function("canonical_service", 1, registry.canonical, deterministic=True)
    db.execute("BEGIN IMMEDIATE")
    for statement in _TABLES:
        db.execute(statement)
    for statement in (*_missing_columns(db), _DERIVE, *_REST):
        db.execute(statement)
    db.execute("COMMIT")


def _migrated(older: sqlite3.Connection, beside: Path) -> sqlite3.Connection:
    """A copy of the journal of an older diarist as it will be, for those who only look."""
    copy = sqlite.scratch(beside)
    with contextlib.closing(older):
        older.backup(copy)
    _migrate(copy)
    return copy


def _missing_columns(db: sqlite3.Connection) -> list[str]:
    return [
        f"ALTER TABLE {table} ADD COLUMN {name} {_TYPES[name]}"
        for table in ("jobs", "replaced")
        for name in _TYPES.keys() - _columns(db, table)
    ]


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")}


def _open_to_read(path: Path) -> sqlite3.Connection:
    check_not_vanished(path)
    if not path.exists():
        db = sqlite3.connect(":memory:", isolation_level=None)
        _migrate(db)
    else:
        db = sqlite.open_to_read(path)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > _SCHEMA_VERSION:
        raise errors.UsageError(f"{path} was written by a newer diarist (schema {version}): upgrade")
    if version < _SCHEMA_VERSION:
        db = _migrated(db, path.parent)
    sqlite.keep_temporaries(db, path.parent)
    return db


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
        if "value" in _columns(db, "notes"):
            return _notes(db)
        newest = db.execute("SELECT service FROM jobs ORDER BY rowid DESC LIMIT 1").fetchone()
        return {"service": registry.canonical(newest[0])} if newest else {}
    return {}


def _notes(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT name, value FROM notes WHERE value IS NOT NULL").fetchall())


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
        if "value" in _columns(db, "notes"):
            return dict(db.execute("SELECT name, value FROM notes").fetchall())
    return dict(remembered(path))


def _salvaged(path: Path, table: str) -> list[Job]:
    found: dict[int, Job] = {}
    with _up_to_damage(path), contextlib.closing(sqlite.open_to_read(path)) as db:
        db.execute("PRAGMA writable_schema = ON")  # what is wrong in the schema is passed over
        if there := _columns(db, table):
            given = ", ".join(name if name in there else "NULL" for name in _COLUMNS)
            for row in _all_readable(db, f"SELECT {given}, rowid FROM {table}", _pages(path)):
                with contextlib.suppress(msgspec.DecodeError, ValueError, TypeError):
                    found.setdefault(row[-1], _job(row[:-1]))
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


BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, by the ending of the name. It is a part of that database, and of no other."""
ASIDE: Final = ".damaged-"


def asides(path: Path) -> list[Path]:
    """The journals that were put aside of the one at ``path``, in that order."""
    return sorted(each for each in path.parent.glob(f"{path.name}{ASIDE}*") if not each.name.endswith(BESIDE))


def unfinished(path: Path) -> Path:
    """Where the journal at ``path`` is made anew, before it takes its place."""
    return path.with_name(f"{path.name}.new")


def is_there(path: Path) -> bool:
    """Whether there is a journal at ``path``, or anything that is left of one."""
    return path.exists() or unfinished(path).exists() or bool(asides(path))


def check_not_vanished(path: Path) -> None:
    """Raises ``UsageError`` where a journal was, and is no more: whoever took that for a new directory would pay
    again."""
    if not path.exists() and is_there(path):
        left = [unfinished(path), *asides(path)][-1]
        raise errors.UsageError(
            f"the journal {path} is gone, but {left.name} is there: a `diarist recover` was stopped before its end, "
            "or somebody has removed the journal. `diarist recover DIR` makes it from all that is left; nothing runs "
            "before, because it would be paid again",
            kind=FailureKind.JOURNAL_VANISHED,
        )


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
    return [_job(row) for row in db.execute(query, values)]


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


def _row(job: Job) -> tuple[Any, ...]:
    row = [getattr(job.recording, name) for name in _OF_RECORDING] + [getattr(job, name) for name in _OF_JOB]
    texts = tuple(map(_text, row))
    return (*texts, identity(job.recording.source), _asked(job.service, texts[_OPTIONS]))


@functools.lru_cache(4096)
def _asked(service: str, options: str) -> str:
    """The canonical form of a service's options in JSON."""
    return msgspec.json.encode(registry.named(service).options.canonical(msgspec.json.decode(options))).decode()


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
