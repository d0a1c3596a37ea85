"""The first verb: make audio readable for the provider, or share what an identical recording was paid for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from functools import partial

import msgspec

from batch import errors
from batch.errors import FailureKind
from batch.jobs.effects import run_to_completion
from batch.jobs.flow_control.concurrency import UploadAheadLimiter
from batch.jobs.room import Room
from batch.jobs.services import Services
from batch.model import Job, Stamp, State
from batch.providers.interface import AudioStream, Operation
from batch.storage import disk_errors
from batch.storage.audio import AudioFile, check, chunk_bytes, digest, stamp
from batch.storage.locations import is_stored, is_url
from batch.storage.object_stores import link, look
from batch.telemetry.events import BytesSent


class Stager:
    """Brings listed jobs to where they can be submitted. What is uploaded ahead of free slots is bounded in bytes."""

    def __init__(self, services: Services, room: Room) -> None:
        self._services, self._room = services, room
        self._provider, self._capabilities = services.provider, services.provider.capabilities
        self._connection, self._journal, self._throttle = services.connection, services.journal, services.throttle
        self._deduplicator, self._clock, self._on_event = services.deduplicator, services.clock, services.on_event
        self._links, self._uploads = services.links, asyncio.Semaphore(services.limits.uploads)
        self._readings = asyncio.Semaphore(services.limits.uploads)
        self._ahead = UploadAheadLimiter(services.limits.ahead_bytes)
        self._chunk_bytes = chunk_bytes(services.limits.uploads)

    def release(self, key: str) -> None:
        """What was uploaded of the job is no longer ahead of its slot."""
        self._ahead.release(key)

    async def stage(self, job: Job) -> Job:
        """Make the audio readable for the service: upload it, unless it is known there, or leave a URL as it is."""
        source = job.recording.source
        if is_url(source):
            self._check_reads_urls(source)
            return await self._services.record(job.move(State.STAGED, audio_url=source, staged_at=self._clock()))
        if is_stored(source) and self._links and (linked := await self._linked(job, self._links)):
            return linked
        known = await self._services.off_loop(stamp, source)
        if known and (shared := await self._shared_unsent(job, known)):
            return shared
        if not self._capabilities.uploads:
            return await self._stage_unsent(job)
        async with self._uploads:
            await self._ahead.acquire(job.key, known.size_bytes if known else 0)
            what = f"upload of {job.key}"
            return await self._throttle.retry(
                lambda: run_to_completion(self._upload(job)), operation=Operation.UPLOAD, what=what
            )

    def _check_reads_urls(self, source: str) -> None:
        if not self._capabilities.reads_urls:
            raise errors.RecordingError(
                f"{self._provider.name} does not read URLs: download {source}, and list the file",
                kind=FailureKind.UNREADABLE,
            )

    async def _stage_unsent(self, job: Job) -> Job:
        """Read the audio, of which the provider gets nothing before the job is submitted."""
        source, limits = job.recording.source, self._capabilities.audio
        found = await self._services.off_loop(partial(check, source, limits=limits))
        facts = found._asdict() if found else {}
        if not is_stored(source):
            facts["sha256"] = await self._digest(source)
        return await self._services.record(job.move(State.STAGED, staged_at=self._clock(), **facts))

    async def _linked(self, job: Job, seconds: float) -> Job | None:
        """Let the service read a stored object under a link that lives so long; None if none can be made."""
        source = job.recording.source
        audio_url = await self._services.off_loop(link, source, seconds)
        if audio_url is None:
            return None
        found = (await self._services.off_loop(look, source)).stamp
        facts = {"audio_url": audio_url, "sha256": None, **found._asdict()}
        return await self._services.record(job.move(State.STAGED, staged_at=self._clock(), **facts))

    async def _shared_unsent(self, job: Job, known: Stamp) -> Job | None:
        """The job with the transcript of an identical recording, found before anything is uploaded: the file is read
        only if another has its size; an object is known by the tag of its content."""
        if is_stored(job.recording.source):
            return await self.share(msgspec.structs.replace(job, **known._asdict())) if known.etag else None
        if not await self._journal.known_sizes([known.size_bytes]):
            return None
        try:
            sha256 = await self._digest(job.recording.source)
        except OSError as error:
            disk_errors.check_limits(error)
            return None  # the upload says what is wrong with it
        return await self.share(msgspec.structs.replace(job, sha256=sha256, **known._asdict()))

    async def _digest(self, path: str) -> str:
        """Few files are read at once, and none on for a run that is being stopped: others need the threads."""
        is_over = threading.Event()
        try:
            async with self._readings:
                return await self._services.off_loop(digest, path, lambda: not is_over.is_set())
        finally:
            is_over.set()

    async def share(self, job: Job) -> Job | None:
        """The job with the transcript of an identical recording, if there is one; else it is this one's to pay."""
        with self._room.at_rest(job.key):
            twin = await self._deduplicator.find_or_claim(job, waits=self._ahead.release)
        if twin is None:
            return None
        ended_at = twin.ended_at if twin.state is State.COLLECTED else None
        facts = {"transcript_id": twin.transcript_id, "submitted_at": twin.submitted_at, "ended_at": ended_at}
        facts |= {"key_print": twin.key_print}
        return await self._services.record(job.move(State.SUBMITTED, shared_with=twin.key, **facts))

    async def _upload(self, job: Job) -> Job:
        source = job.recording.source
        file = await self.open(source)
        with closing(file):
            link = await self._connection.upload(AudioStream(file.chunks(), file.stamp.size_bytes))
            facts = {"audio_url": link, "sha256": await self._services.off_loop(file.sha256), **file.stamp._asdict()}
        return await self._services.record(job.move(State.STAGED, staged_at=self._clock(), **facts))

    async def open(self, source: str) -> AudioFile:
        limits = self._capabilities.audio
        return await self._services.off_loop(
            AudioFile, source, self._services.executor, self._tell_sent, self._chunk_bytes, limits
        )

    def _tell_sent(self, sent_bytes: int) -> None:
        self._on_event(BytesSent(sent_bytes))
