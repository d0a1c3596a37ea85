"""Hits for people: a recording's name, then a line a hit with its time, its speaker and the words around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from batch.archive.search.query import Hit, SearchAnswer
from batch.telemetry.redaction import harmless
from batch.transcripts.timecodes import clock
from batch.transcripts.transcript import speaker_label

_BEFORE: Final = 60
_WIDTH: Final = 160
"""Characters before the first hit, and of text in all."""


def lines(hits: Sequence[Hit], emphasised: Callable[[str], str]) -> Iterator[str]:
    """The hits, those of one recording under its key."""
    key = None
    for hit in hits:
        if hit.key != key:
            key = hit.key
            yield harmless(key)
        who = harmless(speaker_label(hit.name or hit.speaker))
        yield f"  {_time(hit.hits[0].start)}  {who + '  ' if who else ''}{_around(hit, emphasised)}"


def closing(answer: SearchAnswer) -> str:
    """How many there are in all."""
    if not answer.utterances:
        return "not found"
    utterances, recordings = _counted(answer.utterances, "utterance"), _counted(answer.recordings, "recording")
    fewer = f"; the first {len(answer.hits):,} are shown (--limit)" if len(answer.hits) < answer.utterances else ""
    return f"{utterances} in {recordings}{fewer}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _time(milliseconds: int) -> str:
    return f"{clock(milliseconds)}.{milliseconds % 1000 // 100}"


def _around(hit: Hit, emphasised: Callable[[str], str]) -> str:
    """The text from a little before the first hit on, as much as fits on two lines, every hit in it emphasised."""
    first, text = hit.hits[0].place, hit.text
    begin = 0 if first[0] <= _BEFORE else _next_word(text, first[0] - _BEFORE, first[0])
    end = len(text) if len(text) - begin <= _WIDTH else _word_end(text, max(first[1], begin + _WIDTH), first[1])
    parts, at = ["… " if begin else ""], begin
    for found in hit.hits:
        until = min(found.place[1], end)
        if found.place[0] < end:
            parts += (_plain(text[at : found.place[0]]), emphasised(_plain(text[found.place[0] : until])))
            at = until
    return "".join((*parts, _plain(text[at:end]), " …" if end < len(text) else ""))


def _next_word(text: str, at: int, most: int) -> int:
    space = text.find(" ", at, most)
    return at if space < 0 else space + 1


def _word_end(text: str, at: int, least: int) -> int:
    space = text.rfind(" ", least, at + 1)
    return at if space < 0 else space


def _plain(text: str) -> str:
    """Without what would move a terminal's cursor."""
    return "".join(character if character.isprintable() else " " for character in text)
