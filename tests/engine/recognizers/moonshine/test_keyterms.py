"""Expected words win where the sound leaves a doubt, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from batch.engine.interface import EngineRequest
from batch.engine.recognizers.moonshine.beam_search import search
from batch.engine.recognizers.moonshine.keyterms import BONUS, ROOT, Keyterms

PIECES = [
    piece.encode() for piece in ["<s>", "</s>", "▁", "▁H", "a", "le", "we", "ll", ",", "▁Ho", "▁Hale", "s", "▁said"]
]
BEGIN, END = 0, 1


def token(piece: str) -> int:
    return PIECES.index(piece.encode())


def spelt(keyterms: Keyterms, *pieces: str) -> float:
    """What the terms are worth to a text of these pieces."""
    place, worth = ROOT, 0.0
    for piece in pieces:
        favour = keyterms.favour(place)
        worth += float(favour.worth[token(piece)])
        place = favour.places.get(token(piece), ROOT)
    return worth


@pytest.mark.parametrize(
    ("pieces", "letters"),
    [
        (["▁Hale"], 4),
        (["▁H", "a", "le"], 4),
        (["▁", "a"], 0),
        (["▁H"], 1),
        (["▁Hale", ","], 4),
        (["▁Hale", "▁said"], 4),
        (["▁Hale", "s"], 0),
        (["▁H", "a", "ll"], 0),
        (["▁H", "a", "▁Hale"], 4),
        (["▁Hale", "▁Hale"], 8),
        (["a", "le"], 0),
    ],
)
def test_term_is_worth_its_letters_only_when_whole(pieces, letters: int) -> None:
    """A term is worth its letters however it is cut, and nothing unless it is whole."""
    assert spelt(Keyterms(["Hale"], PIECES), *pieces) == pytest.approx(letters * BONUS)


def test_a_term_in_small_letters_may_begin_a_sentence() -> None:
    assert spelt(Keyterms(["hale"], PIECES), "▁H", "a", "le") == pytest.approx(4 * BONUS)


@pytest.mark.parametrize("terms", [[""], ["  "], ["\ud800"], ["x" * 5000, "Hale " * 900]])
def test_odd_terms_do_no_harm(terms: list[str]) -> None:
    assert spelt(Keyterms(terms, PIECES), "▁said", ",") == 0


@pytest.mark.parametrize(("sure", "name"), [(0.7, "Hale"), (0.99999, "Howell")])
def test_a_term_wins_a_doubtful_word_and_no_clear_one(sure: float, name: str) -> None:
    chances = np.full((len(PIECES), len(PIECES)), 1e-9)
    chances[BEGIN, token("▁Ho")], chances[BEGIN, token("▁Hale")] = sure, 1 - sure
    chances[token("▁Ho"), token("we")] = chances[token("we"), token("ll")] = 1
    chances[token("ll"), END] = chances[token("▁Hale"), END] = 1
    found = search(lambda last, parents: np.log(chances[list(last)]), BEGIN, END, 9, Keyterms(["Hale"], PIECES))
    assert b"".join(PIECES[one] for one in found.tokens).decode() == "▁" + name
    assert sum(found.log_probs) == pytest.approx(np.log(sure if name == "Howell" else 1 - sure), abs=1e-3)


def test_expected_name_is_heard_and_absent_one_is_not_written(engine, record, speech) -> None:
    path = record("a.wav", speech("two_cities"))
    plain = engine.transcribe(path, EngineRequest()).text
    terms = ("epoch of incredulity", "Kubernetes", "Ebenezer", "atorvastatin")
    told = engine.transcribe(path, EngineRequest(keyterms=terms)).text
    assert "epoch of incredulity" in told
    assert not any(term in told for term in terms[1:])
    assert abs(len(told.split()) - len(plain.split())) <= 5
