"""Flags and commands that people know from other tools: they do here what they do there, or say what does."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from batch.cli.command import Command
from batch.cli.main import cli
from batch.cli.options import rerun_of, settings_of
from batch.config import Settings, profiles
from batch.errors import FailureKind, UsageError
from tests.docs.generated import leaves
from tests.support.command_line import diarist
from tests.support.places import ROOT

COMMANDS = dict(leaves(cli.commands))


def given(*arguments: str, command: str = "run") -> dict[str, object]:
    context = COMMANDS[command].make_context(command, list(arguments))
    return context.params


@pytest.fixture(autouse=True)
def _no_settings_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ASSEMBLYAI_API_KEY", "DIARIST_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_example_of_a_command_is_one_that_it_takes(name: str) -> None:
    command = COMMANDS[name]
    assert isinstance(command, Command) and command.examples
    for line, what in command.examples:
        assert what
        words = shlex.split(line.partition(" | ")[0].partition(" && ")[0].partition(" || ")[0].partition(" > ")[0])
        if words[0] == "eval":
            words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
        words = words[words.index("diarist") + 1 :]
        command.make_context(name, words[len(name.split()) :])


@pytest.mark.parametrize("width", [80, 120])
def test_no_summary_is_cut_off(width: int) -> None:
    said = cli.get_help(click.Context(cli, terminal_width=width))
    plain = " ".join(said.split())
    for name, command in cli.commands.items():
        summary = " ".join((command.help or "").partition("\n\n")[0].split())
        assert f"{name} {summary}" in plain
        assert len(summary) <= 68


def test_one_flag_means_the_same_in_every_command() -> None:
    """A flag has one meaning, told in the same words, or takes what its command is about."""
    said: dict[str, set[str]] = {}
    for name, command in COMMANDS.items():
        for param in command.params:
            if isinstance(param, click.Option) and not param.hidden:
                for flag in param.opts:
                    said.setdefault(flag, set()).add(f"{param.help}" if flag not in _OF_ITS_COMMAND else "")
                    assert flag != "--prefix" or name != "search"
    assert {flag: words for flag, words in said.items() if len(words) > 1} == {}


_OF_ITS_COMMAND = frozenset({"-o", "--out", "--json", "--limit", "--since", "--service", "--format", "--to"})
"""These speak of what their command is about: where output goes, which JSON, how many of what, since when."""


def test_the_directory_is_results_wherever_none_is_named() -> None:
    assert given(command="status")["directory"] == given(command="report")["directory"] == "results"
    assert given("--format", "srt", command="export")["directory"] == "results"
    assert given(command="recover")["directory"] == given("a.csv")["out"] == "results"
    done = diarist("search", "hello", cwd=ROOT / "docs")
    assert "results" in done.stderr


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        (["--language", "de"], {"language_code": "de"}),
        (["--language", "auto"], {"language_detection": True}),
        (["--model", "universal-3-5-pro, universal-2"], {"speech_models": ["universal-3-5-pro", "universal-2"]}),
        (["--speakers-expected", "3"], {"speakers_expected": 3}),
        (["--option", "filter_profanity=true", "--option", "disfluencies=true"],
         {"filter_profanity": True, "disfluencies": True}),
    ],
)  # fmt: skip
def test_options_for_a_whole_run(flags: list[str], options: dict[str, object]) -> None:
    settings = settings_of(given("a.csv", *flags))
    assert settings.options == {"speaker_labels": True, **options}


def test_a_language_as_a_flag_replaces_that_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[options]\nlanguage_detection = true\n")
    file = ["--config", str(tmp_path / "mine.toml")]
    assert settings_of(given("a.csv", *file, "--language", "de")).options["language_code"] == "de"
    (tmp_path / "mine.toml").write_text('[options]\nlanguage_code = "fr"\n')
    assert "language_code" not in settings_of(given("a.csv", *file, "--language", "auto")).options


def test_a_misspelt_option_is_told_with_one_that_works() -> None:
    with pytest.raises(UsageError, match="filter_profanity"):
        settings_of(given("a.csv", "--option", "filter_profanty=true"))
    with pytest.raises(click.UsageError, match="KEY=VALUE|filter_profanity=true"):
        settings_of(given("a.csv", "--option", "filter_profanity"))


@pytest.mark.parametrize("name", sorted(profiles()))
def test_every_profile_is_known_by_its_name_and_has_settings(name: str) -> None:
    settings = settings_of(given("a.csv", "--profile", name))
    assert settings != Settings()
    assert (ROOT / "configs" / f"{name}.toml").exists()


def test_profiles_are_in_what_is_installed() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    carried = {Path(to).stem for to in wheel["force-include"].values() if to.startswith("batch/profiles/")}
    assert carried == {path.stem for path in (ROOT / "configs").glob("*.toml")} - {"default"}


def test_a_profile_stands_below_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("concurrency = 7\n")
    flags = ["--profile", "nightly", "--config", str(tmp_path / "mine.toml")]
    assert settings_of(given("a.csv", *flags)).concurrency == 7
    monkeypatch.setenv("DIARIST_CONCURRENCY", "9")
    settings = settings_of(given("a.csv", *flags))
    assert (settings.concurrency, settings.prefix) == (9, "{name}")


@pytest.mark.parametrize(
    ("retry", "failed", "empty", "kinds"),
    [
        ("failed", True, False, set()), ("all", True, True, set()),
        ("timeout,no_speech", False, False, {"timeout", "no_speech"}),
    ],
)  # fmt: skip
def test_which_failures_are_tried_again(retry: str, failed: bool, empty: bool, kinds: set[str]) -> None:
    rerun = rerun_of(given("a.csv", "--retry", retry))
    assert (rerun.failed, rerun.empty, rerun.kinds) == (failed, empty, kinds)


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_can_be_tried_again_by_its_name(kind: FailureKind) -> None:
    assert rerun_of(given("a.csv", "--retry", kind)).kinds == {kind}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "a.csv", "--retry", "timout"], "did you mean timeout?"),
        (["run", "a.csv", "--retry", ""], "give failed, all, or kinds of failure"),
        (["run", "a.csv", "--lang", "de"], "Did you mean --language?"),
        (["run", "a.csv", "--speaker_labels"], "speakers are told apart"),
        (["run", "a.csv", "--dry_run"], "Did you mean --dry-run?"),
        (["run", "a.csv", "--resume"], "the same command continues"),
        (["run", "a.csv", "--api-key", "x"], "ASSEMBLYAI_API_KEY"),
        (["run", "a.csv", "--output_dir", "x"], "Did you mean --out?"),
        (["status", "--concurency", "3"], "No such option: --concurency"),
        (["run", "a.csv", "--profile", "nightley"], "did you mean nightly?"),
        (["run", "a.csv", "--profile", "mine.toml"], "--config"),
        (["run", "a.csv", "--column", "audo=x"], "did you mean 'audio'?"),
        (["run", "a.csv", "-q", "-v"], "give one of them"),
        (["run", "a.csv", "--set", "max_cost=3"], "did you mean 'budget.max_cost'?"),
        (["serach", "x"], "search"),
        (["show"], "give one KEY"),
        (["search", "a", "b", "c"], "in quotes"),
    ],
)
def test_a_mistake_is_told_with_what_works(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = diarist(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split()), done.stderr
    assert done.stderr.count("id you mean") <= 1


def test_every_hint_names_a_flag_that_its_command_has() -> None:
    from batch.cli.command import _OTHER_TOOLS

    known = {flag for param in COMMANDS["run"].params for flag in param.opts}
    for flag, hint in _OTHER_TOOLS.items():
        assert flag not in known, "it is a flag of run's by now"
        if hint.startswith("--"):
            assert hint.split()[0] in known


def test_config_show_tells_every_setting_and_its_place(tmp_path: Path) -> None:
    done = diarist("config", "show", "--profile", "nightly", "--set", "uploads=3", cwd=tmp_path,
                   DIARIST_PING__URL="https://me:secret@example.com/1?token=x")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "uploads = 3  # from --set" in done.stdout
    assert "concurrency = 200  # from --profile nightly" in done.stdout
    assert "secret" not in done.stdout and "token" not in done.stdout
    (tmp_path / "shown.toml").write_text(done.stdout)
    again = diarist("config", "show", "--config", "shown.toml", "--json", cwd=tmp_path)
    values = {line["setting"]: line["value"] for line in map(json.loads, again.stdout.splitlines())}
    assert (values["uploads"], values["concurrency"], values["patience.outage_seconds"]) == (3, 200, 1800.0)
    flags = ["--set", "uploads=3", "--language", "de", "--column", "audio=my path"]
    changed = diarist("config", "show", "--changed", *flags, cwd=tmp_path)
    place = "  # from the command line"
    assert changed.stdout.splitlines() == [
        "uploads = 3  # from --set", "", "[columns]", f'audio = "my path"{place}', "", "[options]",
        f'language_code = "de"{place}',
    ]  # fmt: skip


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes(shell: str) -> None:
    script = diarist("completion", shell).stdout
    assert "_DIARIST_COMPLETE" in script
    asked = {"COMP_WORDS": "diarist run --profile ni", "COMP_CWORD": "3", "_DIARIST_COMPLETE": f"{shell}_complete"}
    if shell == "fish":
        asked["COMP_CWORD"] = "ni"
    done = diarist(**asked)
    assert "nightly" in done.stdout


def test_the_man_page_is_as_the_commands_are() -> None:
    from tests.docs import generated

    assert generated.MAN_PAGE.read_text("utf-8") == generated.man_page()


def test_help_needs_no_more_than_the_command_line(tmp_path: Path) -> None:
    for name in COMMANDS:
        code = f"import sys\nfrom batch.cli.main import main\ntry: main({[*name.split(), '--help']!r})\n"
        code += "except SystemExit: pass\nassert not {'aiohttp', 'rich', 'msgspec'} & set(sys.modules)"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (child.returncode, child.stderr) == (0, ""), name
