"""Object stores: ``s3://``, ``gs://`` and ``az://``, with credentials from where the cloud's own tools have them.

Needs the extra ``[stores]``. Every function blocks, and raises ``batch.errors`` only: ``RecordingError`` for what is
one object's trouble, ``UnavailableError`` for credentials and stores that fail whoever asks, ``UsageError`` for what
is the command's.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from batch import errors
from batch.errors import FailureKind
from batch.model import Stamp, nearest_ns
from batch.storage import buckets
from batch.storage.buckets import Bucket, Explanation, Meta, Odd, Trouble
from batch.storage.locations import is_stored

_READ_BYTES: Final = 1 << 17
_TRIAL: Final = ".diarist-doctor"
_opening: Final = threading.Lock()


class Found(NamedTuple):
    """An object: its URL, its size in bytes, when it was modified, in ns since the epoch, and its ETag, if it has
    one: as the store gives it, without the quotes."""

    url: str
    size_bytes: int
    mtime_ns: int
    etag: str | None

    @property
    def stamp(self) -> Stamp:
        return Stamp(self.size_bytes, self.mtime_ns, self.etag)


class Unlisted(NamedTuple):
    """An object that a listing tells of and that cannot be read, and why."""

    url: str
    reason: str


def local_directory(out: str) -> Path:
    """Where results and journal of ``--out`` are kept: there, or for a store below ``results``."""
    return Path("results", *_parts(out)) if is_stored(out) else Path(out)


def bucket_of(url: str) -> str:
    """``s3://bucket``. Raises ``UsageError`` if the URL names none."""
    scheme, _, rest = url.partition("://")
    bucket = rest.partition("/")[0]
    if not bucket:
        raise errors.UsageError(f"{url} names no bucket: write it as {scheme}://bucket/path")
    return f"{scheme.lower()}://{bucket}"


def look(url: str) -> Found:
    """What the store says of an object. Raises ``RecordingError`` if it is not there, or may not be read."""
    bucket, key = _opened(url)
    with _explained(url, bucket):
        try:
            return _found(url, bucket.head(key))
        except bucket.failures as error:
            if not bucket.explain(error).code:
                bucket.get_range(key, 0, 1)  # the answer to a HEAD has no body to say why: that to a GET has
            raise


def listed(url: str) -> Iterator[Found | Unlisted]:
    """The objects under a prefix (``s3://bucket/calls/``) or that a glob matches (``s3://bucket/calls/*.wav``, whose
    ``*`` passes over slashes), in the store's order, as they come. Raises ``UsageError`` if it cannot be listed."""
    for found in listed_all(url[: _glob_start(url)].rpartition("/")[0] + "/"):
        if not is_glob(url) or isinstance(found, Unlisted) or fnmatch.fnmatchcase(found.url, url):
            yield found


def listed_all(prefix: str) -> Iterator[Found | Unlisted]:
    """Every object whose URL begins with ``prefix``, whatever its key holds; but for the empty ones that end in a
    slash, which stand for folders. Raises ``UsageError`` if it cannot be listed."""
    bucket, start = _opened(prefix)
    root = bucket_of(prefix)
    try:
        with _explained(prefix, bucket):
            for meta in bucket.list(start):
                if isinstance(meta, Odd):
                    yield Unlisted(f"{root}/{meta.key}", meta.reason)
                elif meta.size_bytes or not meta.key.endswith("/"):
                    yield _found(f"{root}/{meta.key}", meta)
    except errors.RecordingError as error:
        raise errors.UsageError(f"cannot list {prefix}: {error}", kind=error.kind) from None


def is_glob(url: str) -> bool:
    return _glob_start(url) < len(url)


def is_prefix(url: str) -> bool:
    """Whether a URL stands for all that is below it, or that it matches."""
    return url.endswith("/") or is_glob(url)


def link(url: str, seconds: float) -> str | None:
    """A URL under which anybody can read the object for so long; None if it cannot be signed."""
    bucket, key = _opened(url)
    try:
        return bucket.sign(key, seconds)
    except bucket.failures:
        return None


def reader(url: str, size_bytes: int | None = None, buffer_bytes: int = _READ_BYTES) -> IO[bytes]:
    """An object of so many bytes (None: asked for) as a file that is read where it is looked at, so many bytes at a
    time at least. It and its reads raise ``RecordingError`` if the object is not there."""
    return io.BufferedReader(_Ranges(url, look(url).size_bytes if size_bytes is None else size_bytes), buffer_bytes)


def head(url: str, length: int) -> bytes:
    """The first ``length`` bytes of an object, or as many as it has. Raises ``RecordingError`` if it is not there."""
    bucket, key = _opened(url)
    try:
        with _explained(url, bucket):
            return bucket.get_range(key, 0, length)
    except errors.RecordingError as error:
        if error.kind is FailureKind.CHANGED:  # nothing begins at the first byte of an empty one
            return b""
        raise


