"""What holds for written words, whoever wrote them: where a sentence ends, and how sure they are. Pure, and light."""

from __future__ import annotations

from collections.abc import Sequence

from batch.model import Word

_ENDS = (".", "?", "!", "…")
_CLOSING = "\"'\u2019\u201d»)]"
_TITLES = frozenset({"mr.", "mrs.", "ms.", "dr.", "st."})  # their full stop ends no sentence


def ends_sentence(word: Word) -> bool:
    """Whether a sentence ends with this word, as far as the word alone tells."""
    bare = word.text.rstrip(_CLOSING)
    return bare.endswith(_ENDS) and bare.lower() not in _TITLES


def mean_confidence(words: Sequence[Word]) -> float:
    """The mean of the words' confidences, to five decimals; 0 without words."""
    return round(sum(word.confidence for word in words) / len(words), 5) if words else 0.0
