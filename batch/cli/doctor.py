"""``diarist doctor``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from batch.cli.options import settings_of, with_settings
from batch.telemetry.redaction import harmless, redact_tree

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1)
@click.option("-o", "--out", default="results", show_default=True, help="Directory of the results and the journal.")
@click.option("--service", help="As for run.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each finding.")
@with_settings
def doctor(manifests: Sequence[str], **given: Any) -> None:
    """Check key, region, reach, clock, disk, journal, engine and limits; say what to do. Spends nothing.

    Checks the object stores, too, that manifests and --out name. The exit code is what a run would end with.
    """
    import asyncio
    import os

    import msgspec

    from batch.jobs.preflight import examine
    from batch.storage.locations import is_stored
    from batch.storage.object_stores import local_directory

    settings = settings_of(given, "service")
    copies = given["out"] if is_stored(given["out"]) else ""

    async def main() -> int:
        worst = 0
        async for finding in examine(settings, os.environ, local_directory(given["out"]), manifests, copies):
            worst = worst or finding.exit_code
            advice = f" -> {finding.advice}" if finding.advice else ""
            line = harmless(f"{finding.verdict:<5}{finding.what:<11}{finding.said}{advice}")
            click.echo(msgspec.json.encode(redact_tree(msgspec.to_builtins(finding))) if given["as_json"] else line)
        return worst

    sys.exit(asyncio.run(main()))
