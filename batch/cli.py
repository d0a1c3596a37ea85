"""The command line. Heavy imports happen inside the commands that need them: ``--help`` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from batch import __version__
from batch.errors import DiaristError, Fatal, Unavailable

if TYPE_CHECKING:
    from batch.admission import Window, Wish
    from batch.settings import Settings

_SETTINGS = [
    click.option("--config", type=click.Path(dir_okay=False), help="A TOML file of settings (see configs/)."),
    click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, e.g. uploads=4."),
]


def _with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="diarist")
def cli() -> None:
    """A manifest of recordings in; who said what and when out."""


@cli.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True)
@click.option("-o", "--out", default="results", show_default=True, help="Directory of the results and the journal.")
@click.option("--service", help="auto, assemblyai, assemblyai-eu, local, or a URL.  [default: auto]")
@click.option("-c", "--concurrency", type=int, help="Recordings in flight at the service.  [default: 64]")
@click.option("--force", is_flag=True, help="Run everything again, and pay again.")
@click.option("--retry", type=click.Choice(["failed", "all"]), help="Failed ones again; all: empty ones too.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many recordings.")
@click.option("--shard", metavar="I/N", help="Only this part of the recordings, by key: 1/4 ... 4/4.")
@click.option("--order", type=click.Choice(["manifest", "longest"]), help="Who is next.  [default: longest]")
@click.option("--webhook-url", metavar="URL", help="Where the service reaches this machine, to say who is done.")
@click.option("--progress", type=click.Choice(["auto", "live", "plain", "json", "off"]), help="[default: auto]")
@_with_settings
def run(manifests: tuple[str, ...], **given: Any) -> None:
    """Transcribe the recordings that MANIFEST lists: .csv, .tsv, .jsonl, .json, .txt, a directory, a glob,
    a single recording, or - for standard input. Running it again does what is left.
    """
    from pathlib import Path

    settings = _settings(given, "service", "concurrency", "order", "progress")
    wish, window = _wish(given["force"], given["retry"]), _window(given["limit"], given["shard"])
    sys.exit(_run(manifests, Path(given["out"]), settings, wish, window))


@cli.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True)
@click.option("-o", "--out", default="results", show_default=True, help="Directory of the results and the journal.")
@click.option("--service", help="As for run.")
@click.option("--force", is_flag=True, help="As for run.")
@click.option("--retry", type=click.Choice(["failed", "all"]), help="As for run.")
@click.option("--shard", metavar="I/N", help="As for run.")
@click.option("--explain", is_flag=True, help="A line for each recording: what, key, why.")
@_with_settings
def plan(manifests: tuple[str, ...], **given: Any) -> None:
    """Say what run would do with each recording, and why. Spends nothing, writes nothing."""
    import asyncio
    from pathlib import Path

    settings = _settings(given, "service")
    wish, window = _wish(given["force"], given["retry"]), _window(None, given["shard"])
    sys.exit(asyncio.run(_plan(manifests, Path(given["out"]), settings, wish, window, given["explain"])))


@cli.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1)
@click.option("--service", help="Also take over what this service has of public URLs in MANIFEST.")
@_with_settings
def recover(directory: str, manifests: tuple[str, ...], **given: Any) -> None:
    """Make the journal of DIR anew, from its results and from what a damaged one still tells.

    The old journal is put aside, never deleted.
    """
    import asyncio
    import os
    from pathlib import Path

    from batch import wiring

    settings, adopt = _settings(given, "service"), given["service"] is not None
    done = asyncio.run(wiring.recover(Path(directory), manifests, settings=settings, environ=os.environ, adopt=adopt))
    for path in done.unreadable:
        click.echo(f"not a result, left alone: {path}", err=True)
    click.echo(
        f"recovered {done.results} recordings from results, {done.journal} from the old journal"
        + (f", {done.service} from the service's list" if adopt else "")
        + (f"; the old journal is {done.aside}" if done.aside else "")
    )


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Any other address needs a key.")
@click.option("--port", default=8517, show_default=True, type=int, help="0: any free one.")
@click.option("--data", default="diarist-service", show_default=True, help="Directory of jobs and uploads.")
@click.option("--engine", default="moonshine", show_default=True, help="moonshine, or MODULE:FACTORY.")
@click.option("--workers", type=click.IntRange(min=1), help="Engine processes.  [default: one a core]")
@click.option("--faults", type=click.Path(dir_okay=False), help="A TOML file of misfortunes, for tests.")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def serve(**given: Any) -> None:
    """Serve the AssemblyAI v2 protocol with the on-device engine. A key, if any, comes from DIARIST_SERVICE_KEY."""
    from batch.service.serve import Serving, main

    sys.exit(main(Serving(**given)))


def _settings(given: dict[str, Any], *flags: str) -> Settings:
    import os
    from pathlib import Path

    from batch import settings

    config = Path(given["config"]) if given["config"] else None
    named = {name: given[name] for name in flags}
    if given.get("webhook_url"):
        named["webhook"] = {"url": given["webhook_url"]}
    return settings.load(config, environ=os.environ, sets=given["sets"], flags=named)


def _wish(force: bool, retry: str | None) -> Wish:
    from batch.admission import Wish

    return Wish(force=force, failed=retry is not None, empty=retry == "all")


def _window(limit: int | None, shard: str | None) -> Window:
    from batch.admission import Window
    from batch.errors import Usage

    if shard is None:
        return Window(limit=limit)
    number, _, of = shard.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise Usage(f"--shard {shard}: write it as I/N, for example 1/4, 2/4, 3/4 and 4/4")
    return Window(limit=limit, shard=int(number), shards=int(of))


def _run(manifests: Sequence[str], out: Any, settings: Settings, wish: Wish, window: Window) -> int:
    """The run command inside its event loop: signals in, display out, the exit code back."""
    import asyncio
    import os
    import signal
    import time

    from batch.display import closing, display
    from batch.summary import Summary
    from batch.wiring import run as start

    summary, began = Summary(), time.monotonic()

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def interrupted(number: int) -> None:
            if summary.signal_number:
                sys.stderr.write("\x1b[?25h\n" if sys.stderr.isatty() else "")
                os._exit(128 + number)
            summary.signal_number = number
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted, number)
        with display(settings.progress, summary, sys.stderr, settings.concurrency) as shown:
            await start(
                manifests, out, settings=settings, wish=wish, window=window, environ=os.environ,
                stdin=sys.stdin.buffer, summary=summary, notify=shown.show, stop=stop,
            )  # fmt: skip

    asyncio.run(main())
    closing(summary, out, time.monotonic() - began, sys.stderr)
    return summary.exit_code


async def _plan(
    manifests: Sequence[str], out: Any, settings: Settings, wish: Wish, window: Window, explain: bool
) -> int:
    """The plan command: a line for each recording on request, and the counts. The exit code: 3 if rows cannot run."""
    import os
    from collections import Counter

    from batch import wiring
    from batch.model import Event

    counts: Counter[str] = Counter()

    def told(event: Event) -> None:
        if event.reject:
            counts["cannot run"] += 1
            click.echo(f"{event.reject.where}: {event.message}", err=True)
        elif event.name == "notice":
            click.echo(event.message, err=True)

    rows = wiring.plan(
        manifests, out, settings=settings, wish=wish, window=window, environ=os.environ,
        stdin=sys.stdin.buffer, notify=told,
    )  # fmt: skip
    async for judged in rows:
        counts[f"{judged.decision.verdict}: {judged.decision.why}"] += 1
        if explain:
            click.echo(f"{judged.decision.verdict}\t{judged.recording.key}\t{judged.decision.why}")
    for what, count in counts.most_common():
        click.echo(f"{count:>9,}  {what}", err=explain)
    return 3 if counts["cannot run"] else 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: one message on standard error for whatever is the user's to mend, and the exit code."""
    try:
        cli.main(arguments, prog_name="diarist", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DiaristError as error:
        click.echo(f"diarist: {error}", err=True)
        sys.exit(error.exit_code if isinstance(error, Fatal) else Unavailable.exit_code)
