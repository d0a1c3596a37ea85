"""Sentences, paragraphs, captions and search: made from words, none lost and none mixed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.model import Word
from batch.server import segments


def spoken(text: str, speaker: str | None = None, channel: str | None = None, start: int = 0) -> list[Word]:
    """One word every 400 ms, 300 ms long."""
    return [
        Word(word, start + 400 * n, start + 400 * n + 300, 0.5 + 0.1 * (n % 3), speaker, channel)
        for n, word in enumerate(text.split())
    ]


def texts(made: list[segments.Sentence] | list[segments.Paragraph] | list[segments.Caption]) -> list[str]:
    return [each.text for each in made]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good morning. How are you? Fine!", ["Good morning.", "How are you?", "Fine!"]),
        ("Mr. Smith met Dr. Jones.", ["Mr. Smith met Dr. Jones."]),
        ("He came at 9 a.m. and left.", ["He came at 9 a.m. and left."]),
        ("We saw J. Smith there.", ["We saw J. Smith there."]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("Well… Perhaps not.", ["Well…", "Perhaps not."]),
        ("so am i. so are you.", ["so am i.", "so are you."]),
        ("no marks at all", ["no marks at all"]),
        ("", []),
    ],
)
def test_a_text_is_cut_into_its_sentences(text: str, expected: list[str]) -> None:
    assert texts(segments.sentences(spoken(text))) == expected


def test_sentence_has_word_times_mean_confidence_and_one_voice() -> None:
    words = [*spoken("Do you", "A"), *spoken("Yes. I do.", "B", start=900)]
    first, second, third = segments.sentences(words)
    assert (first.text, first.start, first.end, first.speaker) == ("Do you", 0, 700, "A")
    assert first.confidence == 0.55
    assert (second.text, second.speaker, third.text, third.start) == ("Yes.", "B", "I do.", 1300)
    assert second.words == (words[2],)


def test_channels_that_interrupt_each_other_keep_their_sentences() -> None:
    one = spoken("I think that this is right.", "1", "1")
    other = spoken("Yes. Yes.", "2", "2", start=600)
    made = segments.sentences(sorted([*one, *other], key=lambda word: word.start))
    assert texts(made) == ["I think that this is right.", "Yes.", "Yes."]
    assert [sentence.channel for sentence in made] == ["1", "2", "2"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (spoken("One. Two. Three. Four. Five. Six."), ["One. Two. Three. Four. Five.", "Six."]),
        ([*spoken("One.", "A"), *spoken("Two.", "B", start=500)], ["One.", "Two."]),
        ([*spoken("One."), *spoken("Two.", start=2299)], ["One. Two."]),
        ([*spoken("One."), *spoken("Two.", start=2300)], ["One.", "Two."]),
        ([], []),
    ],
)
def test_paragraph_is_one_voice_up_to_a_pause_or_five_sentences(words: list[Word], expected: list[str]) -> None:
    assert texts(segments.paragraphs(words)) == expected


@pytest.mark.parametrize(
    ("characters", "expected"),
    [
        (12, ["We have to", "decide what", "to do.", "Good."]),
        (10, ["We have to", "decide", "what to", "do.", "Good."]),
        (1, ["We", "have", "to", "decide", "what", "to", "do.", "Good."]),
        (70, ["We have to decide what to do.", "Good."]),
    ],
)
def test_caption_is_as_long_as_asked_and_ends_with_its_sentence(characters: int, expected: list[str]) -> None:
    assert texts(segments.captions(spoken("We have to decide what to do. Good."), characters)) == expected


def test_a_caption_does_not_hang_over_a_silence() -> None:
    words = [*spoken("I was saying"), *spoken("nothing.", start=9000)]
    assert [(each.text, each.end) for each in segments.captions(words)] == [
        ("I was saying", 1100),
        ("nothing.", 9300),
    ]


def test_subrip_and_webvtt_are_written_as_documented() -> None:
    late = 3_600_000
    made = segments.captions([*spoken("Fish & chips."), *spoken("Later -->", start=late)])
    assert segments.srt(made) == (
        "1\n00:00:00,000 --> 00:00:01,100\nFish & chips.\n\n2\n01:00:00,000 --> 01:00:00,700\nLater -->\n"
    )
    assert segments.vtt(made) == (
        "WEBVTT\n\n00:00.000 --> 00:01.100\nFish &amp; chips.\n\n01:00:00.000 --> 01:00:00.700\nLater --&gt;\n"
    )
    assert (segments.srt([]), segments.vtt([])) == ("", "WEBVTT\n")


def test_phrases_are_found_whatever_their_case_and_marks() -> None:
    words = spoken("The smoke, the Smoke. No smoke without fire: it\u2019s true.")
    found = {
        match.text: match
        for match in segments.search(words, ["smoke", "The smoke", "it's", "ash", "without fire", "!"])
    }
    assert found.keys() == {"smoke", "The smoke", "it's", "without fire"}
    assert (found["smoke"].count, found["smoke"].indexes) == (3, (1, 3, 5))
    assert found["The smoke"].timestamps == ((0, 700), (800, 1500))
    assert found["The smoke"].indexes == (0, 2)


marks = st.sampled_from(["", "", "", ".", "?", ","])
said = st.lists(
    st.tuples(st.sampled_from(["a", "Bee", "sea", "Dr"]), marks, st.sampled_from("AB"), st.sampled_from("12")),
    max_size=40,
)


@given(said, st.integers(1, 30))
def test_no_word_is_lost_or_told_twice(said: list[tuple[str, str, str, str]], characters: int) -> None:
    words = [
        Word(text + mark, 100 * n, 100 * n + 90, 0.9, channel + speaker, channel)
        for n, (text, mark, speaker, channel) in enumerate(said)
    ]
    for made in (segments.sentences(words), segments.paragraphs(words)):
        assert sorted((word for part in made for word in part.words), key=lambda word: word.start) == words
        assert all(len({word.speaker for word in part.words}) == 1 for part in made)
        assert [part.start for part in made] == sorted(part.start for part in made)
    captions = segments.captions(words, characters)
    assert sorted(" ".join(texts(captions)).split()) == sorted(word.text for word in words)
    assert all(len(caption.text) <= max(characters, 4) for caption in captions)
