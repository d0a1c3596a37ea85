"""What a script asks diarist, by its exit code, and what cron hears of a good night."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

import batch
from batch.archive.layout import inner_of
from batch.errors import FailureKind
from batch.jobs.planning.decision import Rerun
from tests.support.command_line import diarist
from tests.support.recordings import archive, settings
from tests.support.service import start_service
from tests.support.waiting import until


async def command(*arguments: object, cwd: Path) -> tuple[int, str, str]:
    done = await asyncio.to_thread(diarist, *map(str, arguments), cwd=cwd)
    return done.returncode, done.stdout, done.stderr


async def test_plan_says_by_its_code_whether_a_run_would_ask(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 3)
    async with start_service(tmp_path / "service") as service:
        plan = ["plan", manifest, "--service", service.base_url]
        assert (await command(*plan, cwd=tmp_path))[0] == 0
        assert (await command(*plan, "--exit-code", cwd=tmp_path))[0] == 0
        await batch.run(str(manifest), tmp_path / "results", settings=settings(service.base_url))
        assert (await command(*plan, cwd=tmp_path))[0] == 0
        assert (await command(*plan, "--exit-code", cwd=tmp_path))[0] == 7
        again = [*plan, "--option", "filter_profanity=true"]
        assert (await command(*again, cwd=tmp_path))[0] == 0
        assert (await command(*again, "--exit-code", cwd=tmp_path))[0] == 8
        with manifest.open("a") as file:
            file.write("nowhere,nowhere.wav,,\n")
        code, _, said = await command(*plan, "--exit-code", cwd=tmp_path)
        assert (code, "nowhere.wav" in said) == (3, True)


async def test_a_dry_run_is_the_plan_and_writes_nothing(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 3)
    async with start_service(tmp_path / "service") as service:
        named = [manifest, "--service", service.base_url, "--max-cost", "5", "--yes"]
        dry = await command("run", *named, "-n", cwd=tmp_path)
        assert "to run: 3 recordings" in dry[1]
        assert f"to do it: diarist run {manifest} --service {service.base_url} --max-cost 5 --yes" in dry[1]
        assert dry[1].count("dry-run") == 0
        assert not (tmp_path / "results").exists()
        assert service.submissions == []


async def test_status_ends_as_the_last_run_did(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "results"
    assert (await command("status", cwd=tmp_path))[0] == 2
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        assert (await command("status", cwd=tmp_path))[0] == 0
        with manifest.open("a") as file:
            file.write("nowhere,nowhere.wav,,\n")
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        assert (await command("status", cwd=tmp_path))[0] == 3
        assert (await command("status", "--json", cwd=tmp_path))[0] == 3


async def test_status_tells_a_run_at_work_from_one_that_was_killed(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "results"
    async with start_service(tmp_path / "service", seconds=60) as service:
        run = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "batch",
            "run",
            str(manifest),
            "--service",
            service.base_url,
            "--quiet",
            cwd=tmp_path,
        )
        await until(lambda: len(service.submissions) == 3 and (inner_of(out) / "summary.json").exists())
        assert (await command("status", cwd=tmp_path))[0] == 9
        run.send_signal(signal.SIGKILL)
        await run.wait()
        assert (await command("status", cwd=tmp_path))[0] == 5


async def test_quiet_says_only_what_is_wrong(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 3)
    async with start_service(tmp_path / "service") as service:
        run = ["run", manifest, "--service", service.base_url, "--quiet"]
        assert await command(*run, cwd=tmp_path) == (0, "", "")
        with manifest.open("a") as file:
            file.write("nowhere,nowhere.wav,,\n")
        code, _, said = await command(*run, cwd=tmp_path)
        assert code == 3
        assert "1 x missing" in said and "nowhere.wav" in said


async def test_verbose_gives_every_recording_its_lines(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 30)
    async with start_service(tmp_path / "service") as service:
        run = ["run", manifest, "--service", service.base_url, "-v"]
        _, _, said = await command(*run, cwd=tmp_path)
        assert sum(line.startswith("✓ ") for line in said.splitlines()) == 30
        assert sum(line.endswith(": submitted") for line in said.splitlines()) == 30
        _, _, said = await command(*run, cwd=tmp_path)
        assert said.count("done, done before") == 30


@pytest.mark.parametrize(("kinds", "again"), [({"bad_audio"}, 1), ({"too_long"}, 0)])
async def test_only_failures_of_the_named_kind_are_tried_again(tmp_path: Path, kinds: set[str], again: int) -> None:
    from batch.engine.interface import BadAudio

    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    bad = (tmp_path / "audio" / "1.wav").read_bytes()
    failing = lambda audio: BadAudio("File does not appear to contain audio") if audio == bad else None  # noqa: E731
    async with start_service(tmp_path / "service", failing=failing) as service:
        first = await batch.run(str(manifest), out, settings=settings(service.base_url))
        assert first.failures.keys() == {FailureKind.BAD_AUDIO}
        before = len(service.submissions)
        rerun = Rerun(kinds=frozenset(kinds))
        await batch.run(str(manifest), out, settings=settings(service.base_url), rerun=rerun)
        assert len(service.submissions) - before == again


async def test_a_report_counts_costs_by_the_settings_of_the_run(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 2)
    (tmp_path / "mine.toml").write_text('[prices]\napply = "always"\nas_of = "2031-01-01"\n')
    async with start_service(tmp_path / "service") as service:
        run = ["run", manifest, "--service", service.base_url, "--config", "mine.toml", "-q"]
        assert (await command(*run, cwd=tmp_path))[0] == 0
    (tmp_path / "elsewhere").mkdir()
    assert (await command("report", tmp_path / "results", cwd=tmp_path / "elsewhere"))[0] == 0
    assert "by the prices in the settings of 2031-01-01" in (tmp_path / "results" / "report.html").read_text("utf-8")
    (tmp_path / "mine.toml").unlink()
    code, _, said = await command("report", tmp_path / "results", cwd=tmp_path)
    assert code == 0 and "the settings of the last run cannot be read, so costs are by the usual prices" in said
    assert "2031-01-01" not in (tmp_path / "results" / "report.html").read_text("utf-8")
