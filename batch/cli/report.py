"""``diarist report``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from batch.cli.command import command
from batch.cli.options import say, settings_of, with_directory, with_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from batch.config import PriceTable


@command(
    ("diarist report", "./results/report.html: totals, charts, failures, cost, every transcript"),
    ("diarist report results --since 24h -o morning.html", "only what the last night did"),
)
@with_directory
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="The page.  [default: DIR/report.html]")
@click.option("--since", metavar="TIME", help="Only what ended since, or has not: 2026-11-20, 12h, 7d.")
@with_settings
def report(directory: str, out: str | None, since: str | None, **given: Any) -> None:
    """Write one page that tells what happened, with every transcript.

    Totals, charts, failures, cost, and each recording to read and to listen to. It needs no network. Disturbs no run.
    """
    from datetime import datetime
    from pathlib import Path

    from rich.filesize import decimal

    from batch.archive.layout import REPORT
    from batch.archive.report import build
    from batch.config import read_time
    from batch.storage.object_stores import local_directory

    results = local_directory(directory)
    page = Path(out) if out else results / REPORT
    began = read_time(since, datetime.now().astimezone()) if since else None
    wanted = build.ReportRequest(page, _prices(results, given), began)
    done = build.report(results, wanted, say)
    parts = f", and {done.parts:,} files of transcripts in {page.with_suffix('.parts')}" if done.parts else ""
    line = f"{done.recordings:,} recordings: {page} ({decimal(done.page_bytes)}){parts}"
    say(line + (f"; {done.problems:,} results could not be read" if done.problems else ""))
    sys.exit(3 if done.problems else 0)


def _prices(directory: Path, given: Mapping[str, Any]) -> PriceTable:
    """The prices of the settings that are given; where none are, of those that the last run was given."""
    from batch.archive.layout import last_run
    from batch.errors import UsageError
    from batch.telemetry.suggestions import settings_flags

    if any(given[name] for name in ("profile", "config", "sets")):
        return settings_of(given).prices
    last = last_run(directory)
    asked = settings_flags(last.stage) if last else {}
    try:
        return settings_of({**given, **asked}).prices
    except UsageError as error:
        say(f"the settings of the last run cannot be read, so costs are by the usual prices: {error}")
        return settings_of(given).prices
