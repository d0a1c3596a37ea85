"""Jobs in their turn: first in, first out, so many at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.model import Transcript
from batch.protocol import SERVER_ERROR_TEXT, Status
from batch.service import wire
from batch.service.engine import BadAudio, Request
from batch.service.pool import twice
from batch.service.store import Store
from batch.service.uploads import FETCHED, Full

Transcriber = Callable[[Path, Request], Awaitable[Transcript]]
Locate = Callable[[str], Awaitable[Path]]
Notify = Callable[[Mapping[str, Any], str, Status], Awaitable[int | None]]
_PAUSE_SECONDS: Final = 2.0  # while the disk is full
_log = logging.getLogger(__name__)


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
            processing = msgspec.json.encode(wire.waiting(transcript_id, request, Status.PROCESSING))
            await _insist(partial(self._store.change, transcript_id, Status.PROCESSING, processing))
            status, body, error = await self._outcome(transcript_id, request)
            await _insist(partial(self._store.change, transcript_id, status, body, error))
            if "webhook_url" in request:
                group.create_task(self._tell(transcript_id, status))

    async def _tell(self, transcript_id: str, status: Status) -> None:
        """Beside the work: a receiver that does not answer holds up nobody's job."""
        request = await self._store.request(transcript_id)
        code = await self._notify(request, transcript_id, status) if request else None
        await _insist(partial(self._store.delivered, transcript_id, code))

    async def _outcome(self, transcript_id: str, request: dict[str, object]) -> tuple[Status, bytes, str | None]:
        """Whatever happens to one job is told in its place, and ends no other."""
        try:
            transcript = await self._transcript(request)
            ended = wire.completed(transcript_id, request, transcript, self._engine)
            return Status.COMPLETED, msgspec.json.encode(ended), None
        except BadAudio as error:
            text = str(error)
        except Exception as error:
            _log.error("job %s ended as a server error: %s", transcript_id, str(error) or type(error).__name__)
            text = SERVER_ERROR_TEXT
        return Status.ERROR, msgspec.json.encode(wire.failed(transcript_id, request, text)), text

    async def _transcript(self, request: dict[str, object]) -> Transcript:
        path = await self._locate(str(request["audio_url"]))
        try:
            return await twice(partial(self._transcribe, path, wire.engine_request(request)))
        finally:
            if path.suffix == FETCHED:
                self._store.uploads.remove(path)


async def _insist(record: Callable[[], Awaitable[None]]) -> None:
    """A full disk holds up what is to be recorded, and loses nothing of it."""
    told = False
    while True:
        try:
            return await record()
        except Full as error:
            if not told:
                _log.warning("%s", error)
            told = True
            await asyncio.sleep(_PAUSE_SECONDS)