def get(url: str) -> bytes:
    """A whole object. Raises ``RecordingError`` if it is not there."""
    bucket, key = _opened(url)
    with _explained(url, bucket):
        return bucket.get(key)


def put(url: str, content: bytes) -> None:
    """Write an object, whole or not at all. Raises ``UnavailableError`` if the store does not take it,
    ``PostponedError`` if it takes none of this name."""
    bucket, key = _opened(url)
    try:
        with _explained(url, bucket):
            bucket.put(key, content)
    except errors.RecordingError as error:
        reach = errors.PostponedError if error.kind is FailureKind.UNREADABLE else errors.UnavailableError
        raise reach(f"cannot write {url}: {error}", kind=FailureKind.STORE) from error


def try_to_write(prefix: str) -> str:
    """Write an object below ``prefix`` and delete it; its URL if it may not be deleted. Raises as ``put``."""
    url = f"{prefix.rstrip('/')}/{_TRIAL}"
    put(url, b"diarist doctor looked whether it may write here\n")
    bucket, key = _opened(url)
    try:
        with _explained(url, bucket):
            bucket.delete(key)
    except errors.RecordingError:
        return url
    return ""


class _Ranges(io.RawIOBase):
    """Each read is one request."""

    def __init__(self, url: str, size_bytes: int) -> None:
        self._url, self._size_bytes, self._at = url, size_bytes, 0
        self._bucket, self._key = _opened(url)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast("B")
        length = min(len(room), self._size_bytes - self._at)
        if length <= 0:
            return 0
        with _explained(self._url, self._bucket):
            part = self._bucket.get_range(self._key, self._at, length)
        room[: len(part)] = part
        self._at += len(part)
        return len(part)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size_bytes}[whence])
        return self._at


def _glob_start(url: str) -> int:
    return next((number for number, mark in enumerate(url) if mark in "*?["), len(url))


def _parts(url: str) -> list[str]:
    return [part for part in url.partition("://")[2].split("/") if part not in ("", ".", "..")]


def _opened(url: str) -> tuple[Bucket, str]:
    with _opening:  # once, however many threads ask
        return _store(bucket_of(url)), url.partition("://")[2].partition("/")[2]


@functools.cache
def _store(bucket: str) -> Bucket:
    """One client a bucket."""
    scheme, _, name = bucket.partition("://")
    return buckets.opened(scheme, name)


def _found(url: str, meta: Meta) -> Found:
    modified = int(meta.modified.timestamp()) * 10**9
    etag = meta.etag.strip('"') if meta.etag else None
    return Found(url, meta.size_bytes, nearest_ns(modified), etag)


class _Words(NamedTuple):
    """How far a store's trouble reaches, and what is said of it."""

    reach: Callable[..., errors.DiaristError]
    kind: FailureKind
    message: str


_WORDS: Final[Mapping[Trouble, _Words]] = {
    Trouble.CREDENTIALS: _Words(
        errors.UnavailableError,
        FailureKind.STORE_CREDENTIALS,
        "the store does not accept the credentials for {bucket}: {said}. Renew them, then run the same command again",
    ),
    Trouble.AWAY: _Words(
        errors.UnavailableError,
        FailureKind.STORE,
        "{url} cannot be reached: {said}. Run the same command again once it answers",
    ),
    Trouble.NO_BUCKET: _Words(
        errors.RecordingError,
        FailureKind.MISSING,
        "{url} is not there: there is no bucket {bucket}: correct the name",
    ),
    Trouble.MISSING: _Words(
        errors.RecordingError, FailureKind.MISSING, "{url} is not there: correct the path or restore the object"
    ),
    Trouble.FORBIDDEN: _Words(
        errors.RecordingError, FailureKind.FORBIDDEN, "{url} may not be read with these credentials"
    ),
    Trouble.ARCHIVED: _Words(
        errors.RecordingError, FailureKind.FORBIDDEN, "{url} is archived: restore it in the store, then run again"
    ),
    Trouble.BEYOND: _Words(
        errors.RecordingError, FailureKind.CHANGED, "{url} was changed while it was read: run again when it is whole"
    ),
    Trouble.REFUSED: _Words(errors.RecordingError, FailureKind.UNREADABLE, "{url} cannot be read: {said}"),
}


@contextlib.contextmanager
def _explained(url: str, bucket: Bucket) -> Iterator[None]:
    """A store's errors in our words."""
    try:
        yield
    except bucket.failures as error:
        explained: Explanation = bucket.explain(error)
        words = _WORDS[explained.trouble]
        message = words.message.format(url=url, bucket=bucket_of(url), said=explained.said)
        raise words.reach(message, kind=words.kind) from error
