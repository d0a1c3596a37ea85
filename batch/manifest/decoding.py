"""Bytes of a manifest: decompressed as they come, and cut into numbered lines of text."""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final, cast

from batch.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BOM: Final = b"\xef\xbb\xbf"
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_GZIP: Final = re.compile(rb"\x1f\x8b")
_ZSTD: Final = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
"""RFC 8878, 3.1.1: a frame, or a skippable one, with which parallel compressors begin."""
COMPRESSED: Final = (".gz", ".zst", ".zstd")
_HEAD_BYTES: Final = 1 << 20
_HEAD_LINES: Final = 1000
_REMEMBERED: Final = 1000
Comment = Callable[[str], None]


def unheard(comment: str) -> None:
    """Nobody asks for comments."""


class Source(io.BufferedReader):
    """The bytes of a manifest, decompressed if their first ones say so. Where compressed data are damaged or cut off
    the bytes end, and ``damage`` says what is wrong."""

    def __init__(self, stream: IO[bytes]) -> None:
        packed = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
        magic = packed.peek(4)
        if _GZIP.match(magic):
            self._unpacked = _Unpacked(gzip.GzipFile(fileobj=packed), "gzip")
        elif _ZSTD.match(magic):
            self._unpacked = _Unpacked(zstd.ZstdFile(packed), "zstd")
        else:
            self._unpacked = _Unpacked(packed, "")
        super().__init__(self._unpacked)

    @property
    def damage(self) -> str:
        return self._unpacked.damage

    @property
    def is_compressed(self) -> bool:
        return bool(self._unpacked.kind)


class _Unpacked(io.RawIOBase):
    def __init__(self, packed: Any, kind: str) -> None:
        self.damage, self.kind = "", kind
        self._packed = packed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer).cast("B")
        try:
            part = self._packed.read1(len(room))
        except EOFError:
            self.damage = f"the manifest ends in the middle of its {self.kind} data: copy it again"
        except (gzip.BadGzipFile, zlib.error, zstd.ZstdError) as error:
            self.damage = f"the manifest is damaged from here on: its {self.kind} data are broken ({error})"
        else:
            room[: len(part)] = part
            return len(part)
        return 0


class Lines:
    """Numbered text lines of a byte stream, decoded one by one, so that a bad byte spoils one line only. ``comment``
    is told of those that their reader passes over as comments."""

    def __init__(self, stream: Iterable[bytes], source: Source | None = None, comment: Comment = unheard) -> None:
        self.number, self.comment = 0, comment
        self._bad: dict[int, str] = {}
        self._stream, self._source = iter(stream), source

    @property
    def damage(self) -> str:
        return self._source.damage if self._source else ""

    def __iter__(self) -> Iterator[str]:
        for raw in self._stream:
            if self.damage and not raw.endswith(b"\n"):
                return  # a line that was cut off may still look like a whole one
            self.number += 1
            yield self._decoded(raw.removeprefix(_BOM) if self.number == 1 else raw)

    def _decoded(self, raw: bytes) -> str:
        if self.number == 1 and raw.startswith(_UTF16):
            raise UsageError("the manifest is UTF-16: save it as UTF-8")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self._note(f"not UTF-8: byte {raw[error.start]:#04x} at byte {error.start + 1} of the line")
            return raw.decode("utf-8", "replace")
        if "\0" in text:
            self._note("the line holds a NUL character")
            return text.replace("\0", "")
        return text

    def _note(self, problem: str) -> None:
        if len(self._bad) >= _REMEMBERED:
            del self._bad[next(iter(self._bad))]
        self._bad[self.number] = problem

    def problem(self, *numbers: int) -> str:
        """What was wrong with the first bad one of these lines, which are among the last thousand bad ones."""
        return next((self._bad[number] for number in numbers if number in self._bad), "") if self._bad else ""

    def first_problem(self) -> str:
        return next((f"line {number}: {problem}" for number, problem in self._bad.items()), "")


def first_telling(source: Source) -> tuple[list[bytes], str]:
    """The lines up to the first that is neither blank nor a comment, which are to be read again; and that one's text,
    or as much of it as tells what it is. Only of JSON that is all of it: a line of any length may be one row, while
    a recording without line breaks should not be read to its end to see that it is no manifest."""
    head: list[bytes] = []
    while len(head) < _HEAD_LINES and (raw := source.readline(_HEAD_BYTES)):
        text = raw.removeprefix(_BOM).strip()
        is_telling = bool(text) and not text.startswith(b"#")
        if not is_telling or text.startswith((b"{", b"[")):
            raw += _rest(raw, source)
        head.append(raw)
        if is_telling:
            return head, raw.removeprefix(_BOM).strip().decode("utf-8", "replace")
    return head, ""


def whole(head: list[bytes], source: Source) -> Iterator[bytes]:
    """The lines of ``head``, the last of which may go on in ``source``."""
    yield from head[:-1]
    if head:
        yield head[-1] + _rest(head[-1], source)


def _rest(raw: bytes, source: Source) -> bytes:
    """What is left of a line of which ``raw`` was read."""
    return b"" if raw.endswith(b"\n") else source.readline()
