"""Tells a watchdog (healthchecks.io, or one that speaks like it) when a run begins and how it ended.

A watchdog that hears nothing raises the alarm, so a run that never began is noticed too. The shape of its addresses:
https://healthchecks.io/docs/http_api/
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp
from yarl import URL

from batch import __version__
from batch.config import HealthcheckSettings
from batch.errors import UsageError
from batch.network import http_client

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.5
_BODY_LIMIT: Final = 2000


@contextlib.asynccontextmanager
async def pinging(
    ping: HealthcheckSettings, run: str, outcome: Callable[[], tuple[int, str]], on_warning: Callable[[str], None]
) -> AsyncIterator[None]:
    """Tell of the start while the context's work already goes on, and after it of its ``outcome``: exit code and a
    sentence. A ping that fails is told to ``on_warning``, once, and holds up the end for three tries at most.

    Raises ``UsageError`` for a URL that is none, and for certificate authorities that cannot be read.
    """
    url, agent = _address(ping.url), {"User-Agent": f"diarist/{__version__}"}
    limit = aiohttp.ClientTimeout(total=ping.timeout_seconds)
    async with http_client.session(headers=agent, timeout=limit) as session:
        pings = _Pings(session, url, run, on_warning)
        starting = asyncio.create_task(pings.send("/start", ""))
        try:
            yield
        finally:
            await asyncio.wait([starting], timeout=ping.timeout_seconds)
            starting.cancel()  # a start that comes after the end would be taken for another run's
            await asyncio.wait([starting])
            code, sentence = outcome()
            await pings.send("" if code in ping.success else f"/{code}", sentence)


class _Pings:
    def __init__(self, session: aiohttp.ClientSession, url: URL, run: str, on_warning: Callable[[str], None]) -> None:
        self._session, self._url, self._run, self._on_warning = session, url, run, on_warning
        self._complained = False

    async def send(self, suffix: str, body: str) -> None:
        """Raises nothing: whatever happens to a ping is no harm to the run."""
        # The run's id ties a start to its end: https://healthchecks.io/docs/run_ids/
        url = self._url.with_path(self._url.raw_path.rstrip("/") + suffix, encoded=True, keep_query=True)
        url = url.update_query(rid=self._run)
        for left in reversed(range(_TRIES)):
            trouble, again = await _post(self._session, url, body[:_BODY_LIMIT].encode())
            if not trouble or not (left and again):
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        if trouble and not self._complained:
            self._complained = True
            self._on_warning(f"the ping to {self._url.host} failed: {trouble}. The run goes on without it")


async def _post(session: aiohttp.ClientSession, url: URL, body: bytes) -> tuple[str, bool]:
    """What went wrong (empty: nothing), without the URL, and whether trying again may help."""
    try:
        async with session.post(url, data=body, headers={"Content-Type": "text/plain; charset=utf-8"}) as answer:
            return ("" if answer.status < 300 else f"it answered {answer.status}"), answer.status >= 500
    except TimeoutError:
        return "it did not answer in time", True
    except UsageError as error:
        return str(error), False
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"no answer ({type(error).__name__})", True


def _address(url: str) -> URL:
    """Raises ``UsageError`` without telling the URL, which is a key of a kind."""
    with contextlib.suppress(ValueError):
        parsed = URL(url)
        if parsed.scheme in ("http", "https") and parsed.host:
            return parsed
    raise UsageError("ping.url is no http(s) URL: give the address that the watchdog shows for its check")
