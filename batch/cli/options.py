"""Flags that several commands share, and what they mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from batch import providers
from batch.telemetry.redaction import harmless

if TYPE_CHECKING:
    from batch.config import Origin, Settings
    from batch.jobs.planning.decision import Rerun
    from batch.jobs.planning.selection import Selection

RESULTS: Final = "results"
"""The directory of results and journal where none is named."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _profiles(context: click.Context, param: click.Parameter, begun: str) -> list[str]:
    from batch.config import profiles

    return [name for name in profiles() if name.startswith(begun)]


def _services(context: click.Context, param: click.Parameter, begun: str) -> list[str]:
    from batch.providers import registry

    return [name for name in registry.names() if name.startswith(begun)]


def complete_formats(context: click.Context, param: click.Parameter, begun: str) -> list[str]:
    from batch.transcripts.formats.registry import FORMATS

    *before, last = begun.split(",")
    return [",".join([*before, name]) for name in FORMATS if name.startswith(last)]


_SETTINGS = [
    click.option(
        "--profile", metavar="NAME", shell_complete=_profiles, help="Settings for a usual job, e.g. nightly."
    ),
    click.option("--config", type=click.Path(dir_okay=False), help="A TOML file of settings (see configs/)."),
    click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, e.g. uploads=4."),
]

_READING = [
    click.option("--prefix", metavar="TEXT", help='Stands before each key; "{name}": what MANIFEST is called.'),
    click.option("--dialect", metavar="NAME", help="How manifests are written, e.g. nemo.  [default: recognised]"),
    click.option(
        "--column", "columns", multiple=True, metavar="WHAT=NAME",
        help="What a column is called, e.g. audio=recording_path,id=call_id.",
    ),
]  # fmt: skip

_REQUEST = [
    click.option("--language", metavar="CODE", help="What is spoken, e.g. de; auto: detected."),
    click.option("--model", metavar="LIST", help="The service's speech models, the first that fits."),
    click.option("--speakers-expected", type=click.IntRange(min=1), metavar="N", help="How many speak."),
    click.option(
        "--option", "request_options", multiple=True, metavar="KEY=VALUE",
        help="Any other option of the service, e.g. filter_profanity=true.",
    ),
]  # fmt: skip

_SELECTION = [
    click.option("--limit", type=click.IntRange(min=1), help="At most so many recordings."),
    click.option("--shard", metavar="I/N", help="Only this part of the recordings, by key: 1/4 ... 4/4."),
    click.option("--since", metavar="TIME", help="Only files modified since: 2026-11-20, 36h, 7d."),
    click.option("--until", metavar="TIME", help="Only files modified until."),
    click.option("--sample", type=click.IntRange(min=1), help="So many recordings from all over, always the same."),
]

_RERUN = [
    click.option("--force", is_flag=True, help="Run everything again, and pay again."),
    click.option(
        "--retry", metavar="WHICH",
        help="What failed, again: failed, all (what came out empty, too), or kinds, e.g. timeout,no_speech.",
    ),
    click.option("--keep-done", is_flag=True, help="What is done stays as it is, whatever its row asks for now."),
]  # fmt: skip

_PLACE = [
    click.option(
        "-o", "--out", default=RESULTS, show_default=True, metavar="DIR",
        help="Directory of results and journal; s3://... also.",
    ),
    click.option(
        "--service", metavar="NAME", shell_complete=_services, help=f"{providers.SERVICES}.  [default: auto]"
    ),
]  # fmt: skip

_CONCURRENCY = [click.option("-c", "--concurrency", type=int, help="Recordings in flight.  [default: 64]")]


def _with(options: Sequence[Decorator]) -> Decorator:
    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


with_manifest_settings = _with(_READING + _SETTINGS)
"""Flags by which settings are given, where manifests are read."""
with_settings = _with(_SETTINGS)
"""Flags by which settings are given."""
with_place = _with(_PLACE)
"""Flags that say where results go, and who transcribes."""
with_request = _with(_PLACE + _CONCURRENCY + _RERUN + _SELECTION + _REQUEST)
"""Flags that say what is asked for: all that ``run`` and ``plan`` have in common but settings."""
with_options = _with(_REQUEST)
"""Flags that are options of the service for every recording."""
with_formats = click.option(
    "--format",
    "formats",
    metavar="LIST",
    shell_complete=complete_formats,
    help="Formats beside each JSON result, e.g. srt,txt.",
)
with_directory = click.argument("directory", metavar="[DIR]", default=RESULTS, type=click.Path(file_okay=False))
"""The directory of results; ``results`` where none is named."""


