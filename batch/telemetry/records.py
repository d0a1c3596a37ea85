"""An event as programs read it: one flat line, with nothing in it that opens a door."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from batch.model import Recording, Reject
from batch.telemetry.events import (
    BudgetReached,
    BytesSent,
    Event,
    JobMoved,
    JobPostponed,
    Notice,
    ProviderStatus,
    RequestEnded,
    RequestRetried,
    RequestStarted,
    RowAdmitted,
    RowRejected,
    RowsCounted,
    RowSkipped,
)
from batch.telemetry.redaction import redact


class EventRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of ``--progress json``: what happened, when (UTC), and to whom. ``state`` is where the recording stands
    now, ``where`` its row, ``kind`` one of failure, of retry or of skipping, ``seconds`` the pause before a retry."""

    event: str
    time: datetime
    key: str | None = None
    where: str | None = None
    state: str | None = None
    transcript_id: str | None = None
    audio_seconds: float | None = None
    speakers: int | None = None
    shared_with: str | None = None
    kind: str | None = None
    message: str | None = None
    seconds: float | None = None
    count: int | None = None


def to_record(event: Event) -> EventRecord:
    """The line of an event. Its names are kept for whoever reads them: they never change."""
    match event:
        case JobMoved(job=job):
            return _line(
                "moved", job.recording, kind=job.kind, message=job.reason, state=job.state.value,
                transcript_id=job.transcript_id, audio_seconds=job.audio_seconds, speakers=job.speakers,
                shared_with=job.shared_with,
            )  # fmt: skip
        case JobPostponed(job=job, reason=reason, kind=kind):
            return _line("postponed", job.recording, kind=kind, message=reason)
        case RowAdmitted(job=job, why=why, action=action):
            return _line("admitted", job.recording, kind=action, message=why)
        case RowSkipped(job=known, why=why, action=action):
            return _line("skipped", known.recording if known else None, kind=action, message=why)
        case RowRejected(reject=reject):
            return _line("rejected", reject, message=reject.reason)
        case RowsCounted(count=count, read_all=read_all):
            return _line("total", count=count or None, kind="read" if read_all else None)
        case ProviderStatus(message=message):
            return _line("provider_status", message=message)
        case BudgetReached(message=message):
            return _line("budget", message=message)
        case RequestStarted(operation=operation):
            return _line("asked", kind=operation)
        case RequestEnded():
            return _line("called")
        case RequestRetried(message=message, kind=kind, pause_seconds=seconds):
            return _line("retrying", kind=kind, message=message, seconds=seconds or None)
        case BytesSent(count=count):
            return _line("sent", count=count or None)
        case Notice(message=message, job=about, kind=given):
            return _line("notice", about.recording if about else None, kind=given, message=message)


def _line(event: str, row: Recording | Reject | None = None, message: str | None = None, **facts: Any) -> EventRecord:
    return EventRecord(
        event=event,
        time=datetime.now(UTC),
        key=row.key if row else None,
        where=redact(row.where) if row else None,
        message=redact(message) if message else None,
        **facts,
    )
