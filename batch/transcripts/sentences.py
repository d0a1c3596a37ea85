"""What holds for written words, whoever wrote them: where a sentence ends, and how sure they are. Pure, and light."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from batch.model import Word

_END: Final = re.compile(r"""([.?!…。？！｡؟۔])[)"'’”»\]]*$""")  # noqa: RUF001 (other scripts' own)
_ABBREVIATION: Final = re.compile(r"(?:[A-Za-z]\.){2,}|[A-HJ-Z]\.|(?i:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|Jr|Sr|Inc|Ltd)\.")
"""Whose full stop ends no sentence. ``I.`` is more often the pronoun than an initial."""
_GOES_ON: Final = frozenset(".…")
"""Marks that a sentence may go on behind, with a small letter."""


def ends_sentence(text: str, following: str = "", *, is_cased: bool = True) -> bool:
    """Whether a sentence ends between two words, or with a word, as far as that alone tells.

    ``is_cased``: the text has capital letters at all, so that a small one behind a full stop says that it goes on.
    """
    end = _END.search(text)
    if end is None or _ABBREVIATION.fullmatch(text):
        return False
    return not (is_cased and end[1] in _GOES_ON and following[:1].islower())


def mean_confidence(words: Sequence[Word]) -> float:
    """The mean of the words' confidences, to five decimals; 0 without words."""
    return round(sum(word.confidence for word in words) / len(words), 5) if words else 0.0
