"""Whom the service may reach at a caller's word: audio is fetched and webhooks are sent where strangers say, so never
inside the house unless that is allowed.

Where a proxy stands between us and the network, it is the proxy that resolves names and connects, so what is inside
is refused as far as it can be told here: addresses that are not public, and names that this machine resolves to one.
A name that only the proxy knows is the proxy's to allow: whoever runs it decides there what it reaches. Hosts in
NO_PROXY are reached straight, and checked as without a proxy.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_UNSPEC, AddressFamily
from typing import Any, Final, NamedTuple

import aiohttp
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from batch.network import http_client

Address = IPv4Address | IPv6Address
May = Callable[[Address], bool]
_SCHEMES: Final = ("http", "https")
_CARRIERS: Final = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "::/96")))
"""IPv6 addresses that stand for the IPv4 address in their last 32 bits: mapped, translated (NAT64), compatible."""
_NOBODYS: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "fec0::/10")))
"""Networks of a house's own, or of nobody's any more, that not every Python knows as such."""


class Inside(OSError):
    """Where a caller wants us to go is not for strangers to name."""


def public(address: Address) -> bool:
    """Whether an address is one of the public network's, and of one machine's there."""
    meant = _meant(address)
    own = any(meant.version == network.version and meant in network for network in _NOBODYS)
    return meant.is_global and not meant.is_multicast and not own


def public_or_here(address: Address) -> bool:
    """The same, and this machine's own loopback: for those who are on it anyway."""
    return _meant(address).is_loopback or public(address)


def anywhere(address: Address) -> bool:
    return True


class Ways(NamedTuple):
    """Sessions for what goes out: one that resolves names itself, and one that only ever resolves its proxy's.
    ``may`` says which addresses are reached."""

    straight: aiohttp.ClientSession
    proxied: aiohttp.ClientSession
    may: May

    async def to(self, url: URL) -> aiohttp.ClientSession:
        """The session for a request to ``url``, which must not follow redirects by itself. Raises ``Inside`` if
        nobody may be sent there, ``ValueError`` for what is no address, ``UsageError`` as ``outgoing.proxy_for``."""
        if url.scheme not in _SCHEMES or not url.host:
            raise ValueError("not an http(s) URL")
        proxied = http_client.proxy_for(url) is not None
        if not self._may(url.host) or (proxied and not await self._seems_outside(url.host)):
            raise Inside(f"{url.host} is not a public address")
        return self.proxied if proxied else self.straight

    def _may(self, host: str) -> bool:
        """A name is judged where it is resolved."""
        try:
            return self.may(ipaddress.ip_address(host))
        except ValueError:
            return True

    async def _seems_outside(self, host: str) -> bool:
        """Whether nothing here says that a host, which a proxy will resolve, is inside the house."""
        try:
            found = await ThreadedResolver().resolve(host, family=AF_UNSPEC)
        except OSError:
            return True
        return all(self._may(answer["host"]) for answer in found)


@contextlib.asynccontextmanager
async def ways(may: May = public, **given: Any) -> AsyncIterator[Ways]:
    """Sessions that reach those addresses only. ``given`` as for ``outgoing.session``."""
    async with (
        http_client.session(resolver=_Resolver(may), **given) as straight,
        http_client.session(**given) as proxied,
    ):
        yield Ways(straight, proxied, may)


class _Resolver(ThreadedResolver):
    """Checked where the connection is made, so a name cannot change its address after the check."""

    def __init__(self, may: May) -> None:
        super().__init__()
        self._may = may

    async def resolve(self, host: str, port: int = 0, family: AddressFamily = AF_INET) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        allowed = [answer for answer in found if self._may(ipaddress.ip_address(answer["host"]))]
        if not allowed:
            raise Inside(f"{host} is not a public address")
        return allowed


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _CARRIERS):
        return IPv4Address(int(address) & 0xFFFF_FFFF) if int(address) > 1 else address
    return address.sixtofour or address
