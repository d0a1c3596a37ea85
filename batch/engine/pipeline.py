"""An engine put together from its parts: decode, find speech, recognise words, tell voices apart.

The recogniser and what tells the voices apart can be exchanged; everything else is the same for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from batch.engine import decoding
from batch.engine.chunking import Chunk, chunks
from batch.engine.diarizers.community.clustering import Bounds
from batch.engine.disfluencies import fluent
from batch.engine.interface import BadAudio, Engine, EngineCapabilities, EngineRequest, EngineTranscript
from batch.engine.segmentation import Segmentation, Stretch
from batch.engine.spans import PER_MS, RATE, Audio, Floats, SampleSpan, Turn, union
from batch.engine.utterances import utterances, with_speakers
from batch.model import Word
from batch.transcripts.sentences import mean_confidence


class Recognizer(Protocol):
    """Sound to words."""

    abilities: EngineCapabilities

    def words(self, sound: Audio, speech: Sequence[SampleSpan], request: EngineRequest) -> list[Word]:
        """The words of one chunk, at most half a minute, timed from its start. ``speech`` is where somebody talks."""
        ...

    def warnings(self, words: Sequence[Word]) -> tuple[str, ...]:
        """What whoever reads these words, all of a recording, should know about them."""
        ...


class Diarizer(Protocol):
    """Sound to turns."""

    on_gpu: bool

    def pieces(self, stretches: Sequence[Stretch]) -> list[SampleSpan]:
        """The sound that ``vectors`` are wanted of, in order of time; none if the whole is looked at in one go."""
        ...

    def vectors(self, audio: Audio, pieces: Sequence[SampleSpan]) -> Floats:
        """What the voices of the pieces sound like, shape (pieces, width)."""
        ...

    def turns(self, audio: Audio, stretches: Sequence[Stretch], vectors: Floats, bounds: Bounds) -> list[Turn]:
        """Turns in order of time, the speakers numbered from 0. ``vectors`` are those of all pieces."""
        ...


class ChannelPlan(NamedTuple):
    """A channel before its words: who talks when, what is heard at once, what voices are told by."""

    stretches: list[Stretch]
    chunks: list[Chunk]
    pieces: list[SampleSpan]


class ChannelOutput(NamedTuple):
    """The words and the voices' vectors of a channel, or of a part of it."""

    words: list[Word]
    vectors: Floats


