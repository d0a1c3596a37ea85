"""``diarist run``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from batch.cli import streams
from batch.cli.command import command
from batch.cli.options import (
    as_typed,
    rerun_of,
    selection_of,
    settings_of,
    with_formats,
    with_manifest_settings,
    with_request,
)
from batch.telemetry.redaction import harmless

if TYPE_CHECKING:
    from batch.config import Settings
    from batch.jobs.planning.decision import Rerun
    from batch.jobs.planning.selection import Selection


@command(
    ("diarist run calls.csv", "transcribe what the manifest lists into ./results; the same again does what is left"),
    ("diarist run recordings/ -o results -n", "what would be done, and at what price; nothing is sent"),
    ("diarist run calls.csv --column audio=recording_path,id=call_id", "a manifest with names of its own"),
    ("diarist run interviews/*.mp3 --language de --speakers-expected 2", "German, two speakers each"),
    ("diarist run calls.csv --profile nightly --quiet", "from cron: says something only if something is wrong"),
    ("diarist run calls.csv --retry timeout,no_speech", "once more what failed so"),
)
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True)
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be done, and do nothing; as diarist plan.")
@with_request
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Admit no more once so much is spent.")
@click.option("--max-hours", type=click.FloatRange(min=0), metavar="H", help="Admit no more after so much audio.")
@click.option("--yes", is_flag=True, help="Do not ask: not about the price, not about paying again for what is done.")
@with_formats
@click.option("--order", type=click.Choice(["manifest", "longest"]), help="Who is next.  [default: longest]")
@click.option("--webhook-url", metavar="URL", help="Where the service reaches this machine, to say who is done.")
@click.option("-v", "--verbose", is_flag=True, help="A line for every recording and every retry.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but what is wrong.")
@click.option(
    "--progress", type=click.Choice(["auto", "live", "plain", "verbose", "json", "off"]),
    help="How progress is shown.  [default: auto]",
)  # fmt: skip
@click.option("--log-file", metavar="FILE", help="Append every event and every call to FILE, as JSON lines.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), metavar="N", help="Prometheus metrics on this port.")
@with_manifest_settings
def run(manifests: tuple[str, ...], **given: Any) -> None:
    """Transcribe the recordings that MANIFEST lists.

    MANIFEST is a .csv, .tsv, .jsonl, .json or .txt file, a directory, a glob, a single recording, or - for standard
    input. Running it again does what is left.
    """
    if given["dry_run"]:
        from batch.cli.plan import explain

        explain(manifests, given)
    if given["quiet"] and given["verbose"]:
        raise click.UsageError("--quiet and --verbose: give one of them")
    given["progress"] = given["progress"] or ("off" * given["quiet"] or "verbose" * given["verbose"] or None)
    settings = settings_of(given, "service", "concurrency", "order", "progress", "log_file")
    rerun = rerun_of(given)
    _run(
        manifests, given["out"], settings, rerun, selection_of(given),
        yes=given["yes"], quiet=given["quiet"], command=as_typed(),
    )  # fmt: skip


def _run(
    manifests: Sequence[str], out: Any, settings: Settings, rerun: Rerun, select: Selection,
    *, yes: bool, quiet: bool, command: Sequence[str],
) -> NoReturn:  # fmt: skip
    """The run command inside its event loop: signals in, display out, and the process ends with the exit code."""
    import asyncio
    import os
    import signal

    from batch.cli.display.run_display import closing, display
    from batch.jobs.runner import Run, carry_out
    from batch.storage.object_stores import local_directory
    from batch.telemetry.summary import Summary

    summary = Summary()

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def interrupted(number: int) -> None:
            if summary.signal_number:
                sys.stderr.write("\x1b[?25h\n" if sys.stderr.isatty() else "")
                os._exit(128 + number)
            summary.signal_number = number
            stop.set()

        hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL else []  # nohup ignores it
        for number in (signal.SIGINT, signal.SIGTERM, *hangup):
            loop.add_signal_handler(number, interrupted, number)
        with display(settings.progress, summary, sys.stderr) as shown:
            asked = Run(
                manifests, out, settings=settings, rerun=rerun, select=select, stdin=streams.standard_input(),
                on_event=shown.show, stop=stop, confirm=lambda cost: yes or _agreed(cost), command=command,
                summary=summary,
            )  # fmt: skip
            await carry_out(asked)

    with asyncio.Runner() as runner:  # closing it would wait for threads
        runner.run(main())
        if settings.progress != "json" and not (quiet and summary.exit_code == 0):
            closing(summary, local_directory(out), sys.stderr)
        streams.leave(summary.exit_code)


def _agreed(cost: str) -> bool:
    """Whether the person at the terminal, if there is one, agrees."""
    is_there = sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()
    return bool(is_there) and click.confirm(f"{harmless(cost)}. Run it?", err=True)
