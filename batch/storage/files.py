"""Names that no power cut takes: a file is on disk only when its name is, too, and that of each directory above.

A system that loses power may forget, besides data, every name that was made, replaced or removed since its directory
was last synced (https://man7.org/linux/man-pages/man2/fsync.2.html).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from batch.storage import private_files

_MOST_KNOWN: Final = 10_000
_settled: dict[Path, None] = {}
_one_at_a_time: Final = threading.Lock()


def make(folder: Path, mode: int = 0o777) -> None:
    """Make a directory, and those above it that are not there; on return the names of all of them are on disk, also
    if somebody else has just made them, or was killed over it. Blocks."""
    folder = folder.absolute()
    if folder in _settled and folder.is_dir():
        return
    with _one_at_a_time:
        made = _make(folder, mode)
        for each in (folder, *folder.parents):
            if each in made:
                sync(each.parent)
            elif each in _settled:
                break
            else:
                with contextlib.suppress(OSError):  # not ours, and perhaps not to be opened
                    sync(each.parent)
        if len(_settled) > _MOST_KNOWN:
            _settled.clear()
        _settled.update(dict.fromkeys((folder, *folder.parents)))


def _make(folder: Path, mode: int) -> set[Path]:
    missing = {each for each in (folder, *folder.parents) if not each.exists()}
    folder.mkdir(mode, parents=True, exist_ok=True)
    return missing


def sync(path: Path) -> None:
    """What was written into a file, or named, renamed and removed in a directory, is so for good."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def rename(old: Path, new: Path) -> None:
    """Give a file another name in the same directory, for good."""
    old.rename(new)
    sync(new.parent)


@contextlib.contextmanager
def whole(path: Path, durable: bool = True, private: bool = False) -> Iterator[IO[bytes]]:
    """A file that is there whole or not at all: temporary file, fsync, rename, fsync of the directory. What can be
    made anew need not be ``durable``; what is ``private`` is for its owner only.

    The temporary name is the file's own, so that a leftover of a killed run is overwritten by the next.
    """
    if durable:
        make(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb", opener=private_files.opener if private else None) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)
