"""``diarist plan``, and the question whether a run may begin that would cost much."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from batch import errors
from batch.admission import Admission, Wish
from batch.endpoint import Endpoint, resolve
from batch.journal import Journal
from batch.model import Event
from batch.plan import Planner
from batch.prices import Prices
from batch.results import INNER, Results
from batch.settings import Settings
from batch.window import Window
from batch.wiring.rows import rows_of


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
    rows = rows_of(manifests, settings, stdin, notify)
    with contextlib.closing(Journal(out / INNER / "journal.db", read_only=True)) as journal:
        results, service = Results(out, make=False), resolve(settings.service, environ)
        admission = Admission(rows, journal, results, service.name, wish=wish, window=window, notify=notify)
        prices = prices_of(service, settings)
        yield Planner(admission, journal, service.name, prices, limit=window.limit, anew=wish.force)


def local_workers(settings: Settings, environ: Mapping[str, str]) -> int | None:
    """How many recordings the local service that a run would start works at; None for any other service."""
    if resolve(settings.service, environ).base_url:
        return None
    return settings.local.workers or os.cpu_count() or 1


def prices_of(service: Endpoint, settings: Settings) -> Prices | None:
    return settings.prices.of(is_vendors=service.is_vendors)


def may_cost_more(service: Endpoint, settings: Settings) -> bool:
    """Whether a run could cost more than may be spent unasked."""
    unasked, most = settings.budget.confirm_above, settings.budget.max_cost
    return bool(unasked and prices_of(service, settings) and not 0 < most <= unasked)


async def confirmed(manifests: Sequence[str], out: Path, confirm: Callable[[str], bool], **given: Any) -> None:
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
