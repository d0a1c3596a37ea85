"""What a real service has in front of it: a limit on requests, and a log of who came when on which connection."""

from __future__ import annotations

import asyncio
import math
from typing import Any, NamedTuple

from aiohttp import web

from batch.providers.assemblyai.protocol import THROTTLED_TEXT
from tests.support.service import Handler


class Came(NamedTuple):
    at: float
    answered: float
    method: str
    path: str
    peer: Any
    status: int

    @property
    def submits(self) -> bool:
        return (self.method, self.path) == ("POST", "/v2/transcript")


class Limiter:
    """At most ``rate`` requests a second, a second's worth at once; the others are answered 429, with ``after``
    seconds as Retry-After if it is given. ``log`` has all of them in the order in which they were answered."""

    def __init__(self, rate: float = math.inf, after: int | None = None) -> None:
        self._rate, self._after = rate, after
        self._tokens, self._at = rate, 0.0
        self.log: list[Came] = []

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        loop, status = asyncio.get_running_loop(), 0
        came, peer = loop.time(), request.transport and request.transport.get_extra_info("peername")
        try:
            answer = await handler(request) if self._lets_through(came) else self._refusal()
            status = answer.status
            return answer
        finally:
            self.log.append(Came(came, loop.time(), request.method, request.path, peer, status))

    def _lets_through(self, now: float) -> bool:
        if self._rate == math.inf:
            return True
        self._tokens, self._at = min(self._rate, self._tokens + (now - self._at) * self._rate), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _refusal(self) -> web.Response:
        after = {"Retry-After": str(self._after)} if self._after else {}
        return web.json_response({"error": THROTTLED_TEXT}, status=429, headers=after)

    @property
    def passed(self) -> int:
        return sum(one.status != 429 for one in self.log)

    @property
    def refused(self) -> int:
        return sum(one.status == 429 for one in self.log)
