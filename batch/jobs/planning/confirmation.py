"""The question whether a run may begin that would cost much, or pay again for what is done."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

from batch import errors
from batch.config import Settings
from batch.jobs.places import ASKED, Place
from batch.jobs.planning.decision import Rerun
from batch.jobs.planning.planner import Plan, open_planner
from batch.providers.interface import Provider


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
