"""The name and place of everything that a run leaves in an output directory: no other module spells one of them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from batch.archive.journal import remembered
from batch.archive.journal_files import check_not_vanished
from batch.errors import UsageError
from batch.storage.output_names import FAILED_LIST, INNER, REPORT
from batch.telemetry.progress import Progress

__all__ = [
    "FAILED_LIST", "INNER", "JOURNAL", "LOCK", "POINTER", "REPLACED", "REPORT", "SEARCH_INDEX", "SERVICE", "SUMMARY",
    "WEBHOOK_SECRET", "WRITTEN", "Kept", "bucket_advice", "inner_of", "is_same_or_moved", "journal_of", "last_run",
    "replaced",
]  # fmt: skip

# In the inner directory:
JOURNAL: Final = "journal.db"
LOCK: Final = "lock"
SUMMARY: Final = "summary.json"
REPLACED: Final = "replaced"
"""Older results, below a directory for each key."""
WRITTEN: Final = "written.db"
SEARCH_INDEX: Final = "search.db"
SERVICE: Final = "service"
"""What a local service keeps that a run starts."""
WEBHOOK_SECRET: Final = "webhook-secret"
POINTER: Final = "elsewhere"
"""Where all of this is, if not here."""


class Kept(msgspec.Struct, frozen=True):
    """Older results that newer ones have replaced, and that are kept."""

    count: int = 0
    bytes: int = 0

    def __bool__(self) -> bool:
        return self.count > 0


def inner_of(directory: Path, journal_dir: str = "") -> Path:
    """Where the journal of a directory of results is, with all else that diarist keeps for itself: where the setting
    says, else where the last run said, else in the directory."""
    if journal_dir:
        return Path(journal_dir)
    with contextlib.suppress(OSError):
        inner, _, whose = (directory / INNER / POINTER).read_text("utf-8").strip().partition("\n")
        if is_same_or_moved(whose or str(directory.absolute()), directory):
            return Path(inner)
    return directory / INNER


def is_same_or_moved(known: str, directory: Path) -> bool:
    """Whether a directory is the one that was ``known`` by its path, or that one moved; a copy of it is another."""
    return known == str(directory.absolute()) or not Path(known).exists()


def journal_of(directory: Path) -> Path:
    """The journal of the runs that have written into a directory. Raises ``UsageError`` if there was none."""
    path = inner_of(directory) / JOURNAL
    check_not_vanished(path)
    try:
        is_there = path.is_file()
    except OSError as error:
        raise UsageError(
            f"cannot look at {path}: {error.strerror}. It is for the user who runs diarist there"
        ) from None
    if not is_there:
        raise UsageError(f"{directory} has no journal: nothing has run there, or --out was another directory")
    return path


def bucket_advice(directory: Path) -> str:
    """What to do about results that are not on this disk, if the runs of a directory put them into a bucket, too."""
    copies = remembered(inner_of(directory) / JOURNAL).get("copies")
    return f"results may lie in {copies} alone: copy them to {directory} to have them here" if copies else ""


def replaced(directory: Path) -> Kept:
    """What is kept in a directory of results that were replaced. Blocks."""
    sizes = [path.stat().st_size for path in (inner_of(directory) / REPLACED).rglob("*.json") if path.is_file()]
    return Kept(len(sizes), sum(sizes))


def last_run(directory: Path) -> Progress | None:
    """How the last run of a directory stands, or ended; None if it was an older diarist's."""
    try:
        return msgspec.json.decode((inner_of(directory) / SUMMARY).read_bytes(), type=Progress)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
