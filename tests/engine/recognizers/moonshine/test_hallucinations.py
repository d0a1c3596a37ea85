"""What is written over noise is left out; what is said stays."""

from __future__ import annotations

import pytest

from batch.engine.recognizers.moonshine.hallucinations import drop_hallucinations
from batch.engine.recognizers.moonshine.model import Heard, Token, words


def heard(text: str, *confidences: float) -> list[Heard]:
    parts = text.split()
    return [Heard(*pair) for pair in zip(parts, confidences * (len(parts) // len(confidences)), strict=True)]


@pytest.mark.parametrize(
    ("chunk", "seconds", "left"),
    [
        (heard("You", 0.3), 2, ""),
        (heard("Thank you for watching!", 0.14, 1.0, 0.86, 0.78), 15, ""),
        (heard("You Thank you for watching.", 0.3, 0.3, 1.0, 0.9, 0.8), 4, ""),
        (heard("♪♪ ♪", 0.9), 5, ""),
        (heard("I'm a little bit lazy,", 0.2), 15, ""),
        (heard("Thank you.", 0.3, 0.6), 2, ""),
        (heard("Thank you.", 0.7, 1.0), 1, "Thank you."),
        (heard("Thank you for watching", 0.9), 2, "Thank you for watching"),
        (heard("Yes.", 0.4), 1, "Yes."),
        (heard("42.", 0.4), 1, "42."),
        (heard("I'm going to tell you.", 0.3), 2, "I'm going to tell you."),
        (heard("You There's iron they say", 0.2, 0.9, 0.9, 0.9, 0.9), 3, "There's iron they say"),
        (heard("You are right", 0.3), 1, "You are right"),
        (heard("You I suppose", 0.3), 1, "You I suppose"),
        ([], 1, ""),
    ],
)
def test_noise_leaves_no_words(chunk: list[Heard], seconds: float, left: str) -> None:
    assert " ".join(word.text for word in drop_hallucinations(chunk, seconds)) == left


def test_pieces_are_joined_to_words_with_mean_confidence() -> None:
    tokens = [
        Token("▁so".encode(), 0.0),
        Token("▁far".encode(), -1.0),
        Token(b",", -3.0),
        Token(b"\xff", 0.0),
    ]
    assert [(word.text, round(word.confidence, 3)) for word in words(tokens)] == [
        ("so", 1.0),
        ("far,", 0.264),
    ]
