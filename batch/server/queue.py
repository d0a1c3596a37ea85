"""Jobs in their turn: first in, first out, so many at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.engine.interface import BadAudio, EngineRequest, EngineTranscript
from batch.providers.assemblyai.protocol import SERVER_ERROR_TEXT, Status
from batch.server import schemas
from batch.server.engine_pool import retry_once
from batch.server.store import Store
from batch.server.uploads import FETCHED, Full, name_of
from batch.telemetry.redaction import plain_lines

Transcriber = Callable[[Path, EngineRequest], Awaitable[EngineTranscript]]
Locate = Callable[[str], Awaitable[Path]]
Notify = Callable[[Mapping[str, Any], str, Status], Awaitable[int | None]]
Outcome = tuple[Status, bytes, str | None]
"""How a job has ended: its status, its object, and its error."""
_BRINGING: Final = 32
_PAUSE_SECONDS: Final = 2.0  # while the disk is full
_log = logging.getLogger(__name__)


class _Ready:
    """A job that may take a slot, with the audio that was brought for it (None: an upload)."""

    def __init__(self, transcript_id: str, path: Path | None = None) -> None:
        self.transcript_id, self.path = transcript_id, path
        self.taken = asyncio.Event()


class Queue:
    """The jobs that wait. ``run`` works them off, ``slots`` at a time; ``notify`` (see ``Notices.send``) tells
    whoever asked to be told.

    Audio that lies elsewhere is brought here before its job takes a slot, for ``_BRINGING`` jobs at a time: a server
    that is slow to give it holds up no engine, and no job whose audio is here.
    """

    def __init__(
        self, store: Store, transcribe: Transcriber, locate: Locate, notify: Notify, *, slots: int, engine: str
    ) -> None:
        self._store, self._transcribe, self._locate, self._notify = store, transcribe, locate, notify
        self._slots, self._engine = slots, engine
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._away: asyncio.Queue[str] = asyncio.Queue()
        self._ready: asyncio.Queue[_Ready] = asyncio.Queue()

    def add(self, transcript_id: str) -> None:
        self._waiting.put_nowait(transcript_id)

    async def run(self) -> None:
        """Take up what an earlier life of the service has left, then whatever comes, until cancelled."""
        for transcript_id in await self._store.unfinished():
            self.add(transcript_id)
        async with asyncio.TaskGroup() as group:
            for line in await self._store.undelivered():
                group.create_task(self._tell(line.id, line.status))
            group.create_task(self._sort())
            for _ in range(_BRINGING):
                group.create_task(self._bring(group))
            for _ in range(self._slots):
                group.create_task(self._work(group))

    async def _sort(self) -> None:
        """Jobs whose audio is here are ready; a deleted one is left out."""
        while True:
            transcript_id = await self._waiting.get()
            if request := await self._store.request(transcript_id):
                if self._is_here(request):
                    self._ready.put_nowait(_Ready(transcript_id))
                else:
                    self._away.put_nowait(transcript_id)

    def _is_here(self, request: Mapping[str, Any]) -> bool:
        return self._store.upload(name_of(request["audio_url"]) or "") is not None

    async def _bring(self, group: asyncio.TaskGroup) -> None:
        """Bring audio here, one after the other, and not before the one before has found its slot: what was brought
        takes room on the disk."""
        while True:
            transcript_id = await self._away.get()
            request = await self._store.request(transcript_id)
            if not request:
                continue
            try:
                path = await self._locate(request["audio_url"])
            except Exception as error:
                await self._end(group, transcript_id, request, _failed(transcript_id, request, error))
                continue
            ready = _Ready(transcript_id, path)
            self._ready.put_nowait(ready)
            await ready.taken.wait()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while True:
            ready = await self._ready.get()
            ready.taken.set()
            try:
                await self._do(group, ready.transcript_id, ready.path)
            finally:
                if ready.path and ready.path.suffix == FETCHED:
                    self._store.uploads.remove(ready.path)

    async def _do(self, group: asyncio.TaskGroup, transcript_id: str, path: Path | None) -> None:
        request = await self._store.request(transcript_id)
        if not request:
            return  # deleted while it waited
        if path is None and not self._is_here(request):
            self._away.put_nowait(transcript_id)  # somebody has removed it: whoever brings audio tells
            return
        processing = msgspec.json.encode(schemas.waiting(transcript_id, request, Status.PROCESSING))
        await _insist(partial(self._store.change, transcript_id, Status.PROCESSING, processing))
        await self._end(group, transcript_id, request, await self._outcome(transcript_id, request, path))

    async def _end(
        self, group: asyncio.TaskGroup, transcript_id: str, request: Mapping[str, Any], outcome: Outcome
    ) -> None:
        await _insist(partial(self._store.change, transcript_id, *outcome))
        if "webhook_url" in request:
            group.create_task(self._tell(transcript_id, outcome[0]))

    async def _tell(self, transcript_id: str, status: Status) -> None:
        """Beside the work: a receiver that does not answer holds up nobody's job."""
        request = await self._store.request(transcript_id)
        code = await self._notify(request, transcript_id, status) if request else None
        await _insist(partial(self._store.delivered, transcript_id, code))

    async def _outcome(self, transcript_id: str, request: Mapping[str, Any], path: Path | None) -> Outcome:
        """Whatever happens to one job is told in its place, and ends no other."""
        try:
            path = path or await self._locate(request["audio_url"])
            transcript = await retry_once(partial(self._transcribe, path, schemas.engine_request(request)))
            ended = schemas.completed(transcript_id, request, transcript, self._engine)
            return Status.COMPLETED, msgspec.json.encode(ended), None
        except Exception as error:
            return _failed(transcript_id, request, error)


def _failed(transcript_id: str, request: Mapping[str, Any], error: Exception) -> Outcome:
    text = str(error)
    if not isinstance(error, BadAudio):
        _log.error("job %s ended as a server error: %s", transcript_id, plain_lines(text or type(error).__name__))
        text = SERVER_ERROR_TEXT
    return Status.ERROR, msgspec.json.encode(schemas.failed(transcript_id, request, text)), text


async def _insist(record: Callable[[], Awaitable[None]]) -> None:
    """A full disk holds up what is to be recorded, and loses nothing of it."""
    was_told = False
    while True:
        try:
            return await record()
        except Full as error:
            if not was_told:
                _log.warning("%s", error)
            was_told = True
            await asyncio.sleep(_PAUSE_SECONDS)
