"""How each speaker takes part: talk time, share, turns, longest monologue, interruptions."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import msgspec

from batch.transcripts.speech_spans import speech_spans
from batch.transcripts.transcript import Transcript


class TalkStats(msgspec.Struct, frozen=True):
    """One speaker of one recording.

    ``talk_seconds`` is the length of the speaker's stretches of speech, words less than half a second apart joined;
    ``share`` its part of the talk of all (0-1), ``talk_listen_ratio`` it against that of all others (None if nobody
    else speaks). A turn is all that a speaker says until another speaks; ``longest_monologue_seconds`` is the longest
    turn, its pauses included. An interruption is an utterance that begins inside another speaker's.
    """

    speaker: str
    talk_seconds: float
    share: float
    talk_listen_ratio: float | None
    words: int
    turns: int
    longest_monologue_seconds: float
    interruptions: int


def talk_stats(spoken: Transcript) -> list[TalkStats]:
    """One for each speaker, in the order in which they first speak."""
    talk: Counter[str] = Counter()
    for span in speech_spans(spoken):
        talk[span.speaker] += span.end - span.start
    words = Counter(word.speaker or "" for utterance in spoken.utterances for word in utterance.words)
    turns, longest = _turns(spoken)
    cut, total = interruptions(spoken), talk.total()
    return [
        TalkStats(
            speaker, talk[speaker] / 1000, round(talk[speaker] / total, 4), _ratio(talk[speaker], total),
            words[speaker], turns[speaker], longest[speaker] / 1000, cut[speaker],
        )
        for speaker in spoken.speakers
    ]  # fmt: skip


def interruptions(spoken: Transcript) -> Counter[str]:
    """How often each speaker begins while an utterance of another goes on."""
    counts: Counter[str] = Counter()
    latest: dict[str, int] = {}
    for start, together in groupby(spoken.utterances, key=lambda utterance: utterance.start):
        starting = list(together)
        for utterance in starting:
            others = (end for speaker, end in latest.items() if speaker != utterance.speaker)
            counts[utterance.speaker] += max(others, default=0) > start
        for utterance in starting:
            latest[utterance.speaker] = max(utterance.end, latest.get(utterance.speaker, 0))
    return counts


def _turns(spoken: Transcript) -> tuple[Counter[str], Counter[str]]:
    """How many turns each speaker has, and the milliseconds of the longest."""
    counts: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    for speaker, run in groupby(spoken.utterances, key=lambda utterance: utterance.speaker):
        spans = list(run)
        counts[speaker] += 1
        longest[speaker] = max(longest[speaker], max(one.end for one in spans) - spans[0].start)
    return counts, longest


def _ratio(own: int, total: int) -> float | None:
    return round(own / (total - own), 4) if total > own else None
