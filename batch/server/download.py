"""Audio that is given as a URL: ours from the store, anybody's from the network, within bounds of size and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from batch.engine.interface import BadAudio
from batch.errors import UsageError
from batch.network.addresses import is_loopback
from batch.server import outbound
from batch.server.store import Store
from batch.server.uploads import FETCHED, name_of

FETCH_LIMIT_BYTES: Final = 5_000_000_000
_REDIRECTS: Final = 5
_CHUNK_BYTES: Final = 1 << 20
_LONGEST_SECONDS: Final = 2 * 3600.0
_BEGIN_SECONDS: Final = 60.0
"""So long it may take, over all redirects, until the audio begins to come."""
_PATIENCE_SECONDS: Final = 60.0
_LEAST_BYTES_A_SECOND: Final = 16_000
"""After a minute of patience audio must have come so fast, all in all: slower than that it would be heard sooner."""


class Fetcher:
    """Finds the file of an ``audio_url``."""

    def __init__(self, store: Store, ways: outbound.Ways) -> None:
        self._store, self._ways = store, ways

    async def locate(self, audio_url: str) -> Path:
        """The file with the audio. Raises BadAudio, in v2's words, if it cannot be had, and Full."""
        try:
            url = URL(audio_url)
            return self._uploaded(url) or await self._fetch(url)
        except (aiohttp.ClientError, OSError, ValueError, UsageError) as error:
            raise BadAudio(f"Download error, unable to download {audio_url}. {_advice(error)}") from error

    def _uploaded(self, url: URL) -> Path | None:
        """The upload behind one of our links, by whatever name the caller knows this machine."""
        path = self._store.upload(name_of(str(url)) or "")
        if path is None and url.parent.path == "/upload" and is_loopback(url.host):
            raise BadAudio(f"Download error, unable to access file at {url}")
        return path

    async def _fetch(self, url: URL) -> Path:
        async with asyncio.timeout(_BEGIN_SECONDS) as patience:
            for _ in range(_REDIRECTS):
                session = await self._ways.to(url)
                async with session.get(url, allow_redirects=False) as answer:
                    if answer.status in (301, 302, 303, 307, 308):
                        url = url.join(URL(answer.headers.get("Location", "")))
                        continue
                    answer.raise_for_status()
                    patience.reschedule(asyncio.get_running_loop().time() + _LONGEST_SECONDS)
                    return await self._save(answer)
        raise ValueError("too many redirects")

    async def _save(self, answer: aiohttp.ClientResponse) -> Path:
        promised = answer.content_length or 0
        if promised > FETCH_LIMIT_BYTES:
            raise ValueError("too large")
        loop = asyncio.get_running_loop()
        late = loop.time() + _PATIENCE_SECONDS
        async with self._store.receive(promised, FETCHED) as arrival:
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                if arrival.size + len(chunk) > FETCH_LIMIT_BYTES:
                    raise ValueError("too large")
                await arrival.add(chunk)
                if arrival.size < (loop.time() - late) * _LEAST_BYTES_A_SECOND:
                    raise TimeoutError("too slow")
            return await arrival.keep()


def _inside(error: BaseException | None) -> outbound.Inside | None:
    """What was refused as it is no public address, if that is the cause."""
    while error:
        if isinstance(error, outbound.Inside):
            return error
        error = error.__cause__ or error.__context__
    return None


@contextlib.asynccontextmanager
async def session(*, private: bool = False) -> AsyncIterator[outbound.Ways]:
    """Sessions for fetching, from public addresses only unless ``private``."""
    timeout = aiohttp.ClientTimeout(total=_LONGEST_SECONDS, sock_connect=10, sock_read=60)
    async with outbound.ways(outbound.anywhere if private else outbound.public, timeout=timeout) as ways:
        yield ways


def _advice(error: Exception) -> str:
    if inside := _inside(error):
        return (
            f"{inside}, and this service fetches from others only if it was started with --private-network (that of "
            "a run: --set local.private_network=true)."
        )
    if isinstance(error, UsageError):
        return str(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"The proxy on the way answered {error.status}."
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return "The proxy on the way cannot be reached."
    if isinstance(error, TimeoutError):
        return "It came too slowly, or not at all."
    return "Please make sure the file exists and is accessible from the internet."
