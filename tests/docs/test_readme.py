"""README tells the truth about what is in the repository."""

from __future__ import annotations

import re

import click
import pytest

from batch.cli.main import cli
from batch.errors import RunError
from batch.providers.assemblyai.protocol import JOB_ERRORS, REFUSALS
from tests.support.places import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def test_every_test_that_readme_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", README))
    written = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 15
    assert {name for name in named if f"def {name}(" not in written} == set()


def test_every_flag_that_readme_names_is_there() -> None:
    flags = {flag for command in cli.commands.values() for param in command.params for flag in param.opts}
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", README))
    of_pip = {"--require-hashes", "--no-deps", "--no-build-isolation"}
    others = {"--strict", "--constraint", "--beside"} | of_pip  # of other programs
    assert named - flags - others == set()


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_is_in_readme_and_explains_itself(name: str) -> None:
    assert f"diarist {name}" in README
    command = cli.commands[name]
    assert command.get_short_help_str()
    assert all(param.help for param in command.params if isinstance(param, click.Option) and not param.hidden)


def test_every_relative_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_kind_of_failure_is_in_readme() -> None:
    kinds = {row.kind for row in (*REFUSALS, *JOB_ERRORS) if not issubclass(getattr(row, "reach", object), RunError)}
    assert {kind for kind in kinds - {"no_speech"} if f"`{kind}`" not in README} == set()
