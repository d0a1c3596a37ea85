"""``diarist run``."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from batch import errors
from batch.archive.journal import Journal
from batch.archive.layout import INNER, JOURNAL, LOCK, inner_of
from batch.archive.results import Results
from batch.archive.search.background import BackgroundIndexer
from batch.config import Settings
from batch.jobs import orphans
from batch.jobs.connection import connected, links, pipeline_of, watching
from batch.jobs.deduplication import Deduplicator
from batch.jobs.flow_control.concurrency import ConcurrencyLimiter
from batch.jobs.flow_control.throttle import Throttle
from batch.jobs.pipeline import Admit, Pipeline, with_service
from batch.jobs.places import ASKED, Place, placed
from batch.jobs.planning.admission import Admission
from batch.jobs.planning.budget import BudgetTracker
from batch.jobs.planning.confirmation import agreed_to_pay_again
from batch.jobs.planning.decision import Rerun
from batch.jobs.planning.inputs import count_rows, peeked, rows_of
from batch.jobs.planning.selection import Selection
from batch.jobs.status_files import Rejected, asked, command_of, list_failed, report_no_beginning, reported, staged
from batch.model import WITH_SERVICE, Job, Recording
from batch.providers import registry
from batch.providers.fingerprint import fingerprint, new_salt
from batch.providers.interface import Connection, JobPage, Operation
from batch.storage import disk_errors, lock
from batch.storage.object_stores import local_directory
from batch.telemetry import observers
from batch.telemetry.events import Event, Notice
from batch.telemetry.progress import Progress, snapshot
from batch.telemetry.summary import Summary

_ORPHANS_SECONDS: Final = 10.0
_NOTING_SECONDS: Final = 600.0
_COUNTING_SECONDS: Final = 1.0
"""So long a run that ends early waits for the number of its rows."""


async def run(
    manifests: Sequence[str] | str,
    out: Path | str,
    *,
    settings: Settings | None = None,
    rerun: Rerun | None = None,
    select: Selection | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    stop: asyncio.Event | None = None,
    confirm: Callable[[str], bool] = lambda question: False,
    command: Sequence[str] | None = None,
) -> Progress:
    """Transcribe what ``manifests`` list into ``out``; return what happened.

    Running it again with the same arguments does what is left. A recording that cannot be done is counted, and listed
    in ``failed.jsonl``, and the others go on; what ends the run early is in ``stopped_by``. Setting ``stop`` ends it
    cleanly. ``on_event`` receives each event. ``environ`` None: the process's own. ``stdin`` is read for a manifest
    that is named ``-``. ``confirm`` is asked whether a run may begin that would cost more than
    ``settings.budget.confirm_above``, or pay again for what is done. ``command`` is what was typed, for messages that
    say how to go on (None: one that does the same is made, if there is one). Raises ``UsageError``,
    ``AuthenticationError``, ``UnavailableError`` or ``BudgetExceededError`` if it cannot begin; then nothing was
    done.
    """
    asked = Run(
        [manifests] if isinstance(manifests, str) else manifests, out, settings=settings or Settings(),
        rerun=rerun or Rerun(), select=select or Selection(), environ=os.environ if environ is None else environ,
        stdin=stdin, on_event=on_event, stop=stop or asyncio.Event(), confirm=confirm, command=command,
    )  # fmt: skip
    return await carry_out(asked)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run is asked for, and who watches it; see ``run``. ``summary`` counts what happens, ``rng`` decides what
    is left to chance."""

    manifests: Sequence[str] = field(kw_only=False)
    out: Path | str = field(kw_only=False)
    settings: Settings = field(default_factory=Settings)
    rerun: Rerun = field(default_factory=Rerun)
    select: Selection = field(default_factory=Selection)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stdin: IO[bytes] | None = None
    on_event: Callable[[Event], None] = lambda event: None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    confirm: Callable[[str], bool] = lambda question: False
    command: Sequence[str] | None = None
    summary: Summary = field(default_factory=Summary)
    rng: random.Random = field(default_factory=random.Random)

    def warn(self, message: str) -> None:
        self.on_event(Notice(message))


