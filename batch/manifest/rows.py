"""A row, and the names under which the field's manifests keep the audio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from batch.model import Stamp

AUDIO_COLUMNS: Final = ("audio", "audio_filepath", "audio_url", "path", "file", "file_name", "url", "uri", "source")
"""The column of the audio: the first of these that a row has."""
EMPTY: Final = (None, "")
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Row(NamedTuple):
    """One row: the line on which it begins (from 1), and its cells by column; or what is wrong with it, and then of
    its cells only what is known of its key. ``stamp`` is what a listing tells of the audio (see ``Recording``)."""

    line: int
    cells: Mapping[str, Any]
    problem: str = ""
    stamp: Stamp | None = None


def check_columns(names: list[str], said: str = "") -> None:
    """Raises ``ValueError`` if none of ``names`` is a column of the audio; ``said`` ends the message."""
    if not set(names) & set(AUDIO_COLUMNS):
        given = ", ".join(map(repr, names))
        needed = ", ".join(AUDIO_COLUMNS)
        raise ValueError(f"no column for the audio: there are {given}, and one of {needed} is needed{said}")


def printable(text: str) -> str:
    """``text`` as it can be written anywhere: bytes of a file's name that are not UTF-8, and control characters, as
    ``\\xe9``."""
    if text.isprintable():
        return text
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", shown)


def unexpected(error: Exception) -> str:
    """What is wrong with a row, where nobody has thought of it."""
    return f"the row cannot be read: {type(error).__name__}: {error}"
