"""The wiring: the only place where concrete things meet."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from batch import client, errors, lock, manifest, outside, reconcile, throttle, watch, webhooks
from batch import recover as recovering
from batch.admission import Admission, Wish
from batch.budget import Purse
from batch.duplicates import Duplicates
from batch.endpoint import Endpoint, resolve
from batch.journal import Journal
from batch.meter import WINDOW_SECONDS
from batch.model import WITH_SERVICE, Event, Job, Recording, Reject, State
from batch.pipeline import Pipeline, with_service
from batch.plan import Planner
from batch.prices import Prices
from batch.progress import progress
from batch.protocol import Route
from batch.recover import Recovered
from batch.results import INNER, Results
from batch.search.arrivals import Arrivals
from batch.service.launch import local_service
from batch.settings import Settings
from batch.slots import Slots
from batch.sources import is_url
from batch.stores import is_stored, local_directory
from batch.summary import Stage, Summary
from batch.window import Window

_COUNTED_ROWS: Final = 2000
_REPORT_SECONDS: Final = 2.0
_HELLO_SECONDS: Final = 30.0
"""How long the service may take to answer at all before the run does not even begin."""


async def run(
    manifests: Sequence[str] | str,
    out: Path | str,
    *,
    settings: Settings | None = None,
    wish: Wish | None = None,
    window: Window | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    summary: Summary | None = None,
    notify: Callable[[Event], None] = lambda event: None,
    stop: asyncio.Event | None = None,
    confirm: Callable[[str], bool] = lambda question: False,
    rng: random.Random | None = None,
) -> Summary:
    """Transcribe what ``manifests`` list into ``out``; return what happened.

    Running it again with the same arguments does what is left. A recording that cannot be done is in the summary and
    the journal, and the others go on; what ends the run early is in ``summary.stopped_by``. Setting ``stop`` ends it
    cleanly. ``environ`` None: the process's own. ``confirm`` is asked whether a run may begin that would cost more
    than ``settings.budget.confirm_above``. Raises ``Usage``, ``Unavailable`` or ``OverBudget`` if it cannot begin:
    then nothing was done.
    """
    settings, summary = settings or Settings(), summary or Summary()
    environ = os.environ if environ is None else environ
    manifests = [manifests] if isinstance(manifests, str) else manifests
    summary.stage = Stage(tuple(manifests), str(out))
    secrets = tuple(filter(None, map(environ.get, ("ASSEMBLYAI_API_KEY", "DIARIST_SERVICE_KEY"))))
    try:
        async with outside.watched(settings, summary, secrets, notify) as told:
            return await _run(
                manifests, out, settings=settings, wish=wish, window=window, environ=environ, stdin=stdin,
                summary=summary, notify=told, stop=stop, confirm=confirm, rng=rng,
            )  # fmt: skip
    except errors.Fatal:
        await _report_no_beginning(local_directory(str(out)), summary)
        raise


async def _run(
    manifests: Sequence[str],
    out: Path | str,
    *,
    settings: Settings,
    wish: Wish | None,
    window: Window | None,
    environ: Mapping[str, str],
    stdin: IO[bytes] | None,
    summary: Summary,
    notify: Callable[[Event], None],
    stop: asyncio.Event | None,
    confirm: Callable[[str], bool],
    rng: random.Random | None,
) -> Summary:
    """``run``, with everything given and everybody watching."""
    service = resolve(settings.service, environ)
    wish, window = wish or Wish(), window or Window()
    purse = Purse(settings.budget, _prices(service, settings))

    summary.stage = _stage(manifests, out, service, settings)

    def tell(event: Event) -> None:
        purse.take(event)
        summary.usd = purse.spent
        summary.take(event)
        notify(event)

    if "-" not in manifests and _may_cost_more(service, settings):
        given = {"settings": settings, "wish": wish, "window": window, "environ": environ}
        await _confirmed(manifests, local_directory(str(out)), confirm, **given)
    rows = _peeked(_rows(manifests, settings, stdin, tell))
    copies = str(out) if is_stored(str(out)) else ""

    def notice(message: str) -> None:
        tell(Event("notice", message=message))

    arrivals = Arrivals(local_directory(str(out)), notice) if settings.search else None
    results = await asyncio.to_thread(lambda: Results(
            local_directory(str(out)), copies=copies, formats=settings.formats, notify=notice,
            arrived=arrivals.take if arrivals else lambda key: None,
        )
    )  # fmt: skip
    inner = results.directory / INNER
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(lock.held(inner / "lock", datetime.now()))
        stack.enter_context(arrivals or contextlib.nullcontext())
        await stack.enter_async_context(_reported(results, summary))
        journal = stack.enter_context(contextlib.closing(Journal(inner / "journal.db")))
        before = with_service(await journal.in_states(WITH_SERVICE), service.name)
        admission = Admission(
            rows, journal, results, service.name,
            wish=wish, window=window, notify=tell, purse=purse,
        )  # fmt: skip
        admit = admission.jobs
        if not before:
            jobs = admission.jobs()
            if (first := await _first(jobs, stop)) is None:
                return summary
            admit = partial(_with_first, first, jobs)
        counting = asyncio.create_task(_count(manifests, settings, window, tell))
        try:
            chance = rng or random.Random()
            slots = Slots(settings.concurrency)
            async with (
                _connected(service, settings, inner, tell, chance, slots) as (api, gate),
                _watching(api, gate, settings, inner, chance, slots) as watcher,
            ):
                twins = Duplicates(journal, began=time.time(), anew=wish.force)
                carrying = _pipeline(
                    api, gate, watcher, twins, journal, results, settings, tell, slots, _links(service, settings)
                )
                await _until_stopped(carrying, carrying.run(before, admit), settings, stop)
        except* errors.Fatal as group:
            summary.stopped_by = _first_fatal(group)
        finally:
            counting.cancel()
            await _list_failed(journal, results, summary)
    return summary


def _stage(manifests: Sequence[str], out: Path | str, service: Endpoint, settings: Settings) -> Stage:
    rate, prices = settings.rate, _prices(service, settings)
    limit = round(rate.requests * WINDOW_SECONDS / rate.window_seconds) if service.base_url else 0
    as_of = prices.as_of if prices else None
    return Stage(tuple(manifests), str(out), service.name, settings.concurrency, limit or None, as_of)


@contextlib.asynccontextmanager
async def _reported(results: Results, summary: Summary) -> AsyncIterator[None]:
    """``summary.json``, for other processes: written every other second, and in the end. A disk that refuses it says
    so when it refuses a result."""

    async def write(*, is_over: bool = False) -> None:
        said = msgspec.json.encode(progress(summary, is_over=is_over))
        with contextlib.suppress(errors.DiaristError):
            await asyncio.to_thread(results.write_summary, said)

    over = asyncio.Event()

    async def keep_writing() -> None:
        while not over.is_set():  # never cancelled: a write under way would come after the last one
            await write()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _REPORT_SECONDS)

    writing = asyncio.create_task(keep_writing())
    try:
        with summary.ending():
            yield
    finally:
        over.set()
        await asyncio.wait([writing])
        await write(is_over=True)


async def _report_no_beginning(directory: Path, summary: Summary) -> None:
    """``summary.json`` of a run that could not begin, where there is one of an earlier run, which it would belie.

    Nothing is made for it, and nothing of a run at work is touched.
    """
    inner = directory / INNER
    if getattr(summary.stopped_by, "kind", "") == "locked" or not await asyncio.to_thread(inner.is_dir):
        return
    said = msgspec.json.encode(progress(summary, is_over=True))
    with contextlib.suppress(errors.DiaristError, OSError), lock.held(inner / "lock", datetime.now()):
        await asyncio.to_thread(Results(directory, make=False).write_summary, said)


async def _list_failed(journal: Journal, results: Results, summary: Summary) -> None:
    """``failed.jsonl``, unless the disk refuses that too: the first thing that stopped the run is the one to tell."""
    try:
        await asyncio.to_thread(results.write_failed, await journal.in_states([State.FAILED]))
    except errors.Fatal as error:
        summary.stopped_by = summary.stopped_by or error


@contextlib.asynccontextmanager
async def planning(
    manifests: Sequence[str],
    out: Path,
    *,
    settings: Settings,
    wish: Wish,
    window: Window,
    environ: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    notify: Callable[[Event], None] = lambda event: None,
) -> AsyncIterator[Planner]:
    """Who says what ``run`` with the same arguments would do. Writes nothing, asks no service.

    Raises ``Usage`` as ``run`` does. Rows that cannot run are told to ``notify``.
    """
    rows = _rows(manifests, settings, stdin, notify)
    with contextlib.closing(Journal(out / ".diarist" / "journal.db", read_only=True)) as journal:
        results, service = Results(out, make=False), resolve(settings.service, environ)
        admission = Admission(rows, journal, results, service.name, wish=wish, window=window, notify=notify)
        prices = _prices(service, settings)
        yield Planner(admission, journal, service.name, prices, limit=window.limit, anew=wish.force)


def local_workers(settings: Settings, environ: Mapping[str, str]) -> int | None:
    """How many recordings the local service that a run would start works at; None for any other service."""
    if resolve(settings.service, environ).base_url:
        return None
    return settings.local.workers or os.cpu_count() or 1


def _prices(service: Endpoint, settings: Settings) -> Prices | None:
    return settings.prices.of(is_vendors=service.is_vendors)


def _may_cost_more(service: Endpoint, settings: Settings) -> bool:
    """Whether a run could cost more than may be spent unasked."""
    unasked, most = settings.budget.confirm_above, settings.budget.max_cost
    return bool(unasked and _prices(service, settings) and not 0 < most <= unasked)


async def _confirmed(manifests: Sequence[str], out: Path, confirm: Callable[[str], bool], **given: Any) -> None:
    async with planning(manifests, out, **given) as planner:
        async for _ in planner.rows():
            pass
    usd, unasked = planner.plan.usd or 0.0, given["settings"].budget.confirm_above
    cost = f"this run would cost about ${usd:,.2f} for {planner.plan.seconds / 3600:,.1f} h of audio"
    if usd > unasked and not await asyncio.to_thread(confirm, cost):
        raise errors.OverBudget(
            f"{cost}, more than budget.confirm_above = {unasked:g}: look at it with `diarist plan`, then run it with "
            "--yes, or a part of it with --max-cost"
        )


async def recover(
    directory: Path, manifests: Sequence[str], *, settings: Settings, environ: Mapping[str, str], adopt: bool
) -> Recovered:
    """Make the journal of ``directory`` anew (see ``batch.recover``).

    With ``adopt`` also from the list of the service that the settings name, for public URLs in ``manifests``.
    """
    if not await asyncio.to_thread(directory.is_dir):
        raise errors.Usage(f"{directory} is not a directory of results")
    with lock.held(directory / ".diarist" / "lock", datetime.now()):
        journal, done = await recovering.recover(directory, datetime.now())
        with contextlib.closing(journal):
            if adopt:
                done.service = await _adopt(journal, manifests, settings, environ)
    return done


async def _adopt(journal: Journal, manifests: Sequence[str], settings: Settings, environ: Mapping[str, str]) -> int:
    service = resolve(settings.service, environ)
    if service.base_url is None:
        raise errors.Usage("the local service fetches again for free: name the service whose list is to be read")
    rows = _rows(manifests, settings, None, lambda event: None)
    urls = [row for row in rows if isinstance(row, Recording) and is_url(row.source)]
    async with client.connect(service.base_url, service.key, connections=4, deadlines=settings.deadlines) as api:
        return await recovering.adopt(journal, api, urls, service.name, time.time())


def _rows(
    manifests: Sequence[str], settings: Settings, stdin: IO[bytes] | None, tell: Callable[[Event], None]
) -> Iterator[Recording | Reject]:
    def notice(message: str) -> None:
        tell(Event("notice", message=message))

    return manifest.read(
        manifests, defaults=settings.options, dialect=settings.dialect or None, stdin=stdin, cwd=Path.cwd(),
        notice=notice,
    )  # fmt: skip


def _peeked(rows: Iterator[Recording | Reject]) -> Iterator[Recording | Reject]:
    """The same rows, the first of them already read: a manifest that is not there is told before anything is made."""
    first = next(rows, None)

    def again() -> Iterator[Recording | Reject]:
        if first is not None:
            yield first
        yield from rows

    return again()


async def _first(jobs: AsyncIterator[Job], stop: asyncio.Event | None) -> Job | None:
    """The first job; None if there is none, or if the run was stopped while it was looked for."""
    looking = asyncio.ensure_future(anext(jobs, None))
    stopped = asyncio.create_task((stop or asyncio.Event()).wait())
    try:
        await asyncio.wait([looking, stopped], return_when=asyncio.FIRST_COMPLETED)
        return await looking if looking.done() else None
    finally:
        stopped.cancel()
        looking.cancel()


async def _with_first(first: Job, rest: AsyncIterator[Job], under_way: frozenset[str]) -> AsyncIterator[Job]:
    """``first`` was drawn to see whether there is anything to do; nothing was under way then."""
    yield first
    async for job in rest:
        yield job


async def _count(manifests: Sequence[str], settings: Settings, window: Window, tell: Callable[[Event], None]) -> None:
    """Tell how many rows there are, for the time that is left: reads the manifests once more, beside the run."""
    if "-" in manifests or not window.is_whole:
        return
    rows = _rows(manifests, settings, None, lambda event: None)
    total = 0
    with contextlib.suppress(errors.Usage):  # told by the run itself
        while batch := await asyncio.to_thread(lambda: list(itertools.islice(rows, _COUNTED_ROWS))):
            total += sum(isinstance(row, Reject) or window.of_shard(row.key) for row in batch)
        tell(Event("total", count=total))


@contextlib.asynccontextmanager
async def _connected(
    service: Endpoint,
    settings: Settings,
    inner: Path,
    tell: Callable[[Event], None],
    rng: random.Random,
    slots: Slots,
) -> AsyncIterator[tuple[client.Client, throttle.Throttle]]:
    """The service, started if it is ours, spoken to once, with the gate that all requests pass."""
    async with contextlib.AsyncExitStack() as stack:
        base_url = service.base_url
        if base_url is None:
            base_url = await stack.enter_async_context(_local(inner, settings))
        tell(Event("notice", message=f"service: {service.name}" + (f" at {base_url}" if service.key else "")))
        short = min(_HELLO_SECONDS, settings.patience.outage_seconds)
        hello = msgspec.structs.replace(settings.patience, outage_seconds=short)
        gate = throttle.Throttle(
            settings.patience, rng=rng, notify=tell, narrow=slots.narrow,
            rate=settings.rate if service.base_url else None, ramp=_ramps(service, settings),
        )  # fmt: skip
        api = await stack.enter_async_context(
            client.connect(
                base_url, service.key, connections=settings.concurrency + settings.uploads,
                deadlines=settings.deadlines, turn=gate.turn,
                webhook=settings.webhook.parameters(_secret(inner)) if settings.webhook.url else None,
                notify=lambda call: tell(Event("called", call=call)),
            )
        )  # fmt: skip
        first = partial(api.page, limit=1)
        await throttle.Throttle(hello, rng=rng, notify=tell).insist(
            first, route=Route.LIST, what="first request", at_last=None
        )
        yield api, gate


def _ramps(service: Endpoint, settings: Settings) -> bool:
    """Whether submissions follow the vendor's recommended ramp."""
    return settings.rate.ramp == "on" or (settings.rate.ramp == "auto" and service.is_vendors)