async def carry_out(run: Run) -> Progress:
    """Do what a run is asked for. Raises as ``run``."""
    summary, settings = run.summary, run.settings
    secrets = registry.secrets(settings.service, run.environ)
    command = command_of(run.manifests, run.out, settings, run.select) if run.command is None else run.command
    summary.stage = asked(run.manifests, run.out, command, secrets)
    was_cut_short = True
    try:
        async with (
            _cut_short_by(run.stop) as carrying,
            observers.observe(settings, summary, secrets, run.on_event) as on_event,
        ):
            with disk_errors.explained():
                await _begin(replace(run, on_event=on_event), carrying)
            was_cut_short = False
    except errors.RunError:
        await _report_no_beginning(run)
        raise
    if was_cut_short:
        await _report_no_beginning(run)
    return snapshot(summary, is_over=True)


async def _report_no_beginning(run: Run) -> None:
    directory = local_directory(str(run.out))
    await report_no_beginning(directory, inner_of(directory, run.settings.journal_dir), run.summary)


async def _begin(run: Run, carrying: Callable[[], object]) -> None:
    """A run that everybody watches; ``carrying`` is called once jobs are carried."""
    place = await asyncio.to_thread(placed, run.out, run.settings, run.environ)
    run = replace(run, rerun=place.in_pass(run.rerun, run.manifests, run.select))
    pricing = place.service.pricing(run.settings.prices)
    budget = BudgetTracker(run.settings.budget, pricing, place.service.capabilities.audio)
    run.summary.stage = staged(run.summary.stage, place.service, run.settings)
    rejected = Rejected(place.inner)
    run = replace(run, on_event=partial(_count, run, budget, rejected))
    given = {"settings": run.settings, "rerun": run.rerun, "select": run.select, "environ": run.environ}
    agreed = await agreed_to_pay_again(run.manifests, place, run.confirm, **given)
    rows = await asyncio.to_thread(
        peeked, rows_of(run.manifests, run.settings, place.service.options, run.stdin, run.on_event)
    )
    async with _opened(run, place, rejected) as opened:
        admission = Admission(
            rows, opened.journal, opened.results, place.service.name,
            rerun=opened.run.rerun, select=run.select, on_event=run.on_event, budget=budget, agreed=agreed,
        )  # fmt: skip
        if admit := await _admit_first(opened, admission):
            await _carry(opened, admission, admit, carrying)
        else:
            await _count_rows(opened)
            if await opened.journal.note("service") is None and await opened.journal.has_results():
                await _remember(opened)  # of results that were found
        if not run.summary.stopped_by:
            await _end_pass(opened, admission)
            await _note_asked(opened)


def _count(run: Run, budget: BudgetTracker, rejected: Rejected, event: Event) -> None:
    """Fold an event into all that counts, then hand it on."""
    budget.settle(event)
    run.summary.usd = budget.spent
    run.summary.apply(event)
    rejected.note(event)
    run.on_event(event)


class _Opened(NamedTuple):
    """A directory that is this run's alone; ``before`` are the jobs that the service has, or may have, of earlier
    ones."""

    run: Run
    place: Place
    results: Results
    journal: Journal
    before: Sequence[Job]

    @property
    def pass_name(self) -> str:
        return self.place.pass_name(self.run.manifests, self.run.select)


@contextlib.asynccontextmanager
async def _opened(run: Run, place: Place, rejected: Rejected) -> AsyncIterator[_Opened]:
    """The directory, locked, with its journal; in the end what a run says of itself is written there."""
    settings = run.settings
    indexer = BackgroundIndexer(place.directory, run.warn) if settings.search else None
    results = await asyncio.to_thread(lambda: Results(
            place.directory, copies=place.copies, formats=settings.formats, on_warning=run.warn,
            on_written=indexer.enqueue if indexer else lambda key: None,
            inner=place.inner, read_copies=place.read_copies,
        )
    )  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        for folder in dict.fromkeys((place.inner, results.directory / INNER)):  # another run's journal may lie there
            stack.enter_context(lock.held(folder / LOCK, datetime.now()))
        stack.enter_context(indexer or contextlib.nullcontext())
        await stack.enter_async_context(reported(results, run.summary))
        journal = stack.enter_context(contextlib.closing(Journal(place.inner / JOURNAL)))
        await stack.enter_async_context(_failures_listed(journal, rejected, results, run))
        opened = _Opened(run, place, results, journal, ())
        rerun = await stack.enter_async_context(_forced_pass(opened))
        if settings.replaced_days:
            await asyncio.to_thread(results.forget_kept, settings.replaced_days, time.time())
        before = with_service(await journal.in_states(WITH_SERVICE), place.service.name)
        yield opened._replace(run=replace(run, rerun=rerun), before=before)


