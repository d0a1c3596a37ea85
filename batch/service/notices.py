"""Webhooks, sent as v2 documents: who asked for it is told that a job has ended.

Source: AssemblyAI's documentation of webhooks (2026): a POST with ``transcript_id`` and ``status``, which must be
answered with a 2xx within 10 s; up to 10 tries, 10 s apart; a 4xx ends them. Not signed, but for a header of the
caller's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec

from batch.errors import Usage
from batch.protocol import Status

HEADER_NAME: Final = "webhook_auth_header_name"
HEADER_VALUE: Final = "webhook_auth_header_value"


class Manner(msgspec.Struct, frozen=True):
    """How insistently a notice is sent."""

    tries: int = 10
    answer_seconds: float = 10.0
    pause_seconds: float = 10.0


class Notices:
    """Sends notices over ``session``. A notice that nobody takes is dropped: the list tells the same."""

    def __init__(self, session: aiohttp.ClientSession, manner: Manner | None = None) -> None:
        self._session, self._manner = session, manner or Manner()

    async def send(self, request: Mapping[str, Any], transcript_id: str, status: Status) -> int | None:
        """Tell the ``webhook_url`` of ``request``; return the HTTP status that the last try met, if any."""
        said = {"transcript_id": transcript_id, "status": status}
        header = {request[HEADER_NAME]: request[HEADER_VALUE]} if request.get(HEADER_NAME) else {}
        code = None
        for number in range(self._manner.tries):
            await asyncio.sleep(self._manner.pause_seconds if number else 0)
            code = await self._post(request["webhook_url"], said, header)
            if code and code // 100 in (2, 4):
                break
        return code

    async def _post(self, url: str, said: Mapping[str, Any], header: Mapping[str, str]) -> int | None:
        timeout = aiohttp.ClientTimeout(total=self._manner.answer_seconds)
        try:
            async with self._session.post(url, json=said, headers=header, timeout=timeout) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, Usage):
            return None
