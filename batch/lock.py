"""One run an output directory: a lock that a dead process cannot keep."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from batch import refusals
from batch.errors import Unavailable


@contextlib.contextmanager
def held(path: Path, started: datetime) -> Iterator[None]:
    """Hold the lock file at ``path`` for as long as the context lasts.

    The system drops it with the process, however that ends. Raises ``Unavailable``: of kind ``locked``, with the
    holder's host, process and start time, if another run holds it; of kind ``unlockable`` if nobody can.
    """
    who = f"host {socket.gethostname()}, process {os.getpid()}, since {started:%Y-%m-%d %H:%M:%S}\n"
    with _locked(path) as file:
        file.truncate(0)
        with contextlib.suppress(OSError):  # a full disk, which stops whoever needs it
            file.write(who.encode())
        yield


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
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+b", buffering=0))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            where = f"another run is at work in {path.parent.parent}: {_noted(file)}"
            raise Unavailable(f"{where}. Wait for it, or choose another --out", kind="locked") from None
        except OSError as error:
            advice = refusals.advice(error, "Choose another --out")
            raise Unavailable(f"cannot lock {path}: {error.strerror}. {advice}", kind="unlockable") from error
        stack.pop_all()
    return file


def _noted(file: IO[bytes]) -> str:
    return file.read().decode("utf-8", "replace").strip() or "an unknown process"
