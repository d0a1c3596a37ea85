"""A stored result as the formats read it: every word once, in utterances, whatever was asked of the service."""

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


class _Word(msgspec.Struct):
    text: str | None = None
    start: float | None = None
    end: float | None = None
    confidence: float | None = None
    speaker: str | int | None = None
    channel: str | int | None = None


class _Utterance(_Word):
    words: list[_Word] | None = None


class _Result(msgspec.Struct):
    recording: dict[str, Any]
    id: str | None = None
    status: str | None = None
    text: str | None = None
    words: list[_Word] | None = None
    utterances: list[_Utterance] | None = None
    confidence: float | None = None
    audio_duration: float | None = None
    language_code: str | None = None


_DECODER: Final = msgspec.json.Decoder(_Result)


def read_result(key: str, result: bytes) -> Transcript:
    """What a stored result says. Anything in it may be null or missing; times that run backwards are held back.

    Raises ``msgspec.DecodeError`` or ``UnicodeDecodeError`` for what is no result.
    """
    said = _DECODER.decode(result)
    text = said.text or ""
    if said.utterances:
        utterances = [made for one in said.utterances if (made := _utterance(one))]
    elif said.words:
        utterances = in_utterances(_words(said.words))
    else:
        utterances = in_utterances(estimate_times(text, 0, round(1000 * (said.audio_duration or 0)), 0.0))
    utterances.sort(key=lambda utterance: (utterance.start, utterance.end))
    seconds = max([said.audio_duration or 0.0, *(utterance.end / 1000 for utterance in utterances)])
    return Transcript(
        key, tuple(utterances), seconds, said.language_code, said.recording,
        said.id, said.status, said.confidence, text,
    )  # fmt: skip


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


def _utterance(said: _Utterance) -> Utterance | None:
    words = _words(said.words or ())
    if not words and said.text:
        start = _milliseconds(said.start)
        words = estimate_times(said.text, start, max(start, _milliseconds(said.end)), said.confidence or 0.0)
    if not words:
        return None
    speaker, channel = _text(said.speaker), _text(said.channel)
    return utterance([Word(one.text, one.start, one.end, one.confidence, speaker, channel) for one in words])


def _words(said: Iterable[_Word]) -> list[Word]:
    """The words that have a text, none of them starting before the one before it."""
    words: list[Word] = []
    earliest = 0
    for one in said:
        if text := " ".join((one.text or "").split()):
            earliest = max(earliest, _milliseconds(one.start))
            end = max(earliest, _milliseconds(one.end))
            words.append(Word(text, earliest, end, one.confidence or 0.0, _text(one.speaker), _text(one.channel)))
    return words


def _milliseconds(time: float | None) -> int:
    return max(0, round(time or 0))


def _text(label: str | int | None) -> str | None:
    return " ".join(str(label).split()) or None if label is not None else None
