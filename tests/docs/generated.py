"""The parts of the pages that code knows: flags, settings, options, kinds of failure, formats, dialects.

    python -m tests.docs.generated        writes them anew

Each stands between ``<!-- generated: NAME -->`` and ``<!-- end -->`` on its page; a test fails when one is behind.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

from batch import errors
from batch.cli.main import cli
from batch.errors import FailureKind
from batch.manifest import dialects
from batch.providers.assemblyai import options
from batch.telemetry import events, records
from batch.transcripts.formats.registry import FORMATS, TABLES
from tests.support.places import ROOT

DOCS = ROOT / "docs"
MAN_PAGE = DOCS / "reference" / "diarist.1"
QUOTES = " '\""
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_OF_CLASSES = frozenset(
    kind.default_kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
    and hasattr(kind, "default_kind")
)  # fmt: skip


def commands() -> Iterator[str]:
    for name, command in leaves(cli.commands):
        yield f"## `{' '.join(['diarist', name, _arguments(command)]).strip()}`"
        yield ""
        text = " ".join((command.help or "").replace("\b", "").split())
        yield from textwrap.wrap(text, 126, break_long_words=False, break_on_hyphens=False)
        yield ""
        if flags := _flags(command):
            yield "| flag | |"
            yield "|---|---|"
        for each in flags:
            value = "" if each.is_flag else f" {each.make_metavar(click.Context(command))}"
            yield f"| `{_cell(', '.join([*each.opts, *each.secondary_opts]) + value)}` | {_cell(each.help or '')} |"
        yield ""
        if examples := getattr(command, "examples", ()):
            yield "```sh"
            yield from (f"{line}  # {what}" for line, what in examples)
            yield "```"
            yield ""


def leaves(commands: dict[str, click.Command], before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by what is typed."""
    for name, command in commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command.commands, f"{before}{name} ")
        else:
            yield before + name, command


def _roff(text: str) -> str:
    """Text as roff takes it."""
    plain = " ".join(text.replace("\b", "").split()).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + plain if plain[:1] in (".", "'") else plain


def man_page() -> str:
    """``diarist(1)``."""
    lines = ['.\\" Made from the commands by tests/docs/generated.py.', ".TH DIARIST 1", ".SH NAME",
             f"diarist \\- {_roff(cli.help or '')}", ".SH SYNOPSIS", ".B diarist", ".I COMMAND", "[FLAGS]",
             ".SH COMMANDS"]  # fmt: skip
    for name, command in leaves(cli.commands):
        lines += [f".SS {_roff(name)} {_roff(_arguments(command))}", _roff(command.help or "")]
        for each in _flags(command):
            metavar = "" if each.is_flag else f" \\fI{_roff(each.make_metavar(click.Context(command)))}\\fR"
            lines += [".TP", f"\\fB{_roff(', '.join(each.opts))}\\fR{metavar}", _roff(each.help or "")]
        for line, what in getattr(command, "examples", ()):
            lines += [".PP", f"\\fB{_roff(line)}\\fR", ".RS 4", _roff(what), ".RE"]
    codes = (DOCS / "reference" / "exit-codes.md").read_text("utf-8")
    lines.append(".SH EXIT STATUS")
    for code, meaning in re.findall(r"^\| ([\d, ]+) \| (.*) \|$", codes, re.MULTILINE):
        lines += [".TP", f"\\fB{code}\\fR", _roff(meaning.replace("`", "").replace("\\|", "|"))]
    lines += [".SH ENVIRONMENT"]
    for name, meaning in ENVIRONMENT.items():
        lines += [".TP", f"\\fB{name}\\fR", _roff(meaning)]
    return "\n".join(lines) + "\n"


ENVIRONMENT = {
    "ASSEMBLYAI_API_KEY": "The key of the vendor's service. Without it the local service transcribes.",
    "ASSEMBLYAI_BASE_URL": "Another address of a service that speaks the same protocol.",
    "DIARIST_SERVICE_KEY": "The key that diarist serve asks for.",
    "DIARIST_*": "Any setting, as DIARIST_CONCURRENCY=200 or DIARIST_LOCAL__WORKERS=2.",
}


def _arguments(command: click.Command) -> str:
    return " ".join(each.make_metavar(click.Context(command)) for each in command.params
                    if isinstance(each, click.Argument))  # fmt: skip


def _flags(command: click.Command) -> list[click.Option]:
    return [each for each in command.params if isinstance(each, click.Option) and not each.hidden]


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


def event_types() -> Iterator[str]:
    yield "| type | `event` | |"
    yield "|---|---|---|"
    source = Path(records.__file__).read_text("utf-8")
    for kind in get_args(events.Event):
        name = re.search(rf"case {kind.__name__}\(.*?_line\(\s*\"(\w+)\"", source, re.DOTALL)
        assert name, kind
        yield f"| `{kind.__name__}` | `{name[1]}` | {_cell(kind.__doc__ or '')} |"


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
    "events": event_types,
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
    MAN_PAGE.write_text(man_page(), "utf-8")
    for page in pages():
        text = page.read_text("utf-8")
        page.write_text(brought_up_to_date(text), "utf-8")


if __name__ == "__main__":
    main()
