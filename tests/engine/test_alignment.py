"""Words get their times: from the sound, or fairly shared where the sound is not the text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from batch.engine.alignment import Alignment, shared
from batch.engine.spans import RATE, SampleSpan


@pytest.fixture(scope="module")
def alignment() -> Alignment:
    return Alignment()


@pytest.mark.parametrize(
    ("words", "speech", "expected"),
    [
        (["one"], [(0, 100)], [(0, 100)]),
        (["one", "two"], [(0, 100)], [(0, 50), (50, 100)]),
        (["one", "two"], [(0, 50), (70, 120)], [(0, 50), (70, 120)]),
        (["one", "twenty", "two"], [(0, 40)], [(0, 10), (10, 30), (30, 40)]),
        (["...", "one"], [(10, 30)], [(10, 20), (20, 30)]),
    ],
)
def test_time_is_shared_by_syllables(words, speech, expected) -> None:
    assert shared(words, [SampleSpan(*span) for span in speech]) == expected


def test_words_are_found_in_the_sound(alignment, speech) -> None:
    words = ["Ever", "tried?", "Ever", "failed?", "No", "matter."]
    spans = alignment.spans(speech("beckett")[: int(5.5 * RATE)], words, [SampleSpan(0, 5 * RATE)])
    assert len(spans) == 6
    assert all(span.length > 0 for span in spans)
    assert all(one.end <= other.start for one, other in pairwise(spans))
    assert spans[2].start - spans[1].end > RATE // 10  # he pauses there


def test_numbers_unknown_words_and_bare_signs_have_times_too(alignment, speech) -> None:
    words = ["Ever", "zzyzxing", "42", "--", "\u00e9t\u00e9", "\u4f60\u597d", "<s>", "it(2)"]
    spans = alignment.spans(speech("beckett"), words, [SampleSpan(0, 9 * RATE)])
    assert len(spans) == len(words)
    assert all(one.start <= other.start for one, other in pairwise(spans))


@pytest.mark.parametrize("seconds", [0.01, 0.3])
def test_text_that_cannot_be_in_the_sound_is_shared_out(alignment, seconds: float) -> None:
    sound = np.zeros(int(seconds * RATE), np.int16)
    words = ["far", "too", "many", "words", "for", "so", "very", "little", "sound"]
    spans = alignment.spans(sound, words, [SampleSpan(0, len(sound))])
    assert len(spans) == len(words)
    assert spans[-1].end == len(sound)


def test_a_failure_does_not_spoil_what_comes_after_it(alignment, speech) -> None:
    words = ["Ever", "tried?"]
    whole = [SampleSpan(0, 2 * RATE)]
    before = alignment.spans(speech("beckett")[: 2 * RATE], words, whole)
    alignment.spans(np.zeros(160, np.int16), words * 9, [SampleSpan(0, 160)])
    assert alignment.spans(speech("beckett")[: 2 * RATE], words, whole) == before != shared(words, whole)
