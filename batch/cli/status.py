"""``diarist status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    pass


@click.command()
@click.argument("directory", metavar="DIR", default="results", type=click.Path(file_okay=False))
@click.option("--watch", is_flag=True, help="Look again every second, until the run has ended.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def status(directory: str, watch: bool, as_json: bool) -> None:
    """Say how the run that writes into DIR stands, or how the last one ended. Disturbs nothing."""
    import asyncio
    from pathlib import Path

    import msgspec
    from rich.console import Console

    from batch.archive import status as seen
    from batch.cli.display.status_view import drawn, follow

    if watch and not as_json:
        return follow(Path(directory), Console())
    found = asyncio.run(seen.look(Path(directory)))
    if as_json:
        return click.echo(msgspec.json.encode(found))
    return Console(highlight=False).print(drawn(found))
