"""Files for their owner only: whatever may hold a signed link, a password or a secret, whatever the umask says.

Results are not among them: they are the user's, and keep to the umask.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from batch.storage.output_names import INNER

FOLDER: Final = 0o700
_FILE: Final = 0o600
_BESIDE: Final = ("", "-wal", "-shm")
"""What SQLite makes beside a database has the permissions that the database has by then."""


def make_folder(path: Path) -> None:
    """Make a directory for its owner only; those above it are made as the umask says. One that is there stays as it
    is, unless it is ours by its name: an older diarist has left it open. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(FOLDER, exist_ok=True)
    if path.name == INNER:
        _close(path, FOLDER)


def make_database(path: Path) -> None:
    """Let a database be its owner's before there is anything in it, and one that is there from now on.

    One that is there is not opened: closing it would drop the locks of whoever has it open in this process.
    """
    with contextlib.suppress(OSError):  # told by SQLite
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE))
        return
    for end in _BESIDE:
        _close(path.with_name(path.name + end), _FILE)


def opener(path: str, flags: int) -> int:
    """For ``open``: a file that is its owner's from the beginning, also if one of that name was left open."""
    descriptor = os.open(path, flags, _FILE)
    with contextlib.suppress(OSError):
        os.fchmod(descriptor, _FILE)
    return descriptor


def _close(path: Path, mode: int) -> None:
    """As far as it can be: not on a disk without permissions, nor where it is another user's."""
    with contextlib.suppress(OSError):
        path.chmod(mode)
