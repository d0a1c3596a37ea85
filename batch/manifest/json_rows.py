"""JSON: an object a line, or one document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from batch.errors import UsageError
from batch.manifest.decoding import Lines
from batch.manifest.rows import Row


def json_lines(lines: Lines) -> Iterator[Row]:
    """An object a line."""
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


def document(lines: Lines) -> Iterator[Row]:
    """A whole document: a list of objects, or one under ``recordings``. Its rows are numbered, not its lines."""
    text = "".join(lines)
    if problem := lines.damage or lines.first_problem():
        raise UsageError(problem)
    try:
        content = msgspec.json.decode(text) if text.strip() else []
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(f"not valid JSON: {error}") from None
    rows = content.get("recordings") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise UsageError('give a list of objects, or {"recordings": [...]}')
    yield from (_mapping(number, cells) for number, cells in enumerate(rows, 1))


def is_document(text: str) -> bool:
    """Whether a first line is a list of objects or an object with ``recordings``, or begins something longer."""
    if not text.startswith(("[", "{")):
        return False
    try:
        content = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return True
    return _holds_recordings(content) or (isinstance(content, list) and all(isinstance(row, dict) for row in content))


def is_object(text: str) -> bool:
    """Whether a first line is a row, however broken."""
    if not text.startswith("{") or text == "{":
        return False
    try:
        return not _holds_recordings(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        return True


def _holds_recordings(content: Any) -> bool:
    return isinstance(content, dict) and isinstance(content.get("recordings"), list)
