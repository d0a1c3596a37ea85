"""Words and turns become utterances: pure, as tables."""

from __future__ import annotations

import pytest

from batch.engine.spans import PER_MS, SampleSpan, Turn
from batch.engine.utterances import assigned, letter, letters, smoothed, utterances, with_speakers
from batch.model import Word


def say(text: str, *, each: int = 100) -> list[Word]:
    """One word after the other, ``each`` milliseconds long."""
    return [Word(word, i * each, (i + 1) * each, 0.5) for i, word in enumerate(text.split())]


def turn(start: int, end: int, speaker: int) -> Turn:
    return Turn(SampleSpan(start * PER_MS, end * PER_MS), speaker)


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "A"), (1, "B"), (25, "Z"), (26, "AA"), (27, "AB"), (51, "AZ"), (52, "BA"), (702, "AAA")],
)
def test_speakers_are_lettered_like_the_columns_of_a_spreadsheet(number: int, name: str) -> None:
    assert letter(number) == name


def test_letters_follow_the_order_of_first_appearance() -> None:
    assert letters([7, 7, 2, 9, 7, 2]) == ["A", "A", "B", "C", "A", "B"]


@pytest.mark.parametrize(
    ("turns", "speakers"),
    [
        ([], [0, 0, 0, 0]),
        ([turn(0, 400, 3)], [3, 3, 3, 3]),
        ([turn(0, 200, 0), turn(200, 400, 1)], [0, 0, 1, 1]),
        ([turn(0, 160, 0), turn(160, 400, 1)], [0, 0, 1, 1]),
        ([turn(0, 130, 0), turn(130, 400, 1)], [0, 1, 1, 1]),
        ([turn(0, 90, 0), turn(310, 400, 1)], [0, 0, 1, 1]),
        ([turn(0, 400, 0), turn(90, 120, 1)], [0, 0, 0, 0]),
        ([turn(0, 110, 0), turn(100, 400, 1), turn(110, 150, 0)], [0, 1, 1, 1]),
    ],
    ids=["nobody", "one", "two", "most of a word", "least of a word", "nearest", "interjection", "overlap"],
)
def test_a_word_goes_to_whoever_talks_most_while_it_lasts(turns: list[Turn], speakers: list[int]) -> None:
    assert assigned(say("one two three four"), turns) == speakers


def test_a_long_turn_is_found_behind_many_short_ones() -> None:
    turns = [turn(0, 10_000, 5), *(turn(i * 100, i * 100 + 10, 1) for i in range(90))]
    assert assigned([Word("late", 9500, 9600, 1.0)], turns) == [5]


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("so what do you think", [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]),
        ("What now? Yes. And then?", [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]),
        ("I say so. You do not", [0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]),
        ("I say so. You do not", [0, 0, 0, 0, 1, 1], [0, 0, 0, 1, 1, 1]),
        ("I say so. You do not", [0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]),
        ("one", [4], [4]),
        ("", [], []),
    ],
    ids=["lone word", "short answer", "last word", "first word", "clean", "one word", "none"],
)
def test_slips_at_sentence_ends_are_put_right(text: str, before: list[int], after: list[int]) -> None:
    assert smoothed(say(text), before) == after


def test_utterance_ends_at_a_speaker_change_and_not_at_a_silence() -> None:
    words = [
        Word("Good", 0, 200, 0.9, "A"),
        Word("morning.", 60_000, 60_400, 0.8, "A"),
        Word("Hello.", 60_500, 60_900, 0.6, "B"),
        Word("So...", 61_000, 61_300, 0.5, "A"),
    ]
    heard = utterances(words)
    assert [(one.speaker, one.text, one.start, one.end) for one in heard] == [
        ("A", "Good morning.", 0, 60_400),
        ("B", "Hello.", 60_500, 60_900),
        ("A", "So...", 61_000, 61_300),
    ]
    assert heard[0].confidence == 0.85
    assert heard[0].words == tuple(words[:2])


def test_channels_are_never_joined_in_one_utterance() -> None:
    words = [Word("one", 0, 100, 1.0, "1", "1"), Word("two", 100, 200, 1.0, "2", "2")]
    assert [(one.channel, one.speaker) for one in utterances(words)] == [("1", "1"), ("2", "2")]


def test_labels_of_a_channel_carry_its_number() -> None:
    words = with_speakers(say("Yes. Who is there?"), [turn(0, 100, 4), turn(100, 400, 2)], "2")
    assert [word.speaker for word in words] == ["2A", "2B", "2B", "2B"]
