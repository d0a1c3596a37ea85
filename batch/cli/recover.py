"""``diarist recover``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from batch.cli.command import command
from batch.cli.options import say, settings_of, with_directory, with_manifest_settings
from batch.telemetry.redaction import harmless

if TYPE_CHECKING:
    pass


@command(
    ("diarist recover results", "a journal that is damaged or gone, made anew"),
    ("diarist recover results urls.csv --service assemblyai", "and what the service has of public URLs"),
)
@with_directory
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1)
@click.option("--service", help="Also take over what this service has of public URLs in MANIFEST.")
@with_manifest_settings
def recover(directory: str, manifests: tuple[str, ...], **given: Any) -> None:
    """Make a damaged or lost journal anew, without paying.

    From the results in DIR, and from what the old journal still tells. The old journal is put aside, never deleted.
    """
    import asyncio
    import os

    from batch import jobs

    settings, adopt = settings_of(given, "service"), given["service"] is not None
    done = asyncio.run(jobs.recover(directory, manifests, settings=settings, environ=os.environ, adopt=adopt))
    for path in done.unreadable:
        say(f"not a result, left alone: {path}")
    line = (
        f"recovered {done.results} recordings from results, {done.journal} from the old journal"
        + (f", {done.service} from the service's list" if adopt else "")
        + (f"; the old journal is {done.aside}" if done.aside else "")
    )
    click.echo(harmless(line))