class SpeechPipeline(Engine):
    """The engine called ``name``, made of these parts."""

    def __init__(self, name: str, recogniser: Recognizer, voices: Diarizer) -> None:
        """Loads the segmentation. Raises EngineMissing."""
        self.name = name
        self.abilities = recogniser.abilities._replace(on_gpu=recogniser.abilities.on_gpu or voices.on_gpu)
        self._recogniser, self._voices = recogniser, voices
        self._segmentation = Segmentation()

    def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript:
        """What was said in the file. Raises BadAudio."""
        return self.whole(decoding.decode(path, multichannel=request.multichannel), request)

    def whole(self, recording: decoding.Recording, request: EngineRequest) -> EngineTranscript:
        """What was said in the recording. Raises BadAudio."""
        part = asked_part(request, len(recording.channels[0]))
        words: list[Word] = []
        for number, whole in enumerate(recording.channels, start=1):
            audio = whole[part.start : part.end]
            sketch = self.sketch(audio, request)
            output = self.recognize(audio, sketch.chunks, sketch.pieces, request)
            words += self.finish_words(audio, sketch, output, str(number), request)
        return self.build_transcript(words, part, recording.facts, request)

    def sketch(self, audio: Audio, request: EngineRequest) -> ChannelPlan:
        """What there is to be heard in one channel."""
        stretches = self._segmentation.stretches(audio)
        several = request.speaker_labels and bounds(request, len(audio) / RATE).most != 1
        pieces = self._voices.pieces(stretches) if several else []
        return ChannelPlan(stretches, chunks(audio, union(stretch.span for stretch in stretches)), pieces)

    def recognize(
        self, audio: Audio, chunks: Sequence[Chunk], pieces: Sequence[SampleSpan], request: EngineRequest
    ) -> ChannelOutput:
        """The dear part: these chunks of the channel to words, these pieces to vectors."""
        words = [word for chunk in chunks for word in self._chunk(audio, chunk, request)]
        return ChannelOutput(words, self._voices.vectors(audio, pieces))

    def _chunk(self, audio: Audio, chunk: Chunk, request: EngineRequest) -> list[Word]:
        start = chunk.span.start
        speech = [SampleSpan(span.start - start, span.end - start) for span in chunk.speech]
        words = self._recogniser.words(audio[start : chunk.span.end], speech, request)
        return [_later(word, start // PER_MS) for word in words]

    def finish_words(
        self, audio: Audio, sketch: ChannelPlan, heard: ChannelOutput, number: str, request: EngineRequest
    ) -> list[Word]:
        """The words of channel ``number`` in the style and with the speakers that were asked for."""
        words = heard.words
        if request.speaker_labels:
            limits = bounds(request, len(audio) / RATE)
            turns = self._voices.turns(audio, sketch.stretches, heard.vectors, limits)
            words = with_speakers(words, turns, prefix=number if request.multichannel else "")
        words = words if request.disfluencies or request.language != "en" else fluent(words)
        words = [word for word in (styled(word, request) for word in words) if word.text]
        if request.multichannel:
            return [msgspec.structs.replace(word, speaker=word.speaker or number, channel=number) for word in words]
        return words

    def build_transcript(
        self, words: Sequence[Word], part: SampleSpan, facts: decoding.Facts, request: EngineRequest
    ) -> EngineTranscript:
        """The transcript of these words of all channels, timed from the start of ``part``."""
        words = in_order(words, part)
        tells_speakers = request.speaker_labels or request.multichannel
        return EngineTranscript(
            text=" ".join(word.text for word in words),
            words=tuple(words),
            utterances=utterances(words) if tells_speakers else None,
            confidence=mean_confidence(words),
            audio_seconds=round(facts.seconds, 3),
            channels=facts.channels if request.multichannel else None,
            warnings=(*facts.warnings, *self._recogniser.warnings(words)),
        )


def _later(word: Word, milliseconds: int) -> Word:
    return msgspec.structs.replace(word, start=word.start + milliseconds, end=word.end + milliseconds)


def asked_part(request: EngineRequest, length: int) -> SampleSpan:
    """The samples between ``audio_start_from`` and ``audio_end_at``. Raises BadAudio if there are too few."""
    start = min(length, (request.audio_start_from or 0) * PER_MS)
    end = length if request.audio_end_at is None else min(length, request.audio_end_at * PER_MS)
    if end - start < decoding.SHORTEST:
        raise BadAudio("Audio duration is too short.")
    return SampleSpan(start, end)


def bounds(request: EngineRequest, seconds: float) -> Bounds:
    """How many speakers v2 allows: what was asked for; else at most 10 from two minutes, 30 from ten."""
    if request.speakers_expected:
        return Bounds(request.speakers_expected, request.speakers_expected)
    usual = None if seconds <= 120 else 10 if seconds <= 600 else 30
    if usual is not None and request.min_speakers:
        usual = max(usual, request.min_speakers)
    return Bounds(request.min_speakers, request.max_speakers or usual)


def styled(word: Word, request: EngineRequest) -> Word:
    """The word without punctuation or capitals where they were not asked for; its text may become empty."""
    text = word.text
    if not request.punctuate:
        text = re.sub(r"^[^\w$£€#]+|[^\w%'\u2019]+$|(?<=\W)['\u2019]+$", "", text)
    if not request.format_text:
        text = text.lower()
    return word if text == word.text else msgspec.structs.replace(word, text=text)


def in_order(words: Sequence[Word], part: SampleSpan) -> list[Word]:
    """The words of ``part`` by their start, timed in the whole recording, each at least a millisecond long."""
    first, last = part.start // PER_MS, part.end // PER_MS
    ordered = []
    for word in sorted(words, key=lambda word: word.start):
        start = min(first + word.start, last - 1)
        end = min(last, max(start + 1, first + word.end))
        ordered.append(msgspec.structs.replace(word, start=start, end=end))
    return ordered
