"""The field's own conventions: rows of NeMo, lhotse and Common Voice, as rows of our columns.

A row is known by its columns, in whatever dialect it is written, so that a first row that is broken or odd does not
decide how the others are read. What a convention leaves out or adds:

NeMo (``audio_filepath``): ``offset`` and ``duration`` in seconds become the options of an excerpt where the row is a
part of its file: where the offset is above 0, or is 0 and the row before or after is of the same file. Otherwise
``duration`` says how long the file is, and nothing is cut. Both also stay labels.
lhotse: see ``batch.manifest.lhotse``.
Common Voice (``client_id``, ``path``): a bare ``path`` is in ``clips/``, if there is such a directory beside.

The language they name becomes an option if only one is named and the provider knows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from batch.manifest import lhotse
from batch.manifest.delimited import COMMON_VOICE
from batch.manifest.option_schema import OptionSchema
from batch.manifest.rows import EMPTY, Row, unexpected

NEMO: Final = "nemo"
LHOTSE: Final = "lhotse"
VOICE: Final = "common-voice"


def understood(rows: Iterator[Row], folder: Path, options: OptionSchema, demanded: str = "") -> Iterator[Row]:
    """``rows`` of a manifest in ``folder``, in our columns. One that is not as ``demanded`` is told."""
    clips = (folder / "clips").is_dir()
    ahead = _Ahead(rows)
    before: Any = None
    for row in ahead:
        file = row.cells.get("audio_filepath")
        if row.problem:
            yield row
            continue
        try:
            several = lambda: file in (before, ahead.next_file())  # noqa: B023, E731
            yield row._replace(cells=_cells(row.cells, options, demanded, clips, several))
        except ValueError as error:
            yield Row(row.line, {"id": row.cells.get("id")}, str(error))
        except Exception as error:  # one row's trouble, whatever it is
            yield Row(row.line, {"id": row.cells.get("id")}, unexpected(error))
        before = file


def _cells(
    cells: Mapping[str, Any], options: OptionSchema, demanded: str, clips: bool, several: Callable[[], bool]
) -> Mapping[str, Any]:
    if demanded == LHOTSE or (not demanded and lhotse.is_lhotse(cells)):
        return _with_language(lhotse.columns(cells, options), options, "language")
    if demanded == VOICE or (not demanded and cells.keys() >= COMMON_VOICE):
        return _with_language(_in_clips(cells) if clips else cells, options, "locale")
    if cells.get("audio_filepath") not in EMPTY:
        return _with_language(_with_part(cells, options, several), options, "source_lang", "lang")
    if demanded == NEMO:
        raise ValueError("not a row of NeMo's: it has no audio_filepath")
    return cells


class _Ahead:
    """Rows, and the file of the next one if it is asked for."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next: Row | None = None

    def __iter__(self) -> Iterator[Row]:
        while row := self._next or next(self._rows, None):
            self._next = None
            yield row

    def next_file(self) -> Any:
        self._next = self._next or next(self._rows, None)
        return self._next.cells.get("audio_filepath") if self._next else None


def _with_part(cells: Mapping[str, Any], options: OptionSchema, several: Callable[[], bool]) -> Mapping[str, Any]:
    """The row with the part of the file that it is, if it is one."""
    start = seconds(cells, "offset")
    if start is None or (start == 0 and (cells.get("duration") in EMPTY or not several())):
        return cells
    length = seconds(cells, "duration")
    begin = round(start * 1000) if start else None
    part = options.excerpt(begin, None if length is None else round((start + length) * 1000))
    for name, value in part.items():
        if cells.get(name) not in EMPTY and str(cells[name]) != str(value):
            raise ValueError(f"offset and duration give {name} {value}, and {name} is {cells[name]!r}: keep one")
    return {**cells, **part}


def seconds(cells: Mapping[str, Any], name: str) -> float | None:
    """A time from a cell; None if it is empty. Raises ``ValueError``."""
    value = cells.get(name)
    if value in EMPTY:
        return None
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool) and 0 <= float(value) < math.inf:
            return float(value)
    except ValueError:
        pass
    raise ValueError(f"{name}: expected seconds, got {value!r:.60}")


def _in_clips(cells: Mapping[str, Any]) -> Mapping[str, Any]:
    path = cells.get("path")
    return {**cells, "path": f"clips/{path}"} if isinstance(path, str) and path and "/" not in path else cells


def _with_language(cells: Mapping[str, Any], options: OptionSchema, *columns: str) -> Mapping[str, Any]:
    given = {str(cells[name]).lower().replace("-", "_") for name in columns if cells.get(name) not in EMPTY}
    if len(given) != 1 or options.names_language(cells):
        return cells
    return {**cells, **options.language(given.pop())}
