"""Audio as files of one directory: there whole or not at all, and never more than the disk or a budget has room for.

A name is 32 hexadecimal digits of ours, so no path that a caller makes up leads anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import shutil
import threading
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import aiofiles

from batch.storage import files

FETCHED: Final = ".fetched"
"""The ending of audio that was fetched for one job, and is removed with it."""
_UNFINISHED: Final = ".part"
_NAME: Final = re.compile(r"[0-9a-f]{32}")
_LINK: Final = re.compile(r"https?://[^/?#\s]+/upload/([0-9a-f]{32})")
_LEAST_RESERVE_BYTES: Final = 16_000_000  # the database's write-ahead log takes four before it is folded back
_MOST_RESERVE_BYTES: Final = 1_000_000_000
_RESERVE_SHARE: Final = 0.05
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

MakeRoom = Callable[[int], Awaitable[None]]


class Full(Exception):
    """There is no room for it. The message says where, and what to do."""


def name_of(audio_url: str) -> str | None:
    """The name of the upload that a link leads to, if it is one of ours."""
    found = _LINK.fullmatch(audio_url)
    return found[1] if found else None


class Uploads:
    """What lies in ``directory``, made if need be. What an earlier life of the service has left half done is removed.

    At most ``budget_bytes`` are taken; a twentieth of the disk, 16 MB to 1 GB, is left to the database and to others.
    What has more bytes than ``largest`` will never have room.
    """

    def __init__(self, directory: Path, budget_bytes: int | None = None) -> None:
        files.make(directory, 0o700)
        self.directory, self._budget_bytes = directory, budget_bytes
        total = shutil.disk_usage(directory).total
        self._reserve_bytes = min(_MOST_RESERVE_BYTES, max(_LEAST_RESERVE_BYTES, int(total * _RESERVE_SHARE)))
        self.largest = min(total - self._reserve_bytes, total if budget_bytes is None else budget_bytes)
        for path in directory.iterdir():
            if not _NAME.fullmatch(path.name):
                path.unlink()
        self._used = sum(path.stat().st_size for path in directory.iterdir())
        self._awaited = 0  # of those used, the bytes that are yet to be written
        self._lock = threading.Lock()

    def path(self, name: str) -> Path | None:
        """The file of an upload that is there."""
        path = self.directory / name
        return path if _NAME.fullmatch(name) and path.is_file() else None

    def all(self) -> list[Path]:
        """Every whole upload, the oldest first. Blocks."""
        dated = []
        for entry in os.scandir(self.directory):
            with contextlib.suppress(FileNotFoundError):
                if _NAME.fullmatch(entry.name):
                    dated.append((entry.stat().st_mtime, entry.path))
        return [Path(path) for _, path in sorted(dated)]

    def remove(self, path: Path) -> int:
        """Remove a file that may be gone already; return its size. Blocks."""
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            path.unlink()
            self._take(-size, awaited=0)
            return size
        return 0

    @contextlib.asynccontextmanager
    async def receive(self, promised: int, make_room: MakeRoom, ending: str = "") -> AsyncIterator[IncomingUpload]:
        """A new file, of which so many bytes are promised. Unless it is kept, nothing of it stays."""
        arrival = IncomingUpload(self, self.directory / (uuid.uuid4().hex + ending), make_room, promised)
        try:
            await arrival.has_room(promised)
            async with aiofiles.open(arrival.unfinished, "wb") as arrival.file:
                yield arrival
        finally:
            arrival.release()

    def lacking(self, size: int) -> int:
        """How many bytes must be freed before so many more can be taken; 0 if none."""
        over = self._used + size - self._budget_bytes if self._budget_bytes is not None else 0
        room = os.statvfs(self.directory)
        free = room.f_bavail * room.f_frsize - self._awaited - self._reserve_bytes
        return max(0, over, size - free)

    def _take(self, size: int, awaited: int) -> None:
        with self._lock:
            self._used += size
            self._awaited += awaited


class IncomingUpload:
    """A file on its way. Raises Full where there is no room for it, even after ``make_room``.

    It holds as much room ahead as it has already brought, up to what is ``promised``: a promise alone takes nothing
    from others, and whoever brings most is sure of the rest first.
    """

    def __init__(self, uploads: Uploads, path: Path, make_room: MakeRoom, promised: int) -> None:
        self.size = 0
        self.unfinished = path.with_name(path.name + _UNFINISHED)
        self.file: Any = None
        self._uploads, self._path, self._make_room = uploads, path, make_room
        self._promised, self._claimed, self._kept = promised, 0, False

    async def has_room(self, size: int) -> None:
        """Whether there is room for so many bytes more, just now."""
        if lacking := self._uploads.lacking(size):
            await self._make_room(lacking)
        if lacking := self._uploads.lacking(size):
            raise Full(f"The service has no room for this audio ({lacking:,} bytes are lacking): try again later")

    async def _claim(self, size: int) -> None:
        """Hold room for so many bytes in all."""
        more = size - self._claimed
        await self.has_room(more)
        self._uploads._take(more, awaited=more)
        self._claimed = size

    async def add(self, chunk: bytes) -> None:
        size = self.size + len(chunk)
        if size > self._claimed:
            await self._claim(max(size, min(2 * size, self._promised)))
        with _told():
            await self.file.write(chunk)
        self._uploads._take(0, awaited=-len(chunk))
        self.size += len(chunk)

    async def keep(self) -> Path:
        """Put it in its place: it is on disk before anybody is told that it is there."""
        with _told():
            await self.file.flush()
            await asyncio.to_thread(_settle, self.file.fileno(), self.unfinished, self._path)
        self._kept = True
        return self._path

    def release(self) -> None:
        """What was claimed and is not used."""
        if not self._kept:
            self.unfinished.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
        unused = self._claimed - (self.size if self._kept else 0)
        self._uploads._take(-unused, awaited=self.size - self._claimed)


def _settle(file: int, unfinished: Path, path: Path) -> None:
    os.fsync(file)
    files.rename(unfinished, path)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """A disk that is full after all, because others write on it, too, in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise Full("The disk of the service is full: try again later") from error
        raise
