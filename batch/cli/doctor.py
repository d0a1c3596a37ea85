"""``diarist doctor``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from batch.cli.command import command
from batch.cli.options import settings_of, with_manifest_settings, with_place
from batch.telemetry.redaction import harmless, redact_tree

if TYPE_CHECKING:
    pass


@command(
    ("diarist doctor", "is all there that a run needs, and what to do about what is not"),
    ("diarist doctor s3://bucket/calls/ -o s3://bucket/results", "can the stores be read and written, too"),
)
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1)
@with_place
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each finding.")
@with_manifest_settings
def doctor(manifests: Sequence[str], **given: Any) -> None:
    """Check key, reach, clock, disk, journal, engine; say what to do.

    Spends nothing. Checks the object stores, too, that manifests and --out name. The exit code is what a run would
    end with.
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
