"""Flags that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from batch.telemetry.redaction import harmless

if TYPE_CHECKING:
    from batch.config import Settings
    from batch.jobs.planning.decision import Rerun
    from batch.jobs.planning.selection import Selection

_SETTINGS = [
    click.option("--prefix", metavar="TEXT", help='Stands before each key; "{name}": what MANIFEST is called.'),
    click.option("--dialect", metavar="NAME", help="How manifests are written, e.g. nemo.  [default: recognised]"),
    click.option("--config", type=click.Path(dir_okay=False), help="A TOML file of settings (see configs/)."),
    click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="One setting, e.g. uploads=4."),
]


_SELECTION = [
    click.option("--limit", type=click.IntRange(min=1), help="At most so many recordings."),
    click.option("--shard", metavar="I/N", help="Only this part of the recordings, by key: 1/4 ... 4/4."),
    click.option("--since", metavar="TIME", help="Only files modified since: 2026-11-20, 36h, 7d."),
    click.option("--until", metavar="TIME", help="Only files modified until."),
    click.option("--sample", type=click.IntRange(min=1), help="So many recordings from all over, always the same."),
]


def with_selection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Flags that choose a part of the manifests."""
    for option in reversed(_SELECTION):
        command = option(command)
    return command


def with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Flags by which settings are given."""
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


def settings_of(given: dict[str, Any], *flags: str) -> Settings:
    """The settings from all their places; ``flags`` are those of the command that are settings."""
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


def rerun_of(given: Mapping[str, Any]) -> Rerun:
    """What is to be done again."""
    from batch.jobs.planning.decision import Rerun

    if given["force"] and given["keep_done"]:
        raise click.UsageError("--force runs again what is done, and --keep-done leaves it: give one of them")
    retry = given["retry"]
    return Rerun(given["force"], failed=retry is not None, empty=retry == "all", keep_done=given["keep_done"])


def selection_of(given: Mapping[str, Any]) -> Selection:
    """The part of the manifests that is asked for."""
    from datetime import datetime

    from batch.config import read_time
    from batch.jobs.planning.selection import Selection, read_shard

    now = datetime.now().astimezone()
    since, until = (read_time(given[name], now) if given[name] else None for name in ("since", "until"))
    shard, shards = read_shard(given["shard"] or "1/1")
    return Selection(given["limit"], shard, shards, since, until, given["sample"])


_OF_PLAN: Final = ("explain", "as_json")
"""What ``plan`` knows, and ``run`` does not."""


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
