"""An event as programs read it: one flat line, with nothing in it that opens a door."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from batch.model import Event
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
    job, row = event.job, event.reject or (event.job.recording if event.job else None)
    moved = job if job and event.name == "moved" else None
    message = event.message or (moved.reason if moved else None)
    return EventRecord(
        event=event.name,
        time=datetime.now(UTC),
        key=row.key if row else None,
        where=redact(row.where) if row else None,
        state=moved.state.value if moved else None,
        transcript_id=moved.transcript_id if moved else None,
        audio_seconds=moved.audio_seconds if moved else None,
        speakers=moved.speakers if moved else None,
        shared_with=moved.shared_with if moved else None,
        kind=event.kind or (moved.kind if moved else None) or None,
        message=redact(message) if message else None,
        seconds=event.seconds or None,
        count=event.count or None,
    )
