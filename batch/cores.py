"""The same work on many files, by processes, one a core, in memory that does not grow with their number."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")
_CHUNK: Final = 50
_FEW: Final = 100
"""So few files are done before processes have started."""


def on_all_cores(work: Callable[[Path], T], paths: Iterable[Path]) -> Generator[T]:
    """What ``work`` makes of each path, in their order: of the first ones here, of the rest in processes.

    ``work`` and what it returns are pickled. Close the generator if it is not read to its end.
    """
    paths = iter(paths)
    yield from map(work, itertools.islice(paths, _FEW))
    chunks = iter(lambda: list(itertools.islice(paths, _CHUNK)), [])
    if (first := next(chunks, None)) is None:
        return
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores) as pool:
        waiting: deque[Future[list[T]]] = deque()
        for chunk in itertools.chain([first], chunks):
            waiting.append(pool.submit(partial(_some, work), chunk))
            if len(waiting) > 4 * cores:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _some(work: Callable[[Path], T], paths: Sequence[Path]) -> list[T]:
    return [work(path) for path in paths]
