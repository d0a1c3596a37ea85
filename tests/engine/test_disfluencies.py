"""Fillers leave no trace but the sentences they stood in."""

from __future__ import annotations

import pytest

from batch.engine.disfluencies import fluent
from batch.model import Word


def spoken(text: str) -> list[Word]:
    return [Word(word, n, n + 1, 0.9, "A") for n, word in enumerate(text.split())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I um think so.", "I think so."),
        ("Um, the house is, uh, old.", "The house is, old."),
        ("That is, um, hmm, it, um.", "That is, it."),
        ("Yes. Mhm. No.", "Yes. No."),
        ("Uh-huh.", ""),
        ("Humble bees hum.", "Humble bees hum."),
        ("He left. Uh, we stayed.", "He left. We stayed."),
        ("He left. uh we stayed.", "He left. we stayed."),
        ("Is it, hm?", "Is it?"),
        ("", ""),
    ],
)
def test_fillers_are_left_out_and_sentence_bounds_are_kept(text: str, expected: str) -> None:
    assert " ".join(word.text for word in fluent(spoken(text))) == expected


def test_the_end_of_a_sentence_does_not_move_to_another_speaker() -> None:
    words = [Word("So", 0, 1, 0.9, "A"), Word("Uh.", 2, 3, 0.9, "B"), Word("go.", 4, 5, 0.9, "A")]
    assert fluent(words) == [words[0], words[2]]
