"""A row, and the names under which the field's manifests keep the audio."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from batch.model import Stamp

AUDIO_COLUMNS: Final = ("audio", "audio_filepath", "audio_url", "path", "file", "file_name", "url", "uri", "source")
"""The column of the audio: the first of these that a row has."""
FAILED_COLUMN: Final = "_failed"
"""In rows of ``failed.jsonl``, which may be fed back."""
EMPTY: Final = (None, "")
CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Row(NamedTuple):
    """One row: the line on which it begins (from 1), and its cells by column; or what is wrong with it, and then of
    its cells only what is known of its key. ``stamp`` is what a listing tells of the audio (see ``Recording``).
    ``labels`` are cells that are labels whatever they are called."""

    line: int
    cells: Mapping[str, Any]
    problem: str = ""
    stamp: Stamp | None = None
    labels: Mapping[str, Any] = MappingProxyType({})


class ColumnNames(NamedTuple):
    """Under which ``given`` names the columns of manifests stand that are ``audio``, ``id`` or an option, by what
    they are; all others have their usual names."""

    given: Mapping[str, str] = MappingProxyType({})

    @property
    def audio(self) -> tuple[str, ...]:
        """The columns that may be the audio."""
        return (self.given["audio"],) if "audio" in self.given else AUDIO_COLUMNS

    def check(self, names: list[str], said: str = "") -> None:
        """Raises ``ValueError`` if a given column, or one of the audio, is not among ``names``; ``said`` ends the
        message."""
        listed = ", ".join(map(repr, names))
        for meaning, column in self.given.items():
            if column not in names:
                close = difflib.get_close_matches(column, names, 1)
                meant = f" (did you mean {close[0]!r}?)" if close else ""
                raise ValueError(f"no column {column!r}, which is to be the {meaning}{meant}: there are {listed}")
        if not set(names) & set(self.audio):
            needed = ", ".join(AUDIO_COLUMNS)
            raise ValueError(
                f"no column for the audio: there are {listed}, and one of {needed} is needed, or say which it is: "
                f"--column audio=NAME{said}"
            )

    def applied(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The rows with each given column under the name of what it is. What stood under that name is a label. Rows
        of our own list of failures have the usual names."""
        if not self.given:
            return rows
        return (row if row.problem or FAILED_COLUMN in row.cells else self._applied(row) for row in rows)

    def _applied(self, row: Row) -> Row:
        missing = next((each for each in self.given.items() if row.cells.get(each[1]) in EMPTY), None)
        if missing and missing[0] in ("audio", "id"):
            return Row(row.line, {}, f"no {missing[1]}, which is to be the {missing[0]}: fill it in")
        columns = set(self.given.values())
        cells = {name: value for name, value in row.cells.items() if name not in columns and name not in self.given}
        labels = {name: row.cells[name] for name in self.given if name in row.cells and name not in columns}
        cells |= {meaning: row.cells.get(column) for meaning, column in self.given.items()}
        return row._replace(cells=cells, labels=labels)


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
