"""Words and names that the caller expects: texts that spell one are favoured while the recogniser decodes.

Shallow fusion: each letter of a term that a text goes on to spell is worth a bonus, which is taken back if the term
is not finished. A term is matched letter by letter, so it does not matter how the vocabulary cuts it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.engine.spans import Floats

BONUS: Final = 0.5  # log-probability a letter: 0.3 to 0.6 do about the same, with 1 terms drive out other words
MOST_KNOWN: Final = 64  # places whose worth is kept: a quarter of a megabyte each
ROOT: Final = 0
BLANK: Final = "▁"  # how the vocabulary writes the space before a word


class Favour(NamedTuple):
    """What each token is worth to a text, shape (vocabulary,), and where in the terms it leads; elsewhere is ROOT."""

    worth: Floats
    places: dict[int, int]


class Keyterms:
    """The terms, as a tree of letters whose nodes are places that a text can be at."""

    def __init__(self, terms: Iterable[str], pieces: Sequence[bytes]) -> None:
        self._tokens = {piece: token for token, piece in reversed(list(enumerate(pieces)))}
        self._inside: NDArray[np.bool_] = np.array([_goes_on(piece) for piece in pieces])
        self._children: list[dict[int, int]] = [{}]
        self._held = [0.0]
        self._ends: set[int] = set()
        self._known: dict[int, Favour] = {}
        self._longest = max(map(len, pieces), default=0)
        for term in filter(str.strip, terms):
            for spelling in {term, term[:1].upper() + term[1:]}:
                self._add(BLANK + BLANK.join(spelling.split()))
        self._starts = list(self._onwards(ROOT, b""))

    def _add(self, term: str) -> None:
        place = ROOT
        for byte in term.encode(errors="ignore"):
            if byte not in self._children[place]:
                self._children[place][byte] = len(self._children)
                self._children.append({})
                self._held.append(self._held[place] + (BONUS if byte not in BLANK.encode() else 0))
            place = self._children[place][byte]
        self._ends.add(place)

    def favour(self, place: int) -> Favour:
        """What the next token is worth to a text that is at ``place``."""
        if place not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[place] = self._favour(place)
        return self._known[place]

    def _favour(self, place: int) -> Favour:
        held = self._held[place]
        lost = self._inside if place in self._ends else np.ones(len(self._inside), bool)
        worth = np.where(lost, -held, 0).astype(np.float32)
        places: dict[int, int] = {}
        for token, there in self._starts:
            places[token], worth[token] = there, self._held[there] + float(worth[token])
        for token, there in self._onwards(place, b"") if place != ROOT else ():
            if token not in places or self._held[there] - held > worth[token]:
                places[token], worth[token] = there, self._held[there] - held
        return Favour(worth, places)

    def _onwards(self, place: int, spelt: bytes) -> Iterator[tuple[int, int]]:
        """The tokens that spell on from here, and where they lead."""
        for byte, there in self._children[place].items():
            further = spelt + bytes([byte])
            if further in self._tokens:
                yield self._tokens[further], there
            if len(further) < self._longest:
                yield from self._onwards(there, further)


def _goes_on(piece: bytes) -> bool:
    """Whether the piece continues the word before it."""
    text = piece.decode(errors="ignore")
    return text[:1].isalnum()
