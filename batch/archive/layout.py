"""The name and place of everything that a run leaves in an output directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from batch.archive.journal import remembered
from batch.archive.journal_files import check_not_vanished
from batch.archive.results import JOURNAL, REPLACED, SUMMARY, inner_of
from batch.errors import UsageError
from batch.telemetry.progress import Progress


class Kept(msgspec.Struct, frozen=True):
    """Older results that newer ones have replaced, and that are kept."""

    count: int = 0
    bytes: int = 0

    def __bool__(self) -> bool:
        return self.count > 0


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
