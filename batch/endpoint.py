"""Which service a run speaks to: its name, its address and its key, from ``--service`` and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from batch import errors

HOSTS: Final[Mapping[str, str]] = {
    "assemblyai": "https://api.assemblyai.com",
    "assemblyai-eu": "https://api.eu.assemblyai.com",
}


class Endpoint(msgspec.Struct, frozen=True):
    """Who transcribes. ``name`` is its identity in the journal; ``base_url`` is None for the local service, which is
    started for the run."""

    name: str
    base_url: str | None
    key: str | None

    @property
    def is_vendors(self) -> bool:
        """Whether it is one of the vendor's own hosts, whose ramp and prices apply."""
        return self.name in HOSTS


def resolve(name: str, environ: Mapping[str, str]) -> Endpoint:
    """The service that ``--service`` and the environment name.

    Raises ``KeyRefused`` if the vendor's service is named without a key, ``Usage`` for a name that is none.
    """
    key, base_url = environ.get("ASSEMBLYAI_API_KEY") or None, environ.get("ASSEMBLYAI_BASE_URL") or None
    if name == "auto":
        name = "assemblyai" if key or base_url else "local"
    if name == "local":
        return Endpoint("local", None, None)
    if name == "assemblyai" and base_url and base_url.rstrip("/") not in HOSTS.values():
        return Endpoint(base_url.rstrip("/"), base_url, key)
    if name.startswith(("http://", "https://")):
        return Endpoint(name.rstrip("/"), name, key)
    if name not in HOSTS:
        raise errors.Usage(f"--service {name!r}: give auto, local, {', '.join(HOSTS)}, or a URL")
    if not key:
        raise errors.KeyRefused("ASSEMBLYAI_API_KEY is not set: set it, or use --service local")
    return Endpoint(name, base_url or HOSTS[name], key)


def canonical(name: str) -> str:
    return name
