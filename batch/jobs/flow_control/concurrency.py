"""How much at once: the limits, the service's slots, and the bytes that are uploaded ahead of them."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from typing import Final

from batch.jobs.flow_control import laws

_OLD_SECONDS: Final = 3600.0
"""Who has waited for so long is next, however short: an upload does not live for ever."""


class ConcurrencyLimiter:
    """The service's slots, held by key; who weighs most of those that wait is next. Taking or giving back twice does
    no harm.

    While ``held_back``, none is handed out: the service has a queue of its own. After that they come back by and by,
    some at once and two for each job that ends, or all who have waited would be the next queue. A service that
    throttles speaks of requests, not of jobs: that is the throttle's business, and no slot is taken away for it.
    """

    def __init__(self, limit: int) -> None:
        self._most = self._limit = limit
        self.held_back = False
        self._held: set[str] = set()
        self._numbers = itertools.count()
        self._by_weight: list[tuple[float, int, _Wait]] = []
        self._by_age: deque[_Wait] = deque()

    def count_in(self, key: str) -> None:
        """Count a job that the service already has, whatever the limit says."""
        self._held.add(key)

    async def acquire(self, key: str, weight: float = 0.0) -> None:
        """Wait for a slot. With equal weights first come is first served."""
        if key in self._held:
            return
        wait = _Wait(key)
        heapq.heappush(self._by_weight, (-weight, next(self._numbers), wait))
        self._by_age.append(wait)
        self._hand_out()
        try:
            await wait.turn
        except asyncio.CancelledError:
            self.release(key)
            raise

    def release(self, key: str) -> None:
        if key in self._held:
            self._held.remove(key)
            self._limit = min(self._most, self._limit + 1)
        self._hand_out()

    def pause(self, held_back: bool) -> None:
        if self.held_back and not held_back:
            self._limit = min(self._most, laws.slots_after_queue(len(self._held)))
        self.held_back = held_back
        self._hand_out()

    def _hand_out(self) -> None:
        while not self.held_back and len(self._held) < self._limit and (wait := self._next()):
            self._held.add(wait.key)
            wait.turn.set_result(None)

    def _next(self) -> _Wait | None:
        """The heaviest of those that still wait, or the oldest if it has waited for too long."""
        while self._by_weight and self._by_weight[0][2].turn.done():
            heapq.heappop(self._by_weight)
        while self._by_age and self._by_age[0].turn.done():
            self._by_age.popleft()
        if not self._by_age:
            return None
        oldest = self._by_age[0]
        return oldest if oldest.is_old() else self._by_weight[0][2]


class _Wait:
    """Somebody who waits for a slot."""

    __slots__ = ("key", "since", "turn")

    def __init__(self, key: str) -> None:
        loop = asyncio.get_running_loop()
        self.key, self.since = key, loop.time()
        self.turn: asyncio.Future[None] = loop.create_future()

    def is_old(self) -> bool:
        return asyncio.get_running_loop().time() - self.since > _OLD_SECONDS


class UploadAheadLimiter:
    """The bytes that are uploaded, or being uploaded, and have no slot yet; held by key, first come first served.

    One upload may always go, whatever its size. Taking or giving back twice does no harm.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._total = limit_bytes, 0
        self._held: dict[str, int] = {}
        self._queue: deque[tuple[_Wait, int]] = deque()

    async def acquire(self, key: str, size_bytes: int) -> None:
        """Wait until so much more may be uploaded."""
        if key in self._held:
            return
        wait = _Wait(key)
        self._queue.append((wait, size_bytes))
        self._hand_out()
        try:
            await wait.turn
        except asyncio.CancelledError:
            self.release(key)
            raise

    def release(self, key: str) -> None:
        """The job has a slot, or needs none any more."""
        self._total -= self._held.pop(key, 0)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and (not self._held or self._total + self._queue[0][1] <= self._limit):
            wait, size_bytes = self._queue.popleft()
            if not wait.turn.done():
                self._held[wait.key] = size_bytes
                self._total += size_bytes
                wait.turn.set_result(None)
