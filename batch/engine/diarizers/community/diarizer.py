"""Who speaks when in the whole recording: local voices, what they sound like, and which belong together."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from batch.engine.diarizers.community import clustering
from batch.engine.diarizers.community.clustering import Bounds
from batch.engine.diarizers.community.embedding import Embedding
from batch.engine.interface import EngineMissing
from batch.engine.segmentation import VOICES, Stretch
from batch.engine.spans import RATE, Audio, Floats, SampleSpan, Turn, seconds

LONGEST_PIECE = seconds(2.0)
SHORTEST_PIECE = seconds(0.5)  # less sound does not tell a voice


class Piece(NamedTuple):
    """Sound of one voice alone, short enough for one speaker to be right about all of it."""

    span: SampleSpan
    track: tuple[int, int]


def community(model: str, device: str) -> CommunityDiarizer:
    """What the package of the built-in engine carries: on the CPU, whatever the ``device``. Raises EngineMissing."""
    if model:
        raise EngineMissing(
            f"community-1 brings its own models and does not read {model!r}: write `community-1` alone"
        )
    return CommunityDiarizer(Embedding())


class CommunityDiarizer:
    """The way from sound to turns, with a model of what voices sound like. See ``composition.Voices``."""

    on_gpu = False

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding

    def pieces(self, stretches: Sequence[Stretch]) -> list[SampleSpan]:
        return [piece.span for piece in _pieces(stretches) if piece.span.length >= SHORTEST_PIECE]

    def vectors(self, audio: Audio, pieces: Sequence[SampleSpan]) -> Floats:
        return self._embedding.of(audio, pieces)

    def turns(self, audio: Audio, stretches: Sequence[Stretch], vectors: Floats, bounds: Bounds) -> list[Turn]:
        pieces = _pieces(stretches)
        voiced = [piece for piece in pieces if piece.span.length >= SHORTEST_PIECE]
        if not voiced or bounds.most == 1:
            return joined([Turn(stretch.span, 0) for stretch in stretches])
        lengths = np.array([piece.span.length / RATE for piece in voiced], np.float32)
        labels = clustering.speakers(vectors, lengths, [piece.track for piece in voiced], bounds)
        known = [Turn(piece.span, int(label)) for piece, label in zip(voiced, labels, strict=True)]
        guess = _Guess(known, [piece.track for piece in voiced])
        rest = [Turn(span, guess.speaker(span, track)) for span, track in _unlabelled(stretches, pieces)]
        return joined([*known, *rest])


def _pieces(stretches: Sequence[Stretch]) -> list[Piece]:
    return [piece for stretch in stretches if stretch.alone for piece in cut(stretch)]


def cut(stretch: Stretch) -> Iterator[Piece]:
    """The stretch in equal pieces, none longer than two seconds."""
    span, count = stretch.span, -(-stretch.span.length // LONGEST_PIECE)
    edges = [span.start + span.length * i // count for i in range(count + 1)]
    for start, end in pairwise(edges):
        yield Piece(SampleSpan(start, end), (stretch.window, stretch.voice))


def _unlabelled(
    stretches: Sequence[Stretch], pieces: Sequence[Piece]
) -> Iterator[tuple[SampleSpan, tuple[int, int]]]:
    """What got no vector of its own: pieces too short for one, and voices that talk at the same time."""
    yield from ((piece.span, piece.track) for piece in pieces if piece.span.length < SHORTEST_PIECE)
    yield from ((stretch.span, (stretch.window, stretch.voice)) for stretch in stretches if not stretch.alone)


class _Guess:
    """The likeliest speaker of a span without a vector: who else the voice is in its window, else who is near.

    Someone near whom the window holds for another voice is the last choice: that voice was told apart from this one.
    So a short "Yes." goes to the listener and not to the one who talks before and after it.
    """

    def __init__(self, known: Sequence[Turn], tracks: Sequence[tuple[int, int]]) -> None:
        votes: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
        self._spans: dict[int, list[SampleSpan]] = defaultdict(list)
        for turn, track in zip(known, tracks, strict=True):
            votes[track][turn.speaker] += turn.span.length
            self._spans[turn.speaker].append(turn.span)
        self._by_track = {track: count.most_common(1)[0][0] for track, count in votes.items()}

    def speaker(self, span: SampleSpan, track: tuple[int, int]) -> int:
        if track in self._by_track:
            return self._by_track[track]
        window, voice = track
        taken = {self._by_track.get((window, other)) for other in range(VOICES) if other != voice}
        return min(self._spans, key=lambda speaker: (speaker in taken, self._distance(speaker, span)))

    def _distance(self, speaker: int, span: SampleSpan) -> int:
        """How far from the span the speaker talks, in samples. The speaker's spans are in order of time."""
        spans = self._spans[speaker]
        at = bisect_left(spans, span)
        return min(_gap(near, span) for near in spans[max(0, at - 1) : at + 1])


def _gap(one: SampleSpan, other: SampleSpan) -> int:
    return max(one.start, other.start) - min(one.end, other.end)


def joined(turns: Sequence[Turn]) -> list[Turn]:
    """The turns in order of time, those of one speaker that touch made one."""
    whole: list[Turn] = []
    latest: dict[int, int] = {}
    for turn in sorted(turns):
        at = latest.get(turn.speaker)
        if at is not None and turn.span.start <= whole[at].span.end:
            before = whole[at].span
            whole[at] = Turn(SampleSpan(before.start, max(before.end, turn.span.end)), turn.speaker)
        else:
            latest[turn.speaker] = len(whole)
            whole.append(turn)
    return whole
