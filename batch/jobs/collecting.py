"""The third verb: wait until the provider has ended a job, and bring its transcript home."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeVar

import msgspec

from batch import errors
from batch.errors import FailureKind
from batch.jobs.effects import run_to_completion
from batch.jobs.flow_control import laws
from batch.jobs.room import Room
from batch.jobs.services import Services, of_other_audio, other_key, without_transcript
from batch.model import Job, State
from batch.providers.interface import Fetched, Operation, Phase, Reaction, RemoteJob
from batch.storage.audio import stamp
from batch.storage.audio_headers import exact_seconds
from batch.storage.locations import is_file
from batch.telemetry.events import Notice, RequestRetried

T = TypeVar("T")
_LENGTH_SECONDS, _LENGTH_SHARE = 3.0, 0.05
"""So far the service may be from the length in a header: it rounds to seconds, and codecs pad."""


class Collector:
    """Collects submitted jobs. A transcript that is paid is given up only when the provider does not know it."""

    def __init__(self, services: Services, room: Room) -> None:
        self._services, self._room = services, room
        self._provider, self._connection, self._results = services.provider, services.connection, services.results
        self._throttle, self._watcher, self._missing = services.throttle, services.watcher, services.missing
        self._slots, self._clock, self._on_event = services.slots, services.clock, services.on_event

    async def collect(self, job: Job) -> Job:
        """Wait until the service has ended the job, then bring its transcript home."""
        if job.kind:
            return await self._asked_once_more(msgspec.structs.replace(job, kind=None, reason=None))
        try:
            return await self._collect_once(job)
        except errors.TranscriptNotFoundError as error:
            self._slots.release(job.key)
            if error.kind is not FailureKind.DELETED and not await self._is_gone(job, error):
                return job
            if job.shared_with is None:
                raise
            self._on_event(RequestRetried(f"{job.key}: {error}; it is submitted by itself", error.kind))
            return await self._services.record(job.move(State.LISTED, **without_transcript(job)))

    async def _is_gone(self, job: Job, error: errors.TranscriptNotFoundError) -> bool:
        """Whether a transcript is not there any more that the service says it does not know. Raises
        ``PostponedError`` while that is in doubt: for another key than ours it may be there."""
        if self._services.is_of_another_key(job):
            if job.shared_with is not None:
                return True  # another recording's, which this one cannot wait for
            raise other_key()
        self._on_event(RequestRetried(f"{job.key}: {error}; looking for it again", error.kind))
        async with self._room.aside(job.key):
            return await self._missing.is_gone(job)

    async def _asked_once_more(self, job: Job) -> Job:
        """Before a recording is paid anew whose transcript was given up: collect that, if it is there after all."""
        try:
            fetched = await self._fetch(job)
        except errors.TranscriptNotFoundError:
            fetched = None
        if fetched is None or fetched.is_deleted or fetched.job.phase is Phase.FAILED:
            return await self._services.record(
                job.move(State.LISTED, **without_transcript(job) | {"failures": 0, "submissions": 0})
            )
        there = fetched.job
        message = f"{job.key}: transcript {there.id} is there after all: it is collected, and nothing is paid anew"
        self._on_event(Notice(job=job, message=message))
        return msgspec.structs.replace(job, ended_at=self._clock() if there.has_ended else None)

    async def _collect_once(self, job: Job) -> Job:
        if job.ended_at is None:
            self._services.occupy(job)
            ended = await _postpone_on_refusal(self._watcher.wait_until_ended(job.transcript_id or ""))
            self._slots.release(job.key)
            if ended.phase is Phase.FAILED:
                return await self.end_in_error(job, ended)
        fetched = await self._fetch(job)
        if fetched.is_deleted:
            raise errors.TranscriptNotFoundError(
                f"transcript {fetched.job.id} was deleted at the service", kind=FailureKind.DELETED
            )
        return await run_to_completion(self.store(job, fetched))

    async def _fetch(self, job: Job) -> Fetched:
        """The transcript; from this disk, if its result was replaced before or is that of an identical recording."""
        if job.ended_at and (
            kept := await self._services.off_loop(self._results.kept, job.key, job.transcript_id or "")
        ):
            return self._provider.restore(kept)
        if job.shared_with and (there := await self._services.off_loop(self._results.transcript, *_twin(job))):
            return self._provider.restore(there)
        fetch, what = partial(self._asked_for, job), f"fetch of {job.key}"
        return await _postpone_on_refusal(
            self._throttle.retry(fetch, operation=Operation.FETCH, what=what, at_last=errors.PostponedError)
        )

    async def _asked_for(self, job: Job) -> Fetched:
        """The transcript of the job. Another's, or one that has not ended as the service has said, is no answer."""
        fetched = await self._connection.fetch(job.transcript_id or "")
        if wrong := _mistaken(job, fetched):
            raise errors.UnknownOutcomeError(
                f"the service's answer for transcript {fetched.job.id} {wrong}", kind=FailureKind.BAD_ANSWER
            )
        return fetched

    async def store(self, job: Job, fetched: Fetched, **facts: Any) -> Job:
        """Result first, fact second: a job that is recorded as collected has its result on disk."""
        job = await self._services.off_loop(self._results.write, job, fetched.body)
        self._compare_lengths(job, fetched, await self._services.off_loop(_length_seconds, job))
        facts |= {"audio_seconds": fetched.audio_seconds, "ended_at": self._clock()}
        return await self._services.record(job.move(State.COLLECTED, **facts))

    def _compare_lengths(self, job: Job, fetched: Fetched, seconds: float | None) -> None:
        """Tell of a transcript that is not as long as its audio; it is the one that was asked for all the same."""
        heard_seconds, is_part = fetched.audio_seconds, self._provider.options.is_excerpt(job.recording.options)
        if seconds is None or heard_seconds is None or is_part:
            return
        if abs(heard_seconds - seconds) > max(_LENGTH_SECONDS, _LENGTH_SHARE * seconds):
            lengths = f"is of {heard_seconds:.0f} s of audio, and the file holds {seconds:.0f} s: look at both"
            self._on_event(Notice(job=job, message=f"{job.key}: transcript {fetched.job.id} {lengths}"))

    async def end_in_error(self, job: Job, ended: RemoteJob) -> Job:
        """Do what the provider advises for a job that it has failed (failed jobs are not billed)."""
        failure, again = self._provider.classify(ended.error), job.failures + 1 < laws.FAILURES_LIMIT
        if failure.reaction is Reaction.EMPTY_RESULT:
            fetched = await self._fetch(msgspec.structs.replace(job, kind=failure.kind))
            return await run_to_completion(self.store(job, fetched, kind=failure.kind, reason=ended.error))
        if failure.reaction is Reaction.STAGE_AGAIN and again:
            return await self._services.stage_again(job, failure.kind, ended.error or "")
        if failure.reaction is Reaction.SUBMIT_ANEW and again:
            self._on_event(RequestRetried(f"submission of {job.key}: {ended.error}", failure.kind))
            return await self._services.record(job.move(State.STAGED, **without_transcript(job)))
        raise errors.RecordingError(f"the service ended the job: {ended.error}", kind=failure.kind)


