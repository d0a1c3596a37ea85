"""Captions keep within what broadcasters' style guides ask for, whatever was said, and no word is lost."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.transcripts import transcript
from batch.transcripts.formats import captions
from batch.transcripts.formats.captions import CUE_MS, LINE_CHARACTERS, READ_PER_SECOND, Cue
from batch.transcripts.formats.registry import FORMATS
from tests.support.demo_results import KEYS, of, stored, utterance


def cues(said: transcript.Transcript) -> list[Cue]:
    return captions.cues(said, lambda speaker: "")


def text(cue: Cue) -> str:
    return " ".join(cue.lines)


@pytest.mark.parametrize("key", KEYS)
def test_captions_of_demo_recordings_are_within_the_usual_limits(key: str) -> None:
    for cue in cues(of(key)):
        assert 1 <= len(cue.lines) <= 2
        assert max(map(len, cue.lines)) <= LINE_CHARACTERS
        assert 500 <= cue.end - cue.start <= CUE_MS
        read = sum(map(len, cue.lines)) / ((cue.end - cue.start) / 1000)
        assert read <= 1.35 * READ_PER_SECOND, f"{cue} is spoken faster than it can be read"


def test_ten_minute_utterance_becomes_cues_broken_at_sentences() -> None:
    said = stored(utterances=[utterance("This is a sentence of eight words. " * 220, "A")])
    found = cues(said)
    assert len(found) == 220
    assert {text(cue) for cue in found} == {"This is a sentence of eight words."}


def test_a_pause_ends_a_cue_though_the_sentence_goes_on() -> None:
    one, two = utterance("I thought", "A"), utterance("about it", "A", start=3000)
    together = one | {"words": one["words"] + two["words"]}
    assert [text(cue) for cue in cues(stored(utterances=[together]))] == ["I thought", "about it"]


def test_short_cue_stands_until_readable_but_not_into_the_next() -> None:
    said = stored(utterances=[utterance("Yes.", "A", each=200), utterance("No.", "B", start=700, each=200)])
    first, second = cues(said)
    assert (first.start, first.end) == (0, 700)
    assert (second.start, second.end) == (700, 1700)


def test_only_cues_of_different_speakers_overlap() -> None:
    """Speakers who talk at once overlap, and one speaker never does."""
    both = [utterance("one two three four", "A"), utterance("five six seven", "B", start=800)]
    first, second = cues(stored(utterances=both))
    assert second.start < first.end
    again = [utterance("one two three four", "A"), utterance("five six seven", "A", start=800)]
    before, after = cues(stored(utterances=again))
    assert after.start >= before.end


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n<v A&amp;B>a &lt;b&gt; --&gt; c\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\nA&B: a <b> → c\n"),
    ],
)
def test_what_looks_like_markup_does_not_become_any(name: str, said: str) -> None:
    spoken_ = stored(utterances=[utterance("a <b> --> c", "A&B", each=100)])
    assert FORMATS[name].content(spoken_).decode() == said


def test_scripts_without_spaces_are_set_unspaced_by_width() -> None:
    """Words of scripts without spaces are set without spaces and counted by their width."""
    said = stored(utterances=[utterance("会議 を 始め ます 。 " * 12, "A", each=200)])
    found = cues(said)
    assert " " not in found[0].lines[0]
    assert all(2 * len(line) <= LINE_CHARACTERS for cue in found for line in cue.lines)


def test_speaker_is_named_at_a_speaker_change_and_not_again() -> None:
    turns = [
        ("We begin now, as we said. It is late.", "A", 0),
        ("So be it.", "A", 9000),
        ("No.", "B", 15_000),
        ("Yes.", "A", 20_000),
    ]
    said = stored(utterances=[utterance(text, speaker, start=start) for text, speaker, start in turns])
    lines = [block.split("\n", 2)[2].strip() for block in captions.srt(said).split("\n\n")]
    assert lines == [
        "Speaker A: We begin now, as we said.",
        "It is late.",
        "So be it.",
        "Speaker B: No.",
        "Speaker A: Yes.",
    ]


@pytest.mark.parametrize("key", KEYS)
def test_with_names_too_they_are_within_the_limits(key: str) -> None:
    found = captions.cues(of(key), captions._prefix)
    assert all(len(cue.lines) <= 2 and max(map(len, cue.lines)) <= LINE_CHARACTERS for cue in found)


def test_nothing_said_gives_empty_captions() -> None:
    assert captions.srt(stored(utterances=[])) == ""
    assert captions.vtt(stored(text="")) == "WEBVTT\n"


WORD = st.builds(
    lambda text, start, length, speaker: {
        "text": text, "start": start, "end": start + length, "confidence": 0.5, "speaker": speaker
    },
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=30),
    st.integers(0, 30_000),
    st.integers(0, 5_000),
    st.sampled_from("AB"),
)  # fmt: skip


@given(st.lists(WORD, max_size=40))
def test_cues_are_in_order_have_a_length_and_hold_each_word_once(
    said: list[dict[str, object]],
) -> None:
    read = stored(words=said)
    found = captions.cues(read, "{}:".format)
    for before, cue in pairwise([None, *found]):
        changes = before is None or cue.speaker != before.speaker
        assert cue.lines[0].startswith(f"{cue.speaker}:") is changes
        cue.lines[0] = cue.lines[0].removeprefix(f"{cue.speaker}:" if changes else "")
    assert [(cue.start, cue.end) for cue in found] == sorted((cue.start, cue.end) for cue in found)
    assert all(cue.start < cue.end for cue in found)
    for speaker in "AB":
        own = [cue for cue in found if cue.speaker == speaker]
        assert all(before.end <= after.start for before, after in pairwise(own))
        heard = "".join(word.text for one in read.utterances if one.speaker == speaker for word in one.words)
        assert sorted("".join(text(cue) for cue in own).replace(" ", "")) == sorted(heard)
