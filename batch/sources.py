"""Where a recording's audio is: its size and its bytes, or a URL that the service reads by itself."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import aiofiles.threadpool

from batch.errors import Permanent
from batch.protocol import UPLOAD_LIMIT_BYTES

_CHUNK_BYTES: Final = 256 * 1024
"""Large enough for a Gbit/s, small enough that fifty uploads neither stall the loop nor fill the memory."""


class Stamp(NamedTuple):
    """What tells cheaply whether a file was changed: its size in bytes and its time of modification in ns."""

    size_bytes: int
    mtime_ns: int


def is_url(source: str) -> bool:
    """Whether the service reads this source itself."""
    return source.startswith(("http://", "https://"))


def stamp(path: str) -> Stamp | None:
    """The file's stamp, or None if there is no readable file. Blocks for one ``stat``."""
    try:
        facts = os.stat(path)  # noqa: PTH116 (a hot path)
    except OSError:
        return None
    return Stamp(facts.st_size, facts.st_mtime_ns)


def digest(path: str) -> str:
    """The file's SHA-256 in hexadecimal. Blocks while it reads the file; raises OSError."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LocalFile:
    """A local recording, open for one upload: ``chunks`` gives its bytes, ``sha256`` afterwards their digest.

    Making and closing it blocks for a moment. Raises ``Permanent`` naming what is wrong with the file: missing,
    unreadable, not a file, empty, too large for an upload, or changed while it was being read.
    """

    def __init__(self, path: str, executor: Executor, notify: Callable[[int], None] = lambda sent: None) -> None:
        self.path, self._executor, self._notify = path, executor, notify
        self.stamp, self._file = _opened(path)
        self._digest = hashlib.sha256()
        self._digesting: asyncio.Future[None] | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in order. The digest is made beside the sending, off the loop.

        Whoever sends them may stop at the last byte without asking for more, or be cancelled anywhere: so nothing
        that matters happens after a ``yield``, and the file is closed by its owner.
        """
        loop, left = asyncio.get_running_loop(), self.stamp.size_bytes
        file = aiofiles.threadpool.wrap(self._file, loop=loop, executor=self._executor)
        try:
            while left and (chunk := await file.read(min(_CHUNK_BYTES, left))):
                left -= len(chunk)
                self._digesting = loop.run_in_executor(self._executor, self._digest.update, chunk)
                self._notify(len(chunk))
                yield chunk
                await asyncio.wait([self._digesting])
        except OSError as error:
            raise Permanent(f"{self.path} cannot be read: {error.strerror}", kind="unreadable") from error
        if left:
            raise self._changed()

    async def sha256(self) -> str:
        """The digest in hexadecimal of exactly the bytes that ``chunks`` has given, and a last look at the file."""
        if self._digesting:
            await self._digesting
        if stamp(self.path) != self.stamp:
            raise self._changed()
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()

    def _changed(self) -> Permanent:
        return Permanent(f"{self.path} was changed while it was uploaded: run again when it is whole", kind="changed")


def _opened(path: str) -> tuple[Stamp, BinaryIO]:
    try:
        facts = Path(path).stat()
        _check(path, facts)
        return Stamp(facts.st_size, facts.st_mtime_ns), Path(path).open("rb")
    except FileNotFoundError:
        raise Permanent(f"{path} is not there: correct the path or restore the file", kind="missing") from None
    except OSError as error:
        raise Permanent(f"{path} cannot be read: {error.strerror}", kind="unreadable") from error


def _check(path: str, facts: os.stat_result) -> None:
    """Before it is opened: a pipe or a device would block."""
    if not stat.S_ISREG(facts.st_mode):
        raise Permanent(f"{path} is not a file", kind="unreadable")
    if facts.st_size == 0:
        raise Permanent(f"{path} is empty (0 bytes)", kind="empty")
    if facts.st_size > UPLOAD_LIMIT_BYTES:
        raise Permanent(
            f"{path} has {facts.st_size / 1e9:.1f} GB and an upload may have {UPLOAD_LIMIT_BYTES / 1e9:.1f}: "
            "give a URL that the service can read instead",
            kind="too_large",
        )
