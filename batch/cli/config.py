"""``diarist config``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from batch.cli.command import Command, Group
from batch.cli.options import settings_of, with_manifest_settings, with_options
from batch.telemetry.redaction import harmless, redact_tree

if TYPE_CHECKING:
    from batch.config import Origin


@click.group(cls=Group)
def config() -> None:
    """Say which settings hold, and where each has its value from."""


@config.command(
    cls=Command,
    examples=[
        ("diarist config show --profile nightly", "what holds, and why"),
        ("diarist config show --changed", "only what is not as it comes"),
        ("diarist config show > mine.toml", "a file for --config"),
    ],
)
@click.option("--changed", is_flag=True, help="Only settings that have another value than the built-in one.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each setting.")
@with_options
@with_manifest_settings
def show(changed: bool, as_json: bool, **given: Any) -> None:
    """Show every setting that a run here would have, as TOML, and where it has it from.

    Profiles, files, the environment and flags are read as for run. What signs a URL is left out.
    """
    import msgspec

    origins: list[Origin] = []
    settings_of(given, origins=origins)
    shown = [each for each in origins if each.place or not changed]
    if as_json:
        for each in shown:
            fields = {"setting": each.name, "value": redact_tree(each.value), "from": each.place or "built in"}
            click.echo(msgspec.json.encode(fields))
        return
    for line in _toml(shown):
        click.echo(harmless(line))


def _toml(origins: list[Origin]) -> Iterator[str]:
    """Settings as a TOML file, what has a place with a comment of it; tables after what stands in none."""
    import msgspec

    section = ""
    for each in sorted(origins, key=lambda each: each.name.count(".") > 0):
        table, _, name = each.name.rpartition(".")
        if table != section:
            section = table
            yield ""
            yield f"[{table}]"
        value = msgspec.json.encode(redact_tree(each.value)).decode()
        yield f"{name} = {value}" + (f"  # from {each.place}" if each.place else "")
