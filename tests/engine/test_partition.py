"""A recording shared out in parts gives what one process gives: the same words, times, confidences and speakers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from batch.engine import partition
from batch.engine.chunking import Chunk
from batch.engine.decoding import decode
from batch.engine.interface import BadAudio, EngineRequest, EngineTranscript, Partitionable
from batch.engine.pipeline import ChannelPlan
from batch.engine.spans import RATE, SampleSpan
from tests.support.places import DEMO


@pytest.fixture
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings of half a minute are shared out, ten seconds at a time."""
    monkeypatch.setattr(partition, "LONG", 30 * RATE)
    monkeypatch.setattr(partition, "PART", 10 * RATE)


@pytest.fixture(scope="module")
def demo() -> np.ndarray:
    """A meeting of three and a talk of two, one after the other: 82 s."""
    return np.concatenate([decode(DEMO / name).channels[0] for name in ("planning-meeting.mp3", "kitchen-talk.m4a")])


def shared_out(
    engine: Partitionable, path: Path, request: EngineRequest, folder: Path
) -> tuple[int, EngineTranscript]:
    """Every part heard, the last one first; the first one twice, as after a crash."""
    folder.mkdir()
    count = engine.prepare(path, request, folder)
    assert isinstance(count, int)
    for number in [*reversed(range(count)), 0]:
        engine.hear_part(folder, number)
    return count, engine.join(folder)


def test_parts_give_the_words_and_the_speakers_of_the_whole(engine, record, demo, sooner, tmp_path) -> None:
    path = record("long.wav", demo)
    request = EngineRequest(speaker_labels=True)
    count, joined = shared_out(engine, path, request, tmp_path / "parts")
    assert count >= 5
    assert joined == engine.transcribe(path, request)
    assert len({word.speaker for word in joined.words}) >= 3


def test_channels_and_an_excerpt_are_shared_out_too(engine, record, demo, sooner, tmp_path) -> None:
    path = record("call.wav", np.stack([demo, np.roll(demo, 20 * RATE)]))
    request = EngineRequest(multichannel=True, speaker_labels=True, audio_start_from=5000, audio_end_at=37_000)
    _, joined = shared_out(engine, path, request, tmp_path / "parts")
    assert joined == engine.transcribe(path, request)
    assert {word.channel for word in joined.words} == {"1", "2"}


def test_a_long_silence_has_no_parts_and_no_words(engine, record, sooner, tmp_path) -> None:
    silence = record("silence.wav", np.zeros(31 * RATE))
    assert engine.prepare(silence, EngineRequest(speaker_labels=True), tmp_path) == 0
    joined = engine.join(tmp_path)
    assert (joined.text, joined.utterances, joined.audio_seconds) == ("", (), 31)


def test_a_short_recording_is_not_shared_out(engine, record, speech, tmp_path) -> None:
    path = record("a.wav", speech("beckett"))
    assert engine.prepare(path, EngineRequest(), tmp_path) == engine.transcribe(path, EngineRequest())
    with pytest.raises(BadAudio):
        engine.prepare(record("b.wav", np.zeros(10)), EngineRequest(), tmp_path)


def test_parts_tile_the_channel() -> None:
    """Every chunk and every piece is in one part, whatever the lengths."""
    rng = np.random.default_rng(1)
    edges = np.cumsum(rng.integers(RATE, 20 * RATE, 200))
    chunks = [Chunk(SampleSpan(int(a), int(b)), [SampleSpan(int(a), int(b))]) for a, b in pairwise(edges)]
    pieces = [SampleSpan(int(edge), int(edge) + RATE // 2) for edge in edges[:-1]]
    parts = list(partition.divided(0, ChannelPlan([], chunks, pieces)))
    assert [chunk for part in parts for chunk in part.chunks] == chunks
    assert [piece for part in parts for piece in part.pieces] == pieces
    assert all(part.chunks[-1].span.end - part.chunks[0].span.start < 81 * RATE for part in parts)
