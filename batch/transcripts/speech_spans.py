"""Stretches of speech: the words of one speaker, joined where the pause between them is short.

A v2 utterance goes on through pauses, however long; talk time, and what diarization is scored by, does not.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

import msgspec

from batch.model import Word
from batch.transcripts.transcript import UNKNOWN, Transcript

JOIN_MS: Final = 500


class SpeechSpan(msgspec.Struct):
    """``start`` and ``end`` in milliseconds; ``channel`` as v2 counts them, from 1."""

    speaker: str
    channel: str
    start: int
    end: int


def speech_spans(spoken: Transcript) -> list[SpeechSpan]:
    """The stretches of speech of all speakers, in the order of their starts. None is shorter than a millisecond."""
    made: list[SpeechSpan] = []
    last: dict[tuple[str, str], SpeechSpan] = {}
    words = chain.from_iterable(utterance.words for utterance in spoken.utterances)
    for word in sorted(words, key=_start):
        who = (word.speaker or UNKNOWN, word.channel or "1")
        end = max(word.end, word.start + 1)
        if (span := last.get(who)) and word.start - span.end < JOIN_MS:
            span.end = max(span.end, end)
        else:
            last[who] = span = SpeechSpan(*who, word.start, end)
            made.append(span)
    return made


def _start(word: Word) -> int:
    return word.start
