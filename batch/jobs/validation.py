"""Settings against what the formats and the service know: what ``batch.config`` cannot tell by itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from batch import config
from batch.config import Settings
from batch.providers import registry
from batch.transcripts.formats.registry import FORMATS


def load_settings(
    path: Path | None = None, *, environ: Mapping[str, str], sets: Iterable[str] = (), flags: Mapping[str, Any]
) -> Settings:
    """As ``config.load``, with formats that there are and options that the service takes, in canonical form."""
    return config.load(path, environ=environ, sets=sets, flags=flags, validate=validated)


def validated(settings: Settings) -> Settings:
    """The settings, with canonical options. Raises ValueError for a format or an option that is none."""
    _check_formats(settings.formats)
    options = registry.named(settings.service).options.read(settings.options, {})
    return msgspec.structs.replace(settings, options=options)


def _check_formats(formats: Iterable[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            close = difflib.get_close_matches(name, FORMATS, 1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            known = ", ".join(FORMATS)
            raise ValueError(f"there is no format {name!r} of single recordings{meant}; there are {known}")
        if missing := FORMATS[name].missing():
            raise ValueError(missing)
