"""A transcript as the formats read it: every word once, in utterances, whoever made it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Any, Final

import msgspec

from batch.model import Utterance, Word

UNKNOWN: Final = ""
"""The speaker of words that nobody has told apart."""
_LABEL: Final = re.compile(r"\d{0,3}[A-Z]{1,2}|\d{1,3}")
UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff65]"
)


class Transcript(msgspec.Struct, frozen=True):
    """What was said in one recording, for a format.

    ``utterances`` are in the order of their starts, and the words of each in the order of theirs; the speaker is
    ``UNKNOWN`` where speakers were not told apart. ``seconds`` is how long the recording is, ``recording`` what the
    result says of it, ``service`` the rest that is worth a column.
    """

    key: str
    utterances: tuple[Utterance, ...]
    seconds: float = 0.0
    language: str | None = None
    recording: dict[str, Any] = {}
    transcript_id: str | None = None
    status: str | None = None
    confidence: float | None = None
    text: str = ""

    @property
    def speakers(self) -> list[str]:
        """The speakers, in the order in which they first speak."""
        return list(dict.fromkeys(utterance.speaker for utterance in self.utterances))


def in_utterances(words: Iterable[Word]) -> list[Utterance]:
    """Unbroken runs of words of one speaker in one channel."""
    return [utterance(list(run)) for _, run in groupby(words, key=lambda word: (word.speaker, word.channel))]


def utterance(words: Sequence[Word]) -> Utterance:
    """The utterance of these words (at least one), said by the speaker of the first."""
    confidence = sum(word.confidence for word in words) / len(words)
    first, end = words[0], max(word.end for word in words)
    return Utterance(
        joined(words), first.start, end, round(confidence, 5), first.speaker or UNKNOWN, tuple(words), first.channel
    )


def joined(words: Iterable[Word]) -> str:
    """The text of words: spaces between them, but for scripts that have none."""
    return join_words([word.text for word in words])


def join_words(texts: Sequence[str]) -> str:
    text = " ".join(texts)
    if text.isascii() or not UNSPACED.search(text):
        return text
    parts = list(texts[:1])
    for before, after in pairwise(texts):
        parts += (separator(before, after), after)
    return "".join(parts)


def separator(before: str, after: str) -> str:
    """What stands between two neighbouring words: a space, or nothing in a script without spaces."""
    return "" if UNSPACED.match(before[-1:]) or UNSPACED.match(after[:1]) else " "


def speaker_label(speaker: str) -> str:
    """How people read a speaker: ``A`` as ``Speaker A``, a name as it is, nothing for an unknown one."""
    return f"Speaker {speaker}" if _LABEL.fullmatch(speaker) else speaker


def estimate_times(text: str, start: int, end: int, confidence: float) -> list[Word]:
    """The words of a text whose own times are not known, by their lengths."""
    texts = text.split()
    total, at, words = sum(map(len, texts)), 0, []
    for one in texts:
        begin, until = (start + (end - start) * place // total for place in (at, at + len(one)))
        words.append(Word(one, begin, until, confidence))
        at += len(one)
    return words
