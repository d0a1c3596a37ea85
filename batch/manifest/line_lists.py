"""A recording a line, without columns: paths and URLs, and Kaldi's ``wav.scp``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from batch.manifest.decoding import Lines
from batch.manifest.discovery import is_recording
from batch.manifest.rows import Row

_URL: Final = re.compile(r"(https?|file)://", re.IGNORECASE)
_PLACED: Final = re.compile(r"\S+\s+(/\S.*|.*\|)")
_IN_ARCHIVE: Final = re.compile(r"(?!.*://).*:\d+")


def listed(lines: Lines) -> Iterator[Row]:
    """A path or URL a line; blank ones and ``#`` comments are passed over."""
    for text in lines:
        audio = text.strip()
        problem = lines.problem(lines.number)
        if problem:
            yield Row(lines.number, {}, problem)
        elif audio.startswith("#"):
            lines.comment(audio)
        elif audio:
            yield Row(lines.number, {"audio": audio})


def is_listed(text: str) -> bool:
    """Whether a line is surely a path or URL of a recording."""
    return bool(_URL.match(text)) or is_recording(text) or text.startswith(("/", "./", "../"))


def kaldi(lines: Lines) -> Iterator[Row]:
    """Kaldi's ``wav.scp``: an utterance's id and the path of its audio, which may hold blanks. Commands, standard
    input and places in archives, which Kaldi would also read, are refused; a command is never run."""
    for text in lines:
        problem = lines.problem(lines.number)
        if problem:
            yield Row(lines.number, {}, problem)
        elif text.strip():
            yield _utterance(lines.number, text.split(None, 1))


def _utterance(line: int, parts: list[str]) -> Row:
    key, place = parts[0], parts[1].strip() if len(parts) > 1 else ""
    if not place:
        return Row(line, {"id": key}, "expected an id and a path, as in: call-1 calls/1.wav")
    if place.endswith("|"):
        return Row(line, {"id": key}, not_run(place))
    if place == "-" or _IN_ARCHIVE.fullmatch(place):
        where = "standard input" if place == "-" else f"a place in an archive ({place})"
        return Row(line, {"id": key}, f"its audio is {where}: write it to a file of its own and list that")
    return Row(line, {"id": key, "audio": place})


def is_kaldi(text: str) -> bool:
    """Whether a line is surely one of a ``wav.scp``: an id, then an absolute path or a command. An id before a
    relative path may as well be a file name with a blank."""
    return bool(_PLACED.fullmatch(text)) and not _URL.match(text) and not text.startswith("/")


def not_run(command: str) -> str:
    """Why audio that is the output of a command is refused."""
    return f"its audio is the output of the command {command[:80]!r}, and commands are not run: write it to a file"
