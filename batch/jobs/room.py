"""Which jobs are at work: how many there may be, and which of them wait for what takes minutes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from batch.jobs.flow_control.concurrency import ConcurrencyLimiter

_ASIDE: Final = 2000
"""So many jobs may wait beside those that there is room for."""


class Room:
    """Room for ``limit`` jobs, each by its key with the task that carries it. ``is_admitting``: more may come."""

    def __init__(self, limit: int, slots: ConcurrencyLimiter) -> None:
        self._places, self._slots = asyncio.Semaphore(limit), slots
        self.alive: dict[str, asyncio.Task[None]] = {}
        self.is_admitting = False
        self._resting: set[str] = set()
        self._roomless: set[str] = set()

    async def enter(self) -> None:
        """Wait for a place."""
        await self._places.acquire()

    def turn_away(self) -> None:
        """Whoever has a place does not need it."""
        self._places.release()

    def leave(self, key: str) -> None:
        """The job is no longer carried."""
        self.alive.pop(key, None)
        if key in self._roomless:
            self._roomless.discard(key)
        else:
            self._places.release()

    def cut(self) -> None:
        """Cancel whoever is at work."""
        for task in tuple(self.alive.values()):
            task.cancel()

    def is_busy(self) -> bool:
        """Whether anything goes on but waiting for what cannot be known yet."""
        return self.is_admitting or len(self.alive) > len(self._resting)

    @contextlib.contextmanager
    def at_rest(self, key: str) -> Iterator[None]:
        """The job waits for what others do."""
        self._resting.add(key)
        try:
            yield
        finally:
            self._resting.discard(key)

    @contextlib.asynccontextmanager
    async def aside(self, key: str) -> AsyncIterator[None]:
        """Leave slot and place to others for what may take minutes, unless too many do."""
        self._slots.release(key)
        gives_room = key in self.alive and len(self._roomless) < _ASIDE
        if gives_room:
            self._roomless.add(key)
            self._places.release()
        with self.at_rest(key):
            yield
        if gives_room:
            await self._places.acquire()
            self._roomless.discard(key)
