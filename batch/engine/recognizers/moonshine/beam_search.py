"""The likeliest text, token by token: beam search, whatever the net that says how likely each token is. Pure.

Several beginnings are carried on at once, so a word that seemed likely by itself can still lose to one that goes
better with what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from batch.engine.recognizers.moonshine.keyterms import ROOT, Favour, Keyterms
from batch.engine.spans import Floats

WIDTH = 4  # 5.1 % of words are wrong with one, 4.9 % with two, 4.6 % with four
LENGTH_POWER = 0.6  # the sum of log-probabilities is divided by the length to this power: else short texts win
LONGEST_PATTERN, FEWEST_REPEATS, SHORTEST_LOOP = 8, 4, 16  # tokens, times, tokens: what counts as a loop

Step = Callable[[Sequence[int], Sequence[int]], Floats]
"""Given the newest token of each text and the place that the text before it had in the last call: the log-probability
of each token of the vocabulary as the next one, shape (texts, vocabulary)."""


class Text(NamedTuple):
    """Tokens, and the log-probability of each; what they are worth beside it, and where in the keyterms they end."""

    tokens: tuple[int, ...] = ()
    log_probs: tuple[float, ...] = ()
    bonus: float = 0.0
    place: int = ROOT

    @property
    def score(self) -> float:
        """The higher the likelier, comparable between texts of different lengths."""
        return float((sum(self.log_probs) + self.bonus) / max(1, len(self.log_probs)) ** LENGTH_POWER)


def search(step: Step, begin: int, end: int, limit: int, keyterms: Keyterms | None = None) -> Text:
    """The likeliest text of at most ``limit`` tokens, without ``begin`` and ``end``; ``keyterms`` are favoured.

    It stops where the text goes round in circles, and keeps one round of them.
    """
    alive, ended = [Text()], list[Text]()
    tokens, parents = [begin], [0]
    for _ in range(limit):
        going = _continued(alive, step(tokens, parents), keyterms)
        ended += [text for place, (_, text) in enumerate(going) if text.tokens[-1] == end and place < WIDTH]
        going = [(parent, text) for parent, text in going if text.tokens[-1] != end][:WIDTH]
        parents, alive = [parent for parent, _ in going], [text for _, text in going]
        tokens = [text.tokens[-1] for text in alive]
        if excess := looped(alive[0].tokens):
            return _first(alive[0], -excess)
        if ended and _best(ended).score >= _best(alive).score:
            break
    best = _best(ended or alive)
    return _first(best, -1) if best.tokens[-1:] == (end,) else best


def _best(texts: Sequence[Text]) -> Text:
    return max(texts, key=lambda text: text.score)


def _first(text: Text, count: int) -> Text:
    return text._replace(tokens=text.tokens[:count], log_probs=text.log_probs[:count])


def _continued(texts: Sequence[Text], log_probs: Floats, keyterms: Keyterms | None) -> list[tuple[int, Text]]:
    """The likeliest texts that are one token longer, each with the place of what it continues. Twice as many as are
    carried on, because up to half of them end here."""
    favours = [keyterms.favour(text.place) if keyterms else None for text in texts]
    sums = log_probs + np.array([[sum(text.log_probs) + text.bonus] for text in texts], np.float32)
    for row, favour in zip(sums, favours, strict=True):
        row += favour.worth if favour else 0
    likeliest = np.argpartition(-sums, 2 * WIDTH, axis=None)[: 2 * WIDTH]
    ordered = likeliest[np.argsort(-sums.ravel()[likeliest], kind="stable")]
    places = [divmod(int(place), sums.shape[1]) for place in ordered]
    return [
        (parent, _longer(texts[parent], token, float(log_probs[parent, token]), favours[parent]))
        for parent, token in places
    ]


def _longer(text: Text, token: int, log_prob: float, favour: Favour | None) -> Text:
    bonus = text.bonus + float(favour.worth[token]) if favour else text.bonus
    place = favour.places.get(token, ROOT) if favour else ROOT
    return Text((*text.tokens, token), (*text.log_probs, log_prob), bonus, place)


def looped(tokens: Sequence[int]) -> int:
    """How many of the last tokens only repeat the pattern before them; 0 while nothing is repeated too often.

    People do say "no, no, no, no": a pattern of one to eight tokens must come back four times and fill sixteen.
    """
    for length in range(1, LONGEST_PATTERN + 1):
        times = max(FEWEST_REPEATS, -(-SHORTEST_LOOP // length))
        tail = list(tokens[-times * length :])
        if len(tail) == times * length and tail == tail[:length] * times:
            return (times - 1) * length
    return 0
