"""What all commands have in common: examples under their flags, and a hint for a name that is none."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click

Example = tuple[str, str]
"""A command line, and what it is for."""

_OTHER_TOOLS: Final[Mapping[str, str]] = {
    "--api-key": "the key comes from the environment: export ASSEMBLYAI_API_KEY=...",
    "--batch-size": "--concurrency",
    "--checkers": "--concurrency",
    "--continue": "the same command continues; no flag is needed",
    "--device": "diarist serve --device, or --set local.device=cuda",
    "--diarize": "speakers are told apart unless --option speaker_labels=false",
    "--jobs": "--concurrency",
    "--key": "the key comes from the environment: export ASSEMBLYAI_API_KEY=...",
    "--lang": "--language",
    "--language-code": "--language",
    "--max-retries": "--set patience.attempts=N",
    "--num-speakers": "--speakers-expected",
    "--out-dir": "--out",
    "--output": "--out",
    "--output-dir": "--out",
    "--output-format": "--format",
    "--parallel": "--concurrency",
    "--recursive": "directories are read with all that is below them",
    "--resume": "the same command continues; no flag is needed",
    "--retries": "--set patience.attempts=N",
    "--speaker-labels": "speakers are told apart unless --option speaker_labels=false",
    "--speech-model": "--model",
    "--threads": "--concurrency",
    "--timeout": "--set deadlines.answer_seconds=N",
    "--transfers": "--set uploads=N",
    "--workers": "--set local.workers=N",
}
"""Flags of other tools, and what does the same here."""


class Command(click.Command):
    """A command whose help ends with ``examples``, each a command line and what it is for."""

    def __init__(self, *arguments: Any, examples: Sequence[Example] = (), **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.examples = examples

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                for line, what in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
                    formatter.write(f"{'':{formatter.current_indent}}    {what}\n")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise self._with_hint(error, ctx) from None

    def _with_hint(self, error: click.NoSuchOption, ctx: click.Context) -> click.UsageError:
        """A hint that works with this command: a flag it has, or how it does what the flag does elsewhere."""
        wrong = error.option_name.replace("_", "-")
        mine = [name for param in self.get_params(ctx) if not getattr(param, "hidden", False) for name in param.opts
                if name.startswith("--")]  # fmt: skip
        hint = wrong if wrong in mine else _OTHER_TOOLS.get(wrong, "")
        if hint.startswith("--") and hint.split()[0] not in mine:
            hint = ""
        hint = hint or next(iter(difflib.get_close_matches(wrong, mine, 1)), "")
        said = f"No such option: {error.option_name}."
        if hint:
            said += f" Did you mean {hint}?" if hint.startswith("--") else f" Here {hint}."
        return click.UsageError(said, ctx)


class Group(click.Group):
    """Commands, in their order of use, with summaries that are never cut off."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self.commands[name].get_short_help_str(200)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def command(*examples: Example, **named: Any) -> Callable[[Callable[..., Any]], Command]:
    """Decorator: the function is a command, with examples under its flags."""
    return click.command(cls=Command, examples=examples, **named)
