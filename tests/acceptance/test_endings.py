"""However a run ends, ``summary.json`` says so, with the exit code of the process."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.jobs import pipeline
from batch.providers.assemblyai.protocol import NO_FUNDS_TEXT
from batch.server.faults import Fault, FaultKind, Faults
from tests.support.processes import diarist, end, start
from tests.support.recordings import archive, settings
from tests.support.service import start_service
from tests.support.waiting import until


def summary_in(out: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((out / ".diarist" / "summary.json").read_bytes())
    assert said["told"] == said["ended"] >= said["began"]
    return said


@pytest.mark.parametrize(
    ("flags", "key", "faults", "code", "facts"),
    [
        ([], "k", [], 0, {"collected": 4, "handled": 4, "total": 4, "stopped_by": None}),
        ([], "wrong", [], 4, {"collected": 0}),
        (["--max-hours", "0.0000001"], "k", [], 8, {"collected": 0}),
        ([], "k", [Fault(FaultKind.STATUS, route="upload", status=400, error="bad", at=(2,))], 3, {"failed": 1}),
        ([], "k", [Fault(FaultKind.STATUS, route="submit", status=400, error=NO_FUNDS_TEXT, probability=1)], 6, {}),
        (["--set", "patience.outage_seconds=0.3"], "k", [Fault(FaultKind.REFUSE, probability=1)], 5, {}),
    ],
)
async def test_a_run_that_began_says_how_it_ended(
    tmp_path: Path, flags: list[str], key: str, faults: list[Fault], code: int, facts: dict[str, Any]
) -> None:
    manifest, out = archive(tmp_path / "audio", 4), tmp_path / "out"
    befall = Faults(faults, random.Random(1))
    async with start_service(tmp_path / "service", key="k", faults=befall) as service:
        ended = await diarist(
            "run", manifest, "--out", out, "--service", service.base_url, "--set", "patience.cap_seconds=0.1", *flags,
            ASSEMBLYAI_API_KEY=key,
        )  # fmt: skip
    assert ended.code == code, ended.said
    said = summary_in(out)
    assert said["exit_code"] == code
    assert {name: said[name] for name in facts} == facts
    if code in (4, 5, 6):
        assert said["stopped_by"] in ended.said.replace("\n", " ")


async def test_nothing_to_do_is_a_run_of_its_own(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        for _ in range(2):
            assert (await diarist("run", manifest, "--out", out, "--service", service.base_url)).code == 0
            said = summary_in(out)
    assert (said["collected"], said["skipped"], said["requests"]) == (0, {"done": 2}, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_one_that_is_stopped_says_by_which_signal(tmp_path: Path, number: signal.Signals) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=60) as service:
        child = await start("run", manifest, "--out", out, "--service", service.base_url)
        await until(lambda: len(service.submissions) == 3)
        child.send_signal(number)
        assert (await end(child)).code == 128 + number
    assert summary_in(out)["exit_code"] == 128 + number


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "why"),
    [
        (["run", "absent.csv"], {}, 2, "absent.csv"),
        (["run", "audio/manifest.csv", "--service", "assemblyai"], {}, 4, "ASSEMBLYAI_API_KEY is not set"),
        (["run", "audio/manifest.csv", "--log-file", "no/folder/log"], {}, 2, "cannot write the log"),
        (
            ["run", "audio/manifest.csv", "--set", "prices.apply=always", "--set", "budget.confirm_above=0.0000001"],
            {"ASSEMBLYAI_BASE_URL": "http://127.0.0.1:9"},
            8,
            "budget.confirm_above",
        ),
    ],
)
async def test_run_that_cannot_begin_updates_only_an_existing_summary(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], code: int, why: str
) -> None:
    """One that could not begin says so where another had run, and makes nothing where none had."""
    manifest = archive(tmp_path / "audio", 2)
    async with start_service(tmp_path / "service") as service:
        await diarist("run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--limit", 1)
    before = summary_in(tmp_path / "out")
    for out in ("out", "nowhere"):
        ended = await diarist(*arguments, "--out", out, cwd=tmp_path, **environ)
        assert ended.code == code, ended.said
    said = summary_in(tmp_path / "out")
    assert (said["exit_code"], said["collected"]) == (code, 0)
    assert why in said["stopped_by"]
    assert said["run"] != before["run"]
    assert not (tmp_path / "nowhere").exists()


async def test_locked_out_run_leaves_the_summary_to_the_run_at_work(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=60) as service:
        child = await start("run", manifest, "--out", out, "--service", service.base_url)
        await until(lambda: len(service.submissions) == 2)
        assert (await diarist("run", manifest, "--out", out, "--service", service.base_url)).code == 5
        said = json.loads((out / ".diarist" / "summary.json").read_bytes())
        assert (said["process"], said["ended"]) == (child.pid, None)
        child.send_signal(signal.SIGINT)
        await end(child)


async def test_a_damaged_journal_is_an_end_too(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    (out / ".diarist").mkdir(parents=True)
    (out / ".diarist" / "journal.db").write_bytes(b"SQLite format 3\0" + b"x" * 8000)
    ended = await diarist("run", manifest, "--out", out, "--service", "http://127.0.0.1:9")
    said = summary_in(out)
    assert said["exit_code"] == ended.code != 0
    assert "diarist recover" in said["stopped_by"]


async def test_a_bug_is_told_and_so_is_a_run_that_its_caller_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=60) as service:
        run = asyncio.create_task(batch.run(str(manifest), out, settings=settings(service.base_url)))
        await until(lambda: len(service.submissions) == 2)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert summary_in(out)["exit_code"] == 130
        monkeypatch.setattr(pipeline.Pipeline, "run", lambda self, *given: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await batch.run(str(manifest), out, settings=settings(service.base_url))
    said = summary_in(out)
    assert said["exit_code"] == 1
    assert "ZeroDivisionError" in said["stopped_by"]
