"""Killed with SIGKILL, interrupted with SIGINT and SIGTERM: the same command continues, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest

from batch.server.faults import Fault, FaultKind, Faults
from tests.support.killing import finish, start
from tests.support.places import ROOT
from tests.support.recordings import archive, check_results, submitted_audio
from tests.support.service import Double, start_service


async def until(child: asyncio.subprocess.Process, service: Double, submissions: int) -> None:
    """Wait until the double has accepted so many submissions."""
    while len(service.submissions) < submissions and child.returncode is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def keys_in(state: str, out: Path) -> list[str]:
    """The keys of the recordings of which the journal says that they are in a state."""
    with contextlib.closing(sqlite3.connect(out / ".diarist" / "journal.db")) as db:
        return [row[0] for row in db.execute("SELECT key FROM jobs WHERE state = ?", (state,))]


@pytest.mark.parametrize("kills", [[20], [1, 40, 75, 110]])
async def test_killed_run_is_completed_without_submitting_twice(tmp_path: Path, kills: list[int]) -> None:
    """After a run is killed in the middle and started again, all is there and nothing was submitted twice."""
    manifest, out = archive(tmp_path / "audio", 120), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.2) as service:
        for submissions in kills:
            child = await start(manifest, out, service)
            await until(child, service, submissions)
            child.kill()
            await child.communicate()
        code, said = await finish(await start(manifest, out, service))
        assert code == 0, said
    check_results(tmp_path / "audio", out, 120)
    assert set(submitted_audio(service).values()) == {1}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_interrupted_run_reports_what_is_left_and_can_continue(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """An interrupted run records what it did and says what is left, and the same command continues."""
    manifest, out = archive(tmp_path / "audio", 100), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=2.0, slots=100) as service:
        child = await start(manifest, out, service)
        await until(child, service, 30)
        child.send_signal(number)
        interrupted, said = await finish(child)
        assert interrupted == code
        assert "submitted recordings are left to the service" in said
        assert "Traceback" not in said
        assert keys_in("submitting", out) == [], "every answer was waited for"
        assert (await finish(await start(manifest, out, service)))[0] == 0
    check_results(tmp_path / "audio", out, 100)
    assert set(submitted_audio(service).values()) == {1}


async def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 20), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=30) as service:
        child = await start(manifest, out, service)
        await until(child, service, 5)
        child.send_signal(signal.SIGINT)
        child.send_signal(signal.SIGINT)
        assert (await finish(child))[0] == 130


async def crashing(manifest: Path, out: Path, service: Double, *place: str) -> int:
    """A run that kills itself at ``place``; its exit code, -9 if it got there."""
    arguments = [str(manifest), str(out), service.base_url, *place]
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.support.crashing", *arguments, cwd=ROOT)
    return await asyncio.wait_for(child.wait(), 60)


EDGES = [
    (state, when, str(number))
    for state in ("staged", "submitting", "submitted", "collected")
    for when in ("before", "after")
    for number in (1, 7)
]


@pytest.mark.parametrize(("state", "when", "number"), EDGES)
async def test_killed_at_any_edge_of_any_state_the_next_run_finishes(
    tmp_path: Path, state: str, when: str, number: str
) -> None:
    manifest, out = archive(tmp_path / "audio", 12), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.05) as service:
        assert await crashing(manifest, out, service, "edge", state, when, number) == -signal.SIGKILL
        assert [key for key in keys_in("collected", out) if not (out / f"{key}.json").is_file()] == []
        assert await crashing(manifest, out, service, "never") == 0
    check_results(tmp_path / "audio", out, 12)
    assert set(submitted_audio(service).values()) == {1}


async def test_every_module_that_carries_jobs_is_traced(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 3)
    async with start_service(tmp_path / "service", seconds=0.05) as service:
        assert await crashing(manifest, tmp_path / "out", service, "trace") == 0


LOST = [
    Fault(FaultKind.ACCEPT_LATE, route="submit", probability=0.1, status=504, seconds=0.3),
    Fault(FaultKind.LIST_LAG, probability=1.0, seconds=0.4),
    Fault(FaultKind.LIST_SHUFFLED, probability=1.0),
    Fault(FaultKind.LIST_REPEATED, probability=1.0),
    Fault(FaultKind.DROP_AFTER, route="submit", probability=0.15),
    Fault(FaultKind.DROP_BEFORE, route="submit", probability=0.1),
    Fault(FaultKind.HALF_BODY, probability=0.05),
    Fault(FaultKind.REFUSE, probability=0.05),
]
SEEDS = [*range(5), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(5, 55))]


@pytest.mark.parametrize("seed", SEEDS)
async def test_run_killed_between_any_lines_pays_for_nothing_twice(tmp_path: Path, seed: int) -> None:
    """Killed between any two lines with answers lost, all is there and nothing was paid for twice."""
    rng = random.Random(seed)
    manifest, out = archive(tmp_path / "audio", 25), tmp_path / "out"
    faults = Faults(LOST, rng)
    async with start_service(tmp_path / "service", seconds=0.05, faults=faults) as service:
        for _ in range(6):
            line = int(10 ** rng.uniform(2, 4))
            code = await crashing(manifest, out, service, "line", str(line))
            assert code in (0, -signal.SIGKILL)
        assert await crashing(manifest, out, service, "never") == 0
        assert await crashing(manifest, out, service, "never") == 0
    check_results(tmp_path / "audio", out, 25)
    assert set(submitted_audio(service).values()) == {1}


async def test_ctrl_c_ends_a_run_of_300_within_10_seconds_without_loss(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 300), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=1.0, slots=50) as service:
        child = await start(manifest, out, service)
        await until(child, service, 120)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        code, said = await finish(child)
        assert time.monotonic() - began < 10
        assert code == 130, said
        assert len(service.submissions) < 300, "nothing more is begun"
        assert (await finish(await start(manifest, out, service)))[0] == 0
    check_results(tmp_path / "audio", out, 300)
    assert set(submitted_audio(service).values()) == {1}
