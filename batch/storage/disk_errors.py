"""What it means when the operating system refuses a file, whom it concerns, and what to do about it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator, Mapping
from typing import Final

from batch.errors import FailureKind, UnavailableError

_BUSY = "Another program holds it, or this file system cannot lock files: end the one, or choose another --out"
_SPACE = "Free some space"
_RIGHTS = "Give this user the right to write there, or choose another place with --out"
_LOCKS = "This file system cannot lock files (NFS without its lock service?): choose a local disk with --out"
_GONE = "The disk is gone: look at the system's log, and mount it again"
_ADVICE: Final[Mapping[int, str]] = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: f"{_SPACE}: the quota of this user is used up",
    errno.EROFS: "This file system is read-only: mount it for writing, or choose another place with --out",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EBUSY: _BUSY,
    errno.ENOLCK: _LOCKS,
    errno.EOPNOTSUPP: _LOCKS,
    errno.ENOSYS: _LOCKS,
    errno.EMFILE: "This process may not open so many files: give `ulimit -n 4096` before, or a lower --concurrency",
    errno.ENFILE: "This machine has too many files open: end other programs, or raise fs.file-max",
    errno.EIO: "The disk fails: look at the system's log",
    errno.ENXIO: _GONE,
    errno.ENODEV: _GONE,
    errno.ESTALE: _GONE,
    errno.ENOTCONN: _GONE,
    errno.ETIMEDOUT: _GONE,
    errno.EHOSTDOWN: _GONE,
}
"""What meets every file alike. The rest is trouble of one name."""
_OF_A_NAME: Final[Mapping[int, str]] = {errno.ENAMETOOLONG: "Give the recording a shorter id"}


def meets_all(error: OSError) -> bool:
    """Whether any other file would be refused as well."""
    return error.errno in _ADVICE


def is_of_limits(error: OSError) -> bool:
    """Whether it is the number of open files that is refused, and not this file."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def check_limits(error: BaseException) -> None:
    """Raises ``UnavailableError`` if it is the number of open files that was refused: that is no file's trouble, and
    no recording's."""
    if isinstance(error, OSError) and is_of_limits(error):
        again = "then run the same command again: nothing that was done is lost"
        raise UnavailableError(f"{error.strerror}. {advice(error)}; {again}", kind=FailureKind.OPEN_FILES) from error


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Where nobody expected it, too, a disk that refuses everything is a message: raises ``UnavailableError``."""
    try:
        yield
    except OSError as error:
        if not meets_all(error):
            raise
        where = f"{error.filename}: " if error.filename else ""
        message = (
            f"{where}{error.strerror}. {advice(error)}; then run the same command again: what was recorded is safe"
        )
        raise UnavailableError(
            message, kind=FailureKind.OPEN_FILES if is_of_limits(error) else FailureKind.DISK
        ) from error


def advice(error: OSError, of_a_name: str = "") -> str:
    """What to do, as a sentence without its end; ``of_a_name``, if it is a name that is refused, and not that of a
    recording."""
    number = error.errno or 0
    return _ADVICE.get(number) or of_a_name or _OF_A_NAME.get(number) or "Give the recording another id"
