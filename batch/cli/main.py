"""The command line. Heavy imports happen inside the commands that need them: ``--help`` answers at once."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from batch import __version__, providers
from batch.cli import streams
from batch.errors import DiaristError, RunError, UnavailableError
from batch.telemetry.redaction import harmless, plain_lines, redact, redact_tree

if TYPE_CHECKING:
    from batch.cli.display.plan_view import PlanWriter
    from batch.config import Settings
    from batch.jobs.planning.decision import Rerun
    from batch.jobs.planning.selection import Selection

_SETTINGS = [
    click.option("--prefix", metavar="TEXT", help='Stands before each key; "{name}": what MANIFEST is called.'),
    click.option("--dialect", metavar="NAME", help="How manifests are written, e.g. nemo.  [default: recognised]"),
    click.option("--config", type=click.Path(dir_okay=False), help="A TOML file of settings (see configs/)."),
    click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, e.g. uploads=4."),
]


_WINDOW = [
    click.option("--limit", type=click.IntRange(min=1), help="At most so many recordings."),
    click.option("--shard", metavar="I/N", help="Only this part of the recordings, by key: 1/4 ... 4/4."),
    click.option("--since", metavar="TIME", help="Only files modified since: 2026-11-20, 36h, 7d."),
    click.option("--until", metavar="TIME", help="Only files modified until."),
    click.option("--sample", type=click.IntRange(min=1), help="So many recordings from all over, always the same."),
]


def _with_selection(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_WINDOW):
        command = option(command)
    return command


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
@click.option(
    "-o", "--out", default="results", show_default=True, help="Directory of results and journal; s3://... also."
)
@click.option("--service", help=f"{providers.SERVICES}.  [default: auto]")
@click.option("-c", "--concurrency", type=int, help="Recordings in flight at the service.  [default: 64]")
@click.option("--force", is_flag=True, help="Run everything again, and pay again.")
@click.option("--retry", type=click.Choice(["failed", "all"]), help="Failed ones again; all: empty ones too.")
@_with_selection
@click.option("--max-cost", type=click.FloatRange(min=0), metavar="USD", help="Admit no more once so much is spent.")
@click.option("--max-hours", type=click.FloatRange(min=0), metavar="H", help="Admit no more after so much audio.")
@click.option("--keep-done", is_flag=True, help="What is done stays as it is, whatever its row asks for now.")
@click.option("--yes", is_flag=True, help="Do not ask: not about the price, not about paying again for what is done.")
@click.option("--format", "formats", metavar="LIST", help="Formats beside each JSON result, e.g. srt,txt.")
@click.option("--order", type=click.Choice(["manifest", "longest"]), help="Who is next.  [default: longest]")
@click.option("--webhook-url", metavar="URL", help="Where the service reaches this machine, to say who is done.")
@click.option("--progress", type=click.Choice(["auto", "live", "plain", "json", "off"]), help="[default: auto]")
@click.option("--log-file", metavar="FILE", help="Append every event and every call to FILE, as JSON lines.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), metavar="N", help="Prometheus metrics on this port.")
@_with_settings
def run(manifests: tuple[str, ...], **given: Any) -> None:
    """Transcribe the recordings that MANIFEST lists: .csv, .tsv, .jsonl, .json, .txt, a directory, a glob,
    a single recording, or - for standard input. Running it again does what is left.
    """
    settings = _settings(given, "service", "concurrency", "order", "progress", "log_file")
    rerun = _rerun(given)
    _run(manifests, given["out"], settings, rerun, _select(given), yes=given["yes"], command=_typed())


@cli.command()
@click.argument("manifests", metavar="MANIFEST...", nargs=-1, required=True)
@click.option("-o", "--out", default="results", show_default=True, help="Directory of the results and the journal.")
@click.option("--service", help="As for run.")
@click.option("-c", "--concurrency", type=int, help="As for run.")
@click.option("--force", is_flag=True, help="As for run.")
@click.option("--keep-done", is_flag=True, help="As for run.")
@click.option("--retry", type=click.Choice(["failed", "all"]), help="As for run.")
@_with_selection
@click.option("--explain", is_flag=True, help="A line for each recording: what, key, why.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output; with --explain a line each.")
@_with_settings
def plan(manifests: tuple[str, ...], **given: Any) -> None:
    """Say what run would do with each recording, why, for how many hours and at what price. Spends nothing, writes
    nothing.
    """
    import asyncio
    import shlex

    from batch.cli.display.plan_view import PlanWriter

    settings = _settings(given, "service", "concurrency")
    explaining = PlanWriter(
        sys.stdout,
        sys.stderr,
        rows=given["explain"],
        as_json=given["as_json"],
        command=shlex.join(map(redact, _typed())),
    )
    rerun = _rerun(given)
    sys.exit(asyncio.run(_plan(manifests, given["out"], settings, rerun, _select(given), explaining)))


@cli.command()
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


@cli.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False))
@click.option("--to", "formats", required=True, metavar="LIST", help="Formats, e.g. srt,vtt,rttm,parquet.")
@click.option("-o", "--out", type=click.Path(file_okay=False), help="Where they go.  [default: DIR]")
@click.option("--speakers", type=click.Path(dir_okay=False), help='A TOML file of names: A = "Agent".')
@click.option("--relabel", type=click.Path(), help="An RTTM, or a directory of them: whose words they are.")
@click.option("--exact", is_flag=True, help="Cells of CSV as they are, also those that a spreadsheet would execute.")
def export(
    directory: str, formats: str, out: str | None, speakers: str | None, relabel: str | None, exact: bool
) -> None:
    """Write stored results in other formats. Works offline and pays nothing.

    For each recording: srt, vtt, txt, md, rttm, ctm, stm, seglst, textgrid, whisper, svg, png. For all of them
    together: csv (utterances), speakers (who took part how much), parquet, lhotse.
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
    done = exporting.export(Path(directory), wanted, _say)
    told = f"{done.results:,} results: {done.written:,} files written, {done.unchanged:,} as they were"
    told += f", {done.problems:,} not written" if done.problems else ""
    _say(told + (f"; {done.foreign:,} other JSON files were passed over" if done.foreign else ""))
    sys.exit(3 if done.problems else 0)


