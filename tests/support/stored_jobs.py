"""Transcripts as a test wants them, put into a service's data directory before it starts."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from batch.engine.interface import EngineTranscript
from batch.providers.assemblyai.protocol import Status
from batch.server import schemas
from batch.server.store import Store


async def put(folder: Path, *outcomes: EngineTranscript | str, **request: Any) -> list[str]:
    """The ids of jobs that ended with a transcript or an error, asked for with ``request``."""
    asked = {"audio_url": "http://example.com/a.wav", **request}
    ids = [str(uuid.uuid4()) for _ in outcomes]
    with contextlib.closing(Store(folder)) as store:
        for transcript_id, outcome in zip(ids, outcomes, strict=True):
            await store.add(transcript_id, asked, msgspec.json.encode(schemas.waiting(transcript_id, asked)))
            status, said, error = _ended(transcript_id, asked, outcome)
            await store.change(transcript_id, status, msgspec.json.encode(said), error)
    return ids


def _ended(
    transcript_id: str, asked: Mapping[str, Any], outcome: EngineTranscript | str
) -> tuple[Status, dict[str, Any], str | None]:
    if isinstance(outcome, str):
        return Status.ERROR, schemas.failed(transcript_id, asked, outcome), outcome
    return Status.COMPLETED, schemas.completed(transcript_id, asked, outcome, "moonshine"), None
