"""Where text may be broken: at the ends of sentences, at pauses, and else where it hurts least."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final

from batch.model import Word
from batch.transcripts.sentences import ends_sentence
from batch.transcripts.transcript import Transcript

PAUSE_MS: Final = 1000
_SEGMENT_MS: Final = 30_000
_PARAGRAPH_MS: Final = 45_000
_PARAGRAPH_PAUSE_MS: Final = 3000
_EDGE: Final = 0.2
"""A piece that must be broken keeps at least this part of its text on either side, if its words allow."""
_CLAUSE_BONUS: Final = 3.0
_PAUSE_BONUS: Final = 2.0
_IMBALANCE: Final = 4.0
_CLAUSE_END: Final = re.compile(r"""[,;:–—，、；：،][)"'’”»\]]*$""")  # noqa: RUF001

Words = Sequence[Word]


def sentences(words: Words) -> Iterator[Words]:
    """The words in sentences, broken also where a pause of ``PAUSE_MS`` or longer is."""
    begin, is_cased = 0, any(word.text != word.text.lower() for word in words)
    for place, (word, following) in enumerate(pairwise(words), 1):
        ends = ends_sentence(word.text, following.text, is_cased=is_cased)
        if ends or following.start - word.end >= PAUSE_MS:
            yield words[begin:place]
            begin = place
    if words:
        yield words[begin:]


def segments(words: Words) -> Iterator[Words]:
    """Sentences of at most 30 s: what corpora, annotations and scorers call a segment."""
    for sentence in sentences(words):
        yield from split_to_fit(sentence, lambda piece: len(piece) == 1 or duration_ms(piece) <= _SEGMENT_MS)


def segmented(spoken: Transcript) -> Iterator[tuple[str, Words]]:
    """All segments of a recording, each with its speaker."""
    for utterance in spoken.utterances:
        for words in segments(utterance.words):
            yield utterance.speaker, words


def paragraphs(words: Words) -> Iterator[Words]:
    """Whole segments, a new paragraph after a long pause or when the one before is long enough to read."""
    begin = place = 0
    for segment in segments(words):
        if place > begin and _is_paragraph(words[begin:place], segment[0]):
            yield words[begin:place]
            begin = place
        place += len(segment)
    if place > begin:
        yield words[begin:place]


def _is_paragraph(before: Words, following: Word) -> bool:
    return duration_ms(before) >= _PARAGRAPH_MS or following.start - before[-1].end >= _PARAGRAPH_PAUSE_MS


def split_to_fit(words: Words, fits: Callable[[Words], bool]) -> Iterator[Words]:
    """The words in as few even pieces as it takes for each to fit; a single word is let through as it is."""
    if len(words) <= 1 or fits(words):
        yield words
        return
    place = _best_break(words)
    yield from split_to_fit(words[:place], fits)
    yield from split_to_fit(words[place:], fits)


def _best_break(words: Words) -> int:
    """Before which word to break: near the middle, rather after a comma or where the speaker paused."""
    before = list(accumulate(len(word.text) + 1 for word in words))
    total = before[-1]
    places = [place for place in range(1, len(words)) if _EDGE <= before[place - 1] / total <= 1 - _EDGE]

    def merit(place: int) -> float:
        word, following = words[place - 1], words[place]
        clause = _CLAUSE_BONUS if _CLAUSE_END.search(word.text) else 0.0
        pause = min(_PAUSE_BONUS, max(0, following.start - word.end) / 250)
        return clause + pause - _IMBALANCE * abs(2 * before[place - 1] / total - 1)

    return max(places or range(1, len(words)), key=merit)


def duration_ms(words: Words) -> int:
    """Milliseconds from the start of the first word to the end of the last."""
    return words[-1].end - words[0].start


def end_ms(words: Words) -> int:
    """When the last of the words to end has ended, which need not be the last one."""
    return max(word.end for word in words)