def directory_and(words: tuple[str, ...], what: str) -> tuple[str, str]:
    """The directory and what is asked of it, of a command's ``[DIR] WHAT``. Raises ``click.UsageError``."""
    if not 1 <= len(words) <= 2:
        hint = f"give one {what}" + (", in quotes if it has several words" if words else "")
        raise click.UsageError(hint, click.get_current_context())
    if len(words) == 1 and os.path.isdir(words[0]):  # noqa: PTH112 (this runs before anything is imported)
        raise click.UsageError(f"{words[0]} is a directory: give a {what}, too", click.get_current_context())
    return (RESULTS, words[0]) if len(words) == 1 else (words[0], words[1])


def settings_of(given: Mapping[str, Any], *flags: str, origins: list[Origin] | None = None) -> Settings:
    """The settings from all their places; ``flags`` are those of the command that are settings. ``origins`` receives
    where each has its value from."""
    from pathlib import Path

    from batch.jobs.validation import load_settings

    config = Path(given["config"]) if given["config"] else None
    named = {name: given.get(name) for name in (*flags, "dialect", "prefix")}
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
    if columns := [each for text in given.get("columns") or () for each in text.split(",")]:
        named["columns"] = _pairs("--column", columns, "audio=recording_path")
    if request := _request(given):
        named["options"] = request
    return load_settings(
        config, environ=os.environ, sets=given["sets"], flags=named, profile=given["profile"], origins=origins
    )


def _request(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options for every recording of a run. An empty one takes away what a file says."""
    asked: dict[str, Any] = _pairs("--option", given.get("request_options") or (), "filter_profanity=true")
    if language := given.get("language"):
        detected = language.lower() == "auto"
        asked |= {"language_code": "" if detected else language, "language_detection": "true" if detected else ""}
    if model := given.get("model"):
        asked["speech_models"] = [name.strip() for name in model.split(",")]
    if expected := given.get("speakers_expected"):
        asked["speakers_expected"] = expected
    return asked


def _pairs(flag: str, texts: Any, example: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise click.UsageError(f"{flag} {text}: write it as {flag} {example}")
        pairs[name.strip()] = value.strip()
    return pairs


def rerun_of(given: Mapping[str, Any]) -> Rerun:
    """What is to be done again."""
    from batch.jobs.planning.decision import Rerun

    if given["force"] and given["keep_done"]:
        raise click.UsageError("--force runs again what is done, and --keep-done leaves it: give one of them")
    retry = [name.strip() for name in (given["retry"] or "").split(",") if name.strip()]
    if given["retry"] is not None and not retry:
        raise click.UsageError("--retry: give failed, all, or kinds of failure")
    named = {name for name in retry if name in ("failed", "all")}
    kinds = frozenset(map(_kind, set(retry) - named))
    return Rerun(given["force"], failed=bool(named), empty="all" in named, keep_done=given["keep_done"], kinds=kinds)


def _kind(name: str) -> str:
    """A kind of failure. Raises ``click.UsageError`` for a name that is none, or that no recording fails with."""
    import difflib

    from batch.errors import FailureKind

    if name in set(FailureKind):
        return name
    if name == "bad_row":
        raise click.UsageError(
            "--retry bad_row: a row that was rejected is mended in its manifest, and then runs unasked"
        )
    close = difflib.get_close_matches(name, ["failed", "all", *FailureKind], 1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise click.UsageError(
        f"--retry {name}: {meant}give failed, all, or kinds of failure (docs/reference/failure-kinds.md)"
    )


def selection_of(given: Mapping[str, Any]) -> Selection:
    """The part of the manifests that is asked for."""
    from datetime import datetime

    from batch.config import read_time
    from batch.jobs.planning.selection import Selection, read_shard

    now = datetime.now().astimezone()
    since, until = (read_time(given[name], now) if given[name] else None for name in ("since", "until"))
    shard, shards = read_shard(given["shard"] or "1/1")
    return Selection(given["limit"], shard, shards, since, until, given["sample"])


_OF_PLAN: Final = ("explain", "as_json", "exit_code", "dry_run")
"""What is asked of a plan, and not of the run that it is of."""


def as_typed() -> list[str]:
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


def say(message: str) -> None:
    """A line on standard error."""
    click.echo(harmless(message), err=True)
