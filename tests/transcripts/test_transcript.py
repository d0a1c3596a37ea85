"""A stored result is read whatever was asked of the service, and whatever the service left out."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.providers import registry
from batch.transcripts.formats import corpora, tables
from batch.transcripts.formats.registry import FORMATS
from tests.support.demo_results import stored, utterance, words


def test_words_without_utterances_become_one_per_speaker_run() -> None:
    """Words without utterances become one utterance for each run of a speaker."""
    said = stored(words=words("a b", "A") + words("c", "B", 800) + words("d", "A", 1200))
    assert [(one.speaker, one.text) for one in said.utterances] == [("A", "a b"), ("B", "c"), ("A", "d")]


def test_a_text_without_words_is_spread_over_the_recording() -> None:
    said = stored(text="one three", audio_duration=8)
    assert [(word.text, word.start, word.end) for word in said.utterances[0].words] == [
        ("one", 0, 3000), ("three", 3000, 8000)
    ]  # fmt: skip


def test_an_utterance_without_words_keeps_its_text_and_time() -> None:
    said = stored(utterances=[{"text": "well now", "speaker": "A", "start": 1000, "end": 2400}])
    assert [(word.text, word.start, word.end) for word in said.utterances[0].words] == [
        ("well", 1000, 1800), ("now", 1800, 2400)
    ]  # fmt: skip


def test_recording_without_speech_is_written_in_every_format() -> None:
    said = stored(text="", words=[], utterances=[], audio_duration=12)
    for form in FORMATS.values():
        form.content(said)
    assert tables.recording_row(said)[0] == "calls/1"
    assert tables.utterance_rows(said) == []


@pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"recording":1}', b'{"id":"x"}', b"\xff"])
def test_what_is_no_result_is_refused(broken: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        registry.read("x", broken)


ANY_WORD = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | st.text(max_size=12),
        "start": st.none() | st.integers(-100, 100_000) | st.floats(0, 1e6),
        "end": st.none() | st.integers(-100, 100_000),
        "confidence": st.none() | st.floats(0, 1),
        "speaker": st.none() | st.text(max_size=5) | st.integers(0, 3),
        "channel": st.none() | st.sampled_from(["1", "2"]) | st.integers(1, 2),
    },
)
ANY_UTTERANCE = st.builds(
    lambda said, own: {**said, "words": own}, ANY_WORD, st.none() | st.lists(ANY_WORD, max_size=6)
)
ANY_RESULT = st.fixed_dictionaries(
    {},
    optional={
        "text": st.none() | st.text(max_size=40),
        "words": st.none() | st.lists(ANY_WORD, max_size=8),
        "utterances": st.none() | st.lists(ANY_UTTERANCE, max_size=5),
        "audio_duration": st.none() | st.integers(0, 100),
        "language_code": st.none() | st.sampled_from(["en_us", "de"]),
    },
)


@given(ANY_RESULT)
def test_any_result_is_written_in_every_format_in_time_order(
    result: dict[str, object],
) -> None:
    """Whatever a result holds, every format is written and no time runs backwards."""
    said = registry.read("calls/1", json.dumps({"recording": {}, **result}).encode("utf-8", "replace"))
    assert [one.start for one in said.utterances] == sorted(one.start for one in said.utterances)
    for one in said.utterances:
        assert [word.start for word in one.words] == sorted(word.start for word in one.words)
        assert all(0 <= word.start <= word.end for word in one.words)
        assert all(word.speaker == (one.speaker or None) for word in one.words)
    for name, form in FORMATS.items():
        content = form.content(said)
        assert content.startswith(b"\x89PNG") if name == "png" else content.decode() is not None
    corpora.lhotse(said)
    tables.speaker_rows(said)


def test_an_utterance_that_overlaps_another_keeps_its_own_words() -> None:
    said = stored(utterances=[utterance("five six", "B", 500), utterance("one two three", "A")])
    assert [(one.speaker, one.text) for one in said.utterances] == [("A", "one two three"), ("B", "five six")]
