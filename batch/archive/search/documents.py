"""What the index keeps of one result: its utterances as they are searched, with the time of every word."""

from __future__ import annotations

import contextlib
import os
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.archive.results import is_foreign
from batch.model import Utterance, Word
from batch.providers import registry
from batch.telemetry.redaction import redact
from batch.transcripts.segmentation import sentences
from batch.transcripts.speakers import LABEL, read_label
from batch.transcripts.transcript import UNKNOWN, UNSPACED, Transcript, join_words

SEPARATOR: Final = "\x1f"
"""Stands on either side of each character of a script without spaces, so that each is a word of its own to the index
and any part of such a text is found as a phrase. It cannot be in a stored text: Python counts it as white space."""

_LONGEST_SECONDS: Final = 1e9
Row = tuple[str, str | None, str | None, int, int, str, bytes]
"""Speaker, the row's own name for them, channel, start and end in milliseconds, searchable text, packed times."""


class Document(msgspec.Struct, frozen=True):
    """One result, with the size and time of its file; ``problem`` says why it cannot be searched."""

    key: str
    size_bytes: int
    mtime_ns: int
    source: str = ""
    labels: dict[str, str] = {}
    rows: list[Row] = []
    problem: str = ""


def read_document(directory: Path, path: Path) -> Document | None:
    """The entry of a file below ``directory``, which says nothing if it is none of ours; None if it is gone."""
    key = path.relative_to(directory).as_posix().removesuffix(".json")
    try:
        with path.open("rb") as file:
            stamp, content = os.fstat(file.fileno()), file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        return Document(key, 0, 0, problem=str(error.strerror))
    known = (key, stamp.st_size, stamp.st_mtime_ns)
    if is_foreign(content):
        return Document(*known)
    try:
        transcript = registry.read(key, content)
        return Document(
            *known,
            cleaned(redact(str(transcript.recording.get("source") or ""))),
            _labels(transcript),
            list(_rows(transcript)),
        )
    except (ValueError, OverflowError) as error:
        return Document(*known, problem=str(error))


def searchable(text: str) -> str:
    """A text as the index holds it and as it is looked for."""
    return text if text.isascii() else UNSPACED.sub(rf"{SEPARATOR}\g<0>{SEPARATOR}", text)


def readable(text: str) -> str:
    """A text of the index as it was said."""
    return text.replace(SEPARATOR, "")


def cleaned(text: str) -> str:
    """Composed, and of characters that SQLite can hold."""
    if text.isascii() and "\0" not in text:
        return text
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode()).replace("\0", "\ufffd")


def _labels(said: Transcript) -> dict[str, str]:
    labels = said.recording.get("labels")
    return (
        {cleaned(name): cleaned(redact(_text(value))) for name, value in labels.items()}
        if isinstance(labels, dict)
        else {}
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _rows(said: Transcript) -> Iterator[Row]:
    if said.seconds > _LONGEST_SECONDS:
        raise OverflowError(f"{said.seconds:g} seconds are no recording's")
    names: dict[str, str] = {}
    with contextlib.suppress(ValueError, AttributeError):  # told by whoever writes formats with names
        names = read_label((said.recording.get("labels") or {}).get(LABEL))
    for utterance in said.utterances:
        name = names.get(utterance.speaker)
        for words in _pieces(utterance):
            texts = [cleaned(word.text) for word in words]
            text = join_words(texts)
            start, end = words[0].start, max(word.end for word in words)
            yield (
                cleaned(utterance.speaker), name and cleaned(name), utterance.channel and cleaned(utterance.channel),
                start, end, searchable(text), _packed(text, texts, words),
            )  # fmt: skip


def _pieces(utterance: Utterance) -> Iterable[Sequence[Word]]:
    """An utterance whole; sentences where speakers were not told apart, and all of a recording may be one run."""
    return sentences(utterance.words) if utterance.speaker == UNKNOWN else [utterance.words]


# ── the times of words: for each, characters since the word before began, pause, length, in milliseconds ───────────


def _packed(text: str, texts: Sequence[str], words: Sequence[Word]) -> bytes:
    """About five bytes a word."""
    packed: list[int] = []
    at = before = ended = 0
    for one, word in zip(texts, words, strict=True):
        at = text.index(one, at)
        packed += (at - before, word.start - ended, word.end - word.start)
        before, ended = at, word.end
        at += len(one)
    return msgspec.msgpack.encode(packed)


class Times:
    """The times of an utterance's words, by where in its text they stand."""

    def __init__(self, packed: bytes) -> None:
        flat = msgspec.msgpack.decode(packed, type=list[int])
        self._places = list(accumulate(flat[::3]))
        self._spans: list[tuple[int, int]] = []
        ended = 0
        for pause, length in zip(flat[1::3], flat[2::3], strict=True):
            self._spans.append((ended + pause, ended + pause + length))
            ended += pause + length

    def of(self, begin: int, end: int) -> tuple[int, int]:
        """From when to when the words are said that have characters from ``begin`` up to ``end``: milliseconds."""
        first = max(0, bisect_right(self._places, begin) - 1)
        spans = self._spans[first : max(first + 1, bisect_left(self._places, end))]
        return spans[0][0], max(span[1] for span in spans)
