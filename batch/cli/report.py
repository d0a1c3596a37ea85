"""``diarist report``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from batch.cli.options import say, settings_of, with_settings

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("directory", metavar="DIR", default="results", type=click.Path(file_okay=False))
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="The page.  [default: DIR/report.html]")
@click.option("--since", metavar="TIME", help="Only what ended since, or has not: 2026-11-20, 12h, 7d.")
@with_settings
def report(directory: str, out: str | None, since: str | None, **given: Any) -> None:
    """Write one page that tells what happened: totals, charts, failures, cost, every recording and its transcript.

    It needs no network. Disturbs no run.
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
    wanted = build.ReportRequest(page, settings_of(given).prices, began)
    done = build.report(results, wanted, say)
    parts = f", and {done.parts:,} files of transcripts in {page.with_suffix('.parts')}" if done.parts else ""
    line = f"{done.recordings:,} recordings: {page} ({decimal(done.page_bytes)}){parts}"
    say(line + (f"; {done.problems:,} results could not be read" if done.problems else ""))
    sys.exit(3 if done.problems else 0)
