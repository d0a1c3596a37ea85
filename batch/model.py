"""The words of diarist as values: frozen, slotted, free of input and output."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec


class Stamp(NamedTuple):
    """What tells cheaply whether audio was changed: its size in bytes, its time of modification in ns, and for an
    object in a store the tag of its content."""

    size_bytes: int
    mtime_ns: int
    etag: str | None = None


_MOST_NS: Final = 2**63 - 1


def nearest_ns(ns: int) -> int:
    """A time of modification as a stamp holds it: what is beyond a 64-bit number of ns (1677 to 2262), which broken
    clocks write, is the nearest that it does hold."""
    return max(-_MOST_NS, min(ns, _MOST_NS))


class Recording(msgspec.Struct, frozen=True):
    """One row of a manifest: a recording, what to ask of the service for it, and what to carry along.

    ``source`` is an absolute path or a URL; ``manifest`` and ``line`` (from 1) say where the row stands;
    ``options`` are parameters of the service; ``labels`` go to the result untouched; ``stamp`` is the audio's, where
    a listing has told it.
    """

    key: str
    source: str
    manifest: str
    line: int
    options: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    stamp: Stamp | None = None

    @property
    def where(self) -> str:
        return f"{self.manifest}:{self.line}"


class Reject(msgspec.Struct, frozen=True):
    """A row that cannot run, and why; the others go on. ``key`` is None if it could not be told; ``recording`` is
    what it names, if that could be read."""

    manifest: str
    line: int
    reason: str
    key: str | None = None
    recording: Recording | None = None

    @property
    def where(self) -> str:
        return f"{self.manifest}:{self.line}"


class State(StrEnum):
    """Where a job stands: each state is a fact already on disk."""

    LISTED = "listed"  # a manifest names it
    STAGED = "staged"  # the service can read the audio at audio_url
    SUBMITTING = "submitting"  # the intent to pay is written; whether the service took it is not yet known
    SUBMITTED = "submitted"  # the service gave transcript_id
    COLLECTED = "collected"  # the result stands in the output directory
    FAILED = "failed"  # kind and reason say why


MOVES: Final[Mapping[State, frozenset[State]]] = {
    State.LISTED: frozenset({State.STAGED, State.SUBMITTED, State.FAILED}),
    State.STAGED: frozenset({State.SUBMITTING, State.SUBMITTED, State.LISTED, State.FAILED}),
    State.SUBMITTING: frozenset({State.SUBMITTED, State.COLLECTED, State.STAGED, State.LISTED, State.FAILED}),
    State.SUBMITTED: frozenset({State.COLLECTED, State.STAGED, State.LISTED, State.FAILED}),
    State.COLLECTED: frozenset({State.SUBMITTED}),  # its result file is gone: fetched again, not paid again
    State.FAILED: frozenset(),
}
"""Every allowed move of a job. A recording that runs again is a new job under the same key; one that is submitted
without an intent shares the transcript of an identical one."""

WITH_SERVICE: Final = frozenset({State.SUBMITTING, State.SUBMITTED})
"""Money may have been spent: such a job is carried to its end whatever the manifest says now."""
ENDED: Final = frozenset({State.COLLECTED, State.FAILED})


class Job(msgspec.Struct, frozen=True):
    """A recording on its way, as the journal keeps it. Times are seconds since the epoch (UTC).

    ``audio_url`` is what the service reads, valid from ``staged_at``; ``transcript_id`` names the submission that
    counts, ``past_ids`` earlier ones of the same recording; ``submissions`` are the intents that may have been taken,
    ``failures`` how often the service failed the job or could not read its link; ``sha256``, ``size_bytes``,
    ``mtime_ns`` and ``etag`` describe the audio that was staged (None for a URL that the service fetches itself).
    ``shared_with`` is the key of the identical recording that was paid for, if this one was not; ``result_bytes`` and
    ``result_mtime_ns`` are the stamp of the result as it was last seen whole; ``key_print`` is the fingerprint of the
    key that the service was asked with. A job that is submitted and has a ``kind`` was
    given up as not known to the service before, and is asked for once more.
    """

    recording: Recording
    service: str
    state: State = State.LISTED
    audio_url: str | None = None
    staged_at: float | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    mtime_ns: int | None = None
    intent_at: float | None = None
    transcript_id: str | None = None
    submitted_at: float | None = None
    submissions: int = 0
    failures: int = 0
    past_ids: tuple[str, ...] = ()
    ended_at: float | None = None
    audio_seconds: float | None = None
    speakers: int | None = None
    kind: str | None = None
    reason: str | None = None
    shared_with: str | None = None
    etag: str | None = None
    result_bytes: int | None = None
    result_mtime_ns: int | None = None
    key_print: str | None = None

    @property
    def key(self) -> str:
        return self.recording.key

    def move(self, state: State, **facts: Any) -> Job:
        """This job in its next state, with the new facts. Raises ValueError for a move that MOVES does not allow."""
        if state not in MOVES[self.state]:
            raise ValueError(f"{self.key}: no move from {self.state} to {state}")
        return msgspec.structs.replace(self, state=state, **facts)


class Word(msgspec.Struct, frozen=True, omit_defaults=False):
    """One spoken word. ``start`` and ``end`` are milliseconds from the start of the recording (as v2 names them)."""

    text: str
    start: int
    end: int
    confidence: float
    speaker: str | None = None
    channel: str | None = None


class Utterance(msgspec.Struct, frozen=True, omit_defaults=False):
    """An unbroken run of words of one speaker. ``start`` and ``end`` are milliseconds."""

    text: str
    start: int
    end: int
    confidence: float
    speaker: str
    words: tuple[Word, ...]
    channel: str | None = None