async def _admit_first(opened: _Opened, admission: Admission) -> Admit | None:
    """How jobs are admitted; None if there is none to carry: then no service has to be there."""
    opened.run.summary.carries(job.key for job in opened.before)
    if opened.before:
        return partial(_known_to, opened.run.summary, admission)
    jobs = admission.jobs()
    first = await anext(jobs, None)
    return partial(_with_first, first, jobs) if first else None


async def _carry(opened: _Opened, admission: Admission, admit: Admit, carrying: Callable[[], object]) -> None:
    """Reach the service, and carry all jobs to their ends. What ends the run early is in its summary."""
    run, place, settings = opened.run, opened.place, opened.run.settings
    slots = ConcurrencyLimiter(settings.concurrency)
    counting = asyncio.create_task(_counting(opened))
    try:
        async with (
            connected(place.service, settings, place.inner, run.on_event, run.rng, slots, place.why) as (
                connection,
                gate,
            ),
            watching(place.service, connection, gate, settings, place.inner, run.rng, slots) as watcher,
        ):
            await _remember(opened)
            await _forget_asked(opened)
            began = run.rerun.forced_since if run.rerun.force else time.time()
            pipeline = pipeline_of(
                place.service, connection, gate, watcher,
                Deduplicator(opened.journal, began=began, anew=run.rerun.force),
                opened.journal, opened.results, settings, run.on_event, slots, links(place.service, settings),
                await _key_print(opened.journal, place.service.key),
            )  # fmt: skip
            carrying()
            await _until_stopped(pipeline, pipeline.run(opened.before, admit), settings, run.stop)
            if run.summary.requests[Operation.SUBMIT] and not run.stop.is_set():
                await _tell_orphans(opened, connection, gate)
    except* errors.RunError as group:
        run.summary.stopped_by = _first_fatal(group)
    finally:
        await _counted(counting, run.summary)


async def _count_rows(opened: _Opened) -> None:
    await _counted(asyncio.create_task(_counting(opened)), opened.run.summary)


async def _counting(opened: _Opened) -> None:
    run = opened.run
    await count_rows(run.manifests, run.settings, opened.place.service.options, run.select, run.on_event)


async def _note_asked(opened: _Opened) -> None:
    """Remember what was asked for, once every row was looked at and none was held."""
    run, journal = opened.run, opened.journal
    asked = await asyncio.to_thread(opened.place.asked, run.manifests, run.settings)
    has_looked_at_all = run.summary.read_all and not (run.summary.skipped["held"] or run.summary.rejected)
    if asked and has_looked_at_all and await journal.note(ASKED) != asked:
        await journal.set_note(ASKED, asked)


async def _forget_asked(opened: _Opened) -> None:
    """A run that asks for something else than the last one may give the rows of that one something else, too."""
    known = await opened.journal.note(ASKED)
    if known and known != await asyncio.to_thread(opened.place.asked, opened.run.manifests, opened.run.settings):
        await opened.journal.set_note(ASKED, None)


async def _tell_orphans(opened: _Opened, connection: Connection, gate: Throttle) -> None:
    """What the service has of ours, and no job: a look that may fail, and does not take long."""
    service = opened.place.service
    if not service.capabilities.lists_jobs:
        return

    async def page(older: str | None) -> JobPage:
        return await gate.attempt(partial(connection.jobs, older=older), operation=Operation.LIST, what="list")

    with contextlib.suppress(errors.DiaristError, TimeoutError):
        async with asyncio.timeout(_ORPHANS_SECONDS):
            if found := await orphans.orphans(page, opened.journal):
                opened.run.warn(orphans.listed(found, service.pricing(opened.run.settings.prices)))


async def _remember(opened: _Opened) -> None:
    """The directory's service is the one that has answered, from now on; and where its results go."""
    place, journal = opened.place, opened.journal
    known = place.notes.get("service")
    if known and known != place.service.name:
        opened.run.warn(f"the service of this directory is {place.service.name} from now on; it was {known}")
    facts = {"service": place.service.name, "copies": place.copies or None, "paid": "yes"}
    facts["out"] = place.copies or str(place.directory.absolute())
    for name, value in facts.items():
        if await journal.note(name) != value:
            await journal.set_note(name, value)


