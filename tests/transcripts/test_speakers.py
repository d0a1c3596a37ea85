"""Speakers get the names that people give them, and words the speakers that another tool has heard."""

from __future__ import annotations

import pytest

from batch.transcripts import speakers
from batch.transcripts.speakers import Names, Turn
from tests.support.demo_results import stored, utterance

SAID = [utterance("good morning", "A"), utterance("hello", "B", 800)]


def heard(labels: object = None, given: Names = Names()) -> list[str]:  # noqa: B008 (frozen)
    said = stored(utterances=SAID)
    said.recording.update({"labels": {"speakers": labels} if labels is not None else {}})
    return [one.speaker for one in speakers.with_names(said, given).utterances]


@pytest.mark.parametrize(
    "label", ["A=Agent; B=Ms Ames", '{"A": "Agent", "B": "Ms Ames"}', {"A": "Agent", "B": "Ms Ames"}]
)
def test_a_speakers_column_names_the_speakers_of_its_row(label: object) -> None:
    assert heard(label) == ["Agent", "Ms Ames"]


def test_recording_table_precedes_row_and_row_precedes_all() -> None:
    """A table of one recording takes precedence over the row, and the row over the names for all."""
    given = speakers.read_names('A = "Agent"\nB = "Customer"\n["calls/1"]\nA = "Joan"\n')
    assert heard(None, given) == ["Joan", "Customer"]
    assert heard("B=Ms Ames", given) == ["Joan", "Ms Ames"]


@pytest.mark.parametrize("label", [2, "2", "two of them", None])
def test_a_label_that_means_something_else_names_nobody(label: object) -> None:
    assert heard(label) == ["A", "B"]


@pytest.mark.parametrize("label", ["A=", '{"A": 1}', '{"A"', "=x"])
def test_a_label_that_was_meant_as_names_and_is_not_is_told(label: object) -> None:
    with pytest.raises(ValueError, match="write it as A=Agent"):
        heard(label)


@pytest.mark.parametrize(
    ("text", "said"), [("A = 1", "should be text"), ("A = ", "value"), ('[x]\nA = ""', "should be text")]
)
def test_a_names_file_that_cannot_be_read_says_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){said}"):
        speakers.read_names(text)


def relabelled(*turns: Turn) -> list[tuple[str, str]]:
    said = stored(utterances=[utterance("one two three four", "A")])
    return [(one.speaker, one.text) for one in speakers.with_turns(said, turns).utterances]


def test_each_word_takes_the_speaker_whose_turns_overlap_it_most() -> None:
    assert relabelled(Turn(0, 900, "X"), Turn(900, 1600, "Y")) == [("X", "one two"), ("Y", "three four")]


def test_a_word_that_no_turn_overlaps_takes_the_nearest() -> None:
    assert relabelled(Turn(0, 300, "X"), Turn(1500, 1600, "Y")) == [("X", "one two"), ("Y", "three four")]


def test_a_long_turn_below_short_ones_is_not_forgotten() -> None:
    turns = (Turn(0, 1600, "long"), Turn(10, 20, "x"), Turn(30, 40, "y"), Turn(50, 60, "z"))
    assert relabelled(*turns) == [("long", "one two three four")]


def test_turns_of_two_channels_count_for_their_own() -> None:
    both = [utterance("one", "A") | {"channel": "1"}, utterance("two", "B") | {"channel": "2"}]
    turns = [Turn(0, 400, "left", "1"), Turn(0, 400, "right", "2")]
    said = speakers.with_turns(stored(utterances=both), turns)
    assert {(one.speaker, one.text) for one in said.utterances} == {("left", "one"), ("right", "two")}


def test_an_rttm_is_read_by_recording_and_a_broken_line_is_named() -> None:
    text = ";; comment\nSPEAKER a 1 0.5 1.25 <NA> <NA> X <NA> <NA>\nSPEAKER b 1 0 1 <NA> <NA> Y <NA> <NA>\n"
    assert speakers.read_rttm(text) == {"a": [Turn(500, 1750, "X")], "b": [Turn(0, 1000, "Y")]}
    with pytest.raises(ValueError, match="line 2 is not a SPEAKER line"):
        speakers.read_rttm("\nSPEAKER a 1 x 1\n")


def test_another_tool_may_know_a_recording_by_its_file_name() -> None:
    assert {"calls/1.wav", "calls/1", "1.wav", "1"} <= set(speakers.aliases("calls/1.wav"))
