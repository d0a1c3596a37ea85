"""The tables of a journal, and its versions: an older one is brought up to date when it is opened, in one transaction
with its version, so that a journal is never between two."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from batch import errors
from batch.archive.journal_files import check_not_vanished
from batch.archive.journal_schema import ALL_COLUMNS, TYPES, canonical_options
from batch.providers import registry
from batch.storage import files, private_files, sqlite
from batch.storage.locations import identity

VERSION: Final = 4
_TYPED: Final = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
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
        INSERT INTO replaced ({ALL_COLUMNS}) VALUES ({", ".join(f"OLD.{name}" for name in TYPES)});
    END
    """,
    f"PRAGMA user_version = {VERSION}",
)


def open_to_write(path: Path) -> sqlite3.Connection:
    check_not_vanished(path)
    files.make(path.parent, private_files.FOLDER)
    private_files.make_folder(path.parent)
    private_files.make_database(path)
    db = sqlite3.connect(path, isolation_level=None)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise errors.UsageError(
            f"{path} was written by a newer diarist (schema {version}): upgrade, or use another --out"
        )
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    sqlite.keep_temporaries(db, path.parent)
    if version < VERSION:
        migrate(db)
    return db


def migrate(db: sqlite3.Connection) -> None:
    """Make the schema what it should be, whatever was there: in one transaction with its version, so that a journal
    is never between two versions. One that an older diarist left there is completed."""
    db.create_function("identity", 1, identity, deterministic=True)
    db.create_function("canonical", 2, canonical_options, deterministic=True)
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
    migrate(copy)
    return copy


def _missing_columns(db: sqlite3.Connection) -> list[str]:
    return [
        f"ALTER TABLE {table} ADD COLUMN {name} {TYPES[name]}"
        for table in ("jobs", "replaced")
        for name in TYPES.keys() - columns_of(db, table)
    ]


def columns_of(db: sqlite3.Connection, table: str) -> set[str]:
    return {name for _, name, *_ in db.execute(f"PRAGMA table_info({table})")}


def open_to_read(path: Path) -> sqlite3.Connection:
    check_not_vanished(path)
    if not path.exists():
        db = sqlite3.connect(":memory:", isolation_level=None)
        migrate(db)
    else:
        db = sqlite.open_to_read(path)
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise errors.UsageError(f"{path} was written by a newer diarist (schema {version}): upgrade")
    if version < VERSION:
        db = _migrated(db, path.parent)
    sqlite.keep_temporaries(db, path.parent)
    return db
