"""``diarist serve``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from batch import providers
from batch.cli.command import command

if TYPE_CHECKING:
    pass


@command(
    ("diarist serve", "on http://127.0.0.1:8517, for other clients of the protocol"),
    ("DIARIST_SERVICE_KEY=... diarist serve --host 0.0.0.0 --private-network", "for other machines of this network"),
    help=f"Serve {providers.PROTOCOL} with the on-device engine.\n\nA key, if any, comes from DIARIST_SERVICE_KEY.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Any other address needs a key.")
@click.option("--port", default=8517, show_default=True, type=int, help="0: any free one.")
@click.option("--data", default="diarist-service", show_default=True, help="Directory of jobs and uploads.")
@click.option(
    "--engine",
    default="moonshine",
    show_default=True,
    help="Who writes the words: moonshine, faster-whisper[:MODEL], sherpa-onnx:DIR, or MODULE:FACTORY.",
)
@click.option(
    "--diarizer",
    "speakers",
    default="community-1",
    show_default=True,
    help="Who tells speakers apart: community-1, pyannote[:DIR], sherpa-onnx:DIR.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="What engines run on.")
@click.option("--workers", type=click.IntRange(min=1), help="Engine processes.  [default: one a core]")
@click.option(
    "--keep", multiple=True, metavar="RULE", help="How long: uploads=1h, transcripts=30d.  [default: uploads=24h]"
)
@click.option("--disk-budget", metavar="SIZE", help="Most that uploads may take, e.g. 20GB.")
@click.option("--worker-memory", metavar="SIZE", help="Most that an engine process may take.  [default: its share]")
@click.option(
    "--private-network", is_flag=True, help="Audio URLs and webhooks may be of addresses that are not public."
)
@click.option("--faults", type=click.Path(dir_okay=False), help="A TOML file of misfortunes, for tests.")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def serve(**given: Any) -> None:
    from batch.server.main import ServeOptions, main

    sys.exit(main(ServeOptions(**given)))