@cli.command()
@click.argument("directory", metavar="DIR")
@click.argument("phrase")
@click.option("--speaker", metavar="NAME", help="Only what this speaker said: A, or a name.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="Only recordings with this label; repeatable.")
@click.option("--prefix", is_flag=True, help="The last word may go on: invoi finds invoices.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many hits.")
@click.option("--speakers", type=click.Path(dir_okay=False), help='A TOML file of names: A = "Agent".')
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each hit.")
def search(directory: str, phrase: str, labels: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Find where PHRASE was said in the results in DIR, by whom and when. Exit code 7: nowhere.

    Its words must stand side by side in one utterance; case, accents and punctuation do not matter.
    """
    from pathlib import Path

    import msgspec

    from batch.archive.export import read_speakers
    from batch.archive.search import query
    from batch.cli.display import search_view
    from batch.storage.object_stores import local_directory
    from batch.transcripts.speakers import Names

    names = read_speakers(Path(speakers)) if (speakers := given.pop("speakers")) else Names()
    question = query.Question(phrase, labels=query.read_labels(labels), names=names, **given)
    answer = query.search(local_directory(directory), question, _say)
    for line in (
        (msgspec.json.encode(hit).decode() for hit in answer.hits)
        if as_json
        else search_view.lines(answer.hits, lambda found: click.style(found, bold=True))
    ):
        click.echo(line)
    click.echo(search_view.closing(answer), err=True)
    sys.exit(0 if answer.hits else 7)


@cli.command()
@click.argument("directory", metavar="DIR", default="results", type=click.Path(file_okay=False))
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="The page.  [default: DIR/report.html]")
@click.option("--since", metavar="TIME", help="Only what ended since, or has not: 2026-11-20, 12h, 7d.")
@_with_settings
def report(directory: str, out: str | None, since: str | None, **given: Any) -> None:
    """Write one page that tells what happened: totals, charts, failures, cost, every recording and its transcript.

    It needs no network. Disturbs no run.
    """
    from datetime import datetime
    from pathlib import Path

    from rich.filesize import decimal

    from batch.archive.report import build
    from batch.config import read_time
    from batch.storage.object_stores import local_directory

    results = local_directory(directory)
    page = Path(out) if out else results / "report.html"
    began = read_time(since, datetime.now().astimezone()) if since else None
    wanted = build.ReportRequest(page, _settings(given).prices, began)
    done = build.report(results, wanted, _say)
    parts = f", and {done.parts:,} files of transcripts in {page.with_suffix('.parts')}" if done.parts else ""
    told = f"{done.recordings:,} recordings: {page} ({decimal(done.page_bytes)}){parts}"
    _say(told + (f"; {done.problems:,} results could not be read" if done.problems else ""))
    sys.exit(3 if done.problems else 0)


@cli.command()
@click.argument("directory", metavar="DIR")
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1)
@click.option("--service", help="Also take over what this service has of public URLs in MANIFEST.")
@_with_settings
def recover(directory: str, manifests: tuple[str, ...], **given: Any) -> None:
    """Make the journal of DIR anew, from its results and from what a damaged one still tells.

    The old journal is put aside, never deleted.
    """
    import asyncio
    import os

    from batch import jobs

    settings, adopt = _settings(given, "service"), given["service"] is not None
    done = asyncio.run(jobs.recover(directory, manifests, settings=settings, environ=os.environ, adopt=adopt))
    for path in done.unreadable:
        _say(f"not a result, left alone: {path}")
    told = (
        f"recovered {done.results} recordings from results, {done.journal} from the old journal"
        + (f", {done.service} from the service's list" if adopt else "")
        + (f"; the old journal is {done.aside}" if done.aside else "")
    )
    click.echo(harmless(told))


@cli.command()
@click.argument("manifests", metavar="[MANIFEST]...", nargs=-1)
@click.option("-o", "--out", default="results", show_default=True, help="Directory of the results and the journal.")
@click.option("--service", help="As for run.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each finding.")
@_with_settings
def doctor(manifests: Sequence[str], **given: Any) -> None:
    """Check key, region, reach, clock, disk, journal, engine and limits; say what to do. Spends nothing.

    Checks the object stores, too, that manifests and --out name. The exit code is what a run would end with.
    """
    import asyncio
    import os

    import msgspec

    from batch.jobs.preflight import examine
    from batch.storage.object_stores import is_stored, local_directory

    settings = _settings(given, "service")
    copies = given["out"] if is_stored(given["out"]) else ""

    async def main() -> int:
        worst = 0
        async for finding in examine(settings, os.environ, local_directory(given["out"]), manifests, copies):
            worst = worst or finding.exit_code
            advice = f" -> {finding.advice}" if finding.advice else ""
            line = harmless(f"{finding.verdict:<5}{finding.what:<11}{finding.said}{advice}")
            click.echo(msgspec.json.encode(redact_tree(msgspec.to_builtins(finding))) if given["as_json"] else line)
        return worst

    sys.exit(asyncio.run(main()))


@cli.command(
    help=f"Serve {providers.PROTOCOL} with the on-device engine. A key, if any, comes from DIARIST_SERVICE_KEY."
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
    "--speakers",
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
@click.option("--private-webhooks", is_flag=True, help="Webhooks may reach addresses that are not public.")
@click.option("--faults", type=click.Path(dir_okay=False), help="A TOML file of misfortunes, for tests.")
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def serve(**given: Any) -> None:
    from batch.server.main import ServeOptions, main

    sys.exit(main(ServeOptions(**given)))


def _say(message: str) -> None:
    click.echo(harmless(message), err=True)


def _settings(given: dict[str, Any], *flags: str) -> Settings:
    import os
    from pathlib import Path

    from batch.jobs.validation import load_settings

    config = Path(given["config"]) if given["config"] else None
    named = {name: given[name] for name in (*flags, "dialect", "prefix")}
    if given.get("formats"):
        listed = (name.strip() for name in given["formats"].split(","))
        named["formats"] = [name for name in listed if name not in ("", "json")]
    limits = {name: given[name] for name in ("max_cost", "max_hours") if given.get(name) is not None}
    if limits:
        named["budget"] = limits
    if given.get("webhook_url"):
        named["webhook"] = {"url": given["webhook_url"]}
    if given.get("metrics_port") is not None:
        named["metrics"] = {"port": given["metrics_port"]}
    return load_settings(config, environ=os.environ, sets=given["sets"], flags=named)


def _rerun(given: Mapping[str, Any]) -> Rerun:
    from batch.jobs.planning.decision import Rerun

    if given["force"] and given["keep_done"]:
        raise click.UsageError("--force runs again what is done, and --keep-done leaves it: give one of them")
    retry = given["retry"]
    return Rerun(given["force"], failed=retry is not None, empty=retry == "all", keep_done=given["keep_done"])


def _select(given: Mapping[str, Any]) -> Selection:
    from datetime import datetime

    from batch.config import read_time
    from batch.jobs.planning.selection import Selection, read_shard

    now = datetime.now().astimezone()
    since, until = (read_time(given[name], now) if given[name] else None for name in ("since", "until"))
    shard, shards = read_shard(given["shard"] or "1/1")
    return Selection(given["limit"], shard, shards, since, until, given["sample"])


_OF_PLAN: Final = ("explain", "as_json")
"""What ``plan`` knows, and ``run`` does not."""


def _typed() -> list[str]:
    """What was typed as ``diarist run``, in one form: manifests first, then each flag by its long name."""
    context, words = click.get_current_context(), ["diarist", "run"]
    for param in sorted(context.command.params, key=lambda param: isinstance(param, click.Option)):
        value = context.params.get(param.name or "")
        given = context.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE
        if not given or param.name in _OF_PLAN:
            continue
        for one in value if isinstance(value, tuple) else (value,):
            text = f"{one:.15g}" if isinstance(one, float) else str(one)
            if isinstance(param, click.Argument):
                words.append(f"./{text}" if text.startswith("--") else text)
            else:
                flag = next(name for name in param.opts if name.startswith("--"))
                words += [flag] if param.is_flag else [flag, text]  # type: ignore[attr-defined]
    return words


def _run(
    manifests: Sequence[str], out: Any, settings: Settings, rerun: Rerun, select: Selection,
    *, yes: bool, command: Sequence[str],
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
        if settings.progress != "json":
            closing(summary, local_directory(out), sys.stderr)
        streams.leave(summary.exit_code)


def _agreed(cost: str) -> bool:
    """Whether the person at the terminal, if there is one, agrees."""
    is_there = sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()
    return bool(is_there) and click.confirm(f"{harmless(cost)}. Run it?", err=True)


async def _plan(
    manifests: Sequence[str], out: Any, settings: Settings, rerun: Rerun, select: Selection, explaining: PlanWriter
) -> int:
    """The plan command. The exit code: 3 if rows cannot run."""
    import asyncio
    import os

    from batch import jobs

    place = await asyncio.to_thread(jobs.placed, out, settings, os.environ)
    async with jobs.open_planner(
        manifests, out, settings=settings, rerun=rerun, select=select, environ=os.environ,
        stdin=streams.standard_input(), on_event=explaining.show, place=place,
    ) as planner:  # fmt: skip
        async for row in planner.rows():
            explaining.row(row)
        workers = jobs.local_workers(place, settings)
        expectation = await planner.expectation(workers)
        explaining.close(planner.plan, planner.pricing, expectation, workers or settings.concurrency)
    return 3 if explaining.cannot_run else 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: one message on standard error for whatever is the user's to mend, and the exit code."""
    streams.guard()
    if arguments is None:
        streams.in_utf8()
    try:
        with streams.answering():
            cli.main(arguments, prog_name="diarist", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        from batch.storage.disk_errors import advice

        place = f"{error.filename}: " if error.filename else ""
        click.echo(f"diarist: {place}{error.strerror or error}. {advice(error, 'Choose another name')}", err=True)
        sys.exit(UnavailableError.exit_code)
    except DiaristError as error:
        _say(f"diarist: {error}")
        sys.exit(error.exit_code if isinstance(error, RunError) else UnavailableError.exit_code)
    except Exception:
        click.echo(plain_lines(redact(traceback.format_exc().rstrip())), err=True)
        sys.exit(1)
