"""What is made from the words of a finished transcript: sentences, paragraphs, captions, and search. Pure.

Source: the schemas of the AssemblyAI v2 specification (August 2026). How the vendor divides a transcript is not
documented; here a voice is one speaker of one channel, and neither sentence nor caption mixes two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

import msgspec

from batch.model import Word
from batch.transcripts.sentences import ends_sentence, mean_confidence
from batch.transcripts.timecodes import short_timecode, timecode

PAUSE_MS: Final = 2000  # a silence so long ends a paragraph and a caption
LONGEST_PARAGRAPH: Final = 5  # sentences
LONGEST_PHRASE: Final = 5  # words
CAPTION_CHARACTERS: Final = 70  # about what the specification's example has, when no limit is asked for
_EDGES: Final = re.compile(r"^\W+|\W+$")


class Paragraph(msgspec.Struct, frozen=True):
    """Times are milliseconds."""

    text: str
    start: int
    end: int
    confidence: float
    words: tuple[Word, ...]


class Sentence(Paragraph, frozen=True):
    speaker: str | None
    channel: str | None


class Caption(msgspec.Struct, frozen=True):
    """Times are milliseconds."""

    text: str
    start: int
    end: int


class Match(msgspec.Struct, frozen=True):
    """Where a phrase was said; ``indexes`` count the transcript's words, and name the first of each."""

    text: str
    count: int
    timestamps: tuple[tuple[int, int], ...]
    indexes: tuple[int, ...]


# ── Sentences and paragraphs ────────────────────────────────────────────────────────────────────────────────────


def sentences(words: Sequence[Word]) -> list[Sentence]:
    """The sentences by their start. Channels are read one by one: their words alternate where people interrupt."""
    is_cased = any(word.text != word.text.lower() for word in words)
    channels = sorted({word.channel or "" for word in words})
    by_channel = ([word for word in words if (word.channel or "") == channel] for channel in channels)
    made = [_sentence(run) for channel in by_channel for run in _runs(channel, is_cased)]
    return sorted(made, key=lambda sentence: sentence.start)


def _runs(words: Sequence[Word], is_cased: bool) -> Iterator[list[Word]]:
    for _, said in groupby(words, key=lambda word: word.speaker):
        run: list[Word] = []
        for word in said:
            if run and ends_sentence(run[-1].text, word.text, is_cased=is_cased):
                yield run
                run = []
            run.append(word)
        yield run


def _sentence(words: Sequence[Word]) -> Sentence:
    return Sentence(*_said(words), words[0].speaker, words[0].channel)


def _said(words: Sequence[Word]) -> tuple[str, int, int, float, tuple[Word, ...]]:
    text, end = " ".join(word.text for word in words), max(word.end for word in words)
    return text, words[0].start, end, mean_confidence(words), tuple(words)


def paragraphs(words: Sequence[Word]) -> list[Paragraph]:
    """Sentences of one voice together, until it pauses or has said five."""
    groups: list[list[Sentence]] = []
    for sentence in sentences(words):
        if not groups or _is_new(groups[-1], sentence):
            groups.append([])
        groups[-1].append(sentence)
    return [Paragraph(*_said([word for sentence in group for word in sentence.words])) for group in groups]


def _is_new(paragraph: Sequence[Sentence], sentence: Sentence) -> bool:
    last = paragraph[-1]
    if (last.channel, last.speaker) != (sentence.channel, sentence.speaker):
        return True
    return len(paragraph) >= LONGEST_PARAGRAPH or sentence.start - last.end >= PAUSE_MS


# ── Captions ────────────────────────────────────────────────────────────────────────────────────────────────────


def captions(words: Sequence[Word], characters: int = CAPTION_CHARACTERS) -> list[Caption]:
    """Sentences cut where ``characters`` are full or the voice pauses. A longer word has a caption of its own."""
    cut = (piece for sentence in sentences(words) for piece in _cut(sentence.words, characters))
    made = [Caption(" ".join(word.text for word in piece), piece[0].start, piece[-1].end) for piece in cut]
    return sorted(made, key=lambda caption: caption.start)


def _cut(words: Iterable[Word], characters: int) -> Iterator[list[Word]]:
    piece: list[Word] = []
    length = 0
    for word in words:
        length += len(word.text) + bool(piece)
        if piece and (length > characters or word.start - piece[-1].end >= PAUSE_MS):
            yield piece
            piece, length = [], len(word.text)
        piece.append(word)
    if piece:
        yield piece


def srt(made: Iterable[Caption]) -> str:
    """SubRip: numbered captions with ``HH:MM:SS,mmm``."""
    return "\n".join(
        f"{number}\n{timecode(each.start, ',')} --> {timecode(each.end, ',')}\n{each.text}\n"
        for number, each in enumerate(made, start=1)
    )


def vtt(made: Iterable[Caption]) -> str:
    """WebVTT: captions with ``MM:SS.mmm``, and hours where they are needed."""
    cues = (f"{short_timecode(each.start)} --> {short_timecode(each.end)}\n{_escaped(each.text)}\n" for each in made)
    return "\n".join(["WEBVTT\n", *cues])


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


# ── Search ──────────────────────────────────────────────────────────────────────────────────────────────────────


def search(words: Sequence[Word], phrases: Iterable[str]) -> list[Match]:
    """Where each phrase was said, whatever its case and the marks around its words; phrases not said are left out."""
    bare = [_bare(word.text) for word in words]
    places: dict[str, list[int]] = {}
    for index, text in enumerate(bare):
        places.setdefault(text, []).append(index)
    found = (_match(phrase, words, bare, places) for phrase in dict.fromkeys(phrases))
    return [match for match in found if match.count]


def _match(phrase: str, words: Sequence[Word], bare: Sequence[str], places: dict[str, list[int]]) -> Match:
    wanted = [_bare(part) for part in phrase.split()]
    first = places.get(wanted[0], []) if wanted and all(wanted) else []
    at = tuple(index for index in first if list(bare[index : index + len(wanted)]) == wanted)
    times = tuple((words[index].start, words[index + len(wanted) - 1].end) for index in at)
    return Match(phrase, len(at), times, at)


def _bare(text: str) -> str:
    return _EDGES.sub("", text.casefold().replace("\u2019", "'"))
