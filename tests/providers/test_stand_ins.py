"""Whole runs with providers that are unlike AssemblyAI: paid once, through crashes, duplicates and lost answers.

Neither lists its jobs, so a submission whose answer was lost cannot be looked up: it is told, and not paid again
unasked.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.providers.stand_ins.service import KEY, PlugIn, Service, serving
from tests.support.places import ROOT
from tests.support.processes import CLEAN, Ended, diarist
from tests.support.recordings import archive, sha256

SORTS = ("at-once", "by-id")
QUICK = tuple(
    f"--set={name}" for name in ("sweep.least_seconds=0.02", "patience.base_seconds=0.02", "reconcile_lag_seconds=0")
)
NEVER = "cannot be asked whether it has accepted a recording"


async def run(sort: str, manifest: Path, out: Path, environ: Mapping[str, str], *more: object) -> Ended:
    return await diarist("run", manifest, "--out", out, "--service", sort, *QUICK, *more, **environ)


def check(folder: Path, out: Path, count: int) -> None:
    for n in range(count):
        result = json.loads((out / "calls" / f"{n}.json").read_bytes())
        digest = sha256(folder / f"{n}.wav")
        assert result["turns"][1]["text"] == digest, f"recording {n} has another's transcript"
        assert result["recording"]["sha256"] == digest
        assert result["recording"]["schema"] == "turns"


def kinds(out: Path) -> Counter[str]:
    path = out / "failed.jsonl"
    rows = path.read_text().splitlines() if path.exists() else []
    return Counter(json.loads(row)["_failed"]["kind"] for row in rows)


@pytest.mark.parametrize("sort", SORTS)
async def test_an_archive_is_transcribed_read_and_not_paid_again(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    manifest, out = archive(tmp_path / "audio", 8), tmp_path / "out"
    shutil.copy(tmp_path / "audio" / "0.wav", tmp_path / "audio" / "same.wav")
    with manifest.open("a") as file:
        file.write("calls/same,same.wav,,twin\n")
    async with serving(seconds=0.05) as service:
        environ = plug_in(service)
        first = await run(sort, manifest, out, environ)
        assert first.code == 0, first.said
        assert NEVER in first.said
        assert KEY not in first.said
        check(tmp_path / "audio", out, 8)
        assert set(service.charged.values()) == {1}
        assert json.loads((out / "calls" / "same.json").read_bytes())["turns"][1]["text"] in service.charged
        asked = service.asked.copy()
        second = await run("auto", manifest, out, environ)
        assert second.code == 0, second.said
        assert service.asked == asked, "nothing is asked where nothing is to be done"
        (out / ".diarist" / "journal.db").unlink()
        third = await run("auto", manifest, out, environ)
        assert third.code == 0, third.said
        assert set(service.charged.values()) == {1}, "results are proof enough"
    for command in (["export", out, "--to", "srt,csv"], ["report", out], ["search", out, "heard"]):
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "batch", *map(str, command), env=CLEAN | environ,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, complaints = await child.communicate()
        assert child.returncode == 0, complaints.decode()
        assert command[0] != "search" or b"calls/7" in said
    assert "I heard" in (out / "calls" / "3.srt").read_text()


@pytest.mark.parametrize("sort", SORTS)
async def test_what_was_not_answered_is_paid_again_only_if_asked(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    manifest, out = archive(tmp_path / "audio", 6), tmp_path / "out"
    async with serving(lost=frozenset({2, 5})) as service:
        environ = plug_in(service)
        first = await run(sort, manifest, out, environ)
        assert first.code == 3, first.said
        assert kinds(out) == {"unanswered": 2}
        assert "--retry failed" in (out / "failed.jsonl").read_text()
        second = await run(sort, manifest, out, environ)
        assert second.code == 3, second.said
        assert service.charged.total() == 6, "not unasked"
        third = await run(sort, manifest, out, environ, "--retry", "failed")
        assert third.code == 0, third.said
        assert service.charged.total() == 8
    check(tmp_path / "audio", out, 6)
    assert not (out / "failed.jsonl").exists()


@pytest.mark.parametrize("sort", SORTS)
async def test_a_job_that_the_provider_fails_is_that_recordings(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    manifest, out = archive(tmp_path / "audio", 4), tmp_path / "out"
    async with serving(failing=frozenset({3})) as service:
        ended = await run(sort, manifest, out, plug_in(service))
        assert ended.code == 3, ended.said
        assert kinds(out) == {"job_error": 1}
        assert "cannot make it out" in (out / "failed.jsonl").read_text()
        assert len(list(out.glob("calls/*.json"))) == 3
        assert service.charged.total() == 4


async def crashed(sort: str, manifest: Path, out: Path, environ: Mapping[str, str], *place: object) -> int:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.crashing", manifest, out, sort, *map(str, place),
        cwd=ROOT, env=dict(os.environ) | environ,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await child.wait()


async def check_continued(sort: str, manifest: Path, out: Path, service: Service, environ: Mapping[str, str]) -> None:
    """After a crash: whoever was not answered fails, all others are done, and nothing was paid twice."""
    ended = await run(sort, manifest, out, environ)
    lost = kinds(out)["unanswered"]
    assert ended.code == (3 if lost else 0), ended.said
    assert kinds(out).total() == lost, kinds(out)
    assert service.charged.total() <= 4
    again = await run(sort, manifest, out, environ, "--retry", "failed")
    assert again.code == 0, again.said
    assert service.charged.total() <= 4 + lost
    check(manifest.parent, out, 4)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("state", ["staged", "submitting", "submitted", "collected"])
async def test_killed_around_a_fact_nothing_is_paid_twice(
    tmp_path: Path, plug_in: PlugIn, sort: str, when: str, state: str
) -> None:
    manifest, out = archive(tmp_path / "audio", 4), tmp_path / "out"
    async with serving(seconds=0.05) as service:
        environ = plug_in(service)
        code = await crashed(sort, manifest, out, environ, "edge", state, when, 2)
        assert code == (0 if (sort, state) == ("at-once", "submitted") else -signal.SIGKILL)
        await check_continued(sort, manifest, out, service, environ)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("line", [pytest.param(n, marks=[] if n % 700 == 0 else [pytest.mark.slow])
                                  for n in range(200, 4000, 100)])  # fmt: skip
async def test_killed_before_any_line_nothing_is_paid_twice(
    tmp_path: Path, plug_in: PlugIn, sort: str, line: int
) -> None:
    manifest, out = archive(tmp_path / "audio", 4), tmp_path / "out"
    async with serving(seconds=0.02) as service:
        environ = plug_in(service)
        await crashed(sort, manifest, out, environ, "line", line)
        await check_continued(sort, manifest, out, service, environ)


async def test_a_transcript_on_disk_is_found_after_a_crash(tmp_path: Path, plug_in: PlugIn) -> None:
    """Killed between the result and the fact: the result is the proof, and nobody has to look at a bill."""
    manifest, out = archive(tmp_path / "audio", 4), tmp_path / "out"
    async with serving() as service:
        environ = plug_in(service)
        assert await crashed("at-once", manifest, out, environ, "edge", "collected", "before", 1) == -signal.SIGKILL
        on_disk = len(list(out.glob("calls/*.json")))
        assert on_disk >= 1
        ended = await run("at-once", manifest, out, environ)
        lost = kinds(out)["unanswered"]
        assert lost <= 4 - on_disk, "what is on disk is not lost"
        assert ended.code == (3 if lost else 0), ended.said
        assert 4 - lost <= service.charged.total() <= 4, "one that was lost may never have arrived"
    assert len(list(out.glob("calls/*.json"))) == 4 - lost


@pytest.mark.parametrize("sort", SORTS)
async def test_a_url_is_refused_by_those_who_read_none(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    with manifest.open("a") as file:
        file.write("calls/url,https://audio.example/1.wav,,nobody\n")
    async with serving() as service:
        ended = await run(sort, manifest, out, plug_in(service))
        assert ended.code == 3
        assert f"{sort} does not read URLs" in (out / "failed.jsonl").read_text()
        assert service.charged.total() == 1


async def test_a_wrong_key_ends_the_run_before_anything_is_sent(tmp_path: Path, plug_in: PlugIn) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    async with serving() as service:
        ended = await run("by-id", manifest, out, plug_in(service) | {"STAND_IN_KEY": "wrong"})
        assert ended.code == 4
        assert "set STAND_IN_KEY" in ended.said
        assert not service.charged


async def test_an_option_that_is_none_of_the_providers_is_a_label(tmp_path: Path, plug_in: PlugIn) -> None:
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    manifest.write_text("id,audio,tongue,speech_model\ncalls/0,0.wav,de,best\n")
    async with serving() as service:
        ended = await run("by-id", manifest, out, plug_in(service))
        assert ended.code == 0, ended.said
    result = json.loads((out / "calls" / "0.json").read_bytes())
    assert result["asked"] == {"tongue": "de"}
    assert result["recording"]["options"] == {"tongue": "de"}
    assert result["recording"]["labels"] == {"speech_model": "best"}


async def test_results_of_a_plug_in_that_is_gone_are_told(tmp_path: Path, plug_in: PlugIn) -> None:
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    async with serving() as service:
        assert (await run("by-id", manifest, out, plug_in(service))).code == 0
    ended = await diarist("export", out, "--to", "srt", PYTHONPATH=str(ROOT))
    assert ended.code != 0
    assert "made by 'by-id' (schema 'turns'), whose plug-in is not installed" in ended.said
    ended = await diarist("run", manifest, "--out", out, PYTHONPATH=str(ROOT))
    assert ended.code == 2
    assert "by-id" in ended.said
