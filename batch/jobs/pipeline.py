"""Carries jobs: one coroutine takes a job through stage, submit, watch and collect, and writes each fact it makes.

Starting again is not a mode: the carrier looks at the state and does the next step. Money is spent in one place,
``_pay``, after the intent is on disk. A step that has an effect at the service runs to its record even while the run
is being stopped (``_run_to_completion``), so an interrupted run knows what it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import closing
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from batch import errors
from batch.archive.journal import Journal
from batch.archive.results import Results
from batch.config import LimitSettings
from batch.errors import FailureKind
from batch.jobs.deduplication import Deduplicator
from batch.jobs.flow_control import laws
from batch.jobs.flow_control.concurrency import ConcurrencyLimiter, UploadAheadLimiter
from batch.jobs.flow_control.throttle import Throttle
from batch.jobs.missing import MissingTranscripts
from batch.jobs.reconciler import Reconciler
from batch.jobs.watcher import Watcher
from batch.model import WITH_SERVICE, Job, Recording, Stamp, State
from batch.providers.interface import (
    AudioStream,
    Connection,
    Fetched,
    Operation,
    Phase,
    Provider,
    Reaction,
    RemoteJob,
    Submission,
)
from batch.storage import disk_errors
from batch.storage.audio import AudioFile, check, chunk_bytes, digest, stamp
from batch.storage.audio_headers import exact_seconds
from batch.storage.locations import identity, is_url
from batch.storage.object_stores import is_stored, link, look
from batch.telemetry import context
from batch.telemetry.events import BytesSent, Event, JobMoved, JobPostponed, Notice, RequestRetried

T = TypeVar("T")
Step = Callable[[Job], Awaitable[Job]]
Admit = Callable[[frozenset[str], Callable[[Recording], bool]], AsyncIterator[Job]]
_WEIGHTS: Final[Mapping[str, Callable[[Job], float]]] = {
    "manifest": lambda job: 0.0,
    "longest": lambda job: float(job.size_bytes or 0),
}
"""Who gets a slot first: the longest job (by its bytes) of those that are staged, so that a run ends without a tail
(longest processing time first: Graham, 1969), or whoever comes first."""

_LENGTH_SECONDS, _LENGTH_SHARE = 3.0, 0.05
"""So far the service may be from the length in a header: it rounds to seconds, and codecs pad."""
_ASIDE: Final = 2000
"""So many jobs may wait beside those that there is room for."""


class _LetGo(NamedTuple):
    """When a submission without an answer was let go; ``last``: what was wrong with it, if it is not repeated."""

    at: float
    last: errors.UnknownOutcomeError | None = None


class Pipeline:
    """Everything it touches is given to it. ``run`` carries all jobs of a stream to their ends.

    ``links``: for how many seconds signed links to stored objects live; None: such objects are uploaded.
    ``key_print``: the fingerprint of the key that the service is asked with.
    """

    def __init__(
        self,
        provider: Provider,
        connection: Connection,
        journal: Journal,
        results: Results,
        throttle: Throttle,
        watcher: Watcher,
        reconciler: Reconciler,
        duplicates: Deduplicator,
        missing: MissingTranscripts,
        *,
        slots: ConcurrencyLimiter,
        limits: LimitSettings,
        executor: Executor,
        links: float | None = None,
        key_print: str | None = None,
        clock: Callable[[], float],
        on_event: Callable[[Event], None],
    ) -> None:
        self._provider, self._capabilities, self._connection = provider, provider.capabilities, connection
        self._journal, self._results, self._throttle = journal, results, throttle
        self._watcher, self._reconciler, self._deduplicator = watcher, reconciler, duplicates
        self._executor, self._clock, self._on_event = executor, clock, on_event
        self._links, self._missing, self._key_print = links, missing, key_print
        self._slots, self._uploads = slots, asyncio.Semaphore(limits.uploads)
        self._readings = asyncio.Semaphore(limits.uploads)
        self._ahead, self._room = UploadAheadLimiter(limits.ahead_bytes), asyncio.Semaphore(limits.room)
        self._weight, self._chunk_bytes = _WEIGHTS[limits.order], chunk_bytes(limits.uploads)
        self._alive: dict[str, asyncio.Task[None]] = {}
        self._relabelled: dict[str, Recording] = {}
        self._began, self._let_go = clock(), dict[str, _LetGo]()
        self._rows: dict[str, asyncio.Future[bool]] = {}
        self._resting: set[str] = set()
        self._left: set[str] = set()
        self._roomless: set[str] = set()
        self._unasked: set[str] = set()
        self._is_admitting = False
        self._steps: Final[Mapping[State, Step]] = {
            State.LISTED: self._stage,
            State.STAGED: self._submit,
            State.SUBMITTING: self._reconcile,
            State.SUBMITTED: self._collect,
        }

    async def run(self, with_service: Iterable[Job], admit: Admit) -> None:
        """Settle what an earlier run left uncertain, then carry what the service has and all that ``admit`` gives.

        ``admit`` is told the keys that the service has, and where new labels of their rows go. A failure of one
        recording is recorded and told, and the others go on. Raises an ExceptionGroup holding the ``RunError`` that
        ended the run. Cancelling it stops admission and lets requests under way be recorded.
        """
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(self._watcher.run()), group.create_task(self._reconciler.run(self._is_busy))]
            settled = await self._settle(with_service)
            async with asyncio.TaskGroup() as carriers:
                for job in settled:
                    self._carries_on(job)
                    await self._start(carriers, job)
                self._is_admitting = True
                async for job in admit(frozenset(job.key for job in settled), self._relabel):
                    await self._start(carriers, job)
                self._is_admitting = False
                for row in self._rows.values():
                    _answer(row, is_named=False)
            for task in beside:
                task.cancel()

    def cut(self) -> None:
        """Cancel what a first cancellation has left to finish."""
        for task in tuple(self._alive.values()):
            task.cancel()

    async def _settle(self, jobs: Iterable[Job]) -> list[Job]:
        """Find out about every submission without an answer, as far as that can be known at once; return the jobs
        that the service has, or may have."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._settled(job)) for job in jobs]
        return [
            job for task in tasks if (job := task.result()).state in WITH_SERVICE and not self._is_out_of_sight(job)
        ]

    def _is_out_of_sight(self, job: Job) -> bool:
        """Whether it may have been submitted with another key, in whose list alone it can be looked for."""
        return job.state is State.SUBMITTING and self._is_of_another_key(job)

    async def _settled(self, job: Job) -> Job:
        context.recording_key.set(job.key)
        if job.state is not State.SUBMITTING:
            return job
        if self._is_out_of_sight(job):
            error = _other_key(job)
            self._on_event(JobPostponed(job, str(error), error.kind))
            return job
        if self._reconciler.is_old(job):
            with contextlib.suppress(errors.PostponedError):
                return await self._reconcile(job)
        if self._capabilities.lookup == "never":
            return await self._found_on_disk(job) or job
        found = await self._reconciler.glance(job, self._began)
        return await _run_to_completion(self._taken(job, found.id, job.intent_at)) if found else job

    def _carries_on(self, job: Job) -> None:
        """What an earlier run has submitted holds a slot; what it may have submitted holds off identical ones, and
        is submitted again only if a row asks for it still."""
        if job.state is State.SUBMITTED:
            self._occupy(job)
            return
        self._rows[job.key] = asyncio.get_running_loop().create_future()
        self._deduplicator.claim(job)

    def _is_busy(self) -> bool:
        """Whether anything goes on but waiting for what cannot be known yet."""
        return self._is_admitting or len(self._alive) > len(self._resting)

    @contextlib.contextmanager
    def _at_rest(self, key: str) -> Iterator[None]:
        self._resting.add(key)
        try:
            yield
        finally:
            self._resting.discard(key)

    async def _start(self, carriers: asyncio.TaskGroup, job: Job) -> None:
        await self._room.acquire()
        if earlier := self._alive.get(job.key):
            _answer(self._rows.get(job.key), is_named=False)  # by this row
            self._is_admitting = False
            await asyncio.wait([earlier])
            self._is_admitting = True
        if job.key in self._left:
            self._room.release()
            self._leave(
                job,
                errors.PostponedError("what was submitted for it before comes first", kind=FailureKind.UNANSWERED),
            )
            return
        self._alive[job.key] = carriers.create_task(self._carry(job), name=job.key)

    async def _carry(self, job: Job) -> None:
        context.recording_key.set(job.key)
        try:
            while job.key not in self._unasked and (step := self._steps.get(job.state)):
                job = await step(job)
            row = self._relabelled.get(job.key)
            if row and job.state is State.COLLECTED and row.labels != job.recording.labels:
                await _run_to_completion(self._rewrite(job, row))
        except (errors.RecordingError, errors.ExpiredLinkError) as error:
            await self._fail(job, error.kind, str(error))
        except errors.PostponedError as error:
            self._leave(job, error)
        except errors.DiaristError:
            raise
        except Exception as error:
            await self._met_a_bug(job, error)
        finally:
            self._slots.release(job.key)
            self._ahead.release(job.key)
            self._deduplicator.release(job.key)
            self._alive.pop(job.key, None)
            self._relabelled.pop(job.key, None)
            if job.key in self._roomless:
                self._roomless.discard(job.key)
            else:
                self._room.release()

    def _relabel(self, row: Recording) -> bool:
        """Let the result of a job say what its row says now, if the job is still being carried: whether it is."""
        _answer(self._rows.get(row.key), is_named=True)
        if row.key in self._alive:
            self._relabelled[row.key] = row
        return row.key in self._alive

    async def _rewrite(self, job: Job, row: Recording) -> None:
        labelled = msgspec.structs.replace(job.recording, labels=row.labels)
        job = await self._off_loop(self._results.rewrite, msgspec.structs.replace(job, recording=labelled))
        await self._journal.record(job)

    # ── the four verbs ──────────────────────────────────────────────────────────────────────────────────────────

    async def _stage(self, job: Job) -> Job:
        """Make the audio readable for the service: upload it, unless it is known there, or leave a URL as it is."""
        source = job.recording.source
        if is_url(source):
            self._check_reads_urls(source)
            return await self._record(job.move(State.STAGED, audio_url=source, staged_at=self._clock()))
        if is_stored(source) and self._links and (linked := await self._linked(job, self._links)):
            return linked
        known = await self._off_loop(stamp, source)
        if known and (shared := await self._shared_unsent(job, known)):
            return shared
        if not self._capabilities.uploads:
            return await self._stage_unsent(job)
        async with self._uploads:
            await self._ahead.acquire(job.key, known.size_bytes if known else 0)
            what = f"upload of {job.key}"
            return await self._throttle.retry(
                lambda: _run_to_completion(self._upload(job)), operation=Operation.UPLOAD, what=what
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
        found = await self._off_loop(partial(check, source, limits=limits))
        facts = found._asdict() if found else {}
        if not is_stored(source):
            facts["sha256"] = await self._digest(source)
        return await self._record(job.move(State.STAGED, staged_at=self._clock(), **facts))

    async def _linked(self, job: Job, seconds: float) -> Job | None:
        """Let the service read a stored object under a link that lives so long; None if none can be made."""
        source = job.recording.source
        audio_url = await self._off_loop(link, source, seconds)
        if audio_url is None:
            return None
        found = (await self._off_loop(look, source)).stamp
        facts = {"audio_url": audio_url, "sha256": None, **found._asdict()}
        return await self._record(job.move(State.STAGED, staged_at=self._clock(), **facts))

    async def _shared_unsent(self, job: Job, known: Stamp) -> Job | None:
        """The job with the transcript of an identical recording, found before anything is uploaded: the file is read
        only if another has its size; an object is known by the tag of its content."""
        if is_stored(job.recording.source):
            return await self._shared(msgspec.structs.replace(job, **known._asdict())) if known.etag else None
        if not await self._journal.known_sizes([known.size_bytes]):
            return None
        try:
            sha256 = await self._digest(job.recording.source)
        except OSError as error:
            disk_errors.check_limits(error)
            return None  # the upload says what is wrong with it
        return await self._shared(msgspec.structs.replace(job, sha256=sha256, **known._asdict()))

    async def _digest(self, path: str) -> str:
        """Few files are read at once, and none on for a run that is being stopped: others need the threads."""
        is_over = threading.Event()
        try:
            async with self._readings:
                return await self._off_loop(digest, path, lambda: not is_over.is_set())
        finally:
            is_over.set()

    async def _shared(self, job: Job) -> Job | None:
        """The job with the transcript of an identical recording, if there is one; else it is this one's to pay."""
        with self._at_rest(job.key):
            twin = await self._deduplicator.find_or_claim(job, waits=self._ahead.release)
        if twin is None:
            return None
        ended_at = twin.ended_at if twin.state is State.COLLECTED else None
        facts = {"transcript_id": twin.transcript_id, "submitted_at": twin.submitted_at, "ended_at": ended_at}
        facts |= {"key_print": twin.key_print}
        return await self._record(job.move(State.SUBMITTED, shared_with=twin.key, **facts))

    async def _upload(self, job: Job) -> Job:
        source = job.recording.source
        file = await self._open(source)
        with closing(file):
            link = await self._connection.upload(AudioStream(file.chunks(), file.stamp.size_bytes))
            facts = {"audio_url": link, "sha256": await self._off_loop(file.sha256), **file.stamp._asdict()}
        return await self._record(job.move(State.STAGED, staged_at=self._clock(), **facts))

    async def _open(self, source: str) -> AudioFile:
        limits = self._capabilities.audio
        return await self._off_loop(AudioFile, source, self._executor, self._tell_sent, self._chunk_bytes, limits)

    async def _submit(self, job: Job) -> Job:
        """Share what an identical recording has been paid for; else wait for a slot, then pay, once."""
        if shared := await self._shared(job):
            return shared
        began = asyncio.get_running_loop().time()
        await self._slots.acquire(job.key, self._weight(job))
        self._ahead.release(job.key)
        if laws.is_expired(job.staged_at, self._clock(), self._life_seconds(job)):
            self._slots.release(job.key)
            return await self._record(job.move(State.LISTED))
        asked = {"intent_at": self._clock(), "submissions": job.submissions + 1, "key_print": self._key_print}
        intent = job.move(State.SUBMITTING, **asked)
        pay, what = partial(self._pay, intent, job), f"submission of {job.key}"
        try:
            return await self._throttle.retry(
                lambda: _run_to_completion(pay()), operation=Operation.SUBMIT, what=what, unanswered=False
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
        """Write the intent, submit, write the answer. Without an answer the intent stands: ``_reconcile`` is next."""
        if job.audio_url is None:
            return await self._pay_with_audio(intent, job)
        await self._record(intent)
        return await self._answered(intent, job, self._connection.submit(job.audio_url, job.recording.options))

    async def _pay_with_audio(self, intent: Job, job: Job) -> Job:
        """As ``_pay``, with the audio that was staged in the submission itself; of a file that is another by now
        nothing is sent."""
        file = await self._open(job.recording.source)
        with closing(file):
            if file.stamp != Stamp(job.size_bytes or 0, job.mtime_ns or 0, job.etag):
                self._slots.release(job.key)
                return await self._record(job.move(State.LISTED))
            await self._record(intent)
            audio = AudioStream(file.chunks(), file.stamp.size_bytes)
            return await self._answered(intent, job, self._connection.submit(audio, job.recording.options))

    async def _answered(self, intent: Job, job: Job, submitting: Awaitable[Submission]) -> Job:
        """Write down what a submission is answered with."""
        try:
            submission = await submitting
            if wrong := _of_other_audio(job, submission.job):
                raise errors.UnknownOutcomeError(f"the service's answer {wrong}", kind=FailureKind.BAD_ANSWER)
        except errors.UnknownOutcomeError:
            raise
        except errors.ExpiredLinkError as error:
            return await self._stage_again(intent, error.kind, str(error))
        except errors.DiaristError:
            await self._record(intent.move(State.STAGED, submissions=job.submissions))
            raise
        if (fetched := submission.fetched) and fetched.job.phase is Phase.COMPLETED:
            facts = {"transcript_id": submission.job.id, "submitted_at": self._clock()}
            collected = await self._store(msgspec.structs.replace(intent, **facts), fetched)
            self._deduplicator.resolve(collected)
            return collected
        return await self._taken(intent, submission.job.id)

    async def _reconcile(self, job: Job) -> Job:
        """Learn whether a submission without an answer was taken, before anything is paid again; enough of them, and
        the recording is given up."""
        if self._capabilities.lookup == "never":
            return await self._found_on_disk(job) or self._give_up_lost(job)
        let_go = self._let_go.get(job.key) or _LetGo(self._began)
        async with self._aside(job.key):
            found = await self._reconciler.find(job, let_go.at)
            row = self._rows.get(job.key)
            is_asked_for = found or row is None or await row
        if found:
            self._slots.count_in(job.key)
            return await _run_to_completion(self._taken(job, found.id, job.intent_at))
        if error := let_go.last:
            raise errors.RecordingError(f"{error} (after {job.submissions} submissions)", kind=error.kind) from error
        if not is_asked_for:
            self._unasked.add(job.key)
        return await self._record(job.move(State.STAGED))

    async def _found_on_disk(self, job: Job) -> Job | None:
        """The job, collected, if the transcript of its last submission was put in place before that was written
        down."""
        stored = await self._off_loop(self._results.stored, job.key)
        if stored is None or stored.transcript_id in job.past_ids or not _is_of_submission(stored, job):
            return None
        facts = {name: getattr(stored, name) for name in ("transcript_id", "audio_seconds", "speakers")}
        placed = self._results.look(job.key)
        stamp_now = {"result_bytes": placed.size_bytes, "result_mtime_ns": placed.mtime_ns} if placed else {}
        facts |= {"submitted_at": job.intent_at, "ended_at": self._clock(), "key_print": self._key_print}
        return await _run_to_completion(self._record(job.move(State.COLLECTED, **facts, **stamp_now)))

    def _give_up_lost(self, job: Job) -> Job:
        name = self._provider.name
        raise errors.RecordingError(
            f"its submission was not answered, and {name} cannot be asked whether it was accepted: look at {name}'s "
            "bill if you can. Nothing is paid again unasked; run with --retry failed to submit it anew",
            kind=FailureKind.UNANSWERED,
        )

    @contextlib.asynccontextmanager
    async def _aside(self, key: str) -> AsyncIterator[None]:
        """Leave slot and room to others for what may take minutes, unless too many do."""
        self._slots.release(key)
        gives_room = key in self._alive and len(self._roomless) < _ASIDE
        if gives_room:
            self._roomless.add(key)
            self._room.release()
        with self._at_rest(key):
            yield
        if gives_room:
            await self._room.acquire()
            self._roomless.discard(key)

    async def _taken(self, job: Job, transcript_id: str, submitted_at: float | None = None) -> Job:
        """``submitted_at``: since when it can have been there, if not since now; what was found late is no witness of
        how far the list has come."""
        facts = {"transcript_id": transcript_id, "submitted_at": submitted_at or self._clock()}
        facts |= {"key_print": self._key_print}
        job = await self._record(job.move(State.SUBMITTED, **facts))
        self._deduplicator.resolve(job)
        return job

    async def _collect(self, job: Job) -> Job:
        """Wait until the service has ended the job, then bring its transcript home."""
        if job.kind:
            return await self._asked_once_more(msgspec.structs.replace(job, kind=None, reason=None))
        try:
            return await self._brought_home(job)
        except errors.TranscriptNotFoundError as error:
            self._slots.release(job.key)
            if error.kind is not FailureKind.DELETED and not await self._is_gone(job, error):
                return job
            if job.shared_with is None:
                raise
            self._on_event(RequestRetried(f"{job.key}: {error}; it is submitted by itself", error.kind))
            return await self._record(job.move(State.LISTED, **_without_transcript(job)))

    async def _is_gone(self, job: Job, error: errors.TranscriptNotFoundError) -> bool:
        """Whether a transcript is not there any more that the service says it does not know. Raises
        ``PostponedError`` while that is in doubt: for another key than ours it may be there."""
        if self._is_of_another_key(job):
            if job.shared_with is not None:
                return True  # another recording's, which this one cannot wait for
            raise _other_key(job)
        self._on_event(RequestRetried(f"{job.key}: {error}; looking for it again", error.kind))
        async with self._aside(job.key):
            return await self._missing.is_gone(job)

    def _is_of_another_key(self, job: Job) -> bool:
        return None not in (job.key_print, self._key_print) and job.key_print != self._key_print

    async def _asked_once_more(self, job: Job) -> Job:
        """Before a recording is paid anew whose transcript was given up: collect that, if it is there after all."""
        try:
            fetched = await self._fetch(job)
        except errors.TranscriptNotFoundError:
            fetched = None
        if fetched is None or fetched.is_deleted or fetched.job.phase is Phase.FAILED:
            return await self._record(
                job.move(State.LISTED, **_without_transcript(job) | {"failures": 0, "submissions": 0})
            )
        there = fetched.job
        message = f"{job.key}: transcript {there.id} is there after all: it is collected, and nothing is paid anew"
        self._on_event(Notice(job=job, message=message))
        return msgspec.structs.replace(job, ended_at=self._clock() if there.has_ended else None)

    async def _brought_home(self, job: Job) -> Job:
        if job.ended_at is None:
            self._occupy(job)
            ended = await _postpone_on_refusal(self._watcher.wait_until_ended(job.transcript_id or ""))
            self._slots.release(job.key)
            if ended.phase is Phase.FAILED:
                return await self._ended_in_error(job, ended)
        fetched = await self._fetch(job)
        if fetched.is_deleted:
            raise errors.TranscriptNotFoundError(
                f"transcript {fetched.job.id} was deleted at the service", kind=FailureKind.DELETED
            )
        return await _run_to_completion(self._store(job, fetched))

    async def _fetch(self, job: Job) -> Fetched:
        """The transcript; from this disk, if its result was replaced before or is that of an identical recording."""
        if job.ended_at and (kept := await self._off_loop(self._results.kept, job.key, job.transcript_id or "")):
            return self._provider.restore(kept)
        if job.shared_with and (there := await self._off_loop(self._results.transcript, *_twin(job))):
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

    async def _store(self, job: Job, fetched: Fetched, **facts: Any) -> Job:
        """Result first, fact second: a job that is recorded as collected has its result on disk."""
        job = await self._off_loop(self._results.write, job, fetched.body)
        self._compare_lengths(job, fetched, await self._off_loop(_length_seconds, job))
        facts |= {"audio_seconds": fetched.audio_seconds, "ended_at": self._clock()}
        return await self._record(job.move(State.COLLECTED, **facts))

    def _compare_lengths(self, job: Job, fetched: Fetched, seconds: float | None) -> None:
        """Tell of a transcript that is not as long as its audio; it is the one that was asked for all the same."""
        heard_seconds, is_part = fetched.audio_seconds, self._provider.options.is_excerpt(job.recording.options)
        if seconds is None or heard_seconds is None or is_part:
            return
        if abs(heard_seconds - seconds) > max(_LENGTH_SECONDS, _LENGTH_SHARE * seconds):
            lengths = f"is of {heard_seconds:.0f} s of audio, and the file holds {seconds:.0f} s: look at both"
            self._on_event(Notice(job=job, message=f"{job.key}: transcript {fetched.job.id} {lengths}"))

    async def _ended_in_error(self, job: Job, ended: RemoteJob) -> Job:
        """Do what the provider advises for a job that it has failed (failed jobs are not billed)."""
        failure, again = self._provider.classify(ended.error), job.failures + 1 < laws.FAILURES_LIMIT
        if failure.reaction is Reaction.EMPTY_RESULT:
            fetched = await self._fetch(msgspec.structs.replace(job, kind=failure.kind))
            return await _run_to_completion(self._store(job, fetched, kind=failure.kind, reason=ended.error))
        if failure.reaction is Reaction.STAGE_AGAIN and again:
            return await self._stage_again(job, failure.kind, ended.error or "")
        if failure.reaction is Reaction.SUBMIT_ANEW and again:
            self._on_event(RequestRetried(f"submission of {job.key}: {ended.error}", failure.kind))
            return await self._record(job.move(State.STAGED, **_without_transcript(job)))
        raise errors.RecordingError(f"the service ended the job: {ended.error}", kind=failure.kind)

    # ── facts ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _stage_again(self, job: Job, kind: FailureKind, reason: str) -> Job:
        """The service cannot read the link any more: back to the start, a bounded number of times."""
        if job.failures + 1 >= laws.FAILURES_LIMIT:
            raise errors.RecordingError(reason, kind=kind)
        self._on_event(RequestRetried(f"staging of {job.key}: {reason}", kind))
        return await self._record(job.move(State.LISTED, **_without_transcript(job)))

    async def _met_a_bug(self, job: Job, error: Exception) -> None:
        """What nobody expected is told of the recording that met it, and the others go on. What the service has of it
        is left for the next run."""
        disk_errors.check_limits(error)
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"an unexpected internal error, please report it: {error!r} at {place.name}:{place.lineno}"
        if job.state not in WITH_SERVICE:
            with contextlib.suppress(Exception):
                await self._fail(job, FailureKind.INTERNAL_ERROR, reason)
                return
        self._leave(job, errors.PostponedError(reason, kind=FailureKind.INTERNAL_ERROR))

    def _leave(self, job: Job, why: errors.PostponedError) -> None:
        """To the next run. Nobody else pays for what the service may have of it."""
        if job.state in WITH_SERVICE:
            self._left.add(job.key)
        if job.state is State.SUBMITTING:
            self._deduplicator.leave(job.key, why)
        self._on_event(JobPostponed(job, str(why), why.kind))

    async def _fail(self, job: Job, kind: FailureKind, reason: str) -> None:
        if job.audio_url:
            reason = reason.replace(job.audio_url, job.recording.source)  # a link is a key to the audio
        await self._record(job.move(State.FAILED, kind=kind, reason=reason, ended_at=self._clock()))

    async def _record(self, job: Job) -> Job:
        await self._journal.record(job)
        self._on_event(JobMoved(job))
        return job

    def _occupy(self, job: Job) -> None:
        """A slot for what the service has; a shared transcript has one already."""
        if job.shared_with is None:
            self._slots.count_in(job.key)

    async def _off_loop(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    def _tell_sent(self, sent_bytes: int) -> None:
        self._on_event(BytesSent(sent_bytes))


async def _postpone_on_refusal(asking: Awaitable[T]) -> T:
    """A transcript that is paid is given up only when the service does not know it; any other refusal is put off."""
    try:
        return await asking
    except errors.TranscriptNotFoundError:
        raise
    except errors.RecordingError as error:
        raise errors.PostponedError(str(error), kind=error.kind) from error


def _other_key(job: Job) -> errors.PostponedError:
    return errors.PostponedError(
        "it was submitted with another key, and with the one of this run the service does not tell of it: run the "
        "same command with that key, and nothing is paid again. If that key is gone, give the row another id",
        kind=FailureKind.OTHER_KEY,
    )


def _mistaken(job: Job, fetched: Fetched) -> str:
    """What is wrong with a transcript as the answer for a job that has ended; empty if nothing is. Only a job in
    which nobody spoke, which is of a ``kind``, may have ended in an error."""
    there = fetched.job
    if fetched.is_deleted:
        return ""
    if not (there.has_ended if job.kind else there.phase is Phase.COMPLETED):
        return f"is {there.phase}, though it had ended well"
    return _of_other_audio(job, there)


def _of_other_audio(job: Job, there: RemoteJob) -> str:
    ours = None if job.shared_with else job.audio_url
    differs = ours and there.link and identity(there.link) != identity(ours)
    return "is that of other audio" if differs else ""


def _is_of_submission(stored: Job, job: Job) -> bool:
    """Whether a result is of the audio and the options that a job was submitted with."""
    audio = ("sha256", "size_bytes", "mtime_ns", "etag")
    is_same_audio = all(getattr(stored, name) == getattr(job, name) for name in audio)
    return is_same_audio and stored.service == job.service and stored.recording.options == job.recording.options


def _length_seconds(job: Job) -> float | None:
    """How long the audio is that was staged, where its file tells that for certain. Blocks."""
    source = job.recording.source
    if is_url(source) or is_stored(source):
        return None
    now = stamp(source)
    is_staged = now and (now.size_bytes, now.mtime_ns) == (job.size_bytes, job.mtime_ns)
    return exact_seconds(source) if is_staged else None


def _twin(job: Job) -> tuple[str, str]:
    """The recording whose transcript a job shares, and that transcript."""
    return job.shared_with or "", job.transcript_id or ""


def _answer(row: asyncio.Future[bool] | None, *, is_named: bool) -> None:
    """Whether a row of this run asks for a job that an earlier one may have submitted."""
    if row and not row.done():
        row.set_result(is_named)


def _without_transcript(job: Job) -> dict[str, Any]:
    """The facts of a job whose submission, if it had come to one, the service has failed."""
    past_ids = (*job.past_ids, job.transcript_id) if job.transcript_id else job.past_ids
    again = {"shared_with": None, "ended_at": None, "failures": job.failures + 1}
    return {"transcript_id": None, "past_ids": past_ids, **again}


async def _run_to_completion(effect: Coroutine[Any, Any, T]) -> T:
    """Run an effect and its record to their end even if cancelled meanwhile; then let the cancellation through.

    A second cancellation is for the effect itself.
    """
    task = asyncio.ensure_future(effect)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: the run is being stopped, and what was not recorded is looked up by the next one
        raise


def with_service(jobs: Iterable[Job], service: str) -> list[Job]:
    """Of ``jobs``, those that ``service`` has or may have taken."""
    return [job for job in jobs if job.service == service and job.state in WITH_SERVICE]
