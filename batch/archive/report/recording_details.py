"""What a report shows of one recording: its facts, who speaks when, how much, and what was said."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.archive.layout import bucket_advice
from batch.archive.results import Results
from batch.model import Job, State, Word
from batch.providers import registry
from batch.telemetry.redaction import redact, redact_tree
from batch.transcripts import segmentation, speakers
from batch.transcripts.speech_spans import speech_spans
from batch.transcripts.talk_stats import talk_stats
from batch.transcripts.transcript import Transcript, joined, speaker_label

_DECIMALS: Final = 4
_UNSURE: Final = 0.6
_FRAME_MS: Final = 40
_ZERO: Final = ord("0")
_MOST_FRAMES: Final = 50_000
"""More would be no characters."""


class RecordingDetails(msgspec.Struct):
    """``detail`` is JSON for the page, the same for every job (see ``_detail``); the rest is None or empty without a
    result. ``confidence`` is the mean of all words (0-1), ``warnings`` are the service's own, ``problem`` says why a
    result that should be there could not be read."""

    detail: bytes
    confidence: float | None = None
    words: int | None = None
    warnings: tuple[str, ...] = ()
    problem: str = ""


class _Warning(msgspec.Struct):
    message: str = ""


class _Metadata(msgspec.Struct):
    warnings: list[_Warning] | None = None


class _Said(msgspec.Struct):
    metadata: _Metadata | None = None
    speech_model_used: str | None = None


_FACTS: Final = msgspec.json.Decoder(_Said)


def read_details(directory: Path, job: Job) -> RecordingDetails:
    """What there is to show of a job. A result that cannot be read is a ``problem``, no error."""
    if job.state is not State.COLLECTED:
        return RecordingDetails(_encoded(_about(job)))
    path = Results(directory, make=False).path(job.key)
    try:
        result = path.read_bytes()
        transcript = speakers.with_names(registry.read(job.key, result), speakers.Names())
        facts = _FACTS.decode(result)
    except FileNotFoundError:
        advice = bucket_advice(directory) or "the next run fetches it again, not paid again"
        return _unheard(job, f"{path} is not there: {advice}")
    except (OSError, ValueError) as error:
        return _unheard(job, f"{path} cannot be read: {error}")
    told = facts.metadata.warnings if facts.metadata else None
    warnings = tuple(warning.message for warning in told or () if warning.message)
    confidences = [word.confidence for utterance in transcript.utterances for word in utterance.words]
    confidence = round(sum(confidences) / len(confidences), _DECIMALS) if confidences else None
    detail = _about(job) | _transcript(transcript, facts) | {"warnings": warnings}
    return RecordingDetails(_encoded(detail), confidence, len(confidences), warnings)


def _unheard(job: Job, problem: str) -> RecordingDetails:
    return RecordingDetails(_encoded(_about(job) | {"problem": problem}), problem=problem)


def _about(job: Job) -> dict[str, Any]:
    """What the journal knows and the table has no column for."""
    recording = job.recording
    return {
        "source": redact(recording.source),
        "where": redact(recording.where),
        "labels": redact_tree(recording.labels),
        "options": recording.options,
        "service": job.service,
        "id": job.transcript_id,
        "shared_with": job.shared_with,
        "submitted_at": job.submitted_at,
    }


def _transcript(said: Transcript, facts: _Said) -> dict[str, Any]:
    """``speakers`` in the order in which they first speak, each with its measures; all others name them by number.

    ``spans`` are [speaker, start, end], ``turns`` [speaker, start, text, confidence, steps, doubts], times in
    milliseconds. ``steps`` has a character for each word: how long it is from its start to that of the next, in the
    end to its own end, in frames of 40 ms above the digit 0; empty where the text is not its words with spaces
    between them. ``doubts`` are pairs of
    the place of a word, of which the service was less than 60 % sure, and how sure it was in per cent.
    """
    number = {speaker: place for place, speaker in enumerate(said.speakers)}
    turns = []
    for utterance in said.utterances:
        for words in segmentation.paragraphs(utterance.words):
            confidence = sum(word.confidence for word in words) / len(words)
            said_there = (number[utterance.speaker], words[0].start, joined(words), round(confidence, 2))
            turns.append((*said_there, _steps(words, said_there[2]), _doubts(words)))
    return {
        "seconds": said.seconds,
        "language": said.language,
        "model": facts.speech_model_used,
        "speakers": [
            (
                speaker_label(one.speaker), one.talk_seconds, one.share, one.words, one.turns,
                one.longest_monologue_seconds, one.interruptions, one.speaker,
            )
            for one in talk_stats(said)
        ],
        "spans": [(number.get(span.speaker, 0), span.start, span.end) for span in speech_spans(said)],
        "turns": turns,
    }  # fmt: skip


def _steps(words: Sequence[Word], text: str) -> str:
    if text.split(" ") != [word.text for word in words]:
        return ""
    frames = [time // _FRAME_MS for time in (*(word.start for word in words), words[-1].end)]
    steps = (min(max(0, after - before), _MOST_FRAMES) for before, after in itertools.pairwise(frames))
    return "".join(chr(_ZERO + step) for step in steps)


def _doubts(words: Sequence[Word]) -> list[int]:
    doubted = ((place, word) for place, word in enumerate(words) if word.confidence < _UNSURE)
    return [number for place, word in doubted for number in (place, round(100 * word.confidence))]


def _encoded(detail: dict[str, Any]) -> bytes:
    return msgspec.json.encode(detail)
