"""Which service that speaks v2 is meant: its name, address and key, from ``--service`` and the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from yarl import URL

from batch import errors

HOSTS: Final[Mapping[str, str]] = {
    "assemblyai": "https://api.assemblyai.com",
    "assemblyai-eu": "https://api.eu.assemblyai.com",
}
_SENDABLE: Final = re.compile(r"[\x20-\x7e\xa0-\xff]*")
"""What the value of a header may hold (RFC 9110, section 5.5)."""
_UNFIT: Final = re.compile(r"[\s\x00-\x1f\x7f]")
"""What no address has in it."""
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Endpoint(msgspec.Struct, frozen=True):
    """``name`` identifies the service in the journal; ``base_url`` is None for one that is started for a run, or that
    is only read about."""

    name: str
    base_url: str | None
    key: str | None


def are_named_in(environ: Mapping[str, str]) -> bool:
    """Whether the environment names the vendor's service, by a key or an address."""
    return bool(read_key(environ, "ASSEMBLYAI_API_KEY") or environ.get("ASSEMBLYAI_BASE_URL", "").strip())


def resolve(name: str, environ: Mapping[str, str]) -> Endpoint:
    """The service that ``name`` (auto, a region, or a URL) and the environment mean.

    A region's name means its own host: ASSEMBLYAI_BASE_URL may name that host too, or for ``assemblyai`` one that is
    no region's. Raises ``AuthenticationError`` if the vendor's service is named without a key or the key cannot be
    one, and ``UsageError`` for an address that is none.
    """
    key, base_url = read_key(environ, "ASSEMBLYAI_API_KEY"), environ.get("ASSEMBLYAI_BASE_URL", "").strip()
    if "://" in name:
        return _reached_at(_address(name, "--service"), key)
    url = _address(base_url, "ASSEMBLYAI_BASE_URL") if base_url else HOSTS.get(name, HOSTS["assemblyai"])
    meant = canonical(url)
    if name in HOSTS and meant != name and not (name == "assemblyai" and meant not in HOSTS):
        raise errors.UsageError(
            f"--service {name} is {HOSTS[name]}, but ASSEMBLYAI_BASE_URL is {url}: unset it, or use --service {meant}"
        )
    return _reached_at(url, key)


def canonical(name: str) -> str:
    """One name for what is one service: of a vendor's address its region, of any other the plainest way to write it.

    This machine is 127.0.0.1, whatever it was called. A name that is no URL is left as it is.
    """
    try:
        url = URL(name)
        host = (url.raw_host or "").rstrip(".")
        host = "127.0.0.1" if host in _THIS_MACHINE else host
        if url.scheme not in ("http", "https") or not host:
            return name
        plain = url.origin().with_host(host).with_path(url.raw_path.rstrip("/"), encoded=True)
        written = str(plain).rstrip("/")
    except ValueError:
        return name
    return next((region for region, base_url in HOSTS.items() if base_url == written), written)


def read_key(environ: Mapping[str, str], variable: str) -> str | None:
    """The key in ``variable``, without the line's end that a file gave it.

    Raises ``AuthenticationError``, without telling it, for one that no header can carry.
    """
    key = environ.get(variable, "").strip()
    if not _SENDABLE.fullmatch(key):
        raise errors.AuthenticationError(
            f"{variable} holds characters that no key has: copy the key again, and nothing else"
        )
    return key or None


def _reached_at(base_url: str, key: str | None) -> Endpoint:
    name = canonical(base_url)
    if name in HOSTS and not key:
        raise errors.AuthenticationError("ASSEMBLYAI_API_KEY is not set: set it, or use --service local")
    return Endpoint(name, base_url, key)


def _address(given: str, source: str) -> str:
    """The base URL that was ``given``, without query and fragment, which no request would carry.

    Raises ``UsageError``, without telling what was given if there may be a password in it.
    """
    url = _parsed(given)
    if url.user or url.password or ("@" in given and not url.host):
        raise errors.UsageError(
            f"{source} has a user or a password in it, which would be stored and logged: give the plain address, "
            "and the key in ASSEMBLYAI_API_KEY"
        )
    if url.scheme not in ("http", "https") or not url.host:
        raise errors.UsageError(f"{source} {given!r} is no http(s) URL: give one, such as {HOSTS['assemblyai']}")
    return str(url.with_query(None).with_fragment(None)).rstrip("/")


def _parsed(given: str) -> URL:
    """An empty URL for what is none."""
    try:
        return URL() if _UNFIT.search(given) else URL(given)
    except ValueError:
        return URL()
