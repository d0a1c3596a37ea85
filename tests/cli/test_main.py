"""The command line as a person or a cron job meets it: a real child process each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import diarist


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_a_command_that_does_nothing_heavy_imports_nothing_heavy(argument: str) -> None:
    code = (
        "import sys\nfrom batch.cli.main import main\n"
        f"try: main([{argument!r}])\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'asyncio', 'rich', 'numpy', 'av', 'anyio', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stderr) == (0, "")
    assert "diarist" in child.stdout or "MANIFEST" in child.stdout or "Usage" in child.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run"], 2, "Missing argument"),
        (["run", "nowhere.csv"], 2, "nowhere.csv"),
        (["run", "."], 2, "nothing"),
        (["run", "a.wav", "--service", "asemblyai"], 2, "asemblyai"),
        (["run", "a.wav", "--service", "assemblyai"], 4, "ASSEMBLYAI_API_KEY is not set"),
        (["run", "a.wav", "--set", "concurency=3"], 2, "did you mean 'concurrency'"),
        (["run", "a.wav", "--shard", "5/4"], 2, "I/N"),
        (["run", "a.wav", "--config", "absent.toml"], 2, "absent.toml"),
        (["run", "a.wav", "--out", "/proc/nowhere"], 2, "/proc/nowhere"),
        (["run", "a.wav", "--out", "a.wav"], 2, "cannot write to"),
        (["run", "a.wav", "--service", "local", "--set", "local.engine=absent:Engine"], 2, "absent"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_a_mistake_gets_one_clear_message_and_its_exit_code(
    tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    (tmp_path / "a.wav").write_bytes(b"x") if arguments[1:2] != ["."] else None
    done = diarist(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
