"""A long recording shared out among processes: prepared by one, heard part by part by all, joined by one.

They meet in a folder. The sound lies there in files that are mapped, so no process holds all of it. Parts are cut
between chunks, which are cut in pauses, and the voices are clustered once, over all parts: the words and the speakers
are those that one process would have found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from batch.engine import decoding
from batch.engine.chunking import Chunk
from batch.engine.decoding import Facts
from batch.engine.interface import EngineRequest, EngineTranscript
from batch.engine.pipeline import ChannelOutput, ChannelPlan, SpeechPipeline, asked_part
from batch.engine.spans import Audio, SampleSpan, seconds
from batch.model import Word

LONG = seconds(300)  # less is heard in half a minute, and there are usually other recordings to hear meanwhile
PART = seconds(60)  # of sound: six seconds of work, for which a recording that comes in between waits at most


class Part(NamedTuple):
    """Some of a channel, by its number from 0."""

    channel: int
    chunks: list[Chunk]
    pieces: list[SampleSpan]


class Plan(msgspec.Struct):
    """What is known before anything is heard. ``span`` is the part of the recording that was asked for."""

    request: EngineRequest
    span: SampleSpan
    facts: Facts
    sketches: list[ChannelPlan]
    parts: list[Part]


class PartitionedPipeline(SpeechPipeline):
    """A composition that is ``Divisible``."""

    def prepare(self, path: Path, request: EngineRequest, folder: Path) -> EngineTranscript | int:
        recording = decoding.decode(path, multichannel=request.multichannel, folder=folder)
        span = asked_part(request, len(recording.channels[0]))
        if span.length < LONG:
            return self.whole(recording, request)
        sketches = [self.sketch(sound[span.start : span.end], request) for sound in recording.channels]
        parts = [part for number, sketch in enumerate(sketches) for part in divided(number, sketch)]
        plan = Plan(request, span, recording.facts, sketches, parts)
        (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
        return len(parts)

    def hear_part(self, folder: Path, number: int) -> None:
        plan = _plan(folder)
        part = plan.parts[number]
        output = self.recognize(_mapped(folder, part.channel, plan.span), part.chunks, part.pieces, plan.request)
        np.save(folder / f"{number}.npy", output.vectors)
        (folder / f"{number}.json").write_bytes(msgspec.json.encode(output.words))

    def join(self, folder: Path) -> EngineTranscript:
        plan = _plan(folder)
        words: list[Word] = []
        for number, sketch in enumerate(plan.sketches):
            audio, heard = _mapped(folder, number, plan.span), _heard(folder, plan, number)
            words += self.finish_words(audio, sketch, heard, str(number + 1), plan.request)
        return self.build_transcript(words, plan.span, plan.facts, plan.request)


def divided(channel: int, sketch: ChannelPlan) -> Iterator[Part]:
    """The channel's chunks in order, in runs of a minute or the one chunk more, each with the pieces in its time."""
    for run in _runs(sketch.chunks):
        end = next((chunk.span.start for chunk in sketch.chunks if chunk.span.start > run[-1].span.start), None)
        start = run[0].span.start
        pieces = [piece for piece in sketch.pieces if start <= piece.start and (end is None or piece.start < end)]
        yield Part(channel, run, pieces)


def _runs(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    run: list[Chunk] = []
    for chunk in chunks:
        run.append(chunk)
        if chunk.span.end - run[0].span.start >= PART:
            yield run
            run = []
    if run:
        yield run


def _mapped(folder: Path, channel: int, span: SampleSpan) -> Audio:
    """The sound of a channel where ``decode`` has put it."""
    sound: Audio = np.memmap(folder / f"{channel}.pcm", np.int16, "r")
    return sound[span.start : span.end]


def _plan(folder: Path) -> Plan:
    return msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)


def _heard(folder: Path, plan: Plan, channel: int) -> ChannelOutput:
    """What all parts of the channel were heard to be."""
    numbers = [number for number, part in enumerate(plan.parts) if part.channel == channel]
    words = [word for number in numbers for word in _words(folder, number)]
    vectors = [np.load(folder / f"{number}.npy") for number in numbers]
    return ChannelOutput(words, np.concatenate(vectors) if vectors else np.zeros((0, 0), np.float32))


def _words(folder: Path, number: int) -> list[Word]:
    return msgspec.json.decode((folder / f"{number}.json").read_bytes(), type=list[Word])
