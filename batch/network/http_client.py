"""How every connection that we open goes out: straight or through a proxy, and which authorities it trusts in TLS.

The environment decides, as it does for curl and its like. aiohttp's own ``trust_env`` is not used: it would also read
~/.netrc, whose passwords would take the place of our key, and it would send loopback through the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import ssl
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from batch.errors import UsageError
from batch.network.addresses import is_loopback

_TUNNEL_SECONDS: Final = 30.0
"""A proxy may take so long to connect us: aiohttp would wait for its answer for ever."""
_AUTHORITIES: Final = (("SSL_CERT_FILE", "SSL_CERT_DIR"), ("REQUESTS_CA_BUNDLE",), ("CURL_CA_BUNDLE",))
_PROXY_AUTHORIZATION: Final = "Proxy-Authorization"


def session(
    *, limit: int = 100, force_close: bool = False, resolver: AbstractResolver | None = None, **given: Any
) -> aiohttp.ClientSession:
    """A session for whatever goes out. ``given`` as for ``aiohttp.ClientSession``.

    Raises ``UsageError`` if the authorities that the environment names cannot be read. A request raises it if its
    proxy is none that can be used.
    """
    connector = _Connector(limit=limit, force_close=force_close, resolver=resolver, ssl=context())
    return aiohttp.ClientSession(connector=connector, middlewares=[_by_its_way], **given)


async def _by_its_way(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Each request of its own, those too that follow a redirect."""
    if proxy := proxy_for(request.url):
        request.update_proxy(proxy.url, None, dict(proxy.headers))
        if not request.is_ssl():  # there is no CONNECT that could carry it
            request.headers.update(proxy.headers)
    return await send(request)


class _Connector(aiohttp.TCPConnector):
    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (aiohttp's)
    ) -> ResponseHandler:
        async with asyncio.timeout(_TUNNEL_SECONDS if req.proxy else None):
            return await super()._create_connection(req, traces, timeout)


# ── Through which proxy ─────────────────────────────────────────────────────────────────────────────────────────


class Proxy(msgspec.Struct, frozen=True):
    """``url`` has no password; ``headers`` have. ``variable`` is where it was named."""

    url: URL
    headers: Mapping[str, str]
    variable: str

    def __str__(self) -> str:
        return f"{str(self.url).rstrip('/')} ({self.variable})"


def proxy_for(url: URL) -> Proxy | None:
    """The proxy that a request to ``url`` goes through, by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in small
    letters or in capitals. This machine is never reached through one.

    Raises ``UsageError`` if it is none that can be used.
    """
    if is_loopback(url.host):
        return None
    named = urllib.request.getproxies_environment()
    which = url.scheme if url.scheme in named else "all"
    if which not in named or _excepted(url, named.get("no", "")):
        return None
    return _read(named[which], f"{which.upper()}_PROXY")


def _read(given: str, variable: str) -> Proxy:
    with contextlib.suppress(ValueError):
        url = URL(given if "://" in given else f"http://{given}")
        login, password = url.user or "", url.password or ""
        headers = {_PROXY_AUTHORIZATION: aiohttp.encode_basic_auth(login, password)} if login or password else {}
        if url.scheme in ("http", "https") and url.host:
            return Proxy(url.origin(), headers, variable)
    raise UsageError(
        f"{variable} names no proxy that can be used: give http://HOST:PORT, or the hosts in NO_PROXY that need none"
    )


def _excepted(url: URL, names: str) -> bool:
    """Whether NO_PROXY, a list with commas or blanks, names the host of ``url``."""
    host = (url.host or "").rstrip(".")
    return any(_covers(entry, host, url.port) for entry in re.split(r"[\s,]+", names.lower()))


def _covers(entry: str, host: str, port: int | None) -> bool:
    """An entry is ``*``, an address, a network (10.0.0.0/8), or a name that stands for all below it, too; an address
    and a name may have a port."""
    if entry == "*":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    name, _, only = entry.partition(":")
    name = name.lstrip("*").strip(".")
    return bool(name) and only in ("", str(port)) and f".{host}".endswith(f".{name}")


# ── Whom TLS trusts ─────────────────────────────────────────────────────────────────────────────────────────────


def authorities() -> Mapping[str, str]:
    """Where certificate authorities are read from instead of the system's: paths by the variables that name them.

    SSL_CERT_FILE and SSL_CERT_DIR together, else REQUESTS_CA_BUNDLE, else CURL_CA_BUNDLE.
    """
    for variables in _AUTHORITIES:
        if paths := {variable: path for variable in variables if (path := os.environ.get(variable))}:
            return paths
    return {}


def trusted() -> str:
    return " and ".join(f"{path} ({variable})" for variable, path in authorities().items()) or "the system's"


def context() -> ssl.SSLContext | bool:
    """What TLS trusts; True is aiohttp's own context, of the system's authorities. Blocks for some 25 ms.

    Raises ``UsageError`` for authorities that cannot be read.
    """
    if not (paths := authorities()):
        return True
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.set_alpn_protocols(["http/1.1"])
    for variable, path in paths.items():
        try:
            _load(made, path)
        except OSError as error:
            why = "there are no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
            cure = "name a file of certificates in PEM, or unset it"
            raise UsageError(f"{variable} names no certificate authorities: {path}: {why}. Let it {cure}") from error
    return made


def _load(made: ssl.SSLContext, path: str) -> None:
    """A file, a directory, or several with colons between them, of which one at least must be there."""
    folders = [Path(folder) for folder in path.split(os.pathsep)]
    if there := [folder for folder in folders if folder.is_dir()]:
        for folder in there:
            next(folder.iterdir(), None)  # OpenSSL would take one that is closed to us for an empty one
        made.load_verify_locations(capath=path)
    else:
        made.load_verify_locations(cafile=path)
