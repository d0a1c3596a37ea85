"""Fills the index while a run goes on: on a thread of its own, in groups, and never in anybody's way."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

from batch.archive.search import database
from batch.archive.search.documents import Document, read_document
from batch.errors import UsageError

_PAUSE_SECONDS: Final = 1.0
_GROUP: Final = 500
_CLOSING_SECONDS: Final = 2.0
_JOIN_SECONDS: Final = 5.0
"""How long a run that is over reads on, and how long it waits for the last group to be written."""
_WAITING: Final = 10_000
"""More than so many results that wait are left to ``diarist search``, which indexes what is missing."""


class BackgroundIndexer:
    """Takes the keys of results in ``directory`` as they are put in place.

    What cannot be indexed is told once: a search does without.
    """

    def __init__(self, directory: Path, on_warning: Callable[[str], None]) -> None:
        self._directory, self._on_warning = directory, on_warning
        self._keys: queue.Queue[str] = queue.Queue(_WAITING)
        self._over, self._refused, self._reads_until = threading.Event(), False, math.inf
        self._thread = threading.Thread(target=self._serve, name="search index", daemon=True)

    def __enter__(self) -> BackgroundIndexer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Index one last group, as far as that is soon done."""
        self._reads_until = time.monotonic() + _CLOSING_SECONDS
        self._over.set()
        self._thread.join(_JOIN_SECONDS)

    def enqueue(self, key: str) -> None:
        """Note a result. Never waits."""
        if not self._refused:
            with contextlib.suppress(queue.Full):
                self._keys.put_nowait(key)

    def _serve(self) -> None:
        is_over = False
        while not is_over and not self._refused:
            is_over = self._over.wait(_PAUSE_SECONDS)
            if keys := self._group():
                self._index(keys)

    def _group(self) -> list[str]:
        keys: dict[str, None] = {}
        while len(keys) < _GROUP and not self._keys.empty():
            keys[self._keys.get()] = None
        return list(keys)

    def _index(self, keys: list[str]) -> None:
        entries = list(self._entries(keys))
        try:
            with database.opened(self._directory, self._on_warning) as db:
                database.put(db, entries)
        except (database.Unwritable, database.Damaged, UsageError) as error:
            self._refused = True
            self._on_warning(f"results are not indexed for `diarist search`, which will do it itself: {error}")

    def _entries(self, keys: list[str]) -> Iterator[Document]:
        for key in keys:
            if time.monotonic() > self._reads_until:
                return
            if entry := read_document(self._directory, self._directory / f"{key}.json"):
                yield entry
