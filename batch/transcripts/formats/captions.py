"""Captions with speakers: SubRip and WebVTT. How words become cues is decided here.

The limits are those that broadcasters' style guides agree on: two lines of 42 characters, one to seven seconds, and
17 characters a second where the silence after a cue allows it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final

import msgspec

from batch.model import Utterance
from batch.transcripts.segmentation import PAUSE_MS, Words, duration_ms, end_ms, sentences, split_to_fit
from batch.transcripts.timecodes import timecode
from batch.transcripts.transcript import Transcript, separator, speaker_label

LINE_CHARACTERS: Final = 42
CUE_MS: Final = 7000
SHORT_CUE_MS: Final = 1000
READ_PER_SECOND: Final = 17
_PREFIX_CHARACTERS: Final = 24


class Cue(msgspec.Struct):
    """One caption: ``start`` and ``end`` in milliseconds, one or two ``lines`` made of ``prefix`` and ``words``."""

    speaker: str
    start: int
    end: int
    words: Words
    prefix: str = ""
    lines: list[str] = []


def srt(spoken: Transcript) -> str:
    """SubRip. Where the speaker changes the text says who it is, since SubRip has no place of its own for that."""
    blocks = [
        f"{number}\n{timecode(cue.start, ',')} --> {timecode(cue.end, ',')}\n{_plain(cue.lines)}\n"
        for number, cue in enumerate(cues(spoken, _prefix), 1)
    ]
    return "\n".join(blocks)


def vtt(spoken: Transcript) -> str:
    """WebVTT (https://www.w3.org/TR/webvtt1/), the speaker as a voice span."""
    blocks = [
        f"{timecode(cue.start, '.')} --> {timecode(cue.end, '.')}\n{_voice(cue)}\n"
        for cue in cues(spoken, lambda speaker: "")
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def cues(spoken: Transcript, prefix: Callable[[str], str]) -> list[Cue]:
    """The cues of a recording in order. ``prefix`` is what one begins with that is not the same speaker's as the one
    before it, and there is room for that in every one.

    No two cues of one speaker overlap; those of two do where both speak at once.
    """
    made = [cue for utterance in spoken.utterances for cue in _of(utterance, prefix(utterance.speaker))]
    made.sort(key=lambda cue: (cue.start, cue.end))
    _set_lines(made, prefix)
    _linger(made)
    by_speaker: dict[str, list[Cue]] = {}
    for cue in made:
        by_speaker.setdefault(cue.speaker, []).append(cue)
    for own in by_speaker.values():
        _part(own)
    made.sort(key=lambda cue: (cue.start, cue.end))
    _set_lines(made, prefix)
    return made


def _set_lines(made: list[Cue], prefix: Callable[[str], str]) -> None:
    before = None
    for cue in made:
        named = prefix(cue.speaker) if cue.speaker != before else ""
        if not cue.lines or cue.prefix != named:  # most cues stay in their order
            cue.prefix = named
            cue.lines = _lines(cue.words, named) or [text for text in (named, cue.words[0].text) if text]
        before = cue.speaker


def _of(utterance: Utterance, prefix: str) -> Iterator[Cue]:
    def fits(words: Words) -> bool:
        return duration_ms(words) <= CUE_MS and _lines(words, prefix) is not None

    pieces = (piece for sentence in sentences(utterance.words) for piece in split_to_fit(sentence, fits))
    for words in _without_flashes(pieces, fits):
        start = words[0].start
        yield Cue(utterance.speaker, start, min(end_ms(words), start + CUE_MS), words)


def _without_flashes(pieces: Iterable[Words], fits: Callable[[Words], bool]) -> Iterator[Words]:
    """Pieces too short to be read are joined with their neighbour, unless a pause is between them."""
    kept: Words = ()
    for piece in pieces:
        if (
            kept
            and min(duration_ms(kept), duration_ms(piece)) < SHORT_CUE_MS
            and piece[0].start - kept[-1].end < PAUSE_MS
        ):
            both = [*kept, *piece]
            if fits(both):
                kept = both
                continue
        if kept:
            yield kept
        kept = piece
    if kept:
        yield kept


def _linger(made: list[Cue]) -> None:
    """Leave a cue standing in the silence after it until it can be read."""
    for place, cue in enumerate(made):
        read = 1000 * sum(map(_width, cue.lines)) // READ_PER_SECOND
        until = cue.start + min(CUE_MS, max(SHORT_CUE_MS, read))
        silence = made[place + 1].start if place + 1 < len(made) else until
        cue.end = max(cue.end, min(until, silence))


def _part(made: list[Cue]) -> None:
    """Cues of one speaker, in order of their starts: none begins before the one before it has ended."""
    for before, cue in pairwise(made):
        before.end = max(before.start + 1, min(before.end, cue.start))
        cue.start = max(cue.start, before.end)
        cue.end = max(cue.end, cue.start)
    for cue in made[-1:]:
        cue.end = max(cue.end, cue.start + 1)


def _lines(words: Words, prefix: str) -> list[str] | None:
    """The words in one line or in two even ones; None if they do not fit."""
    texts = [word.text for word in words]
    if prefix:
        texts.insert(0, prefix)
    if sum(map(len, texts)) > 2 * LINE_CHARACTERS + 1:
        return None
    text, places = _set(texts)
    if _width(text) <= LINE_CHARACTERS:
        return [text]
    both = ((text[:place].rstrip(), text[place:]) for place in places)
    widths = ((max(_width(upper), _width(lower)), upper, lower) for upper, lower in both)
    fitting = [(width - 6 * (upper[-1] in ".,;:?!"), upper, lower) for width, upper, lower in widths
               if width <= LINE_CHARACTERS]  # fmt: skip
    return list(min(fitting)[1:]) if fitting else None


def _set(texts: list[str]) -> tuple[str, list[int]]:
    """The text in one line, and the places in it where a word begins."""
    text, places = texts[0], []
    for following in texts[1:]:
        text += separator(text, following)
        places.append(len(text))
        text += following
    return text, places


def _width(text: str) -> int:
    """Columns on a screen: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _prefix(speaker: str) -> str:
    name = speaker_label(speaker)
    if len(name) > _PREFIX_CHARACTERS:
        name = name[: _PREFIX_CHARACTERS - 1].rstrip() + "…"
    return f"{name}:" if name else ""


def _voice(cue: Cue) -> str:
    text = "\n".join(_escaped(line) for line in cue.lines)
    return f"<v {_escaped(speaker_label(cue.speaker))}>{text}" if cue.speaker else text


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(lines: list[str]) -> str:
    """SubRip has no escapes: an arrow in the text would be taken for a time line."""
    return "\n".join(lines).replace("-->", "→")
