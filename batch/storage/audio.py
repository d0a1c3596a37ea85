"""Where a recording's audio is: a file, an object in a store, or a URL that the service reads by itself."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import IO, Final, NamedTuple

from batch.errors import FailureKind, RecordingError
from batch.model import Stamp, nearest_ns
from batch.storage import disk_errors, object_stores
from batch.storage.locations import is_stored

_SMALLEST_CHUNK_BYTES, _LARGEST_CHUNK_BYTES = 1 << 18, 1 << 22
_CHUNKS_BYTES: Final = 1 << 24


class AudioLimits(NamedTuple):
    """Which recordings a provider accepts: the most bytes that can be sent, and the lengths in seconds."""

    largest_bytes: int = sys.maxsize
    shortest_seconds: float = 0.0
    longest_seconds: float = math.inf


ANY_AUDIO: Final = AudioLimits()


def chunk_bytes(uploads: int) -> int:
    """The size of chunks with so many uploads at once, 16 MiB in all: large chunks are quickest, but many of them
    would fill the memory and stall the loop (``tests/bench/upload.py``)."""
    return min(_LARGEST_CHUNK_BYTES, max(_SMALLEST_CHUNK_BYTES, _CHUNKS_BYTES // uploads))


def stamp(path: str) -> Stamp | None:
    """The stamp of a file or a stored object, or None if there is none that can be read. Blocks for one look."""
    if is_stored(path):
        with contextlib.suppress(RecordingError):
            return object_stores.look(path).stamp
        return None
    try:
        facts = os.stat(path)  # noqa: PTH116 (a hot path)
    except OSError:
        return None
    return stamp_of(facts)


def stamp_of(facts: os.stat_result) -> Stamp:
    """The stamp in what the system says of a file."""
    return Stamp(facts.st_size, nearest_ns(facts.st_mtime_ns))


def digest(path: str, is_wanted: Callable[[], bool] = lambda: True) -> str:
    """The file's SHA-256 in hexadecimal. Blocks while it reads the file, or until it is not wanted any more, when the
    digest is none; raises OSError. Stored objects are known by their stamps: reading them costs."""
    found = hashlib.sha256()
    with Path(path).open("rb", buffering=0) as file:
        while is_wanted() and (chunk := file.read(_SMALLEST_CHUNK_BYTES)):
            found.update(chunk)
    return found.hexdigest()


def check(path: str, size_bytes: int | None = None, limits: AudioLimits = ANY_AUDIO) -> Stamp | None:
    """Raises ``RecordingError`` if the file or stored object cannot be sent, as sending it would, word for word;
    else gives its stamp. Of an object whose size is known of a listing only that is looked at, and there is none."""
    if size_bytes is not None and is_stored(path):
        _check_size(path, size_bytes, limits)
        return None
    stamp, file = _opened(path, limits)
    file.close()
    return stamp


class AudioFile:
    """A recording in a file or a store, open for one upload: ``chunks`` gives its bytes, ``sha256`` afterwards their
    digest.

    Making and closing it blocks for a moment. Raises ``RecordingError`` naming what is wrong with the file: missing,
    unreadable, not a file, empty, beyond the ``limits``, or changed while it was being read.
    """

    def __init__(
        self,
        path: str,
        executor: Executor,
        on_bytes_sent: Callable[[int], None] = lambda sent: None,
        chunk_bytes: int = _SMALLEST_CHUNK_BYTES,
        limits: AudioLimits = ANY_AUDIO,
    ) -> None:
        self.path, self._executor, self._on_bytes_sent, self._chunk_bytes = path, executor, on_bytes_sent, chunk_bytes
        self.stamp, self._file = _opened(path, limits)
        self._digest = hashlib.sha256()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in order. While one chunk is sent the next is read and digested, off the loop.

        Whoever sends them may stop at the last byte without asking for more, or be cancelled anywhere: so nothing
        that matters happens after a ``yield``, and the file is closed by its owner.
        """
        left = self.stamp.size_bytes
        try:
            reading = self._read(left)
            while left and (chunk := await reading):
                left -= len(chunk)
                reading = self._read(left)
                self._on_bytes_sent(len(chunk))
                yield chunk
        except OSError as error:
            disk_errors.check_limits(error)
            raise RecordingError(
                f"{self.path} cannot be read: {error.strerror}", kind=FailureKind.UNREADABLE
            ) from error
        if left:
            raise self._changed()

    def _read(self, left: int) -> asyncio.Future[bytes]:
        """The next chunk, digested; nobody may want it any more, and the file may be closed by then."""
        size = min(self._chunk_bytes, left)
        reading = asyncio.get_running_loop().run_in_executor(self._executor, self._digested, size)
        reading.add_done_callback(lambda read: read.cancelled() or read.exception())
        return reading

    def _digested(self, size: int) -> bytes:
        chunk = self._file.read(size)
        self._digest.update(chunk)
        return chunk

    def sha256(self) -> str:
        """The digest in hexadecimal of the bytes that ``chunks`` has given to their end, after a last look at the
        file. Blocks for one look."""
        if stamp(self.path) != self.stamp:
            raise self._changed()
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()

    def _changed(self) -> RecordingError:
        return RecordingError(
            f"{self.path} was changed while it was uploaded: run again when it is whole", kind=FailureKind.CHANGED
        )


def _opened(path: str, limits: AudioLimits) -> tuple[Stamp, IO[bytes]]:
    if is_stored(path):
        found = object_stores.look(path)
        _check_size(path, found.size_bytes, limits)
        return found.stamp, object_stores.reader(path, found.size_bytes)
    try:
        facts = Path(path).stat()
        _check(path, facts, limits)
        return stamp_of(facts), Path(path).open("rb", buffering=0)
    except FileNotFoundError:
        raise RecordingError(
            f"{path} is not there: correct the path or restore the file", kind=FailureKind.MISSING
        ) from None
    except OSError as error:
        disk_errors.check_limits(error)
        raise RecordingError(f"{path} cannot be read: {error.strerror}", kind=FailureKind.UNREADABLE) from error


def _check(path: str, facts: os.stat_result, limits: AudioLimits) -> None:
    """Before it is opened: a pipe or a device would block."""
    if not stat.S_ISREG(facts.st_mode):
        raise RecordingError(f"{path} is not a file", kind=FailureKind.UNREADABLE)
    _check_size(path, facts.st_size, limits)


def _check_size(path: str, size_bytes: int, limits: AudioLimits) -> None:
    if size_bytes == 0:
        raise RecordingError(f"{path} is empty (0 bytes)", kind=FailureKind.EMPTY)
    if size_bytes > limits.largest_bytes:
        raise RecordingError(
            f"{path} has {size_bytes / 1e9:.1f} GB and an upload may have {limits.largest_bytes / 1e9:.1f}: "
            "give a URL that the service can read instead",
            kind=FailureKind.TOO_LARGE,
        )
