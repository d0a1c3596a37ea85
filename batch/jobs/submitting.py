"""The second verb: pay for a transcript, once.

Money is spent in one place, ``_pay``, after the intent is on disk. Without an answer the intent stands, and whether
it was accepted is learnt before anything is paid again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from functools import partial
from typing import Final, NamedTuple, NoReturn, TypeGuard

import msgspec

from batch import errors
from batch.errors import FailureKind
from batch.jobs.collecting import Collector
from batch.jobs.effects import run_to_completion
from batch.jobs.flow_control import laws
from batch.jobs.room import Room
from batch.jobs.services import Services, of_other_audio
from batch.jobs.staging import Stager
from batch.model import Job, Stamp, State
from batch.providers.interface import AudioStream, Fetched, Operation, Phase, Submission
from batch.storage.locations import is_url
from batch.telemetry.events import RequestRetried

_WEIGHTS: Final[Mapping[str, Callable[[Job], float]]] = {
    "manifest": lambda job: 0.0,
    "longest": lambda job: float(job.size_bytes or 0),
}
"""Who gets a slot first: the longest job (by its bytes) of those that are staged, so that a run ends without a tail
(longest processing time first: Graham, 1969), or whoever comes first."""


class _LetGo(NamedTuple):
    """When a submission without an answer was let go; ``last``: what was wrong with it, if it is not repeated."""

    at: float
    last: errors.UnknownOutcomeError | None = None


class Submitter:
    """Submits staged jobs, and settles submissions without an answer.

    ``rows`` says of each job that an earlier run may have submitted whether a row of this run asks for it, once that
    is known; ``unasked`` are those that none asks for.
    """

    def __init__(self, services: Services, room: Room, stager: Stager, collector: Collector) -> None:
        self._services, self._room, self._stager, self._collector = services, room, stager, collector
        self._provider, self._capabilities = services.provider, services.provider.capabilities
        self._connection, self._results, self._throttle = services.connection, services.results, services.throttle
        self._deduplicator, self._reconciler, self._slots = services.deduplicator, services.reconciler, services.slots
        self._clock, self._on_event = services.clock, services.on_event
        self._links, self._key_print = services.links, services.key_print
        self._weight = _WEIGHTS[services.limits.order]
        self._began, self._let_go = services.clock(), dict[str, _LetGo]()
        self.rows: dict[str, asyncio.Future[bool]] = {}
        self.unasked: set[str] = set()

    async def submit(self, job: Job) -> Job:
        """Share what an identical recording has been paid for; else wait for a slot, then pay, once."""
        if shared := await self._stager.share(job):
            return shared
        began = asyncio.get_running_loop().time()
        await self._slots.acquire(job.key, self._weight(job))
        self._stager.release(job.key)
        if laws.is_expired(job.staged_at, self._clock(), self._life_seconds(job)):
            self._slots.release(job.key)
            return await self._services.record(job.move(State.LISTED))
        asked = {"intent_at": self._clock(), "submissions": job.submissions + 1, "key_print": self._key_print}
        intent = job.move(State.SUBMITTING, **asked)
        pay, what = partial(self._pay, intent, job), f"submission of {job.key}"
        try:
            return await self._throttle.retry(
                lambda: run_to_completion(pay()), operation=Operation.SUBMIT, what=what, unanswered=False
            )
        except errors.UnknownOutcomeError as error:
            self._on_event(RequestRetried(f"{what}: {error}; looking for it", error.kind))
            others_did_well = self._throttle.went_well_since(Operation.SUBMIT, began)
            is_last = others_did_well and intent.submissions >= laws.SUBMISSIONS_LIMIT
            self._let_go[job.key] = _LetGo(self._clock(), error if is_last else None)
            return intent

    def _life_seconds(self, job: Job) -> float:
        """How long after staging a job may be submitted: half of a link's life is left for the service's queue."""
        if is_url(job.recording.source) or job.audio_url is None:
            return math.inf
        return self._capabilities.link_life_seconds if job.sha256 else (self._links or 0.0) / 2

    async def _pay(self, intent: Job, job: Job) -> Job:
        """Write the intent, submit, write the answer. Without an answer the intent stands: ``reconcile`` is next."""
        if job.audio_url is None:
            return await self._pay_with_audio(intent, job)
        await self._services.record(intent)
        return await self._answered(intent, job, self._connection.submit(job.audio_url, job.recording.options))

    async def _pay_with_audio(self, intent: Job, job: Job) -> Job:
        """As ``_pay``, with the audio that was staged in the submission itself; of a file that is another by now
        nothing is sent."""
        file = await self._stager.open(job.recording.source)
        with closing(file):
            if file.stamp != Stamp(job.size_bytes or 0, job.mtime_ns or 0, job.etag):
                self._slots.release(job.key)
                return await self._services.record(job.move(State.LISTED))
            await self._services.record(intent)
            audio = AudioStream(file.chunks(), file.stamp.size_bytes)
            return await self._answered(intent, job, self._connection.submit(audio, job.recording.options))

    async def _answered(self, intent: Job, job: Job, submitting: Awaitable[Submission]) -> Job:
        """Write down what a submission is answered with."""
        try:
            submission = await submitting
            if wrong := of_other_audio(job, submission.job):
                raise errors.UnknownOutcomeError(f"the service's answer {wrong}", kind=FailureKind.BAD_ANSWER)
        except errors.UnknownOutcomeError:
            raise
        except errors.ExpiredLinkError as error:
            return await self._services.stage_again(intent, error.kind, str(error))
        except errors.DiaristError:
            await self._services.record(intent.move(State.STAGED, submissions=job.submissions))
            raise
        fetched = submission.fetched
        if fetched is None or fetched.job.phase is not Phase.COMPLETED:
            submitted = await self.record_submitted(intent, submission.job.id)
            return await self._collector.end_in_error(submitted, fetched.job) if _has_failed(fetched) else submitted
        facts = {"transcript_id": submission.job.id, "submitted_at": self._clock(), "key_print": self._key_print}
        collected = await self._collector.store(msgspec.structs.replace(intent, **facts), fetched)
        self._deduplicator.resolve(collected)
        return collected

    async def reconcile(self, job: Job) -> Job:
        """Learn whether a submission without an answer was taken, before anything is paid again; enough of them, and
        the recording is given up."""
        if self._capabilities.lookup == "never":
            return await self.find_on_disk(job) or self._give_up_lost()
        let_go = self._let_go.get(job.key) or _LetGo(self._began)
        async with self._room.aside(job.key):
            found = await self._reconciler.find(job, let_go.at)
            row = self.rows.get(job.key)
            is_asked_for = found or row is None or await row
        if found:
            self._slots.count_in(job.key)
            return await run_to_completion(self.record_submitted(job, found.id, job.intent_at))
        if error := let_go.last:
            raise errors.RecordingError(f"{error} (after {job.submissions} submissions)", kind=error.kind) from error
        if not is_asked_for:
            self.unasked.add(job.key)
        return await self._services.record(job.move(State.STAGED))

    async def find_on_disk(self, job: Job) -> Job | None:
        """The job, collected, if the transcript of its last submission was put in place before that was written
        down."""
        stored = await self._services.off_loop(self._results.stored, job.key)
        if stored is None or stored.transcript_id in job.past_ids or not _is_of_submission(stored, job):
            return None
        facts = {name: getattr(stored, name) for name in ("transcript_id", "audio_seconds", "speakers")}
        placed = self._results.look(job.key)
        stamp_now = {"result_bytes": placed.size_bytes, "result_mtime_ns": placed.mtime_ns} if placed else {}
        facts |= {"submitted_at": job.intent_at, "ended_at": self._clock(), "key_print": self._key_print}
        return await run_to_completion(self._services.record(job.move(State.COLLECTED, **facts, **stamp_now)))

    def _give_up_lost(self) -> NoReturn:
        name = self._provider.name
        raise errors.RecordingError(
            f"its submission was not answered, and {name} cannot be asked whether it was accepted: look at {name}'s "
            "bill if you can. Nothing is paid again unasked; run with --retry failed to submit it anew",
            kind=FailureKind.UNANSWERED,
        )

    async def record_submitted(self, job: Job, transcript_id: str, submitted_at: float | None = None) -> Job:
        """``submitted_at``: since when it can have been there, if not since now; what was found late is no witness of
        how far the list has come."""
        facts = {"transcript_id": transcript_id, "submitted_at": submitted_at or self._clock()}
        facts |= {"key_print": self._key_print}
        job = await self._services.record(job.move(State.SUBMITTED, **facts))
        self._deduplicator.resolve(job)
        return job


def _has_failed(fetched: Fetched | None) -> TypeGuard[Fetched]:
    return fetched is not None and fetched.job.phase is Phase.FAILED


def _is_of_submission(stored: Job, job: Job) -> bool:
    """Whether a result is of the audio and the options that a job was submitted with."""
    audio = ("sha256", "size_bytes", "mtime_ns", "etag")
    is_same_audio = all(getattr(stored, name) == getattr(job, name) for name in audio)
    return is_same_audio and stored.service == job.service and stored.recording.options == job.recording.options
