"""Written words as they are spoken."""

from __future__ import annotations

import pytest

from batch.engine.pronunciation import sounds, spoken, syllables


@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("Hello,", "hello"),
        ("don't", "don't"),
        ("don\u2019t", "don't"),
        ("well-known", "well known"),
        ("Mr.", "mister"),
        ("--", ""),
        ("0", "zero"),
        ("7", "seven"),
        ("42", "forty two"),
        ("100", "one hundred"),
        ("342", "three hundred forty two"),
        ("1,000", "one thousand"),
        ("12,345", "twelve thousand three hundred forty five"),
        ("2,000,001", "two million one"),
        ("1984", "nineteen eighty four"),
        ("1905", "nineteen oh five"),
        ("1900", "nineteen hundred"),
        ("2003", "two thousand three"),
        ("2024.", "twenty twenty four"),
        ("1st", "first"),
        ("22nd", "twenty second"),
        ("30th", "thirtieth"),
        ("1990s", "nineteen nineties"),
        ("3.5", "three point five"),
        ("50%", "fifty percent"),
        ("$5", "five dollars"),
        ("$2.50", "two dollars fifty"),
        ("10:30", "ten thirty"),
        ("007", "zero zero seven"),
        ("5551234", "five five five one two three four"),
        ("R&D", "r and d"),
    ],
)
def test_a_written_word_is_spelled_as_it_is_spoken(written: str, heard: str) -> None:
    assert " ".join(spoken(written)) == heard


@pytest.mark.parametrize(
    ("word", "count"),
    [("the", 1), ("table", 2), ("hello", 2), ("1984", 5), ("free", 1), ("...", 1), ("made", 1)],
)
def test_syllables_are_counted_well_enough_to_share_time(word: str, count: int) -> None:
    assert abs(syllables(word) - count) <= 1


@pytest.mark.parametrize(
    ("word", "phones"),
    [("moonshine", "M UW N SH IH N"), ("zzyzx", "Z IY Z K S"), ("diarist", "D IH AA R IH S T"), ("été", "T")],
)
def test_an_unknown_word_gets_a_rough_pronunciation(word: str, phones: str) -> None:
    assert sounds(word) == phones
