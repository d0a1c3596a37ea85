"""What the carriers of jobs stand on: put together once a run, and handed to each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from batch import errors
from batch.archive.journal import Journal
from batch.archive.results import Results
from batch.config import LimitSettings
from batch.errors import FailureKind
from batch.jobs.deduplication import Deduplicator
from batch.jobs.flow_control import laws
from batch.jobs.flow_control.concurrency import ConcurrencyLimiter
from batch.jobs.flow_control.throttle import Throttle
from batch.jobs.missing import MissingTranscripts
from batch.jobs.reconciler import Reconciler
from batch.jobs.watcher import Watcher
from batch.model import Job, State
from batch.providers.interface import Connection, Provider, RemoteJob
from batch.storage.locations import identity
from batch.telemetry.events import Event, JobMoved, RequestRetried

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Services:
    """``links``: for how many seconds signed links to stored objects live; None: such objects are sent through us.
    ``key_print``: the fingerprint of the key that the provider is asked with."""

    provider: Provider
    connection: Connection
    journal: Journal
    results: Results
    throttle: Throttle
    watcher: Watcher
    reconciler: Reconciler
    deduplicator: Deduplicator
    missing: MissingTranscripts
    slots: ConcurrencyLimiter
    limits: LimitSettings
    executor: Executor
    clock: Callable[[], float]
    on_event: Callable[[Event], None]
    links: float | None = None
    key_print: str | None = None

    async def record(self, job: Job) -> Job:
        """Write the job's facts down, then tell of them."""
        await self.journal.record(job)
        self.on_event(JobMoved(job))
        return job

    async def off_loop(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do work that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work, *arguments)

    def occupy(self, job: Job) -> None:
        """A slot for what the service has; a shared transcript has one already."""
        if job.shared_with is None:
            self.slots.count_in(job.key)

    def is_of_another_key(self, job: Job) -> bool:
        """Whether it was submitted with another key than ours."""
        return None not in (job.key_print, self.key_print) and job.key_print != self.key_print

    async def stage_again(self, job: Job, kind: FailureKind, reason: str) -> Job:
        """The service cannot read the link any more: back to the start, a bounded number of times."""
        if job.failures + 1 >= laws.FAILURES_LIMIT:
            raise errors.RecordingError(reason, kind=kind)
        self.on_event(RequestRetried(f"staging of {job.key}: {reason}", kind))
        return await self.record(job.move(State.LISTED, **without_transcript(job)))


def without_transcript(job: Job) -> dict[str, Any]:
    """The facts of a job whose submission, if it had come to one, the service has failed."""
    past_ids = (*job.past_ids, job.transcript_id) if job.transcript_id else job.past_ids
    again = {"shared_with": None, "ended_at": None, "failures": job.failures + 1}
    return {"transcript_id": None, "past_ids": past_ids, **again}


def other_key() -> errors.PostponedError:
    """Why a job of another key is left for the next run."""
    return errors.PostponedError(
        "it was submitted with another key, and with the one of this run the service does not tell of it: run the "
        "same command with that key, and nothing is paid again. If that key is gone, give the row another id",
        kind=FailureKind.OTHER_KEY,
    )


def of_other_audio(job: Job, there: RemoteJob) -> str:
    """What is wrong with a job of the provider's that is of other audio than ours; empty if nothing is."""
    ours = None if job.shared_with else job.audio_url
    differs = ours and there.link and identity(there.link) != identity(ours)
    return "is that of other audio" if differs else ""
