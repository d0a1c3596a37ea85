"""``diarist plan``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from batch.cli import streams
from batch.cli.command import command
from batch.cli.options import as_typed, rerun_of, selection_of, settings_of, with_manifest_settings, with_request
from batch.errors import BudgetExceededError
from batch.telemetry.redaction import redact

if TYPE_CHECKING:
    from batch.cli.display.plan_view import PlanWriter
    from batch.config import BudgetSettings, Settings
    from batch.jobs.planning.decision import Rerun
    from batch.jobs.planning.planner import Plan
    from batch.jobs.planning.selection import Selection

_SOME_CANNOT_RUN: Final = 3
_NOTHING_TO_DO: Final = 7


@command(
    ("diarist plan calls.csv", "how many recordings, hours and dollars a run would be"),
    ("diarist plan calls.csv --explain", "a line for each recording: what, key, why"),
    (
        "diarist plan calls.csv --exit-code && diarist run calls.csv",
        "run only what needs no question and is not empty",
    ),
)
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True)
@with_request
@click.option("--explain", is_flag=True, help="A line for each recording: what, key, why.")
@click.option("--exit-code", is_flag=True, help="End with 7 if there is nothing to do, 8 if run would have to ask.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output; with --explain a line each.")
@with_manifest_settings
def plan(manifests: tuple[str, ...], **given: Any) -> None:
    """Say what a run would do, for how many hours and at what price.

    Spends nothing, writes nothing, asks no service. Exit code 3: some rows cannot run.
    """
    explain(manifests, given)


def explain(manifests: Sequence[str], given: Mapping[str, Any]) -> NoReturn:
    """Say what a run that is asked for by ``given`` would do, and end the process with the exit code."""
    import asyncio
    import shlex

    from batch.cli.display.plan_view import PlanWriter

    settings = settings_of(given, "service", "concurrency")
    writer = PlanWriter(
        sys.stdout,
        sys.stderr,
        rows=given.get("explain", False),
        as_json=given.get("as_json", False),
        command=shlex.join(map(redact, as_typed())),
    )
    rerun = rerun_of(given)
    planned = asyncio.run(_plan(manifests, given["out"], settings, rerun, selection_of(given), writer))
    code = _SOME_CANNOT_RUN if writer.cannot_run else 0
    sys.exit(_detailed(planned, settings.budget, code) if given.get("exit_code") else code)


def _detailed(plan: Plan, budget: BudgetSettings, code: int) -> int:
    """What ``--exit-code`` tells: what is asked about weighs most, then rows that cannot run."""
    usd, hours = plan.usd or 0.0, plan.hours
    beyond = [bool(most) and needed > most for needed, most in (
        (usd, budget.confirm_above), (usd, budget.max_cost), (hours, budget.max_hours))]  # fmt: skip
    if plan.again or any(beyond):
        return BudgetExceededError.exit_code
    return code or (0 if plan.recordings else _NOTHING_TO_DO)


async def _plan(
    manifests: Sequence[str], out: Any, settings: Settings, rerun: Rerun, select: Selection, writer: PlanWriter
) -> Plan:
    import asyncio
    import os

    from batch import jobs

    place = await asyncio.to_thread(jobs.placed, out, settings, os.environ)
    async with jobs.open_planner(
        manifests, out, settings=settings, rerun=rerun, select=select, environ=os.environ,
        stdin=streams.standard_input(), on_event=writer.show, place=place,
    ) as planner:  # fmt: skip
        async for row in planner.rows():
            writer.row(row)
        workers = jobs.local_workers(place.service, settings)
        expectation = await planner.expectation(workers)
        writer.close(planner.plan, planner.pricing, expectation, workers or settings.concurrency)
        return planner.plan
