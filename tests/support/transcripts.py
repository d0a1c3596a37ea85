"""Whether a transcript of the engine is well formed, and how many of its words are wrong."""

from __future__ import annotations

from itertools import pairwise

import pytest

from batch.engine.interface import EngineTranscript

TRIED = "ever tried ever failed no matter try again fail again fail better"


def plain(text: str) -> list[str]:
    return "".join(letter for letter in text.lower() if letter.isalpha() or letter == " ").split()


def wrong_words(said: str, heard: str) -> float:
    """The word error rate."""
    jiwer = pytest.importorskip("jiwer")
    rate: float = jiwer.wer(said, " ".join(plain(heard)))
    return rate


def assert_well_formed(transcript: EngineTranscript) -> None:
    end = transcript.audio_seconds * 1000
    assert all(0 <= word.start < word.end <= end and 0 <= word.confidence <= 1 for word in transcript.words)
    assert all(one.start <= other.start for one, other in pairwise(transcript.words))
    assert transcript.text == " ".join(word.text for word in transcript.words)
