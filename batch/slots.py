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
    """The service's slots, held by key, first come first served. Taking or giving back twice does no harm.

    Their number follows the service as a TCP sender follows a network (additive increase, multiplicative decrease:
    Chiu and Jain, 1989): half as many when it throttles, and then one more for each round of jobs that ended well.
    While ``held_back``, none is handed out: the service has a queue of its own.
    """

    def __init__(self, limit: int) -> None:
        self._most, self._limit = limit, float(limit)
        self.held_back = False
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

    def narrow(self) -> None:
        self._limit = max(1.0, self._limit / 2)

    def widen(self) -> None:
        """A job has ended well."""
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def hold_back(self, held_back: bool) -> None:
        self.held_back = held_back
        self._hand_out()

    def _hand_out(self) -> None:
        while self._queue and not self.held_back and len(self._held) < int(self._limit):
            key, turn = self._queue.popleft()
            if not turn.done():
                self._held.add(key)
                turn.set_result(None)
