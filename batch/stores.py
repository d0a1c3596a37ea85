"""Object stores: ``s3://``, ``gs://`` and ``az://`` through obstore, which finds its credentials in the environment.

Needs the extra ``[stores]``. Every function blocks, and raises ``batch.errors`` only: ``Permanent`` for what is one
object's trouble, ``Unavailable`` for credentials and stores that fail whoever asks, ``Usage`` for what is the
command's.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import io
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final, Literal, NamedTuple, cast

import msgspec

from batch import errors

SCHEMES: Final = ("s3://", "gs://", "az://")
_LIST_CHUNK: Final = 1000
_READ_BYTES: Final = 1 << 17
_BAD_CREDENTIALS: Final = (
    *("ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "TokenRefreshRequired"),
    *("AuthenticationFailed", "invalid_grant", "InvalidAuthenticationInfo", "credential"),
)
"""In the answer of a store to a request that is signed with something that it does not accept, whatever is asked."""


class Access(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the service gets audio from a store: by a signed ``link`` that lives for so long, or ``upload`` through us;
    auto: by link, unless the service is our own."""

    by: Literal["auto", "link", "upload"] = "auto"
    link_seconds: float = 86_400.0


class Found(NamedTuple):
    """An object: its URL, its size in bytes, and when it was modified, in ns since the epoch."""

    url: str
    size_bytes: int
    mtime_ns: int


def is_stored(source: str) -> bool:
    """Whether a source is an object, or a prefix, in a store."""
    return source.lower().startswith(SCHEMES)


def local_directory(out: str) -> Path:
    """Where results and journal of ``--out`` are kept: there, or for a store below ``results``."""
    return Path("results", *_parts(out)) if is_stored(out) else Path(out)


def look(url: str) -> Found:
    """What the store says of an object. Raises ``Permanent`` if it is not there, or may not be read."""
    store, path = _opened(url)
    with _explained(url):
        return _found(url, _obstore().head(store, path))


def listed(url: str) -> Iterator[Found]:
    """The objects under a prefix (``s3://bucket/calls/``) or that a glob matches (``s3://bucket/calls/*.wav``, whose
    ``*`` passes over slashes), in the store's order, as they come. Raises ``Usage`` if it cannot be listed."""
    head = url[: _glob_start(url)].rpartition("/")[0] + "/"
    store, prefix = _opened(head)
    try:
        with _explained(head):
            for chunk in _obstore().list(store, prefix=prefix or None, chunk_size=_LIST_CHUNK):
                for meta in chunk:
                    place = f"{_bucket(url)}/{meta['path']}"
                    if not is_glob(url) or fnmatch.fnmatchcase(place, url):
                        yield _found(place, meta)
    except errors.Permanent as error:
        raise errors.Usage(f"cannot list {head}: {error}", kind=error.kind) from None


def is_glob(url: str) -> bool:
    return _glob_start(url) < len(url)


def link(url: str, seconds: float) -> str | None:
    """A URL under which anybody can read the object for so long; None if it cannot be signed."""
    store, path = _opened(url)
    try:
        return cast(str, _obstore().sign(store, "GET", path, timedelta(seconds=seconds)))
    except Exception as error:
        if isinstance(error, _obstore().exceptions.BaseError | OSError | ValueError):
            return None
        raise


def reader(url: str, size_bytes: int | None = None, buffer_bytes: int = _READ_BYTES) -> IO[bytes]:
    """An object of so many bytes (None: asked for) as a file that is read where it is looked at, so many bytes at a
    time at least. It and its reads raise ``Permanent`` if the object is not there."""
    return io.BufferedReader(_Ranges(url, look(url).size_bytes if size_bytes is None else size_bytes), buffer_bytes)


def put(url: str, content: bytes) -> None:
    """Write an object, whole or not at all. Raises ``Unavailable`` if the store does not take it."""
    store, path = _opened(url)
    try:
        with _explained(url):
            _obstore().put(store, path, content)
    except errors.Permanent as error:
        raise errors.Unavailable(f"cannot write {url}: {error}", kind="store") from error


class _Ranges(io.RawIOBase):
    """Each read is one request."""

    def __init__(self, url: str, size_bytes: int) -> None:
        self._url, self._size_bytes, self._at = url, size_bytes, 0
        self._store, self._path = _opened(url)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast("B")
        length = min(len(room), self._size_bytes - self._at)
        if length <= 0:
            return 0
        with _explained(self._url):
            part = memoryview(_obstore().get_range(self._store, self._path, start=self._at, length=length))
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


def _bucket(url: str) -> str:
    scheme, _, rest = url.partition("://")
    bucket = rest.partition("/")[0]
    if not bucket:
        raise errors.Usage(f"{url} names no bucket: write it as {scheme}://bucket/path")
    return f"{scheme.lower()}://{bucket}"


def _opened(url: str) -> tuple[Any, str]:
    return _store(_bucket(url)), url.partition("://")[2].partition("/")[2]


@functools.cache
def _store(bucket: str) -> Any:
    """One client a bucket. Plain http is for stores that the environment places there: on this machine, mostly."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    plain = {"client_options": {"allow_http": True}} if endpoint.startswith("http://") else {}
    obstore = _obstore()
    try:
        return obstore.store.from_url(bucket, **plain)
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise errors.Usage(f"cannot open {bucket}: {_first_line(error)}") from None


def _obstore() -> Any:
    try:
        import obstore
        import obstore.store
    except ImportError:
        raise errors.Usage("object stores need obstore: pip install 'diarist[stores]'") from None
    return obstore


def _found(url: str, meta: Any) -> Found:
    modified: datetime = meta["last_modified"]
    return Found(url, meta["size"], int(modified.timestamp()) * 10**9)


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """A store's errors in our words."""
    exceptions = _obstore().exceptions
    try:
        yield
    except (exceptions.BaseError, OSError) as error:
        said = str(error)
        if any(word in said for word in _BAD_CREDENTIALS) or isinstance(error, exceptions.UnauthenticatedError):
            raise errors.Unavailable(
                f"the store does not accept the credentials for {_bucket(url)}: {_first_line(error)}. Renew them, "
                "then run the same command again",
                kind="store_credentials",
            ) from error
        if isinstance(error, FileNotFoundError | exceptions.NotFoundError) or "404" in said:
            message = f"{url} is not there: correct the path or restore the object"
            raise errors.Permanent(message, kind="missing") from error
        if isinstance(error, PermissionError | exceptions.PermissionDeniedError) or "403" in said:
            raise errors.Permanent(f"{url} may not be read with these credentials", kind="forbidden") from error
        raise errors.Unavailable(f"{url} cannot be reached: {_first_line(error)}", kind="store") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