async def _postpone_on_refusal(asking: Awaitable[T]) -> T:
    """A transcript that is paid is given up only when the service does not know it; any other refusal is put off."""
    try:
        return await asking
    except errors.TranscriptNotFoundError:
        raise
    except errors.RecordingError as error:
        raise errors.PostponedError(str(error), kind=error.kind) from error


def _mistaken(job: Job, fetched: Fetched) -> str:
    """What is wrong with a transcript as the answer for a job that has ended; empty if nothing is. Only a job in
    which nobody spoke, which is of a ``kind``, may have ended in an error."""
    there = fetched.job
    if fetched.is_deleted:
        return ""
    if not (there.has_ended if job.kind else there.phase is Phase.COMPLETED):
        return f"is {there.phase}, though it had ended well"
    return of_other_audio(job, there)


def _length_seconds(job: Job) -> float | None:
    """How long the audio is that was staged, where its file tells that for certain. Blocks."""
    source = job.recording.source
    if not is_file(source):
        return None
    now = stamp(source)
    is_staged = now and (now.size_bytes, now.mtime_ns) == (job.size_bytes, job.mtime_ns)
    return exact_seconds(source) if is_staged else None


def _twin(job: Job) -> tuple[str, str]:
    """The recording whose transcript a job shares, and that transcript."""
    return job.shared_with or "", job.transcript_id or ""
