"""The built-in recogniser: Moonshine's words, less those that nobody said, each with its time. English."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from batch.engine.alignment import Alignment
from batch.engine.interface import BUILT_IN, EngineMissing, EngineRequest
from batch.engine.recognizers.moonshine.hallucinations import drop_hallucinations
from batch.engine.recognizers.moonshine.model import MoonshineModel
from batch.engine.spans import PER_MS, RATE, Audio, SampleSpan
from batch.model import Word
from batch.transcripts.sentences import mean_confidence

UNSURE = 0.55  # English is heard with at least 0.6 on average, other languages with at most 0.52
UNSURE_WARNING = "The recording may not be English or too noisy: the words are mostly guesses."


class MoonshineRecognizer:
    """Moonshine tiny for words, pocketsphinx for their times."""

    abilities = BUILT_IN

    def __init__(self, model: str = "", device: str = "auto") -> None:
        """Loads the models: a second or two. There is one ``model`` only. Raises EngineMissing."""
        if model:
            raise EngineMissing(
                f"moonshine brings its own model and does not read {model!r}: write `moonshine` alone"
            )
        if device == "cuda":
            raise EngineMissing("moonshine runs on the CPU only: leave `device` out, or use faster-whisper")
        self._recognition = MoonshineModel()
        self._alignment = Alignment()
        self._keyterms = lru_cache(maxsize=1)(self._recognition.keyterms)  # they are a whole recording's

    def words(self, sound: Audio, speech: Sequence[SampleSpan], request: EngineRequest) -> list[Word]:
        written = self._recognition.words(sound, self._keyterms(request.keyterms))
        kept = drop_hallucinations(written, sum(span.length for span in speech) / RATE)
        spans = self._alignment.spans(sound, [word.text for word in kept], speech) if kept else []
        return [
            Word(word.text, span.start // PER_MS, span.end // PER_MS, round(min(1.0, max(0.0, word.confidence)), 5))
            for word, span in zip(kept, spans, strict=True)
        ]

    def warnings(self, words: Sequence[Word]) -> tuple[str, ...]:
        return (UNSURE_WARNING,) if words and mean_confidence(words) < UNSURE else ()
