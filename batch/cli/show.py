"""``diarist show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from batch.cli.command import command
from batch.cli.options import directory_and

if TYPE_CHECKING:
    pass


def _keys(context: click.Context, param: click.Parameter, begun: str) -> list[str]:
    from pathlib import Path

    from batch.archive.results import result_paths
    from batch.cli.options import RESULTS

    before = context.params.get("words") or ()
    directory = Path(before[0] if before else RESULTS)
    paths = result_paths(directory) if directory.is_dir() else ()
    names = (path.removeprefix(f"{directory}/").removesuffix(".json") for path in paths)
    folders = [f"{path.name}/" for path in Path().glob(f"{begun}*") if path.is_dir()] if not before else []
    return folders + [name for name in names if name.startswith(begun)]


@command(
    ("diarist show calls/0001", "who said what in one recording of ./results"),
    ("diarist show archive calls/0001 --speakers names.toml | less -R", "of another directory, with names"),
)
@click.argument("words", metavar="[DIR] KEY", nargs=-1, shell_complete=_keys)
@click.option("--speakers", type=click.Path(dir_okay=False), help='A TOML file of names: A = "Agent".')
def show(words: tuple[str, ...], speakers: str | None) -> None:
    """Show one transcript in the terminal: who said what, and when."""
    from pathlib import Path

    from rich.console import Console

    from batch.archive import Archive
    from batch.archive.export import read_speakers
    from batch.cli.display.transcript_view import lines
    from batch.cli.options import say
    from batch.storage.object_stores import local_directory
    from batch.transcripts.speakers import with_names

    directory, key = directory_and(words, "KEY")
    spoken = Archive(local_directory(directory), on_warning=say).transcript(key)
    if speakers:
        spoken = with_names(spoken, read_speakers(Path(speakers)))
    console = Console(highlight=False)
    for line in lines(spoken):
        console.print(line)
