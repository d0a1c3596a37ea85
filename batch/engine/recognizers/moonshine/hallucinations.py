"""Words that nobody said: what the recogniser tends to write over noise and music is left out. Pure.

Its training data had many subtitles, so on sound without speech it falls back on their stock phrases. They give
themselves away by their first word: the model is unsure how to begin, and only then sure how such a phrase goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from batch.engine.recognizers.moonshine.model import Heard

UNSURE = 0.6  # a credit whose first word is heard with less is taken for noise
DOUBTFUL = 0.5  # so is a filler, or a chunk with hardly any words, with less than this on average
SPARSE = 0.6  # words a second of speech: people say more
CREDITS = re.compile(
    r"(you ?)+|(thank you|thanks)( so much| very much)? for (watching|listening).*|.*\bsubscribe\b.*"
    r"|.*\btranscript(ion)? (by )?emily beynon|(subtitles|captions|transcription|translated) by .*"
)
FILLERS = re.compile(r"thank you|thanks|bye( bye)?|so|oh|uh|um|hmm?|the|i|i'm|okay|music|applause|silence")
_MUSIC = re.compile(r"[\W_♪♫]*")


def drop_hallucinations(words: Sequence[Heard], seconds: float) -> list[Heard]:
    """The words of a chunk that has so many seconds of speech, less what is most likely noise."""
    kept = [word for word in words if not _MUSIC.fullmatch(word.text)]
    if _starts_astray(kept):
        kept = kept[1:]
    return [] if _is_noise(kept, seconds) else kept


def _is_noise(words: Sequence[Heard], seconds: float) -> bool:
    if not words:
        return False
    sentences = re.split(r"[.?!…]+", " ".join(word.text for word in words).lower())
    plain = [text for sentence in sentences if (text := re.sub(r"[^\w' ]", "", sentence).strip())]
    if words[0].confidence < UNSURE and all(CREDITS.fullmatch(text) for text in plain):
        return True
    doubtful = sum(word.confidence for word in words) < DOUBTFUL * len(words)
    return doubtful and (len(words) < SPARSE * seconds or all(FILLERS.fullmatch(text) for text in plain))


def _starts_astray(words: Sequence[Heard]) -> bool:
    """A doubtful "You" before another capital letter begins no sentence: it is the noise before the first one."""
    if len(words) < 2 or words[0].text not in ("You", "You.") or words[0].confidence >= DOUBTFUL:
        return False
    return words[1].text[:1].isupper() and not re.match(r"I\b", words[1].text)
