"""The parameters of a query, checked: what is empty counts as not given, what is out of bounds is refused. Pure.

Source: the parameters of the AssemblyAI v2 specification (August 2026). Parameters that are not known are ignored:
the vendor's own tools send a few.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Final

from batch.providers.assemblyai.protocol import PAGE_LIMIT, Status
from batch.server.responses import BadRequest
from batch.server.segments import CAPTION_CHARACTERS, LONGEST_PHRASE

DEFAULT_LIMIT: Final = 10
_MOST_CHARACTERS: Final = 100_000
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,6}", re.ASCII)

Query = Mapping[str, str]


def limit(query: Query) -> int:
    """How many transcripts a page holds."""
    return _number(query, "limit", DEFAULT_LIMIT, PAGE_LIMIT)


def characters(query: Query) -> int:
    """How long a caption may be."""
    return _number(query, "chars_per_caption", CAPTION_CHARACTERS, _MOST_CHARACTERS)


def _number(query: Query, name: str, default: int, most: int) -> int:
    given = query.get(name)
    if not given:
        return default
    if not _NUMBER.fullmatch(given) or not 1 <= int(given) <= most:
        raise BadRequest(f"{name} must be between 1 and {most}")
    return int(given)


def status(query: Query) -> Status | None:
    given = query.get("status")
    if given and given not in set(Status):
        raise BadRequest(f"status must be one of {', '.join(Status)}")
    return Status(given) if given else None


def created_on(query: Query) -> str | None:
    """A day, as ``YYYY-MM-DD``."""
    given = query.get("created_on")
    try:
        if given and (not _DAY.fullmatch(given) or not date.fromisoformat(given)):
            raise ValueError
    except ValueError:
        raise BadRequest("created_on must be a day, as YYYY-MM-DD") from None
    return given or None


def throttled_only(query: Query) -> bool:
    given = query.get("throttled_only") or "false"
    if given.lower() not in ("true", "false"):
        raise BadRequest("throttled_only must be a Boolean")
    return given.lower() == "true"


def words(query: Query) -> list[str]:
    """The phrases to search for: one at least, of five words at most."""
    given = [" ".join(phrase.split()) for phrase in query.get("words", "").split(",")]
    phrases = [phrase for phrase in given if phrase]
    if not phrases:
        raise BadRequest("words must be given: the words to search for, with commas between them")
    for phrase in phrases:
        if len(phrase.split()) > LONGEST_PHRASE:
            raise BadRequest(f"words: a phrase may have {LONGEST_PHRASE} words at most: {phrase}")
    return phrases
