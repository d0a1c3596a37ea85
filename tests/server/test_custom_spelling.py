"""The caller's own spelling of words and phrases."""

from __future__ import annotations

from typing import Any

import pytest

from batch.engine.interface import EngineTranscript
from batch.model import Utterance, Word
from batch.server.custom_spelling import respelt


def heard(*voices: tuple[str, str]) -> EngineTranscript:
    words: list[Word] = []
    said: list[Utterance] = []
    for speaker, text in voices:
        at = len(words)
        words += [Word(each, 100 * n, 100 * n + 90, 0.5, speaker) for n, each in enumerate(text.split(), start=at)]
        said.append(Utterance(text, words[at].start, words[-1].end, 0.5, speaker, tuple(words[at:])))
    return EngineTranscript(" ".join(text for _, text in voices), tuple(words), tuple(said), 0.5, 10.0)


@pytest.mark.parametrize(
    ("text", "spelling", "expected"),
    [
        ("I know DiCarlo.", {"from": ["dicarlo"], "to": "Decarlo"}, "I know Decarlo."),
        ("my sequel, of course", {"from": ["My Sequel"], "to": "MySQL"}, "MySQL, of course"),
        ('He said "sequel".', {"from": ["sequel"], "to": "SQL"}, 'He said "SQL".'),
        ("see plus plus, c++", {"from": ["see plus plus", "c++"], "to": "C++"}, "C++, C++"),
        ("It is mine. Sequel is not", {"from": ["mine sequel"], "to": "MySQL"}, "It is mine. Sequel is not"),
        ("sequels", {"from": ["sequel"], "to": "SQL"}, "sequels"),
        ("a b c d e f", {"from": ["a b", "a b c d e"], "to": "X"}, "X f"),
    ],
)
def test_what_was_heard_is_spelt_as_wished(text: str, spelling: dict[str, Any], expected: str) -> None:
    done = respelt(heard(("A", text)), [spelling])
    assert done.text == expected
    assert done.utterances
    assert done.utterances[0].text == expected
    assert [word.text for word in done.words] == expected.split()


def test_a_phrase_becomes_one_word_with_the_times_of_all() -> None:
    done = respelt(heard(("A", "we use my sequel")), [{"from": ["my sequel"], "to": "MySQL"}])
    assert done.words[-1] == Word("MySQL", 200, 390, 0.5, "A")


def test_no_phrase_reaches_from_one_voice_into_another() -> None:
    done = respelt(heard(("A", "is it my"), ("B", "sequel is it")), [{"from": ["my sequel"], "to": "MySQL"}])
    assert done.text == "is it my sequel is it"


def test_without_spellings_the_transcript_stays_as_it_is() -> None:
    transcript = heard(("A", "as  it was"))
    assert respelt(transcript, []) is transcript