async def _key_print(journal: Journal, key: str | None) -> str | None:
    """The fingerprint of the key, with the salt of the directory, which is made once."""
    salt = await journal.note("key_salt")
    if salt is None:
        await journal.set_note("key_salt", salt := new_salt())
    return await asyncio.to_thread(fingerprint, key, salt)


@contextlib.asynccontextmanager
async def _forced_pass(opened: _Opened) -> AsyncIterator[Rerun]:
    """With ``--force`` everything is run again once: a pass is noted before anything is paid, and given again the
    command goes on with it until it has come to its end."""
    rerun = opened.run.rerun
    if not rerun.force:
        yield rerun
        return
    if math.isfinite(rerun.forced_since):
        then = datetime.fromtimestamp(rerun.forced_since)
        opened.run.warn(f"goes on with what --force began at {then:%Y-%m-%d %H:%M:%S}")
    else:
        rerun = msgspec.structs.replace(rerun, forced_since=time.time())
    await _note_pass(opened, rerun)
    noting = asyncio.create_task(_keep_noting(opened, rerun))
    try:
        yield rerun
    finally:
        noting.cancel()


async def _note_pass(opened: _Opened, rerun: Rerun) -> None:
    await opened.journal.set_note(opened.pass_name, f"{rerun.forced_since} {time.time()}")


async def _keep_noting(opened: _Opened, rerun: Rerun) -> None:
    while True:
        await asyncio.sleep(_NOTING_SECONDS)
        await _note_pass(opened, rerun)


async def _end_pass(opened: _Opened, admission: Admission) -> None:
    run = opened.run
    nothing_is_left = admission.exhausted and not run.summary.left and run.summary.exit_code == 0
    if run.rerun.force and run.select.takes_all and nothing_is_left:
        await opened.journal.set_note(opened.pass_name, None)


@contextlib.asynccontextmanager
async def _failures_listed(journal: Journal, rejected: Rejected, results: Results, run: Run) -> AsyncIterator[None]:
    """However the context ends, what failed is listed."""
    try:
        yield
    finally:
        if warning := await list_failed(journal.path, rejected, results, run.summary):
            run.warn(warning)
        rejected.close()


async def _counted(counting: asyncio.Task[None], summary: Summary) -> None:
    """A little more time for the counting of rows, if the run has not read them all."""
    if not summary.read_all:
        await asyncio.wait([counting], timeout=_COUNTING_SECONDS)
    counting.cancel()


def _known_to(
    summary: Summary, admission: Admission, under_way: frozenset[str], relabel: Callable[[Recording], bool]
) -> AsyncIterator[Job]:
    """The jobs to carry beside those that are ``under_way``, of which the summary knows."""
    summary.carries(under_way)
    return admission.jobs(under_way, relabel)


async def _with_first(
    first: Job, rest: AsyncIterator[Job], under_way: frozenset[str], relabel: Callable[[Recording], bool]
) -> AsyncIterator[Job]:
    """``first`` was drawn to see whether there is anything to do; nothing was under way then."""
    yield first
    async for job in rest:
        yield job


@contextlib.asynccontextmanager
async def _cut_short_by(stop: asyncio.Event) -> AsyncIterator[Callable[[], object]]:
    """Once ``stop`` is set, end what is being done in the context, whatever it waits for, and go on behind it.

    Gives what is to be called when that is no longer to happen: from then on somebody else looks at ``stop``.
    """
    task = asyncio.current_task()
    assert task

    async def cut() -> None:
        await stop.wait()
        task.cancel()

    cutting = asyncio.create_task(cut())
    try:
        yield cutting.cancel
    except asyncio.CancelledError:
        was_cut = cutting.done() and not cutting.cancelled()
        if not was_cut or task.uncancel():
            raise
    finally:
        cutting.cancel()


async def _until_stopped(pipeline: Pipeline, carrying: Any, settings: Settings, stop: asyncio.Event) -> None:
    """Carry to the end; once ``stop`` is set, let requests under way be recorded for ``drain_seconds``, then cut."""
    work = asyncio.create_task(carrying)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait([work], timeout=settings.drain_seconds)
            pipeline.cut()
        with contextlib.suppress(asyncio.CancelledError):
            await work
    finally:
        stopped.cancel()
        work.cancel()


def _first_fatal(group: BaseExceptionGroup[errors.RunError]) -> errors.RunError:
    for error in group.exceptions:
        return _first_fatal(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
