"""Which rows of a manifest become jobs: read, judged and claimed a batch at a time, in the order of the manifest."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final

from batch import errors
from batch.archive.journal import Journal
from batch.archive.results import Results
from batch.errors import FailureKind
from batch.jobs.planning.budget import BudgetTracker
from batch.jobs.planning.decision import Action, Decision, Rerun, RowDecision, Upkeep
from batch.jobs.planning.judge import Judge, Known
from batch.jobs.planning.selection import Selection
from batch.manifest.option_schema import OptionSchema
from batch.model import WITH_SERVICE, Job, Recording, Reject, State
from batch.providers import registry
from batch.storage import audio
from batch.storage.locations import identity
from batch.storage.same_audio import same_audio
from batch.telemetry.events import BudgetReached, Event, Notice, RowAdmitted, RowRejected, RowsCounted, RowSkipped

_BATCH_ROWS: Final = 500
_COPIES: Final = 1000


class Admission:
    """Turns manifest rows into jobs to carry. ``rows`` blocks while it reads; it is drawn from in a thread.

    ``agreed``: somebody has agreed to pay again for what is done. ``exhausted`` is set once every row was looked at.
    """

    def __init__(
        self,
        rows: Iterator[Recording | Reject],
        journal: Journal,
        results: Results,
        service: str,
        *,
        rerun: Rerun,
        select: Selection,
        on_event: Callable[[Event], None],
        budget: BudgetTracker | None = None,
        agreed: bool = False,
    ) -> None:
        self._journal, self._results, self._service = journal, results, service
        self._rows = iter(select.apply(rows, audio.stamp))
        self._select, self._on_event, self._budget = select, on_event, budget
        self._judge = Judge(results, service, rerun)
        self._agreed, self._copies_are_listed = agreed, False
        self.exhausted = False
        self._read_rows = 0

    async def jobs(
        self,
        under_way: frozenset[str] = frozenset(),
        relabel: Callable[[Recording], bool] = lambda recording: False,
    ) -> AsyncIterator[Job]:
        """The jobs to carry, in the order of the manifest. Raises what reading the manifest raises.

        ``under_way``: the keys that are carried anyway because the service has them. Their rows give a job only if
        they ask for something else now; labels that have changed are handed to ``relabel``, which says whether the
        job is still being carried.
        """
        await self._claim_carried(under_way)
        admitted = 0
        async for batch in self.judged():
            await asyncio.gather(*map(self._bring_up_to_date, batch))
            for judged in batch:
                job = judged.job_to_carry(self._service)
                if judged.recording.key in under_way and not judged.asks_for_something_else:
                    self._admit(
                        judged.job or Job(judged.recording, self._service), "submitted before", Action.UNDER_WAY
                    )
                    await self._relabel(judged, relabel)
                elif job is None:
                    self._skip(judged.job, judged.decision.why, judged.decision.verdict)
                elif judged.decision.pays_again and not self._agreed:
                    self._skip(judged.job, judged.decision.why, Action.HELD)
                elif admitted == self._select.limit:
                    return
                elif over := await self._over_budget(job):
                    self._on_event(BudgetReached(over))
                    return
                else:
                    admitted += 1
                    self._admit(job, judged.decision.why, judged.decision.verdict)
                    yield job
        self.exhausted = True
        self._on_event(RowsCounted(self._read_rows, read_all=True))

    async def _claim_carried(self, under_way: frozenset[str]) -> None:
        carried = [job.recording for job in (await self._journal.find(sorted(under_way))).values()]
        await self._journal.claim(carried, self._places(carried), is_carried=True)

    async def _over_budget(self, job: Job) -> str:
        """The limit that the job does not fit into, if it costs anything and there is a limit."""
        is_paid = job.state in WITH_SERVICE and not job.kind
        if self._budget is None or not self._budget.is_bounded or is_paid:
            return ""
        return await asyncio.to_thread(self._budget.reserve, job)

    async def _bring_up_to_date(self, judged: RowDecision) -> None:
        """Let a result that is there say what its row says now, in all formats, in the bucket too: for free."""
        if judged.adopted and judged.job:
            await self._journal.record(judged.job)
        job = judged.refreshed
        if job is None or (job == judged.journals and judged.upkeep is Upkeep.NONE):
            return
        try:
            if judged.upkeep is Upkeep.REWRITE:
                job = await asyncio.to_thread(self._results.rewrite, job)
            elif judged.upkeep is Upkeep.PUT_COPIES:
                await asyncio.to_thread(self._results.put_copies, job.key)
        except (errors.PostponedError, errors.RecordingError, ValueError, OSError) as error:
            message = f"its result could not be brought up to date: {error}"
            self._on_event(Notice(message, judged.job, FailureKind.RESULT_BEHIND))
            return
        await self._journal.record(job)

    async def _relabel(self, judged: RowDecision, relabel: Callable[[Recording], bool]) -> None:
        """Let it be known that a row names what is on its way, and a result say what its row says now."""
        row, job = judged.recording, judged.job
        if relabel(row) or job is None or job.recording.labels == row.labels:
            return
        job = (await self._journal.find([row.key]))[row.key]
        if job.state is State.COLLECTED and job.recording.labels != row.labels:
            done = Decision(Action.DONE, "done before")
            await self._bring_up_to_date(RowDecision(row, job, done, upkeep=Upkeep.REWRITE, journals=job))

    async def judged(self) -> AsyncIterator[list[RowDecision]]:
        """Every row of this window that is the first of its key, judged, in batches. Refused rows are told."""
        reading = self._read()
        while batch := await reading:
            reading = self._read()  # the next rows, while these are judged
            self._read_rows += len(batch)
            recordings = [row for row in batch if isinstance(row, Recording)]
            for row in batch:
                if isinstance(row, Reject):
                    self._reject(row)
            known = await self._known([recording.key for recording in recordings])
            found = await asyncio.to_thread(self._judge.judge, recordings, known)
            yield await self._claimed(found)

    def _read(self) -> asyncio.Future[list[Recording | Reject]]:
        """Rows in a thread; none at the end."""
        reading = asyncio.ensure_future(asyncio.to_thread(lambda: list(itertools.islice(self._rows, _BATCH_ROWS))))
        reading.add_done_callback(lambda read: read.cancelled() or read.exception())  # it may be wanted no more
        return reading

    async def _known(self, keys: Sequence[str]) -> list[Known]:
        jobs, replaced = await asyncio.gather(self._journal.find(keys), self._journal.replaced(keys))
        copies = await self._copies(keys) if self._results.copies else {}
        return [
            Known(
                jobs.get(key),
                replaced.get(key, ()),
                {name: copies[name] for name in self._results.names(key) if name in copies},
            )
            for key in keys
        ]

    async def _copies(self, keys: Sequence[str]) -> dict[str, int]:
        """The objects named after ``keys`` beside the results in the store, which is listed once a run."""
        if not self._copies_are_listed:
            self._copies_are_listed = True
            listing = self._results.list_copies()
            while names := await asyncio.to_thread(lambda: list(itertools.islice(listing, _COPIES))):
                await self._journal.add_copies(names)
        return await self._journal.copies([name for key in keys for name in self._results.names(key)])

    async def _claimed(self, batch: Iterable[RowDecision | Reject]) -> list[RowDecision]:
        """The rows that are the first to use their key, and may."""
        sound = [each for each in batch if isinstance(each, RowDecision)]
        for each in batch:
            if isinstance(each, Reject):
                self._reject(each)
        recordings = [judged.recording for judged in sound]
        firsts = await self._journal.claim(recordings, self._places(recordings))
        for judged, first in zip(sound, firsts, strict=True):
            if first:
                await self._again(judged.recording, first)
        return [judged for judged, first in zip(sound, firsts, strict=True) if first is None]

    def _places(self, recordings: Iterable[Recording]) -> list[str]:
        return [self._results.place(recording.key) for recording in recordings]

    async def _again(self, row: Recording, first: Recording) -> None:
        """A row whose place another has: the same once more, or refused."""
        if not (why := await asyncio.to_thread(_clash, row, first, registry.named(self._service).options)):
            self._skip(Job(row, self._service), f"the same as {first.where}", Action.DUPLICATE)
        else:
            self._reject(Reject(row.manifest, row.line, why, row.key, row))

    def _reject(self, reject: Reject) -> None:
        self._on_event(RowRejected(reject))

    def _admit(self, job: Job, why: str, action: Action) -> None:
        self._on_event(RowAdmitted(job, why, action, is_under_way=action is Action.UNDER_WAY))

    def _skip(self, job: Job | None, why: str, action: Action) -> None:
        self._on_event(RowSkipped(job, why, action))


def _clash(row: Recording, first: Recording, options: OptionSchema) -> str:
    """Why a row may not have the key of an earlier one; empty if it is the same once more. Blocks: reads the files,
    if they have one size."""
    if row.key != first.key:
        return f"its result would be where that of {first.key!r} ({first.where}) is: give each its own id"
    if not same_audio(row, first):
        what = "audio"
    elif options.differing(row.options, first.options):
        what = "options"
    elif row.labels != first.labels:
        what = "labels"
    else:
        return ""
    there, here = identity(first.source), identity(row.source)
    return (
        f"the key {row.key!r} is that of {first.where}, which has different {what} ({there} there, {here} here), and "
        "counts: give each its own id, or let the name of its manifest be the --prefix, "
        "which is '{name}'"
    )
