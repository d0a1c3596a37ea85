"""``diarist recover``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from batch.cli.options import say, settings_of, with_settings
from batch.telemetry.redaction import harmless

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("directory", metavar="DIR")
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1)
@click.option("--service", help="Also take over what this service has of public URLs in MANIFEST.")
@with_settings
def recover(directory: str, manifests: tuple[str, ...], **given: Any) -> None:
    """Make the journal of DIR anew, from its results and from what a damaged one still tells.

    The old journal is put aside, never deleted.
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
