"""The files of a journal: what lies beside it, those that were put aside, and the one that is being made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from batch import errors
from batch.errors import FailureKind

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
