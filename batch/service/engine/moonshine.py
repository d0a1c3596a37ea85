"""The built-in engine, put together: decode, find speech, recognise words, time them, tell voices apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from batch.model import Transcript, Word
from batch.service.engine import BadAudio, Engine, Request, decode
from batch.service.engine.alignment import Alignment
from batch.service.engine.chunking import Chunk, chunks
from batch.service.engine.clustering import Bounds
from batch.service.engine.diarization import Diarization
from batch.service.engine.embedding import Embedding
from batch.service.engine.fluency import fluent
from batch.service.engine.guards import believable
from batch.service.engine.recognition import Heard, Recognition
from batch.service.engine.segmentation import Segmentation, Stretch
from batch.service.engine.spans import PER_MS, RATE, Audio, Span, union
from batch.service.engine.utterances import named, utterances
from batch.service.engine.written import mean_confidence

UNSURE = 0.55  # English is heard with at least 0.6 on average, other languages with at most 0.52
UNSURE_WARNING = "The recording may not be English or too noisy: the words are mostly guesses."


class Moonshine(Engine):
    """Moonshine tiny for words, pyannote community-1 for speakers, pocketsphinx for times. English; offline."""

    name = "moonshine"

    def __init__(self) -> None:
        """Loads all models: a second or two. Raises EngineMissing."""
        self._segmentation = Segmentation()
        self._diarization = Diarization(Embedding())
        self._recognition = Recognition()
        self._alignment = Alignment()

    def transcribe(self, path: Path, request: Request) -> Transcript:
        """What was said in the file. Raises BadAudio."""
        recording = decode.decode(path, multichannel=request.multichannel)
        part = asked_part(request, len(recording.channels[0]))
        words = [
            word
            for number, audio in enumerate(recording.channels, start=1)
            for word in self._channel(audio[part.start : part.end], str(number), request)
        ]
        words = in_order(words, part)
        transcript = composed(words, request)
        return msgspec.structs.replace(
            transcript,
            audio_seconds=round(recording.seconds, 3),
            channels=len(recording.channels) if request.multichannel else None,
            warnings=(*recording.warnings, *transcript.warnings),
        )

    def _channel(self, audio: Audio, number: str, request: Request) -> list[Word]:
        """The words of one channel, with speakers as asked for, timed from the start of ``audio``."""
        stretches = self._segmentation.stretches(audio)
        words = list(self._words(audio, union(stretch.span for stretch in stretches), request))
        if request.speaker_labels:
            words = self._labelled(words, audio, stretches, number, request)
        words = words if request.disfluencies else fluent(words)
        words = [word for word in (styled(word, request) for word in words) if word.text]
        if request.multichannel:
            return [msgspec.structs.replace(word, speaker=word.speaker or number, channel=number) for word in words]
        return words

    def _labelled(
        self, words: list[Word], audio: Audio, stretches: Sequence[Stretch], number: str, request: Request
    ) -> list[Word]:
        turns = self._diarization.turns(audio, stretches, bounds(request, len(audio) / RATE))
        return named(words, turns, (number if request.multichannel else "").__add__)

    def _words(self, audio: Audio, speech: Sequence[Span], request: Request) -> Iterator[Word]:
        keyterms = self._recognition.keyterms(request.keyterms)
        for chunk in chunks(audio, speech):
            sound = audio[chunk.span.start : chunk.span.end]
            talk = sum(span.length for span in chunk.speech) / RATE
            heard = believable(self._recognition.words(sound, keyterms), talk)
            yield from self._timed(sound, chunk, heard)

    def _timed(self, sound: Audio, chunk: Chunk, heard: Sequence[Heard]) -> Iterator[Word]:
        start = chunk.span.start
        speech = [Span(span.start - start, span.end - start) for span in chunk.speech]
        spans = self._alignment.spans(sound, [word.text for word in heard], speech) if heard else []
        for word, span in zip(heard, spans, strict=True):
            confidence = round(min(1.0, max(0.0, word.confidence)), 5)
            yield Word(word.text, (start + span.start) // PER_MS, (start + span.end) // PER_MS, confidence)


def asked_part(request: Request, length: int) -> Span:
    """The samples between ``audio_start_from`` and ``audio_end_at``. Raises BadAudio if there are too few."""
    start = min(length, (request.audio_start_from or 0) * PER_MS)
    end = length if request.audio_end_at is None else min(length, request.audio_end_at * PER_MS)
    if end - start < decode.SHORTEST:
        raise BadAudio("Audio duration is too short.")
    return Span(start, end)


def bounds(request: Request, seconds: float) -> Bounds:
    """How many speakers v2 allows: what was asked for; else at most 10 from two minutes, 30 from ten."""
    if request.speakers_expected:
        return Bounds(request.speakers_expected, request.speakers_expected)
    usual = None if seconds <= 120 else 10 if seconds <= 600 else 30
    if usual is not None and request.min_speakers:
        usual = max(usual, request.min_speakers)
    return Bounds(request.min_speakers, request.max_speakers or usual)


def styled(word: Word, request: Request) -> Word:
    """The word without punctuation or capitals where they were not asked for; its text may become empty."""
    text = word.text
    if not request.punctuate:
        text = re.sub(r"^[^\w$£€#]+|[^\w%'\u2019]+$|(?<=\W)['\u2019]+$", "", text)
    if not request.format_text:
        text = text.lower()
    return word if text == word.text else msgspec.structs.replace(word, text=text)


def in_order(words: Sequence[Word], part: Span) -> list[Word]:
    """The words of ``part`` by their start, timed in the whole recording, each at least a millisecond long."""
    first, last = part.start // PER_MS, part.end // PER_MS
    return [
        msgspec.structs.replace(word, start=start, end=min(last, max(start + 1, first + word.end)))
        for word in sorted(words, key=lambda word: word.start)
        for start in [min(first + word.start, last - 1)]
    ]


def composed(words: Sequence[Word], request: Request) -> Transcript:
    """The transcript of these words, but for what only the file can tell."""
    confidence = mean_confidence(words)
    with_speakers = request.speaker_labels or request.multichannel
    return Transcript(
        text=" ".join(word.text for word in words),
        words=tuple(words),
        utterances=utterances(words) if with_speakers else None,
        confidence=confidence,
        audio_seconds=0.0,
        warnings=(UNSURE_WARNING,) if words and confidence < UNSURE else (),
    )
