"""Audio that is given as a URL: ours from the store, anybody's from the network, but never from inside the house.

Where a proxy stands between us and the network, it is the proxy that resolves names and connects, so what is inside
is refused as far as it can be told here: addresses that are not public, and names that this machine resolves to one.
A name that only the proxy knows is the proxy's to allow: whoever runs it decides there what it reaches. Hosts in
NO_PROXY are reached straight, and checked as without a proxy.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path
from socket import AF_INET, AF_UNSPEC, AddressFamily
from typing import Final, NamedTuple

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from batch import outgoing
from batch.endpoint import is_loopback
from batch.errors import Usage
from batch.service.engine import BadAudio
from batch.service.store import Store
from batch.service.uploads import FETCHED, name_of

FETCH_LIMIT_BYTES: Final = 5_000_000_000
_REDIRECTS: Final = 5
_CHUNK_BYTES: Final = 1 << 20
_LONGEST_SECONDS: Final = 2 * 3600.0


class Ways(NamedTuple):
    """Sessions for fetching: one that resolves names itself, and one that only ever resolves its proxy's."""

    straight: aiohttp.ClientSession
    proxied: aiohttp.ClientSession


class Fetcher:
    """Finds the file of an ``audio_url``. ``private`` allows addresses of this machine and its network."""

    def __init__(self, store: Store, ways: Ways, *, private: bool = False) -> None:
        self._store, self._ways, self._private = store, ways, private

    async def locate(self, audio_url: str) -> Path:
        """The file with the audio. Raises BadAudio, in v2's words, if it cannot be had, and Full."""
        try:
            url = URL(audio_url)
            return self._uploaded(url) or await self._fetch(url)
        except (aiohttp.ClientError, OSError, ValueError, Usage) as error:
            raise BadAudio(f"Download error, unable to download {audio_url}. {_advice(error)}") from error

    def _uploaded(self, url: URL) -> Path | None:
        """The upload behind one of our links, by whatever name the caller knows this machine."""
        if url.parent.path != "/upload":
            return None
        path = self._store.upload(name_of(str(url)) or "")
        if path is None and is_loopback(url.host):
            raise BadAudio(f"Download error, unable to access file at {url}")
        return path

    async def _fetch(self, url: URL) -> Path:
        for _ in range(_REDIRECTS):
            proxied = outgoing.proxy_for(url) is not None
            if not self._private and not (await _seems_public(url.host) if proxied else _is_public(url.host)):
                raise ValueError("not a public address")
            session = self._ways.proxied if proxied else self._ways.straight
            async with session.get(url, allow_redirects=False) as answer:
                if answer.status in (301, 302, 303, 307, 308):
                    url = url.join(URL(answer.headers.get("Location", "")))
                    continue
                answer.raise_for_status()
                return await self._save(answer)
        raise ValueError("too many redirects")

    async def _save(self, answer: aiohttp.ClientResponse) -> Path:
        promised = answer.content_length or 0
        async with self._store.arriving(min(promised, FETCH_LIMIT_BYTES), FETCHED) as arrival:
            async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                if arrival.size + len(chunk) > FETCH_LIMIT_BYTES:
                    raise ValueError("too large")
                await arrival.add(chunk)
            return await arrival.keep()


@contextlib.asynccontextmanager
async def session(*, private: bool = False) -> AsyncIterator[Ways]:
    """Sessions for fetching, that resolve names to public addresses only unless ``private``."""
    resolver = ThreadedResolver() if private else _PublicResolver()
    timeout = aiohttp.ClientTimeout(total=_LONGEST_SECONDS, sock_connect=10, sock_read=60)
    async with (
        outgoing.session(resolver=resolver, timeout=timeout) as straight,
        outgoing.session(timeout=timeout) as proxied,
    ):
        yield Ways(straight, proxied)


def _advice(error: Exception) -> str:
    if isinstance(error, Usage):
        return str(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"The proxy on the way answered {error.status}."
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return "The proxy on the way cannot be reached."
    return "Please make sure the file exists and is accessible from the internet."


class _PublicResolver(ThreadedResolver):
    """Checked where the connection is made, so a name cannot change its address after the check."""

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        public = [answer for answer in found if _is_public(answer["host"])]
        if not public:
            raise OSError(f"{host} is not a public address")
        return public


async def _seems_public(host: str | None) -> bool:
    """Whether nothing here says that a host, which a proxy will resolve, is inside the house."""
    if not _is_public(host):
        return False
    try:
        found = await ThreadedResolver().resolve(host or "", family=AF_UNSPEC)
    except OSError:
        return True
    return all(_is_public(answer["host"]) for answer in found)


def _is_public(host: str | None) -> bool:
    """Whether an address literal is public; a name is judged when it is resolved."""
    try:
        return ipaddress.ip_address(host or "").is_global
    except ValueError:
        return bool(host)
