"""Jobs in their turn: first in, first out, so many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import msgspec

from batch.model import Transcript
from batch.protocol import SERVER_ERROR_TEXT, Status
from batch.service import wire
from batch.service.engine import BadAudio, Request
from batch.service.store import Store

Transcriber = Callable[[Path, Request], Awaitable[Transcript]]
Locate = Callable[[str], Awaitable[Path]]
Notify = Callable[[Mapping[str, Any], str, Status], Awaitable[int | None]]
_TRIES: Final = 2
"""A job whose worker process dies is tried once more, then ended as the vendor ends its own failures."""


class Queue:
    """The jobs that wait. ``run`` works them off, ``slots`` at a time; ``notify`` (see ``Notices.send``) tells
    whoever asked to be told."""

    def __init__(
        self, store: Store, transcribe: Transcriber, locate: Locate, notify: Notify, *, slots: int, engine: str
    ) -> None:
        self._store, self._transcribe, self._locate, self._notify = store, transcribe, locate, notify
        self._slots, self._engine = slots, engine
        self._waiting: asyncio.Queue[str] = asyncio.Queue()

    def add(self, transcript_id: str) -> None:
        self._waiting.put_nowait(transcript_id)

    async def run(self) -> None:
        """Take up what an earlier life of the service has left, then whatever comes, until cancelled."""
        for transcript_id in await self._store.unfinished():
            self.add(transcript_id)
        async with asyncio.TaskGroup() as group:
            for line in await self._store.undelivered():
                group.create_task(self._tell(line.id, line.status))
            for _ in range(self._slots):
                group.create_task(self._work(group))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while True:
            transcript_id = await self._waiting.get()
            request = await self._store.request(transcript_id)
            if not request:
                continue  # deleted while it waited
            status, body, error = await self._outcome(transcript_id, request)
            await self._store.change(transcript_id, status, msgspec.json.encode(body), error)
            if "webhook_url" in request:
                group.create_task(self._tell(transcript_id, status))

    async def _tell(self, transcript_id: str, status: Status) -> None:
        """Beside the work: a receiver that does not answer holds up nobody's job."""
        request = await self._store.request(transcript_id)
        code = await self._notify(request, transcript_id, status) if request else None
        await self._store.delivered(transcript_id, code)

    async def _outcome(
        self, transcript_id: str, request: dict[str, object]
    ) -> tuple[Status, dict[str, object], str | None]:
        processing = msgspec.json.encode(wire.waiting(transcript_id, request, Status.PROCESSING))
        await self._store.change(transcript_id, Status.PROCESSING, processing)
        try:
            transcript = await self._transcript(request)
        except BadAudio as error:
            return Status.ERROR, wire.failed(transcript_id, request, str(error)), str(error)
        except Exception:
            return Status.ERROR, wire.failed(transcript_id, request, SERVER_ERROR_TEXT), SERVER_ERROR_TEXT
        return Status.COMPLETED, wire.completed(transcript_id, request, transcript, self._engine), None

    async def _transcript(self, request: dict[str, object]) -> Transcript:
        path, asked = await self._locate(str(request["audio_url"])), wire.engine_request(request)
        for _ in range(_TRIES - 1):
            try:
                return await self._transcribe(path, asked)
            except anyio.BrokenWorkerProcess:
                continue
        return await self._transcribe(path, asked)
