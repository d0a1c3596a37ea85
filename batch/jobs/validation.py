"""Settings against what the formats and the service know: what ``batch.config`` cannot tell by itself."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from batch import config
from batch.config import Origin, Settings
from batch.manifest.option_schema import OptionSchema
from batch.providers import registry
from batch.transcripts.formats.registry import FORMATS


def load_settings(
    path: Path | None = None,
    *,
    environ: Mapping[str, str],
    sets: Iterable[str] = (),
    flags: Mapping[str, Any],
    profile: str | None = None,
    origins: list[Origin] | None = None,
) -> Settings:
    """As ``config.load``, with formats that there are and options that the service takes, in canonical form."""
    return config.load(
        path, environ=environ, sets=sets, flags=flags, profile=profile, origins=origins, validate=validated
    )


def validated(settings: Settings) -> Settings:
    """The settings, with canonical options. Raises ValueError for a format or an option that is none."""
    _check_formats(settings.formats)
    schema = registry.named(settings.service).options
    try:
        options = schema.read(settings.options, {})
    except ValueError as error:
        raise ValueError(f"{error}{_meant(settings.options, schema)}") from None
    _check_columns(settings.columns, schema)
    return msgspec.structs.replace(settings, options=options)


def _meant(options: Iterable[str], schema: OptionSchema) -> str:
    """A hint for an option that is misspelt."""
    wrong = next((name for name in options if not schema.is_option(name)), "")
    close = difflib.get_close_matches(wrong, schema.columns, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _check_columns(columns: Mapping[str, str], schema: OptionSchema) -> None:
    """What a column may be: the audio, the key, or an option."""
    for meaning, column in columns.items():
        if meaning in ("audio", "id") or schema.is_option(meaning):
            continue
        close = difflib.get_close_matches(meaning, ["audio", "id", *schema.columns], 1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(
            f"--column {meaning}={column}: a column is named as audio, id, or an option of the service{meant}; any "
            "other goes to the result under its own name"
        )


def _check_formats(formats: Iterable[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            close = difflib.get_close_matches(name, FORMATS, 1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            known = ", ".join(FORMATS)
            raise ValueError(f"there is no format {name!r} of single recordings{meant}; there are {known}")
        if missing := FORMATS[name].missing():
            raise ValueError(missing)
