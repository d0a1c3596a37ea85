"""The likeliest text is found, on made-up probabilities."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from batch.engine.recognizers.moonshine.beam_search import LENGTH_POWER, Text, looped, search

BEGIN, END, VOCABULARY = 0, 1, 24


class Grammar:
    """A net that knows only how likely a token is after the one before it, and how the texts were carried on."""

    def __init__(self, seed: int, likely_end: float = 0.3) -> None:
        chances = np.random.default_rng(seed).dirichlet(np.full(VOCABULARY, 0.1), VOCABULARY) + 1e-9
        chances[:, END] = likely_end
        chances[:, BEGIN] = 1e-9
        self.log_probs = np.log(chances / chances.sum(axis=1, keepdims=True)).astype(np.float32)
        self.texts: list[tuple[int, ...]] = [()]

    def __call__(self, tokens, parents):
        self.texts = [(*self.texts[parent], token) for token, parent in zip(tokens, parents, strict=True)]
        return self.log_probs[list(tokens)]

    def score(self, tokens: tuple[int, ...]) -> float:
        steps = zip((BEGIN, *tokens), (*tokens, END), strict=True)
        return sum(float(self.log_probs[pair]) for pair in steps) / (len(tokens) + 1) ** LENGTH_POWER


@pytest.mark.parametrize("seed", range(12))
def test_it_finds_what_trying_everything_finds(seed: int) -> None:
    grammar = Grammar(seed, likely_end=0.9)
    found = search(grammar, BEGIN, END, limit=3)
    everything = [text for length in range(3) for text in product(range(2, VOCABULARY), repeat=length)]
    assert grammar.score(found.tokens) == pytest.approx(max(map(grammar.score, everything)), rel=1e-5)


def test_a_likely_beginning_that_leads_nowhere_is_given_up() -> None:
    chances = np.full((VOCABULARY, VOCABULARY), 1e-6)
    chances[BEGIN, 2], chances[BEGIN, 3] = 0.6, 0.4
    chances[2, 4:] = 0.05  # after the likelier one nothing is clear
    chances[3, 5] = chances[4:, END] = 1
    assert search(lambda tokens, parents: np.log(chances[list(tokens)]), BEGIN, END, 9).tokens == (3, 5)


def test_each_text_is_carried_on_from_its_own_past() -> None:
    grammar = Grammar(3, likely_end=0.02)
    found = search(grammar, BEGIN, END, limit=12)
    assert any(text[1:] == found.tokens[: len(text) - 1] for text in grammar.texts)
    assert len(found.tokens) == len(found.log_probs) <= 12
    assert END not in found.tokens


def test_a_text_that_goes_round_in_circles_ends_after_one_round() -> None:
    chances = np.full((VOCABULARY, VOCABULARY), 1e-4)
    chances[BEGIN, 7] = chances[7, 8] = chances[8, 7] = 1
    assert search(lambda tokens, parents: np.log(chances[list(tokens)]), BEGIN, END, 99).tokens == (7, 8)


def test_no_room_is_no_text() -> None:
    assert search(Grammar(1), BEGIN, END, limit=0) == Text()


@pytest.mark.parametrize(
    ("tokens", "excess"),
    [
        ([], 0),
        ([1, 2, 3, 4], 0),
        ([5] * 15, 0),
        ([9] + [5] * 16, 15),
        ([7, 8] * 4, 0),
        ([7, 8] * 8, 14),
        ([1, 2, 3, 4, 5] * 4, 15),
    ],
)
def test_a_decoder_that_goes_round_in_circles_is_noticed(tokens: list[int], excess: int) -> None:
    assert looped(tokens) == excess
