"""Standard input, output and error, made safe at the start: whoever reads along may leave, and harms nobody.

What goes to standard error is for onlookers: where it cannot be written it is lost, and the command goes on as if it
had been read. Standard output is the answer to a command: once nobody reads it any more the command ends quietly,
with 141 as if by SIGPIPE; a disk that refuses it is told.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Final, NoReturn, TextIO

from batch.errors import FailureKind, UnavailableError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NOBODY_READS: Final = 128 + 13
"""What a shell says of a command that SIGPIPE has ended."""


class _Onlookers(io.FileIO):
    """A descriptor to which writing always succeeds."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return self._written(data)
        except OSError as error:
            self._lost(error)
            return memoryview(data).nbytes

    def _written(self, data: ReadableBuffer) -> int:
        while (written := super().write(data)) is None:  # another process has made it non-blocking
            select.select([], [self], [])
        return written

    def _lost(self, error: OSError) -> None:
        pass


class _Asker(_Onlookers):
    """A descriptor to which writing ends the command where it does not succeed; what is left to write is dropped."""

    _is_lost = False

    def write(self, data: ReadableBuffer, /) -> int:
        return memoryview(data).nbytes if self._is_lost else super().write(data)

    def _lost(self, error: OSError) -> NoReturn:
        self._is_lost = True
        if error.errno == errno.EPIPE:
            raise SystemExit(_NOBODY_READS) from None
        raise UnavailableError(
            f"cannot write to standard output: {error.strerror}", kind=FailureKind.OUTPUT
        ) from None


def guard() -> None:
    """Put safe streams in place of the process's own; those that somebody else has put there stay.

    A descriptor that was closed would be given to the next file that is opened, the journal even, and whatever is
    printed would be written into it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            _fill(descriptor)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(_Asker(1, "w", closefd=False), sys.__stdout__)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Onlookers(2, "w", closefd=False), sys.__stderr__, at_once=True)


def in_utf8() -> None:
    """Begin the process anew in Python's UTF-8 mode if the locale is another. What is shown keeps its encoding.

    Names of files are UTF-8 whatever the locale of a cron job: else the same file has another key there, which is
    paid for again, or cannot be named at all.
    """
    if sys.getfilesystemencoding() != "utf-8" and sys.executable:
        os.environ.setdefault("PYTHONIOENCODING", sys.stderr.encoding)
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def standard_input() -> IO[bytes] | None:
    """None if the process was started without."""
    return sys.stdin.buffer if sys.stdin else None


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """What was written to standard output is on its way when the context ends, however it does."""
    try:
        yield
    finally:
        sys.stdout.flush()


def leave(code: int) -> NoReturn:
    """End the process at once: a thread that still reads a silent pipe or a large file is not waited for."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _fill(descriptor: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(descriptor, True)


def _text(raw: io.FileIO, old: TextIO | None, *, at_once: bool = False) -> TextIO:
    """In the encoding that was chosen for the stream; what that has no character for is written as its number."""
    if isinstance(old, io.TextIOWrapper):
        at_once = at_once or old.line_buffering or old.write_through
    encoding = old.encoding if old else "utf-8"
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=at_once)
