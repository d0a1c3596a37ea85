"""The same work on many things: in processes, one a core, in order, and in memory that does not grow with them."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from typing import Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_CHUNK: Final = 50
_FEW: Final = 100
"""So few are done before processes have started."""


def on_all_cores(work: Callable[[T], R], over: Iterable[T]) -> Generator[R, None, None]:
    """What ``work`` makes of each, in their order: of the first ones here, of the rest in processes.

    ``work``, and what goes in and out, is pickled. Processes are not forked: the caller may have threads, and SQLite
    files open. Where none can be started, for want of a folder for temporary files, all are done here. Close the
    generator if it is not read to its end.
    """
    rest = iter(over)
    yield from map(work, itertools.islice(rest, _FEW))
    chunks = iter(lambda: list(itertools.islice(rest, _CHUNK)), [])
    if (first := next(chunks, None)) is None:
        return
    if not _can_start():
        for chunk in itertools.chain([first], chunks):
            yield from map(work, chunk)
        return
    cores = os.cpu_count() or 1
    pool = ProcessPoolExecutor(cores, multiprocessing.get_context("forkserver"))
    waiting: deque[Future[list[R]]] = deque()
    try:
        for chunk in itertools.chain([first], chunks):
            waiting.append(pool.submit(partial(_each, work), chunk))
            if len(waiting) > 4 * cores:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _can_start() -> bool:
    """Whether there is a place for the socket over which processes are started, and for their locks."""
    try:
        tempfile.gettempdir()
        multiprocessing.get_context("forkserver").Lock()
    except OSError:
        return False
    return True


def _each(work: Callable[[T], R], chunk: list[T]) -> list[R]:
    return [work(one) for one in chunk]
