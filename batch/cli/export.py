"""``diarist export``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from batch.cli.command import command
from batch.cli.options import complete_formats, say, with_directory

if TYPE_CHECKING:
    pass


@command(
    ("diarist export --format srt,vtt", "captions beside each result of ./results"),
    ("diarist export results --format csv,parquet -o tables", "tables of all recordings"),
    ("diarist export results --format rttm,stm --speakers names.toml -o corpus", "for scoring, with names"),
)
@with_directory
@click.option(
    "--format",
    "--to",
    "formats",
    required=True,
    shell_complete=complete_formats,
    metavar="LIST",
    help="Formats, e.g. srt,vtt,rttm,parquet.",
)
@click.option("-o", "--out", type=click.Path(file_okay=False), help="Where they go.  [default: DIR]")
@click.option("--speakers", type=click.Path(dir_okay=False), help='A TOML file of names: A = "Agent".')
@click.option("--relabel", type=click.Path(), help="An RTTM, or a directory of them: whose words they are.")
@click.option("--exact", is_flag=True, help="Cells of CSV as they are, also those that a spreadsheet would execute.")
def export(
    directory: str, formats: str, out: str | None, speakers: str | None, relabel: str | None, exact: bool
) -> None:
    """Write results in other formats: captions, tables, corpora.

    Works offline and pays nothing. For each recording: srt, vtt, txt, md, rttm, ctm, stm, seglst, textgrid, whisper,
    svg, png. For all of them together: csv (utterances), speakers (who took part how much), parquet, lhotse.
    """
    from pathlib import Path

    from batch.archive import export as exporting
    from batch.transcripts.speakers import Names

    wanted = exporting.ExportRequest(
        exporting.read_formats(formats),
        Path(out or directory),
        exporting.read_speakers(Path(speakers)) if speakers else Names(),
        exporting.read_turns(Path(relabel)) if relabel else {},
        exact,
    )
    done = exporting.export(Path(directory), wanted, say)
    line = f"{done.results:,} results: {done.written:,} files written, {done.unchanged:,} as they were"
    line += f", {done.problems:,} not written" if done.problems else ""
    say(line + (f"; {done.foreign:,} other JSON files were passed over" if done.foreign else ""))
    sys.exit(3 if done.problems else 0)
