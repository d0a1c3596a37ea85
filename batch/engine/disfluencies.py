"""Fillers left out: what v2 removes unless ``disfluencies`` are asked for. Pure. English.

A sentence that began with a filler begins with a capital letter all the same, and one that ended with a filler still
ends. Source of the list: the v2 documentation of filler words (2026).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from batch.model import Word
from batch.transcripts.sentences import ends_sentence

FILLERS = frozenset({"um", "uh", "hmm", "mhm", "uh-huh", "ah", "huh", "hm", "m"})
_MARKS = ".,?!;:…-\u2013\u2014\"'"


def fluent(words: Iterable[Word]) -> list[Word]:
    """The words of one channel, punctuated and labelled, without fillers."""
    kept: list[Word] = []
    begun = False
    for word in words:
        if is_filler(word):
            _close(kept, word)
            begun = begun or word.text[:1].isupper()
            continue
        kept.append(_retold(word, word.text[:1].upper() + word.text[1:]) if begun and _begins(kept) else word)
        begun = False
    return kept


def is_filler(word: Word) -> bool:
    return word.text.strip(_MARKS).lower() in FILLERS


def _begins(kept: list[Word]) -> bool:
    return not kept or ends_sentence(kept[-1].text)


def _close(kept: list[Word], filler: Word) -> None:
    """The end of a sentence moves from the filler to the word before it, if that is of the same sentence."""
    if (
        kept
        and kept[-1].speaker == filler.speaker
        and ends_sentence(filler.text)
        and not ends_sentence(kept[-1].text)
    ):
        kept[-1] = _retold(kept[-1], kept[-1].text.rstrip(",;:-\u2013\u2014") + filler.text.rstrip("\"'")[-1])


def _retold(word: Word, text: str) -> Word:
    return msgspec.structs.replace(word, text=text)
