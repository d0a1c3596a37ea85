"""One run an output directory: a lock that a dead process cannot keep."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from batch.errors import FailureKind, UnavailableError
from batch.storage import disk_errors, files

_LOOK_SECONDS: Final = 0.01
_LOOKING_SECONDS: Final = 5.0
"""How soon, and for how long, the lock is tried again that others only look at."""


@contextlib.contextmanager
def held(path: Path, started: datetime) -> Iterator[None]:
    """Hold the lock file at ``path`` for as long as the context lasts.

    The system drops it with the process, however that ends. Raises ``UnavailableError``: of kind ``locked``, with the
    holder's host, process and start time, if another run holds it; of kind ``unlockable`` if nobody can.
    """
    who = f"host {socket.gethostname()}, process {os.getpid()}, since {started:%Y-%m-%d %H:%M:%S}\n"
    file = _locked(path)
    with contextlib.suppress(OSError):  # a full disk, which stops whoever needs it
        file.truncate(0)
        file.write(who.encode())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a disk that has gone: the lock went with it
            file.close()


def holder(path: Path) -> str | None:
    """Who holds the lock file at ``path`` just now (host, process, start); None if nobody does, or if that cannot be
    told here."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _noted(file)
    return None


def _locked(path: Path) -> IO[bytes]:
    with contextlib.ExitStack() as stack:
        try:
            files.make(path.parent)
            file = stack.enter_context(path.open("a+b", buffering=0))
            _take(file)
        except BlockingIOError:
            file.seek(0)
            where = f"another run is at work in {path.parent.parent}: {_noted(file)}"
            raise UnavailableError(
                f"{where}. Wait for it, or choose another --out", kind=FailureKind.LOCKED
            ) from None
        except OSError as error:
            advice = disk_errors.advice(error, "Choose another --out")
            raise UnavailableError(
                f"cannot lock {path}: {error.strerror}. {advice}", kind=FailureKind.UNLOCKABLE
            ) from error
        stack.pop_all()
    return file


def _take(file: IO[bytes]) -> None:
    """Lock the file. Whoever only looks (``holder``) shares the lock for a moment, and is waited for: where it can be
    shared no run holds it. Raises ``BlockingIOError`` if one does."""
    deadline = time.monotonic() + _LOOKING_SECONDS
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(file, fcntl.LOCK_UN)
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.0, _LOOK_SECONDS))


def _noted(file: IO[bytes]) -> str:
    return file.read().decode("utf-8", "replace").strip() or "an unknown process"
