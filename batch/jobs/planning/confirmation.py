"""``diarist plan``, and the question whether a run may begin that would cost much."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from batch import errors
from batch.archive.journal import Journal
from batch.archive.results import JOURNAL, Results
from batch.config import Settings
from batch.jobs.connection import links
from batch.jobs.places import ASKED, Place, placed
from batch.jobs.planning.admission import Admission
from batch.jobs.planning.decision import Rerun
from batch.jobs.planning.inputs import rows_of
from batch.jobs.planning.planner import Plan, Planner
from batch.jobs.planning.selection import Selection
from batch.providers.interface import Provider
from batch.telemetry.events import Event


@contextlib.asynccontextmanager
async def open_planner(
    manifests: Sequence[str],
    out: Path | str,
    *,
    settings: Settings,
    rerun: Rerun,
    select: Selection,
    environ: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    probing: bool = True,
    place: Place | None = None,
) -> AsyncIterator[Planner]:
    """Who says what ``run`` with the same arguments would do. Writes nothing, asks no service.

    Raises ``UsageError`` as ``run`` does. Rows that cannot run are told to ``on_event``.
    """
    place = place if place else await asyncio.to_thread(placed, out, settings, environ)
    rerun, service = place.in_pass(rerun, manifests, select), place.service
    rows = rows_of(manifests, settings, service.options, stdin, on_event)
    with contextlib.closing(Journal(place.inner / JOURNAL, read_only=True)) as journal:
        results = Results(
            place.directory, copies=place.copies, formats=settings.formats, inner=place.inner, make=False,
            read_copies=place.read_copies,
        )  # fmt: skip
        admission = Admission(rows, journal, results, service.name, rerun=rerun, select=select, on_event=on_event)
        yield Planner(
            admission, journal, service, service.pricing(settings.prices), limit=select.limit,
            since=rerun.forced_since if rerun.force else 0.0, probing=probing,
            linked=links(service, settings) is not None,
        )  # fmt: skip


def local_workers(place: Place, settings: Settings) -> int | None:
    """How many recordings the local service that a run would start works at; None for any other service."""
    if place.service.address:
        return None
    return settings.local.workers or os.cpu_count() or 1


def may_cost_more(service: Provider, settings: Settings) -> bool:
    """Whether a run could cost more than may be spent unasked."""
    unasked, most = settings.budget.confirm_above, settings.budget.max_cost
    return bool(unasked and service.pricing(settings.prices) and not 0 < most <= unasked)


async def agreed_to_pay_again(
    manifests: Sequence[str], place: Place, confirm: Callable[[str], bool], **given: Any
) -> bool:
    """Ask before a run that would cost much, or would pay for what is done already; whether the latter was agreed to.

    Raises ``BudgetExceededError`` if nobody agrees. Rows that come by standard input cannot be read twice: then what
    is done is left alone, unless it is agreed to beforehand.
    """
    costly, is_new = may_cost_more(place.service, given["settings"]), not await asyncio.to_thread(place.has_results)
    if "-" in manifests:
        doubt = "recordings that are done may be paid for again, if a row of standard input asks for something else"
        return not is_new and await asyncio.to_thread(confirm, doubt)
    if not costly and (is_new or await asyncio.to_thread(_is_asked_again, manifests, place, **given)):
        return False
    async with open_planner(manifests, place.out, probing=costly, place=place, **given) as planner:
        async for _ in planner.rows():
            pass
    cost = _too_much(planner.plan, given["settings"].budget.confirm_above if costly else math.inf)
    if cost and not await asyncio.to_thread(confirm, cost):
        raise errors.BudgetExceededError(
            f"{cost}: look at it with `diarist plan`, then agree with --yes"
            + ("; or leave what is done as it is with --keep-done" if planner.plan.again else "")
            + ("; or run a part of it with --max-cost" if costly else "")
        )
    return bool(planner.plan.again)


def _is_asked_again(
    manifests: Sequence[str], place: Place, *, settings: Settings, rerun: Rerun, **given: Any
) -> bool:
    """Whether the last run of the directory asked for just what this one asks for, and left nothing undone that was
    done before: then nothing is paid again, and the rows need not be read twice. (A row that would be, is held.)"""
    asked = None if rerun.force else place.asked(manifests, settings)
    return asked is not None and place.notes.get(ASKED) == asked


def _too_much(plan: Plan, unasked: float) -> str:
    """What is to be agreed to, if anything is."""
    parts = []
    if plan.again:
        why = ", ".join(f"{count:,} x {why}" for why, count in plan.again.most_common(3))
        hours = f"{plan.again_seconds / 3600:,.2f} h of audio"
        usd = "" if plan.usd is None else f", about ${plan.again_usd:,.2f}"
        parts.append(
            f"{plan.again.total():,} recordings that are done and have not changed would be paid for again ({why}): "
            f"{hours}{usd}"
        )
    if (plan.usd or 0.0) > unasked:
        parts.append(
            f"this run would cost about ${plan.usd:,.2f} for {plan.seconds / 3600:,.1f} h of audio, more than "
            f"budget.confirm_above = {unasked:g}"
        )
    return "; ".join(parts)
