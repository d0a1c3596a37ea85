"""Dialects: bytes of a manifest to rows of named cells, with the line on which each row begins.

A dialect is one small function from lines to rows. What the columns mean is decided elsewhere, once for all.
"""

from __future__ import annotations

import csv
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from batch.errors import Usage

csv.field_size_limit(2**31 - 1)
_BOM: Final = b"\xef\xbb\xbf"
_RECORD_LINES: Final = 100
"""A CSV cell may hold line breaks, but hardly so many."""


class Row(NamedTuple):
    """One row: the line on which it begins (from 1), and its cells by column, or what is wrong with it."""

    line: int
    cells: Mapping[str, Any]
    problem: str = ""


class Lines:
    """Numbered text lines of a byte stream, decoded one by one, so that a bad byte spoils one line only."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self.number = 0
        self.bad: dict[int, str] = {}
        self._stream = iter(stream)

    def __iter__(self) -> Iterator[str]:
        for raw in self._stream:
            self.number += 1
            yield self._decoded(raw.removeprefix(_BOM) if self.number == 1 else raw)

    def _decoded(self, raw: bytes) -> str:
        if self.number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise Usage("the manifest is UTF-16: save it as UTF-8")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self.bad[self.number] = f"not UTF-8: byte {raw[error.start]:#04x} at byte {error.start + 1} of the line"
            return raw.decode("utf-8", "replace")
        if "\0" in text:
            self.bad[self.number] = "the line holds a NUL character"
            return text.replace("\0", "")
        return text

    def problem(self, *numbers: int) -> str:
        """What was wrong with the first bad one of these lines."""
        return next((self.bad[number] for number in numbers if number in self.bad), "") if self.bad else ""


def lines_of_file(path: Path) -> Iterator[Row]:
    """The rows of a manifest file, by the dialect that its extension names. Raises ``Usage``."""
    dialect = DIALECTS.get(path.suffix.lower())
    if dialect is None:
        known = ", ".join(DIALECTS)
        raise Usage(f"{path}: is it a manifest or a recording? Manifests end in {known}")
    try:
        with path.open("rb") as file:
            yield from dialect(Lines(file))
    except OSError as error:
        raise Usage(f"cannot read the manifest {path}: {error.strerror}") from error
    except Usage as error:
        raise Usage(f"{path}: {error}") from None


def lines_of_stream(stream: IO[bytes]) -> Iterator[Row]:
    """The rows of standard input, whose dialect is told by its first line that is not blank."""
    head: list[bytes] = []
    for raw in stream:
        head.append(raw)
        if raw.strip():
            break
    first = head[-1].removeprefix(_BOM).strip() if head else b""
    return _sniffed(first)(Lines(itertools.chain(head, stream)))


def _sniffed(first: bytes) -> Dialect:
    if first.startswith(b"{"):
        return _jsonl
    if first.startswith(b"["):
        return _json
    names = {
        name.strip().strip('"').lower() for name in first.decode("utf-8", "replace").replace("\t", ",").split(",")
    }
    if names & set(AUDIO_COLUMNS):
        return _tsv if b"\t" in first else _csv
    return _txt


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


def _csv(lines: Lines, delimiter: str = ",") -> Iterator[Row]:
    records = _Records(lines)
    header: list[str] | None = None
    while True:
        records.record = []
        try:
            cells = next(csv.reader(records, delimiter=delimiter, strict=True))
        except StopIteration:
            return
        except csv.Error as error:
            records.give_up()
            yield Row(records.record[0][0], {}, f"not a valid row: {error}")
            continue
        numbers = [number for number, _ in records.record]
        if not any(map(str.strip, cells)):
            continue
        if header is None:
            header = _header(cells)
        else:
            yield _row(numbers[0], header, cells, lines.problem(*numbers))


def _row(line: int, header: list[str], cells: list[str], problem: str) -> Row:
    if not problem and len(cells) != len(header):
        problem = f"{len(cells)} cells where the header has {len(header)} columns"
    return Row(line, {}, problem) if problem else Row(line, dict(zip(header, cells, strict=True)))


def _header(cells: list[str]) -> list[str]:
    header = [cell.strip() for cell in cells]
    for name in header:
        if header.count(name) > 1:
            raise Usage(f"the column {name!r} is there twice: rename one")
    if not set(header) & set(AUDIO_COLUMNS):
        given = ", ".join(map(repr, header))
        raise Usage(f"no column for the audio: there are {given}, and one of {', '.join(AUDIO_COLUMNS)} is needed")
    return header


def _tsv(lines: Lines) -> Iterator[Row]:
    return _csv(lines, "\t")


def _jsonl(lines: Lines) -> Iterator[Row]:
    for text in lines:
        if not text.strip():
            continue
        problem = lines.problem(lines.number)
        yield Row(lines.number, {}, problem) if problem else _object(lines.number, text)


def _object(line: int, text: str) -> Row:
    try:
        cells = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        return Row(line, {}, f"not valid JSON: {error}")
    return _mapping(line, cells)


def _mapping(line: int, cells: Any) -> Row:
    if not isinstance(cells, dict):
        return Row(line, {}, f"a row must be a JSON object with a column for the audio, not {cells!r:.60}")
    return Row(line, cells)


def _json(lines: Lines) -> Iterator[Row]:
    """A whole document: a list of objects, or one under ``recordings``. Its rows are numbered, not its lines."""
    text = "".join(lines)
    if lines.bad:
        raise Usage("line {}: {}".format(*next(iter(lines.bad.items()))))
    try:
        document = msgspec.json.decode(text) if text.strip() else []
    except (msgspec.DecodeError, RecursionError) as error:
        raise Usage(f"not valid JSON: {error}") from None
    rows = document.get("recordings") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise Usage('give a list of objects, or {"recordings": [...]}')
    yield from (_mapping(number, cells) for number, cells in enumerate(rows, 1))


def _txt(lines: Lines) -> Iterator[Row]:
    for text in lines:
        audio = text.strip()
        problem = lines.problem(lines.number)
        if problem:
            yield Row(lines.number, {}, problem)
        elif audio and not audio.startswith("#"):
            yield Row(lines.number, {"audio": audio})


Dialect = Callable[[Lines], Iterator[Row]]
DIALECTS: Final[Mapping[str, Dialect]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".txt": _txt,
}
AUDIO_COLUMNS: Final = ("audio", "audio_filepath", "audio_url", "path", "file", "file_name", "url", "uri", "source")
"""The column of the audio: the first of these that a row has."""
