"""Local voices become the recording's speakers. The voices' vectors are made up."""

from __future__ import annotations

import numpy as np
import pytest

from batch.engine.diarizers.community.clustering import Bounds
from batch.engine.diarizers.community.diarizer import CommunityDiarizer, cut, joined
from batch.engine.segmentation import Stretch
from batch.engine.spans import RATE, SampleSpan, Turn

ANYBODY = Bounds()


def during(start: float, end: float) -> SampleSpan:
    return SampleSpan(round(start * RATE), round(end * RATE))


def talk(start: float, end: float, window: int, voice: int, alone: bool = True) -> Stretch:
    return Stretch(during(start, end), window, voice, alone)


class Voices:
    """Gives every piece the vector of whoever talks in its middle, by ``script``: (end in seconds, person)."""

    def __init__(self, *script: tuple[float, int]) -> None:
        self._script = script

    def of(self, audio, pieces):
        middles = [(piece.start + piece.end) / 2 / RATE for piece in pieces]
        people = [next(person for end, person in self._script if middle < end) for middle in middles]
        return np.eye(256, dtype=np.float32)[np.array(people, int)]


def turns(voices: Voices, *stretches: Stretch, bounds: Bounds = ANYBODY) -> list[tuple[float, float, int]]:
    audio, diarization = np.zeros(0, np.int16), CommunityDiarizer(voices)
    vectors = diarization.vectors(audio, diarization.pieces(stretches))
    found = diarization.turns(audio, stretches, vectors, bounds)
    return [(turn.span.start / RATE, turn.span.end / RATE, turn.speaker) for turn in found]


def test_a_person_keeps_one_number_through_all_windows() -> None:
    voices = Voices((5, 3), (10, 7), (20, 3))
    found = turns(voices, talk(0, 5, 0, 1), talk(5, 10, 1, 0), talk(10, 12.5, 2, 2), talk(12.5, 15, 3, 0))
    first, second = found[0][2], found[1][2]
    assert found == [(0, 5, first), (5, 10, second), (10, 15, first)]
    assert first != second


def test_a_short_answer_goes_to_the_listener() -> None:
    voices = Voices((5, 3), (20, 7))
    found = turns(voices, talk(0, 2, 0, 1), talk(2.2, 2.5, 0, 2), talk(2.6, 5, 0, 1), talk(9, 13, 2, 0))
    talker, listener = found[0][2], found[-1][2]
    assert [turn[2] for turn in found] == [talker, listener, talker, listener]


def test_a_short_word_of_the_only_voice_goes_to_whoever_is_near() -> None:
    voices = Voices((5, 3), (20, 7))
    found = turns(voices, talk(0, 5, 0, 1), talk(7.6, 7.9, 1, 0), talk(9, 13, 2, 0))
    assert found[1][2] == found[2][2] != found[0][2]


def test_voices_that_talk_at_once_both_have_turns() -> None:
    voices = Voices((4, 3), (20, 7))
    both = (talk(4, 5, 0, 0, False), talk(4, 5, 0, 1, False))
    found = turns(voices, talk(0, 4, 0, 0), *both, talk(5, 9, 0, 1))
    assert [(start, end) for start, end, _ in found] == [(0, 5), (4, 9)]


@pytest.mark.parametrize("bounds", [ANYBODY, Bounds(1, 1)])
def test_speech_without_a_clear_voice_is_one_speaker(bounds: Bounds) -> None:
    assert turns(Voices(), talk(1, 1.3, 0, 0), talk(2, 2.4, 0, 1), bounds=bounds) == [
        (1, 1.3, 0),
        (2, 2.4, 0),
    ]
    assert turns(Voices(), bounds=bounds) == []


def test_stretches_are_cut_equally_to_at_most_two_seconds() -> None:
    pieces = [piece.span for piece in cut(talk(1, 5.5, 4, 2))]
    assert pieces == [during(1, 2.5), during(2.5, 4), during(4, 5.5)]


def test_turns_of_one_speaker_that_touch_are_one() -> None:
    one, two, three = SampleSpan(0, 10), SampleSpan(10, 20), SampleSpan(30, 40)
    assert joined([Turn(three, 0), Turn(two, 0), Turn(SampleSpan(5, 8), 1), Turn(one, 0)]) == [
        Turn(SampleSpan(0, 20), 0),
        Turn(SampleSpan(5, 8), 1),
        Turn(three, 0),
    ]
