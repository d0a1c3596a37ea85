"""``diarist search``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from batch.cli.command import command
from batch.cli.options import directory_and, say

if TYPE_CHECKING:
    pass


@command(
    ('diarist search "how long"', "where it was said in ./results"),
    ('diarist search archive invoi --partial --label customer="ACME 7"', "words that begin so, of one customer"),
    ('diarist search "cancel my contract" --json | jq -r .key', "the recordings, for a script"),
)
@click.argument("words", metavar="[DIR] PHRASE", nargs=-1)
@click.option("--speaker", metavar="NAME", help="Only what this speaker said: A, or a name.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="Only recordings with this label; repeatable.")
@click.option("--partial", "prefix", is_flag=True, help="The last word may go on: invoi finds invoices.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many hits.")
@click.option("--speakers", type=click.Path(dir_okay=False), help='A TOML file of names: A = "Agent".')
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each hit.")
def search(words: tuple[str, ...], labels: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Find where PHRASE was said, by whom and when.

    Its words must stand side by side in one utterance; case, accents and punctuation do not matter. Exit code 7:
    nowhere.
    """
    from pathlib import Path

    import msgspec

    from batch.archive.export import read_speakers
    from batch.archive.search import query
    from batch.cli.display import search_view
    from batch.storage.object_stores import local_directory
    from batch.transcripts.speakers import Names

    directory, phrase = directory_and(words, "PHRASE")
    names = read_speakers(Path(speakers)) if (speakers := given.pop("speakers")) else Names()
    question = query.Question(phrase, labels=query.read_labels(labels), names=names, **given)
    answer = query.search(local_directory(directory), question, say)
    for line in (
        (msgspec.json.encode(hit).decode() for hit in answer.hits)
        if as_json
        else search_view.lines(answer.hits, lambda found: click.style(found, bold=True))
    ):
        click.echo(line)
    click.echo(search_view.closing(answer), err=True)
    sys.exit(0 if answer.hits else 7)
