"""Speech is cut into chunks in its pauses, and its windows tile it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from batch.engine.chunking import LONGEST, PADDING, chunks
from batch.engine.segmentation import windows
from batch.engine.spans import RATE, SampleSpan, union


def spans(*seconds: tuple[float, float]) -> list[SampleSpan]:
    return [SampleSpan(int(start * RATE), int(end * RATE)) for start, end in seconds]


def cut(seconds: float, speech: list[SampleSpan]) -> list[tuple[float, float]]:
    sound = np.random.default_rng(1).integers(-1000, 1000, int(seconds * RATE)).astype(np.int16)
    return [(chunk.span.start / RATE, chunk.span.end / RATE) for chunk in chunks(sound, speech)]


@pytest.mark.parametrize(
    ("seconds", "speech", "expected"),
    [
        (10, [], []),
        (10, [(1, 2)], [(0.75, 2.25)]),
        (2, [(0, 2)], [(0, 2)]),
        (10, [(1, 2), (3.5, 5)], [(0.75, 5.25)]),
        (10, [(1, 2), (4.5, 5)], [(0.75, 2.25), (4.25, 5.25)]),
        (30, [(0, 9), (9.5, 14), (15, 19), (19.2, 25)], [(0, 14.25), (14.75, 25.25)]),
        (40, [(0, 19), (19.1, 38)], [(0, 19.05), (19.05, 38.25)]),
    ],
    ids=["silence", "one", "whole", "short pause", "long pause", "longest pause", "shared padding"],
)
def test_speech_is_cut_in_its_longest_pauses(seconds, speech, expected) -> None:
    assert cut(seconds, spans(*speech)) == expected


def test_speech_without_a_pause_is_cut_where_it_is_quietest() -> None:
    sound = np.full(50 * RATE, 1000, np.int16)
    sound[15 * RATE : 15 * RATE + RATE // 10] = 3
    first, *_ = chunks(sound, [SampleSpan(0, 50 * RATE)])
    assert first.span.end == pytest.approx(15 * RATE, abs=RATE // 10)


def test_every_bit_of_speech_is_in_exactly_one_chunk() -> None:
    rng = np.random.default_rng(2)
    edges = np.cumsum(rng.uniform(0.05, 7, 400))
    speech = spans(*zip(edges[::2], edges[1::2], strict=True))
    sound = np.zeros(int(edges[-1] * RATE) + RATE, np.int16)
    made = chunks(sound, speech)
    assert union(span for chunk in made for span in chunk.speech) == speech
    assert all(chunk.speech[-1].end - chunk.speech[0].start <= LONGEST for chunk in made)
    assert all(chunk.span.length <= LONGEST + 2 * PADDING for chunk in made)
    assert all(one.span.end <= other.span.start for one, other in pairwise(made))


@pytest.mark.parametrize("seconds", [0.2, 9.99, 10, 10.01, 15, 61.7, 3600])
def test_windows_tile_the_recording(seconds: float) -> None:
    length = int(seconds * RATE)
    kept = windows(length)
    assert (kept[0].start, kept[-1].end) == (0, length)
    assert all(one.end == other.start for one, other in pairwise(kept))
    assert all(0 < span.length <= 10 * RATE for span in kept)
    assert all(i * 5 * RATE <= span.start and span.end <= i * 5 * RATE + 10 * RATE for i, span in enumerate(kept))
