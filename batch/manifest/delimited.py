"""CSV and TSV: a header, then records, which may run over several lines."""

from __future__ import annotations

import csv
from collections import Counter, deque
from collections.abc import Iterator
from functools import partial
from typing import Final

from batch.errors import UsageError
from batch.manifest.decoding import Lines
from batch.manifest.rows import ColumnNames, Row

csv.field_size_limit(2**31 - 1)
_RECORD_LINES: Final = 100
"""A CSV cell may hold line breaks, but hardly so many."""
COMMON_VOICE: Final = frozenset({"client_id", "path"})
"""Columns of Mozilla's Common Voice, whose sentences may begin with a quote that means nothing."""


class _Records:
    """Lines for ``csv.reader``, a record at a time. A record whose quote is never closed would swallow all that
    follows: it is given up after some lines, and the lines behind its first are read anew."""

    def __init__(self, lines: Lines) -> None:
        self._lines = ((lines.number, text) for text in lines)
        self._again: deque[tuple[int, str]] = deque()
        self.record: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[str]:
        while True:
            if len(self.record) >= _RECORD_LINES:
                raise csv.Error("a quote is opened and not closed")
            line = self._again.popleft() if self._again else next(self._lines, None)
            if line is None:
                return
            self.record.append(line)
            yield line[1]

    def give_up(self) -> None:
        self._again.extendleft(reversed(self.record[1:]))


def delimited(lines: Lines, columns: ColumnNames, delimiter: str) -> Iterator[Row]:
    """Rows of cells by the names in the header. Comments before the header are passed over."""
    records = _Records(lines)
    reader = partial(csv.reader, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        records.record = []
        try:
            cells = next(reader(records))
        except StopIteration:
            return
        except csv.Error as error:
            records.give_up()
            yield Row(records.record[0][0], {}, f"not a valid row: {error}")
            continue
        numbers = [number for number, _ in records.record]
        if not any(map(str.strip, cells)):
            continue
        if header is not None:
            yield _row(numbers[0], header, cells, lines.problem(*numbers))
        elif not cells[0].startswith("#"):
            header = _header(cells, columns)
            if delimiter == "\t" and set(header) >= COMMON_VOICE:
                reader = partial(reader, quoting=csv.QUOTE_NONE)


def _row(line: int, header: list[str], cells: list[str], problem: str) -> Row:
    if not problem and len(cells) != len(header):
        problem = f"{len(cells)} cells where the header has {len(header)} columns"
    return Row(line, {}, problem) if problem else Row(line, dict(zip(header, cells, strict=True)))


def _header(cells: list[str], columns: ColumnNames) -> list[str]:
    header = [cell.strip() for cell in cells]
    name, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise UsageError(f"the column {name!r} is there twice: rename one")
    try:
        columns.check(header)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return header


def is_header(text: str, columns: ColumnNames, delimiter: str) -> bool:
    """Whether a line names a column for the audio."""
    return not {name.strip().strip('"') for name in text.split(delimiter)}.isdisjoint(columns.audio)
