"""A stored v2 transcript object, read: whatever was asked of the service, every word once, in utterances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from batch.model import Utterance, Word
from batch.providers.interface import Outline
from batch.transcripts.transcript import Transcript, estimate_times, in_utterances, utterance


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
    found = _DECODER.decode(result)
    text = found.text or ""
    if found.utterances:
        utterances = [made for one in found.utterances if (made := _utterance(one))]
    elif found.words:
        utterances = in_utterances(_words(found.words))
    else:
        utterances = in_utterances(estimate_times(text, 0, round(1000 * (found.audio_duration or 0)), 0.0))
    utterances.sort(key=lambda utterance: (utterance.start, utterance.end))
    seconds = max([found.audio_duration or 0.0, *(utterance.end / 1000 for utterance in utterances)])
    return Transcript(
        key, tuple(utterances), seconds, found.language_code, found.recording,
        found.id, found.status, found.confidence, text,
    )  # fmt: skip


class _Speaker(msgspec.Struct):
    """Services name speakers by letters, numbers or nothing at all."""

    speaker: Any = None


class _Outline(msgspec.Struct):
    id: str | None = None
    audio_duration: float | None = None
    utterances: list[_Speaker | None] | None = None


def outline(transcript: bytes) -> Outline:
    """A transcript object without its words; of an odd one, nothing. Raises ``msgspec.DecodeError`` for what is no
    JSON."""
    try:
        found = msgspec.json.decode(transcript, type=_Outline)
    except msgspec.ValidationError:
        return Outline(None)
    speakers = {repr(each.speaker) for each in found.utterances or () if each and each.speaker is not None}
    return Outline(found.id, found.audio_duration, len(speakers))


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
