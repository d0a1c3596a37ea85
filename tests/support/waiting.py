"""Waits until something is so."""

from __future__ import annotations

import asyncio
import time


async def until(is_so: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():  # type: ignore[operator]
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


class UnhurriedClock:
    """Counts the seconds in which the event loop was free to work: a busy machine makes fewer of them, not more.

    For what a run takes where a service paces it, which is told apart so from what the machine takes.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    async def __aenter__(self) -> UnhurriedClock:
        self._task = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.01)
            self.seconds += 0.01
