"""Providers by name: those that come with diarist, services at a URL, and plug-ins.

A plug-in is an entry point of the group ``diarist.providers``: its name is the provider's, and it is called with the
environment. Only installed packages have entry points, so a name that is found in a journal or a result never loads
anything else.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from batch import errors
from batch.providers.assemblyai import endpoints
from batch.providers.assemblyai.endpoints import Endpoint, canonical
from batch.providers.assemblyai.provider import SCHEMA, AssemblyAI
from batch.providers.interface import Provider
from batch.providers.local import LOCAL, LocalService
from batch.transcripts.transcript import Transcript

__all__ = ["canonical", "named", "names", "read", "resolve", "resolve_known", "secrets"]

_GROUP: Final = "diarist.providers"
_KEYS: Final = ("ASSEMBLYAI_API_KEY", "DIARIST_SERVICE_KEY")


class _Named(msgspec.Struct):
    recording: dict[str, Any]


def names() -> list[str]:
    """The names that ``--service`` takes, beside URLs."""
    return ["auto", LOCAL, *endpoints.HOSTS, *sorted(_plug_ins())]


def resolve(name: str, environ: Mapping[str, str]) -> Provider:
    """The provider that ``--service`` and the environment name.

    Raises ``AuthenticationError`` if the vendor's service is named without a key or the key cannot be one, and
    ``UsageError`` for a name or an address that is none.
    """
    if name == LOCAL or (name == "auto" and not endpoints.are_named_in(environ)):
        return LocalService()
    if name not in ("auto", *endpoints.HOSTS) and "://" not in name:
        return _plug_in(name, environ)
    return AssemblyAI(endpoints.resolve(name, environ))


def resolve_known(name: str, environ: Mapping[str, str]) -> Provider:
    """The provider that a directory remembers. Raises as ``resolve``, and ``UsageError`` if the environment means
    another one by its name."""
    try:
        provider = resolve(name, environ)
    except errors.AuthenticationError as error:
        raise errors.AuthenticationError(
            f"the recordings of this directory are transcribed by {name}: {error}"
        ) from None
    if provider.name != name:
        raise errors.UsageError(
            f"the recordings of this directory are transcribed by {name}, and ASSEMBLYAI_BASE_URL is "
            f"{provider.name}: unset it, or name the service with --service {provider.name}"
        )
    return provider


@functools.lru_cache(256)
def named(name: str) -> Provider:
    """The provider whose jobs and results bear this name, without its key: what it says of them can be read.

    A name that no installed provider has is that of a service that spoke AssemblyAI v2.
    """
    if name == LOCAL:
        return LocalService()
    if name in endpoints.HOSTS or "://" in name or name not in _plug_ins():
        return AssemblyAI(Endpoint(name, endpoints.HOSTS.get(name), None))
    return _plug_in(name, {})


def read(key: str, result: bytes) -> Transcript:
    """The transcript in a stored result, whoever made it. Raises ``ValueError`` for what is no result, or the result
    of a plug-in that is not installed."""
    try:
        transcript = named(LOCAL).read(key, result)
        about = transcript.recording
    except msgspec.ValidationError:
        about = msgspec.json.decode(result, type=_Named).recording
        if about.get("schema", SCHEMA) == SCHEMA:
            raise
    if (schema := about.get("schema", SCHEMA)) == SCHEMA:
        return transcript
    provider = named(str(about.get("service")))
    if provider.schema != schema:
        raise ValueError(f"made by {about.get('service')!r} (schema {schema!r}), whose plug-in is not installed")
    return provider.read(key, result)


def secrets(name: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What must never be shown of the environment, if ``--service`` is ``name``."""
    keys = [environ.get(variable, "").strip() for variable in _KEYS]
    plug_in = _plug_in(name, environ).secrets if name in _plug_ins() else ()
    return tuple(key for key in (*keys, *plug_in) if key)


def _plug_in(name: str, environ: Mapping[str, str]) -> Provider:
    if name not in _plug_ins():
        shown = "" if "@" in name else f" {name!r}"
        raise errors.UsageError(f"--service{shown}: give {', '.join(names())}, or a URL")
    try:
        provider = cast(Provider, _plug_ins()[name].load()(environ))
    except (ImportError, AttributeError) as error:
        raise errors.UsageError(f"the provider {name!r} cannot be loaded: {error}") from error
    if provider.name != name:
        raise errors.UsageError(
            f"the provider {name!r} calls itself {provider.name!r}: its names have to be the same"
        )
    return provider


def _plug_ins() -> Mapping[str, importlib.metadata.EntryPoint]:
    return {each.name: each for each in importlib.metadata.entry_points(group=_GROUP)}
