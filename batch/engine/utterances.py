"""From words and turns to who said what: each word its speaker, each run of one speaker an utterance. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import groupby

import msgspec

from batch.engine.spans import PER_MS, SampleSpan, Turn
from batch.model import Utterance, Word
from batch.transcripts.sentences import ends_sentence, mean_confidence


def assigned(words: Sequence[Word], turns: Sequence[Turn]) -> list[int]:
    """For each word the speaker whose turns overlap it most, or who talks nearest to it; 0 if nobody does."""
    ordered = sorted(turns)
    reach = _furthest_ends(ordered)
    return [_speaker(_span(word), ordered, reach) for word in words]


def _furthest_ends(turns: Sequence[Turn]) -> list[int]:
    """For each turn the latest end so far: it never falls, so a search can tell where a span's turns begin."""
    ends: list[int] = []
    for turn in turns:
        ends.append(max(turn.span.end, ends[-1] if ends else 0))
    return ends


def _speaker(word: SampleSpan, turns: Sequence[Turn], reach: Sequence[int]) -> int:
    first = bisect_left(reach, word.start)
    last = bisect_left(turns, word.end, key=lambda turn: turn.span.start)
    shares: dict[int, int] = {}
    for turn in turns[first:last]:
        shares[turn.speaker] = shares.get(turn.speaker, 0) + word.overlap(turn.span)
    if any(shares.values()):
        return max(shares, key=lambda speaker: shares[speaker])
    near = turns[max(0, first - 1) : last + 1]
    return min(near, key=lambda turn: _distance(turn.span, word)).speaker if near else 0


def _span(word: Word) -> SampleSpan:
    return SampleSpan(word.start * PER_MS, word.end * PER_MS)


def _distance(one: SampleSpan, other: SampleSpan) -> int:
    return max(one.start - other.end, other.start - one.end)


def smoothed(words: Sequence[Word], speakers: Sequence[int]) -> list[int]:
    """Speakers without the two usual slips: a lone word inside another's flow, a change one word off a sentence."""
    speakers = list(speakers)
    for i in range(1, len(speakers) - 1):
        before, here, after = speakers[i - 1], speakers[i], speakers[i + 1]
        if here == before or ends_sentence(words[i - 1].text):
            continue
        if before == after or ends_sentence(words[i].text):  # inside a sentence, or its last word went to the next
            speakers[i] = before
    for i in range(len(speakers) - 2, 0, -1):
        first = ends_sentence(words[i - 1].text) and not ends_sentence(words[i].text)
        if first and speakers[i - 1] == speakers[i] != speakers[i + 1]:
            speakers[i] = speakers[i + 1]  # a sentence's first word went to the speaker before
    return speakers


def letters(speakers: Iterable[int]) -> list[str]:
    """A, B, ... by first appearance; after Z come AA, AB, ... as in a spreadsheet."""
    names: dict[int, str] = {}
    return [names.setdefault(speaker, letter(len(names))) for speaker in speakers]


def letter(number: int) -> str:
    """The name of speaker ``number``, from 0."""
    rest, last = divmod(number, 26)
    return (letter(rest - 1) if rest else "") + chr(ord("A") + last)


def with_speakers(words: Sequence[Word], turns: Sequence[Turn], prefix: str = "") -> list[Word]:
    """The words with their speakers: letters, with ``prefix`` before each."""
    labels = letters(smoothed(words, assigned(words, turns)))
    return [msgspec.structs.replace(word, speaker=prefix + label) for word, label in zip(words, labels, strict=True)]


def utterances(words: Iterable[Word]) -> tuple[Utterance, ...]:
    """Unbroken runs of one speaker in one channel. They end where the speaker changes, never at a silence (v2)."""
    return tuple(_utterance(tuple(run)) for _, run in groupby(words, key=lambda word: (word.channel, word.speaker)))


def _utterance(words: tuple[Word, ...]) -> Utterance:
    return Utterance(
        text=" ".join(word.text for word in words),
        start=words[0].start,
        end=max(word.end for word in words),
        confidence=mean_confidence(words),
        speaker=words[0].speaker or "",
        words=words,
        channel=words[0].channel,
    )
