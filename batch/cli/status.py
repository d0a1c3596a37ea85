"""``diarist status``."""

from __future__ import annotations

import sys
from typing import Final

import click

from batch.cli.command import command
from batch.cli.options import with_directory

_AT_WORK: Final = 9


@command(
    ("diarist status", "how the run that writes into ./results stands"),
    ("diarist status results --watch", "the same, drawn anew every second until it has ended"),
    ("diarist status results || diarist run calls.csv", "go on unless the last run has done everything"),
)
@with_directory
@click.option("--watch", is_flag=True, help="Look again every second, until the run has ended.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def status(directory: str, watch: bool, as_json: bool) -> None:
    """Say how the run in DIR stands, or how the last one ended.

    Disturbs nothing. The exit code is that of the last run; 5 if it was killed, 9 while one is at work.
    """
    import asyncio
    from pathlib import Path

    import msgspec
    from rich.console import Console

    from batch.archive import status as seen
    from batch.cli.display.status_view import drawn, follow
    from batch.errors import UnavailableError

    if watch and not as_json:
        follow(Path(directory), Console())
    found = asyncio.run(seen.look(Path(directory)))
    if as_json:
        click.echo(msgspec.json.encode(found))
    elif not watch:
        Console(highlight=False).print(drawn(found))
    if found.at_work:
        sys.exit(_AT_WORK)
    last = found.progress
    sys.exit(0 if last is None else UnavailableError.exit_code if last.exit_code is None else last.exit_code)
