"""``diarist plan``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from batch.cli import streams
from batch.cli.options import as_typed, rerun_of, selection_of, settings_of, with_selection, with_settings
from batch.telemetry.redaction import redact

if TYPE_CHECKING:
    from batch.cli.display.plan_view import PlanWriter
    from batch.config import Settings
    from batch.jobs.planning.decision import Rerun
    from batch.jobs.planning.selection import Selection


@click.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True)
@click.option("-o", "--out", default="results", show_default=True, help="Directory of the results and the journal.")
@click.option("--service", help="As for run.")
@click.option("-c", "--concurrency", type=int, help="As for run.")
@click.option("--force", is_flag=True, help="As for run.")
@click.option("--keep-done", is_flag=True, help="As for run.")
@click.option("--retry", type=click.Choice(["failed", "all"]), help="As for run.")
@with_selection
@click.option("--explain", is_flag=True, help="A line for each recording: what, key, why.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output; with --explain a line each.")
@with_settings
def plan(manifests: tuple[str, ...], **given: Any) -> None:
    """Say what run would do with each recording, why, for how many hours and at what price. Spends nothing, writes
    nothing.
    """
    import asyncio
    import shlex

    from batch.cli.display.plan_view import PlanWriter

    settings = settings_of(given, "service", "concurrency")
    explaining = PlanWriter(
        sys.stdout,
        sys.stderr,
        rows=given["explain"],
        as_json=given["as_json"],
        command=shlex.join(map(redact, as_typed())),
    )
    rerun = rerun_of(given)
    sys.exit(asyncio.run(_plan(manifests, given["out"], settings, rerun, selection_of(given), explaining)))


async def _plan(
    manifests: Sequence[str], out: Any, settings: Settings, rerun: Rerun, select: Selection, explaining: PlanWriter
) -> int:
    """The plan command. The exit code: 3 if rows cannot run."""
    import asyncio
    import os

    from batch import jobs

    place = await asyncio.to_thread(jobs.placed, out, settings, os.environ)
    async with jobs.open_planner(
        manifests, out, settings=settings, rerun=rerun, select=select, environ=os.environ,
        stdin=streams.standard_input(), on_event=explaining.show, place=place,
    ) as planner:  # fmt: skip
        async for row in planner.rows():
            explaining.row(row)
        workers = jobs.local_workers(place, settings)
        expectation = await planner.expectation(workers)
        explaining.close(planner.plan, planner.pricing, expectation, workers or settings.concurrency)
    return 3 if explaining.cannot_run else 0
