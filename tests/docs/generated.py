"""The parts of the pages that code knows: flags, settings, options, kinds of failure, formats, dialects.

    python -m tests.docs.generated        writes them anew

Each stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` on its page; a test fails when one is behind.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from batch import errors
from batch.cli.main import cli
from batch.errors import FailureKind
from batch.manifest import dialects
from batch.providers.assemblyai import options
from batch.transcripts.formats.registry import FORMATS, TABLES
from tests.support.places import ROOT

DOCS = ROOT / "docs"
QUOTES = " '\""
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OF_CLASSES = frozenset(
    kind.default_kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
    and hasattr(kind, "default_kind")
)  # fmt: skip


def commands() -> Iterator[str]:
    for name, command in sorted(cli.commands.items()):
        arguments = " ".join(each.make_metavar(click.Context(command)) for each in command.params
                             if isinstance(each, click.Argument))  # fmt: skip
        yield f"## `diarist {name} {arguments}`".replace(" `", "`" if not arguments else " `").rstrip()
        yield ""
        text = " ".join((command.help or "").replace("\b", "").split())
        yield from textwrap.wrap(text, 126, break_long_words=False, break_on_hyphens=False)
        yield ""
        yield "| flag | |"
        yield "|---|---|"
        for each in command.params:
            if isinstance(each, click.Option) and not each.hidden:
                yield f"| `{', '.join([*each.opts, *each.secondary_opts])}` | {_cell(each.help or '')} |"
        yield ""


def failure_kinds() -> Iterator[str]:
    yield "| kind | tried again unasked | |"
    yield "|---|---|---|"
    source = Path(errors.__file__).read_text()
    heading = ""
    for line in source[source.index("class FailureKind") : source.index("class DiaristError")].splitlines():
        if match := re.match(r"    # (.*)", line):
            heading = match[1]
        if match := re.match(r'    \w+ = "(\w+)"', line):
            kind = FailureKind(match[1])
            again = "yes" if kind in errors.RETRIED_UNASKED else ""
            yield f"| `{kind}` | {again} | {heading} |"
    yield "| `bad_row` | | The manifest. |"


def settings() -> Iterator[str]:
    yield "```toml"
    yield (ROOT / "configs" / "default.toml").read_text().rstrip()
    yield "```"


def request_options() -> Iterator[str]:
    yield "| option | what it may be |"
    yield "|---|---|"
    for name in sorted(options.OPTION_NAMES):
        kind = str(options.Options.__annotations__[name]).replace(" | UnsetType", "").replace(" | None", "")
        yield f"| `{name}` | {_cell(_kind(kind))} |"
    yield ""
    yield "Also by other names:"
    yield ""
    yield from (f"- `{name}`: `{means}`" for name, means in options.ALIASES.items())


def formats() -> Iterator[str]:
    yield "| format | files |"
    yield "|---|---|"
    for name, form in FORMATS.items():
        yield f"| `{name}` | `KEY.{form.suffix}` |"
    for name, files in TABLES.items():
        yield f"| `{name}` | {', '.join(f'`{file}`' for file in files)} |"


def manifest_dialects() -> Iterator[str]:
    yield f"`--dialect` is one of {', '.join(f'`{name}`' for name in dialects.NAMES)}."


BLOCKS = {
    "commands": commands,
    "failure-kinds": failure_kinds,
    "settings": settings,
    "options": request_options,
    "formats": formats,
    "dialects": manifest_dialects,
}


def pages() -> list[Path]:
    return sorted(DOCS.rglob("*.md"))


def brought_up_to_date(text: str) -> str:
    """The text of a page, with what code says now in its generated parts."""

    def block(found: re.Match[str]) -> str:
        return found[1] + "\n".join(BLOCKS[found[2]]()).strip("\n") + "\n" + found[3]

    return _BLOCK.sub(block, text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _kind(annotation: str) -> str:
    """A type as a person reads it."""
    plain = {
        "Fraction": "a number from 0 to 1", "Positive": "a whole number from 1", "Milliseconds": "milliseconds",
        "bool": "true or false", "str": "text", "list[str]": "a list", "dict[str, Any]": "an object",
        "dict[str, list[str]]": "an object of lists", "list[CustomSpelling]": "a list of objects `from`, `to`",
    }  # fmt: skip
    if annotation in plain:
        return plain[annotation]
    if named := re.search(r"Literal\[(.*?)\]", annotation):
        return ", ".join(f"`{each.strip(QUOTES)}`" for each in named[1].split(","))
    if "list[str]" in annotation:
        limits = dict(re.findall(r"(\w+_length)=(\d+)", annotation))
        most, least = limits.get("max_length"), limits.get("min_length")
        return "a list" + (f" of at most {most}" if most else "") + (f" of at least {least}" if least else "")
    if bounds := re.search(r"ge=(\d+), le=(\d+)", annotation):
        return f"a whole number from {bounds[1]} to {bounds[2]}"
    return f"an object, or dotted columns such as `{annotation}`" if annotation[:1].islower() else "an object"


def main() -> None:
    for page in pages():
        text = page.read_text("utf-8")
        page.write_text(brought_up_to_date(text), "utf-8")


if __name__ == "__main__":
    main()
