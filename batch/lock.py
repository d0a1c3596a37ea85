"""One run an output directory: a lock that a dead process cannot keep."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from batch.errors import Unavailable


@contextlib.contextmanager
def held(path: Path, started: datetime) -> Iterator[None]:
    """Hold the lock file at ``path`` for as long as the context lasts.

    The system drops it with the process, however that ends. Raises ``Unavailable`` with the holder's host, process
    and start time if another run holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "an unknown process"
            raise Unavailable(
                f"another run is at work in {path.parent.parent}: {holder}. Wait for it, or choose another --out",
                kind="locked",
            ) from None
        file.truncate(0)
        file.write(f"host {socket.gethostname()}, process {os.getpid()}, since {started:%Y-%m-%d %H:%M:%S}\n")
        file.flush()
        yield


def holder(path: Path) -> str | None:
    """Who holds the lock file at ``path`` just now (host, process, start); None if nobody does."""
    with contextlib.suppress(FileNotFoundError), path.open("r", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read().strip() or "an unknown process"
    return None
