"""README and the pages tell the truth about what is in the repository."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from batch.cli.main import cli
from batch.errors import FailureKind
from tests.docs import generated
from tests.support.places import ROOT

README = ROOT / "README.md"
PAGES = [README, *generated.pages()]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text("utf-8") for page in PAGES}
ALL = "\n".join(TEXTS.values())


def test_readme_is_a_front_page() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150


def test_every_test_that_a_page_names_is_there() -> None:
    named = set(re.findall(r"`(test_\w+)`", ALL))
    written = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 15
    assert {name for name in named if f"def {name}(" not in written and f"{name}.py" not in ALL} == set()


def test_every_file_that_a_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:batch|tests|configs|docs)/[\w/.-]+)`", ALL))
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_every_flag_that_a_page_names_is_there() -> None:
    commands = [cli, *(command for _, command in generated.leaves(cli.commands))]
    flags = {flag for command in commands for param in command.params for flag in param.opts}
    ours = "\n".join(text for name, text in TEXTS.items() if name != "docs/how-to/from-other-tools.md")
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]+)", ours))
    of_pip = {"--require-hashes", "--no-deps", "--no-build-isolation"}
    others = {"--strict", "--constraint", "--beside", "--help", "--version"} | of_pip  # of other programs
    assert named - flags - others == set()


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_every_command_is_on_a_page_and_explains_itself(name: str) -> None:
    assert f"diarist {name}" in TEXTS["README.md"]
    command = cli.commands[name]
    assert command.get_short_help_str()
    assert all(param.help for param in command.params if isinstance(param, click.Option) and not param.hidden)


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXTS[page]):
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / unquote(path) if path else ROOT / page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_of(text: str) -> list[str]:
    """The ``diarist`` commands in the blocks of a page, without what a shell does with them."""
    blocks = re.findall(r"```(?:sh|console|bash)\n(.*?)```", text, re.DOTALL)
    lines = (line.removeprefix("$ ") for block in blocks for line in block.replace("\\\n", " ").splitlines())
    parts = (part.strip() for line in lines for part in re.split(r"&&|\|\||[|;>]|(?:^|\s)#", line))
    plain = (re.sub(r"^(?:\w+=\S+\s+)+", "", part) for part in parts)
    return [re.sub(r"\$\([^)]*\)|\.\.\.", "x", part) for part in plain if part.startswith("diarist ")]


@pytest.mark.parametrize("page", sorted(TEXTS))
def test_every_command_of_a_page_is_one_that_diarist_takes(page: str) -> None:
    known = dict(generated.leaves(cli.commands))
    for line in commands_of(TEXTS[page]):
        words = shlex.split(line)[1:]
        name = next(name for name in (" ".join(words[:2]), words[0]) if name in known)
        try:
            known[name].make_context(name, words[len(name.split()) :])
        except click.exceptions.Exit:
            pass
        except click.ClickException as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_every_page_is_reached_from_the_front_page() -> None:
    seen, left = set[Path](), [README]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md":
            left += list(page.glob("*.md")) if page.is_dir() else []
            continue
        seen.add(page)
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
        left += [(page.parent / unquote(link)).resolve() for link in links]
    assert {page for page in generated.pages() if page.resolve() not in seen} == set()


def test_what_code_knows_is_on_its_page_as_it_is_now() -> None:
    """``python -m tests.docs.generated`` writes it."""
    for page in generated.pages():
        text = page.read_text("utf-8")
        assert generated.brought_up_to_date(text) == text, page.relative_to(ROOT)
    blocks = set(re.findall(r"<!-- generated: ([\w-]+) -->", ALL))
    assert blocks == generated.BLOCKS.keys()


def test_every_kind_of_failure_is_on_its_page() -> None:
    page = TEXTS["docs/reference/failure-kinds.md"]
    assert {kind for kind in FailureKind if f"| `{kind}` |" not in page} == set()


def test_pages_are_kept_to_readable_lines() -> None:
    """Lines of prose end at 140 characters; tables and code may be longer."""
    for name, text in TEXTS.items():
        prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL).splitlines()
        long = [line for line in prose if len(line) > 140 and not line.startswith(("|", "<!--"))]
        assert long == [], name
