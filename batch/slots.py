"""How much at once: the limits, and the service's slots."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Named after what they protect: the service's slots, the line to it, and the memory here."""

    in_flight: int = 64
    uploads: int = 8

    @property
    def room(self) -> int:
        """Jobs alive at once: those in flight, those being uploaded, and as many again staged or being collected."""
        return 2 * self.in_flight + 2 * self.uploads


class Slots:
    """The service's slots, held by key, first come first served. Taking or giving back twice does no harm."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: set[str] = set()
        self._queue: deque[tuple[str, asyncio.Future[None]]] = deque()

    def occupy(self, key: str) -> None:
        """Count a job that the service already has, whatever the limit says."""
        self._held.add(key)

    async def take(self, key: str) -> None:
        if key in self._held:
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((key, turn))
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            self.give_back(key)
            raise

    def give_back(self, key: str) -> None:
        self._held.discard(key)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and len(self._held) < self._limit:
            key, turn = self._queue.popleft()
            if not turn.done():
                self._held.add(key)
                turn.set_result(None)
