"""Carries jobs: one coroutine takes a job through stage, submit, watch and collect, and writes each fact it makes.

Starting again is not a mode: the carrier looks at the state and does the next step. Money is spent in one place,
``submitting``, after the intent is on disk. A step that has an effect at the service runs to its record even while
the run is being stopped (``effects``), so an interrupted run knows what it did.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Final

import msgspec

from batch import errors
from batch.errors import FailureKind
from batch.jobs.collecting import Collector
from batch.jobs.effects import run_to_completion
from batch.jobs.room import Room
from batch.jobs.services import Services, other_key
from batch.jobs.staging import Stager
from batch.jobs.submitting import Submitter
from batch.model import WITH_SERVICE, Job, Recording, State
from batch.storage import disk_errors
from batch.telemetry import context
from batch.telemetry.events import JobPostponed

Step = Callable[[Job], Awaitable[Job]]
Admit = Callable[[frozenset[str], Callable[[Recording], bool]], AsyncIterator[Job]]


class Pipeline:
    """Carries all jobs of a stream to their ends, one coroutine a job."""

    def __init__(self, services: Services) -> None:
        self._services, self._room = services, Room(services.limits.room, services.slots)
        self._stager, self._collector = Stager(services, self._room), Collector(services, self._room)
        self._submitter = Submitter(services, self._room, self._stager, self._collector)
        self._journal, self._results = services.journal, services.results
        self._watcher, self._reconciler = services.watcher, services.reconciler
        self._deduplicator = services.deduplicator
        self._slots, self._clock, self._on_event = services.slots, services.clock, services.on_event
        self._began = services.clock()
        self._relabelled: dict[str, Recording] = {}
        self._left: set[str] = set()
        self._steps: Final[Mapping[State, Step]] = {
            State.LISTED: self._stager.stage,
            State.STAGED: self._submitter.submit,
            State.SUBMITTING: self._submitter.reconcile,
            State.SUBMITTED: self._collector.collect,
        }

    async def run(self, with_service: Iterable[Job], admit: Admit) -> None:
        """Settle what an earlier run left uncertain, then carry what the service has and all that ``admit`` gives.

        ``admit`` is told the keys that the service has, and where new labels of their rows go. A failure of one
        recording is recorded and told, and the others go on. Raises an ExceptionGroup holding the ``RunError`` that
        ended the run. Cancelling it stops admission and lets requests under way be recorded.
        """
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._watcher.run()),
                group.create_task(self._reconciler.run(self._room.is_busy)),
            ]
            settled = await self._reconcile_leftovers(with_service)
            async with asyncio.TaskGroup() as carriers:
                for job in settled:
                    self._carries_on(job)
                    await self._start(carriers, job)
                self._room.is_admitting = True
                async for job in admit(frozenset(job.key for job in settled), self._relabel):
                    await self._start(carriers, job)
                self._room.is_admitting = False
                for row in self._submitter.rows.values():
                    _answer(row, is_named=False)
            for task in beside:
                task.cancel()

    def cut(self) -> None:
        """Cancel what a first cancellation has left to finish."""
        self._room.cut()

    async def _reconcile_leftovers(self, jobs: Iterable[Job]) -> list[Job]:
        """Find out about every submission without an answer, as far as that can be known at once; return the jobs
        that the service has, or may have."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._settled(job)) for job in jobs]
        return [
            job for task in tasks if (job := task.result()).state in WITH_SERVICE and not self._is_out_of_sight(job)
        ]

    def _is_out_of_sight(self, job: Job) -> bool:
        """Whether it may have been submitted with another key, in whose list alone it can be looked for."""
        return job.state is State.SUBMITTING and self._services.is_of_another_key(job)

    async def _settled(self, job: Job) -> Job:
        context.recording_key.set(job.key)
        if job.state is not State.SUBMITTING:
            return job
        if self._is_out_of_sight(job):
            error = other_key()
            self._on_event(JobPostponed(job, str(error), error.kind))
            return job
        if self._services.provider.capabilities.lookup == "never":
            return await self._submitter.find_on_disk(job) or job
        if self._reconciler.is_old(job):
            with contextlib.suppress(errors.PostponedError):
                return await self._submitter.reconcile(job)
        found = await self._reconciler.glance(job, self._began)
        return (
            await run_to_completion(self._submitter.record_submitted(job, found.id, job.intent_at)) if found else job
        )

    def _carries_on(self, job: Job) -> None:
        """What an earlier run has submitted holds a slot; what it may have submitted holds off identical ones, and
        is submitted again only if a row asks for it still."""
        if job.state is State.SUBMITTED:
            self._services.occupy(job)
            return
        self._submitter.rows[job.key] = asyncio.get_running_loop().create_future()
        self._deduplicator.claim(job)

    async def _start(self, carriers: asyncio.TaskGroup, job: Job) -> None:
        await self._room.enter()
        if earlier := self._room.alive.get(job.key):
            _answer(self._submitter.rows.get(job.key), is_named=False)  # by this row
            self._room.is_admitting = False
            await asyncio.wait([earlier])
            self._room.is_admitting = True
        if job.key in self._left:
            self._room.turn_away()
            self._leave(
                job,
                errors.PostponedError("what was submitted for it before comes first", kind=FailureKind.UNANSWERED),
            )
            return
        self._room.alive[job.key] = carriers.create_task(self._carry(job), name=job.key)

    async def _carry(self, job: Job) -> None:
        context.recording_key.set(job.key)
        try:
            while job.key not in self._submitter.unasked and (step := self._steps.get(job.state)):
                job = await step(job)
            row = self._relabelled.get(job.key)
            if row and job.state is State.COLLECTED and row.labels != job.recording.labels:
                await run_to_completion(self._rewrite(job, row))
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
            self._stager.release(job.key)
            self._deduplicator.release(job.key)
            self._relabelled.pop(job.key, None)
            self._room.leave(job.key)

    def _relabel(self, row: Recording) -> bool:
        """Let the result of a job say what its row says now, if the job is still being carried: whether it is."""
        _answer(self._submitter.rows.get(row.key), is_named=True)
        if row.key in self._room.alive:
            self._relabelled[row.key] = row
        return row.key in self._room.alive

    async def _rewrite(self, job: Job, row: Recording) -> None:
        labelled = msgspec.structs.replace(job.recording, labels=row.labels)
        job = await self._services.off_loop(self._results.rewrite, msgspec.structs.replace(job, recording=labelled))
        await self._journal.record(job)

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
        await self._services.record(job.move(State.FAILED, kind=kind, reason=reason, ended_at=self._clock()))


def _answer(row: asyncio.Future[bool] | None, *, is_named: bool) -> None:
    """Whether a row of this run asks for a job that an earlier one may have submitted."""
    if row and not row.done():
        row.set_result(is_named)


def with_service(jobs: Iterable[Job], service: str) -> list[Job]:
    """Of ``jobs``, those that ``service`` has or may have taken."""
    return [job for job in jobs if job.service == service and job.state in WITH_SERVICE]