def _links(service: Endpoint, settings: Settings) -> float | None:
    """For how long the service gets signed links to stored objects; None if they are uploaded."""
    by = settings.stores.by
    return settings.stores.link_seconds if by == "link" or (by == "auto" and service.base_url) else None


def _local(inner: Path, settings: Settings) -> contextlib.AbstractAsyncContextManager[str]:
    local = settings.local
    return local_service(
        inner / "service",
        engine=local.engine, speakers=local.speakers, device=local.device, workers=local.workers or None,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def _watching(
    api: client.Client, gate: throttle.Throttle, settings: Settings, inner: Path, rng: random.Random, slots: Slots
) -> AsyncIterator[watch.Watcher]:
    """Who knows who is done, told by webhooks too if the service can reach us."""
    watcher = watch.Watcher(api, gate, settings.sweep, rng, hold_back=slots.hold_back)
    if not settings.webhook.url:
        yield watcher
        return
    async with webhooks.receiving(settings.webhook, _secret(inner), watcher.notice):
        yield watcher


def _secret(inner: Path) -> str:
    return webhooks.stored_secret(inner / "webhook-secret")


def _pipeline(
    api: client.Client,
    gate: throttle.Throttle,
    watcher: watch.Watcher,
    duplicates: Duplicates,
    journal: Journal,
    results: Results,
    settings: Settings,
    tell: Callable[[Event], None],
    slots: Slots,
    links: float | None,
) -> Pipeline:
    grace = settings.reconcile_grace_seconds
    return Pipeline(
        api,
        journal,
        results,
        gate,
        watcher,
        reconcile.Reconciler(api, gate, journal, grace_seconds=grace, notify=tell),
        duplicates,
        slots=slots,
        limits=settings.limits,
        links=links,
        executor=ThreadPoolExecutor(settings.uploads + 24, "files"),
        clock=time.time,
        notify=tell,
    )


async def _until_stopped(pipeline: Pipeline, carrying: Any, settings: Settings, stop: asyncio.Event | None) -> None:
    """Carry to the end; once ``stop`` is set, let requests under way be recorded for ``drain_seconds``, then cut."""
    work = asyncio.create_task(carrying)
    stopped = asyncio.create_task((stop or asyncio.Event()).wait())
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


def _first_fatal(group: BaseExceptionGroup[errors.Fatal]) -> errors.Fatal:
    for error in group.exceptions:
        return _first_fatal(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
