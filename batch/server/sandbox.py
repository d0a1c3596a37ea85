"""What one job may take of its worker process: time, memory, no core file. Set inside the worker, kept by the kernel.

The kernel's limits hold where Python does not run, too: in a decoder that loops, or one that asks for all the memory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from batch.engine.interface import BadAudio, EngineMissing

_LEAST_MEMORY: Final = 2_000_000_000  # the built-in engine: an hour of audio in less than half of it
_SHARE: Final = 0.8  # of the machine's memory, for all workers together

_BASE_SECONDS: Final = 300.0
_BYTES_A_SECOND: Final = 500  # nobody packs a second of speech into less
_FACTOR: Final = 3.0  # seconds of work for a second of audio, where engines need 0.1 to 1
_LONGEST_SECONDS: Final = 10 * 3600.0

_PR_SET_PDEATHSIG: Final = 1
_TOO_MUCH_MEMORY: Final = "Transcoding failed. The recording needs more memory than a job may use."


class EngineFailed(Exception):
    """The engine broke while it was at a recording. The message is its traceback."""


def memory(workers: int) -> int:
    """The bytes that each of so many workers may use: its share of this machine's memory."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_MEMORY, int(machine * _SHARE / workers))


def seconds(size_bytes: int) -> float:
    """How long a job with a file of that size may take. Generous: it ends what hangs, not what is slow."""
    longest = min(_LONGEST_SECONDS, size_bytes / _BYTES_A_SECOND)
    return _BASE_SECONDS + _FACTOR * longest


def confine(memory_bytes: int) -> None:
    """For the rest of this process's life: so much memory of its own, no core file (it would hold somebody's words),
    the first to go if the machine runs out of memory, and never without its parent."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextlib.contextmanager
def bounded(allowed_seconds: float) -> Iterator[None]:
    """Around whatever is done in a worker: at most so long, and only errors of ours leave it; any other would have
    the service import the module that it comes from.

    Raises BadAudio where memory was refused, and EngineFailed.
    """
    try:
        with within(allowed_seconds):
            yield
    except (BadAudio, EngineMissing):
        raise
    except BaseException as error:
        if is_for_memory(error):
            raise BadAudio(_TOO_MUCH_MEMORY) from None
        raise EngineFailed(traceback.format_exc()) from None


def is_for_memory(error: BaseException) -> bool:
    """Whether memory was refused: in Python's words, in the system's, or in those of onnxruntime and C++."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    return any(sign in str(error) for sign in ("allocate memory", "bad_alloc"))


@contextlib.contextmanager
def within(allowed_seconds: float) -> Iterator[None]:
    """This process is killed by the kernel if the context lasts longer. Only in the main thread."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, allowed_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
