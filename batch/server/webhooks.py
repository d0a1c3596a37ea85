"""Webhooks, sent as v2 documents: who asked for it is told that a job has ended.

Source: AssemblyAI's documentation of webhooks (2026): a POST with ``transcript_id`` and ``status``, which must be
answered with a 2xx within 10 s; up to 10 tries, 10 s apart; a 4xx ends them. Not signed, but for a header of the
caller's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from batch.errors import UsageError
from batch.providers.assemblyai.protocol import Status
from batch.server import outbound
from batch.telemetry.redaction import plain

HEADER_NAME: Final = "webhook_auth_header_name"
HEADER_VALUE: Final = "webhook_auth_header_value"
_log = logging.getLogger(__name__)


class WebhookRetry(msgspec.Struct, frozen=True):
    """How insistently a notice is sent."""

    tries: int = 10
    answer_seconds: float = 10.0
    pause_seconds: float = 10.0


class WebhookSender:
    """Sends notices by ``ways``. A notice that nobody takes is dropped: the list tells the same."""

    def __init__(self, ways: outbound.Ways, manner: WebhookRetry | None = None) -> None:
        self._ways, self._manner = ways, manner or WebhookRetry()
        self._refused = False

    async def send(self, request: Mapping[str, Any], transcript_id: str, status: Status) -> int | None:
        """Tell the ``webhook_url`` of ``request``; return the HTTP status that the last try met, if any."""
        notice = {"transcript_id": transcript_id, "status": status}
        header = {request[HEADER_NAME]: request[HEADER_VALUE]} if request.get(HEADER_NAME) else {}
        code = None
        for number in range(self._manner.tries):
            await asyncio.sleep(self._manner.pause_seconds if number else 0)
            try:
                code = await self._post(request["webhook_url"], notice, header)
            except outbound.Inside as error:
                self._complain(error)
                break
            if code and code // 100 in (2, 4):
                break
        return code

    async def _post(self, url: str, said: Mapping[str, Any], header: Mapping[str, str]) -> int | None:
        """A redirect is not followed: it would carry the caller's secret to where they have not sent it."""
        timeout = aiohttp.ClientTimeout(total=self._manner.answer_seconds)
        try:
            session = await self._ways.to(URL(url))
            async with session.post(url, json=said, headers=header, timeout=timeout, allow_redirects=False) as answer:
                return answer.status
        except outbound.Inside:
            raise
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, outbound.Inside):
                raise error.os_error from None
            return None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, UsageError):
            return None

    def _complain(self, error: outbound.Inside) -> None:
        """Told once: whoever may submit could fill the log."""
        if not self._refused:
            _log.warning("a webhook was not sent: %s. `diarist serve --private-network` allows it", plain(str(error)))
        self._refused = True
