"""Commands that diarist suggests do what the run was asked that they speak of, wherever they are pasted."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import batch
from batch.config import Settings
from batch.engine.interface import BadAudio
from batch.jobs.planning.selection import Selection
from batch.jobs.status_files import asked, command_of
from batch.telemetry.suggestions import again
from batch.telemetry.summary import RunContext
from tests.support import processes as running
from tests.support.command_line import diarist
from tests.support.recordings import archive, settings
from tests.support.service import start_service
from tests.support.waiting import until

HERE = Path("/work")


def stage(command: str, *, service: str = "assemblyai", out: str = "results") -> RunContext:
    words = tuple(shlex.split(command))
    manifests = tuple(word for word in words[2:3] if not word.startswith("--"))
    return RunContext(manifests, out, service, command=words, cwd=str(HERE))


@pytest.mark.parametrize(
    ("typed", "retry", "suggested"),
    [
        ("diarist run m.csv", False, "diarist run m.csv --out results --service assemblyai"),
        (
            "diarist run m.csv --out other --set uploads=4 --set options.x=1",
            True,
            "diarist run m.csv --out results --set uploads=4 --set options.x=1 --service assemblyai --retry failed",
        ),
        (
            "diarist run m.csv --force --yes --retry all --service auto --limit 3",
            True,
            "diarist run m.csv --retry failed --service assemblyai --limit 3 --out results",
        ),
        (
            "diarist run m.csv --force --retry all --service auto",
            False,
            "diarist run m.csv --retry all --service assemblyai --out results",
        ),
        (
            "diarist run - --dialect nemo",
            True,
            "diarist run f.jsonl --dialect jsonl --out results --service assemblyai --retry failed",
        ),
    ],
)
def test_suggested_command_is_the_typed_one_with_its_service(typed: str, retry: bool, suggested: str) -> None:
    """A command is the one that was typed, with its service and directory."""
    listed = "f.jsonl" if retry else ""
    assert again(stage(typed), HERE, retry=retry, listed=listed) == suggested
    assert again(stage(typed), None, retry=retry, listed=listed) == f"cd /work && {suggested}"


def test_what_signs_a_url_and_keys_are_never_recorded() -> None:
    signed = "https://u:p@host/a.mp3?X-Amz-Signature=secret"
    found = asked([signed], "out", ["diarist", "run", signed, "--set", "x=the-key"], ("the-key",))
    assert not re.search("secret|the-key|u:p", repr(found))
    assert again(found, Path.cwd()).endswith("# … stands for what must stay secret")


def test_python_caller_gets_an_equivalent_command_or_none() -> None:
    options = {"speaker_labels": True, "language_code": "de"}
    at = Settings(service="local", options=options, formats=["srt"])
    words = command_of(["m.csv"], Path("out"), at, Selection(shard=2, shards=4))
    assert shlex.join(words) == (
        "diarist run m.csv --out out --service local --format srt --shard 2/4 --set options.language_code=de"
    )
    assert command_of(["m.csv"], "out", Settings(options={**options, "keyterms_prompt": ["a"]}), Selection()) == ()


def shown_at_the_end(said: str) -> str:
    return next(line for line in said.splitlines() if line.startswith("to try them again: ")).partition(": ")[2]


def shown_in_the_report(out: Path) -> str:
    assert diarist("report", str(out)).returncode == 0
    page = (out / "report.html").read_text("utf-8")
    found = re.search(r'<p class="command"><code>(.*?)</code>', page)
    assert found
    return html.unescape(found[1])


async def test_pasted_command_retries_failures_and_pays_nothing_else(tmp_path: Path) -> None:
    """Pasted anywhere, it tries what failed and pays for nothing else."""
    archive(tmp_path / "my audio", 4)
    (tmp_path / "my settings.toml").write_text("[options]\nspeakers_expected = 3\n")
    bad = {(tmp_path / "my audio" / "2.wav").read_bytes()}
    async with start_service(
        tmp_path / "service", failing=lambda audio: BadAudio("no audio") if audio in bad else None
    ) as service:
        ended = await running.diarist(
            "run", "my audio/manifest.csv", "-o", "out", "-c7", "--config", "my settings.toml", "--yes", "--force",
            "--set", "options.language_code=en", cwd=tmp_path, ASSEMBLYAI_BASE_URL=service.base_url,
        )  # fmt: skip
        assert ended.code == 3, ended.said
        recorded = json.loads((tmp_path / "out/.diarist/summary.json").read_bytes())["stage"]
        assert recorded["cwd"] == str(tmp_path)
        assert recorded["command"][:5] == ["diarist", "run", "my audio/manifest.csv", "--out", "out"]
        command = shown_in_the_report(tmp_path / "out")
        assert command == f"cd {tmp_path} && {shown_at_the_end(ended.said)}"
        assert not {"--force", "--yes"} & {*shlex.split(command)}
        assert len(service.submissions) == 4
        bad.clear()
        pasted = command.replace("diarist run", f"{shlex.quote(sys.executable)} -m batch run", 1)
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", pasted, cwd="/", stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        said = (await child.communicate())[1].decode()
        assert child.returncode == 0, said
        assert "4 rows: 1 transcribed, 3 skipped (3 done before)" in said
        assert len(service.submissions) == 5


async def test_a_killed_run_is_told_with_the_command_that_continues_it(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=60) as service:
        child = await running.start("run", manifest, "--out", out, "--service", service.base_url, "--force")
        await until(lambda: len(service.submissions) == 2 and (out / ".diarist/summary.json").exists())
        child.kill()
        await child.communicate()
        address = service.base_url
    words = shlex.join(["diarist", "run", str(manifest), "--out", str(out), "--service", address, "--force"])
    said = "".join(diarist("status", str(out)).stdout.split())
    assert words.replace(" ", "") in said, "what was left of a forced pass is forced"


def test_a_plan_says_the_command_that_does_it(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 2)
    said = diarist("plan", str(manifest), "-o", str(tmp_path / "out"), "--service", "local", "--explain").stderr
    assert said.splitlines()[-1] == f"to do it: diarist run {manifest} --out {tmp_path / 'out'} --service local"


async def test_from_python_the_report_has_a_command_too(tmp_path: Path) -> None:
    (tmp_path / "m.txt").write_text("gone.wav\n")
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(tmp_path / "m.txt"), tmp_path / "out", settings=settings(service.base_url))
        words = ["diarist", "run", f"{tmp_path}/m.txt", "--out", f"{tmp_path}/out", "--service", service.base_url]
    assert shown_in_the_report(tmp_path / "out").endswith(shlex.join(words))
