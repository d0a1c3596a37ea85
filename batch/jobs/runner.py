"""``diarist run``."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from batch import errors
from batch.archive.journal import Journal
from batch.archive.results import JOURNAL, Results, inner_of
from batch.archive.search.background import BackgroundIndexer
from batch.config import Settings
from batch.jobs import orphans
from batch.jobs.connection import connected, links, pipeline_of, watching
from batch.jobs.deduplication import Deduplicator
from batch.jobs.flow_control.concurrency import ConcurrencyLimiter
from batch.jobs.flow_control.throttle import Throttle
from batch.jobs.pipeline import Pipeline, with_service
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
from batch.providers.interface import Connection, JobPage, Operation, Pricing
from batch.storage import disk_errors, lock
from batch.storage.object_stores import local_directory
from batch.storage.private_files import INNER
from batch.telemetry import observers
from batch.telemetry.events import Event, Notice
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
    summary: Summary | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    stop: asyncio.Event | None = None,
    confirm: Callable[[str], bool] = lambda question: False,
    rng: random.Random | None = None,
    command: Sequence[str] | None = None,
) -> Summary:
    """Transcribe what ``manifests`` list into ``out``; return what happened.

    Running it again with the same arguments does what is left. A recording that cannot be done is in the summary and
    the journal, and the others go on; what ends the run early is in ``summary.stopped_by``. Setting ``stop`` ends it
    cleanly. ``environ`` None: the process's own. ``confirm`` is asked whether a run may begin that would cost more
    than ``settings.budget.confirm_above``. ``command`` is what was typed, for those who are told how to go on (None:
    one that does the same is made, if there is one). Raises ``UsageError``, ``UnavailableError`` or
    ``BudgetExceededError`` if it cannot begin: then nothing was done.
    """
    settings, summary = settings or Settings(), summary or Summary()
    environ, stop = os.environ if environ is None else environ, stop or asyncio.Event()
    manifests = [manifests] if isinstance(manifests, str) else manifests
    secrets = registry.secrets(settings.service, environ)
    if command is None:
        command = command_of(manifests, out, settings, select or Selection())
    summary.stage = asked(manifests, out, command, secrets)
    was_cut_short = True
    try:
        async with _cut_short_by(stop) as carrying, observers.observe(settings, summary, secrets, on_event) as told:
            with disk_errors.explained():
                await _run(
                    manifests, out, settings=settings, rerun=rerun, select=select, environ=environ, stdin=stdin,
                    summary=summary, on_event=told, stop=stop, carrying=carrying, confirm=confirm, rng=rng,
                )  # fmt: skip
            was_cut_short = False
    except errors.RunError:
        await _report_no_beginning(out, settings, summary)
        raise
    if was_cut_short:
        await _report_no_beginning(out, settings, summary)
    return summary


async def _report_no_beginning(out: Path | str, settings: Settings, summary: Summary) -> None:
    directory = local_directory(str(out))
    await report_no_beginning(directory, inner_of(directory, settings.journal_dir), summary)


async def _run(
    manifests: Sequence[str],
    out: Path | str,
    *,
    settings: Settings,
    rerun: Rerun | None,
    select: Selection | None,
    environ: Mapping[str, str],
    stdin: IO[bytes] | None,
    summary: Summary,
    on_event: Callable[[Event], None],
    stop: asyncio.Event,
    carrying: Callable[[], object],
    confirm: Callable[[str], bool],
    rng: random.Random | None,
) -> None:
    """``run``, with everything given and everybody watching; ``carrying`` is called once jobs are carried."""
    place = await asyncio.to_thread(placed, out, settings, environ)
    service, select = place.service, select or Selection()
    rerun = place.in_pass(rerun or Rerun(), manifests, select)
    budget = BudgetTracker(settings.budget, service.pricing(settings.prices), service.capabilities.audio)

    summary.stage = staged(summary.stage, service, settings)

    rejected = Rejected(place.inner)

    def emit(event: Event) -> None:
        budget.settle(event)
        summary.usd = budget.spent
        summary.apply(event)
        rejected.note(event)
        on_event(event)

    def on_warning(message: str) -> None:
        emit(Notice(message))

    given = {"settings": settings, "rerun": rerun, "select": select, "environ": environ}
    agreed = await agreed_to_pay_again(manifests, place, confirm, **given)
    rows = await asyncio.to_thread(peeked, rows_of(manifests, settings, service.options, stdin, emit))
    indexer = BackgroundIndexer(place.directory, on_warning) if settings.search else None
    results = await asyncio.to_thread(lambda: Results(
            place.directory, copies=place.copies, formats=settings.formats, on_warning=on_warning,
            on_written=indexer.enqueue if indexer else lambda key: None,
            inner=place.inner, read_copies=place.read_copies,
        )
    )  # fmt: skip
    inner = place.inner
    async with contextlib.AsyncExitStack() as stack:
        for folder in dict.fromkeys((inner, results.directory / INNER)):  # another run may keep its journal elsewhere
            stack.enter_context(lock.held(folder / "lock", datetime.now()))
        stack.enter_context(indexer or contextlib.nullcontext())
        await stack.enter_async_context(reported(results, summary))
        journal = stack.enter_context(contextlib.closing(Journal(inner / JOURNAL)))
        await stack.enter_async_context(_failures_listed(journal, rejected, results, summary, on_warning))
        name = place.pass_name(manifests, select)
        rerun = await stack.enter_async_context(_forced_pass(journal, name, rerun, on_warning))
        if settings.replaced_days:
            await asyncio.to_thread(results.forget_kept, settings.replaced_days, time.time())
        before = with_service(await journal.in_states(WITH_SERVICE), service.name)
        admission = Admission(
            rows, journal, results, service.name,
            rerun=rerun, select=select, on_event=emit, budget=budget, agreed=agreed,
        )  # fmt: skip
        summary.carries(job.key for job in before)
        admit = partial(_known_to, summary, admission)
        if not before:
            jobs = admission.jobs()
            if (first := await anext(jobs, None)) is None:
                await _counted(
                    asyncio.create_task(count_rows(manifests, settings, service.options, select, emit)), summary
                )
                await _end_pass(journal, name, rerun, select, admission, summary)
                await _note_asked(journal, place, manifests, settings, summary)
                if await journal.note("service") is None and await journal.has_results():
                    await _remember(journal, place, on_warning)  # of results that were found
                return
            admit = partial(_with_first, first, jobs)
        counting = asyncio.create_task(count_rows(manifests, settings, service.options, select, emit))
        try:
            chance = rng or random.Random()
            slots = ConcurrencyLimiter(settings.concurrency)
            async with (
                connected(service, settings, inner, emit, chance, slots) as (connection, gate),
                watching(service, connection, gate, settings, inner, chance, slots) as watcher,
            ):
                await _remember(journal, place, on_warning)
                await _forget_asked(journal, place, manifests, settings)
                twins = Deduplicator(
                    journal, began=rerun.forced_since if rerun.force else time.time(), anew=rerun.force
                )
                carrier = pipeline_of(
                    service, connection, gate, watcher, twins, journal, results, settings, emit, slots,
                    links(service, settings),
                    await _key_print(journal, service.key),
                )  # fmt: skip
                carrying()
                await _until_stopped(carrier, carrier.run(before, admit), settings, stop)
                is_seen = service.capabilities.lists_jobs and summary.requests[Operation.SUBMIT]
                if is_seen and not stop.is_set():
                    pricing = service.pricing(settings.prices)
                    await _tell_orphans(connection, gate, journal, pricing, on_warning)
        except* errors.RunError as group:
            summary.stopped_by = _first_fatal(group)
        finally:
            await _counted(counting, summary)
        if not summary.stopped_by:
            await _end_pass(journal, name, rerun, select, admission, summary)
            await _note_asked(journal, place, manifests, settings, summary)


async def _note_asked(
    journal: Journal, place: Place, manifests: Sequence[str], settings: Settings, summary: Summary
) -> None:
    """Remember what was asked for, once every row was looked at and none was held."""
    asked = await asyncio.to_thread(place.asked, manifests, settings)
    has_looked_at_all = summary.read_all and not (summary.skipped["held"] or summary.rejected)
    if asked and has_looked_at_all and await journal.note(ASKED) != asked:
        await journal.set_note(ASKED, asked)


async def _forget_asked(journal: Journal, place: Place, manifests: Sequence[str], settings: Settings) -> None:
    """A run that asks for something else than the last one may give the rows of that one something else, too."""
    known = await journal.note(ASKED)
    if known and known != await asyncio.to_thread(place.asked, manifests, settings):
        await journal.set_note(ASKED, None)


async def _tell_orphans(
    connection: Connection,
    gate: Throttle,
    journal: Journal,
    pricing: Pricing | None,
    on_warning: Callable[[str], None],
) -> None:
    """What the service has of ours, and no job: a look that may fail, and does not take long."""

    async def page(older: str | None) -> JobPage:
        return await gate.attempt(partial(connection.jobs, older=older), operation=Operation.LIST, what="list")

    with contextlib.suppress(errors.DiaristError, TimeoutError):
        async with asyncio.timeout(_ORPHANS_SECONDS):
            if found := await orphans.orphans(page, journal):
                on_warning(orphans.listed(found, pricing))


async def _remember(journal: Journal, place: Place, on_warning: Callable[[str], None]) -> None:
    """The directory's service is the one that has answered, from now on; and where its results go."""
    known = place.notes.get("service")
    if known and known != place.service.name:
        on_warning(f"the service of this directory is {place.service.name} from now on; it was {known}")
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
async def _forced_pass(
    journal: Journal, name: str, rerun: Rerun, on_warning: Callable[[str], None]
) -> AsyncIterator[Rerun]:
    """With ``--force`` everything is run again once: a pass is noted before anything is paid, and given again the
    command goes on with it until it has come to its end."""
    if not rerun.force:
        yield rerun
        return
    if math.isfinite(rerun.forced_since):
        on_warning(
            f"goes on with what --force began at {datetime.fromtimestamp(rerun.forced_since):%Y-%m-%d %H:%M:%S}"
        )
    else:
        rerun = msgspec.structs.replace(rerun, forced_since=time.time())
    await _note_pass(journal, name, rerun)
    noting = asyncio.create_task(_keep_noting(journal, name, rerun))
    try:
        yield rerun
    finally:
        noting.cancel()


async def _note_pass(journal: Journal, name: str, rerun: Rerun) -> None:
    await journal.set_note(name, f"{rerun.forced_since} {time.time()}")


async def _keep_noting(journal: Journal, name: str, rerun: Rerun) -> None:
    while True:
        await asyncio.sleep(_NOTING_SECONDS)
        await _note_pass(journal, name, rerun)


async def _end_pass(
    journal: Journal, name: str, rerun: Rerun, select: Selection, admission: Admission, summary: Summary
) -> None:
    nothing_is_left = admission.exhausted and not summary.left and summary.exit_code == 0
    if rerun.force and select.takes_all and nothing_is_left:
        await journal.set_note(name, None)


@contextlib.asynccontextmanager
async def _failures_listed(
    journal: Journal, rejected: Rejected, results: Results, summary: Summary, on_warning: Callable[[str], None]
) -> AsyncIterator[None]:
    """However the context ends, what failed is listed."""
    try:
        yield
    finally:
        if said := await list_failed(journal.path, rejected, results, summary):
            on_warning(said)
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
