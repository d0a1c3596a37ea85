"""``diarist status`` tells from another process how a run stands: at work, ended, or killed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import batch
from batch import errors
from batch.archive.status import look
from batch.telemetry.progress import Progress
from tests.support.command_line import diarist
from tests.support.processes import start
from tests.support.recordings import archive, settings
from tests.support.service import start_service
from tests.support.waiting import until


async def test_summary_of_an_ended_run_serves_programs_and_people(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 5)
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    assert summary.exit_code == 0
    status = await look(tmp_path / "out")
    assert status.at_work is None
    assert status.journal == {"collected": 5}
    last = status.progress
    assert isinstance(last, Progress)
    assert (last.collected, last.total, last.exit_code, last.left_seconds) == (5, 5, 0, 0)
    assert last.requests >= 11
    said = diarist("status", str(tmp_path / "out"))
    assert said.returncode == 0
    assert "5 of 5 done" in said.stdout
    assert "exit code 0" in said.stdout
    assert json.loads(diarist("status", str(tmp_path / "out"), "--json").stdout)["progress"]["collected"] == 5


def test_where_nothing_has_run_it_says_so(tmp_path: Path) -> None:
    said = diarist("status", str(tmp_path))
    assert (said.returncode, said.stdout) == (2, "")
    assert "nothing has run there" in said.stderr


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
async def test_status_follows_a_run_and_recognises_a_killed_one(tmp_path: Path, ending: int) -> None:
    out = tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=60) as service:
        manifest = archive(tmp_path / "audio", 8)
        child = await start("run", manifest, "--out", out, "--service", service.base_url, "--progress", "off")
        await until(lambda: len(service.submissions) == 8)
        await asyncio.sleep(2.5)  # the next look at itself
        status = await look(out)
        assert f"process {child.pid}" in str(status.at_work)
        assert status.journal == {"submitted": 8}
        assert status.progress
        assert (status.progress.in_flight, status.progress.ended) == (8, None)
        child.send_signal(ending)
        await child.wait()
    after = await look(out)
    assert after.at_work is None
    assert after.progress
    assert after.progress.exit_code == (130 if ending == signal.SIGINT else None)
    said = diarist("status", str(out)).stdout
    assert ("exit code 130" if ending == signal.SIGINT else "did not end by itself") in " ".join(said.split())


async def test_watching_redraws_until_the_run_has_ended(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=3) as service:
        manifest = archive(tmp_path / "audio", 4)
        child = await start("run", manifest, "--out", out, "--service", service.base_url, "--progress", "off")
        await until(lambda: len(service.submissions) == 4)
        ours, theirs = pty.openpty()
        environ = os.environ | {"COLUMNS": "80", "LINES": "24", "TERM": "xterm-256color"}
        command = [sys.executable, "-m", "batch", "status", str(out), "--watch"]
        with subprocess.Popen(command, stdout=theirs, env=environ) as watching:
            assert await child.wait() == 0
            assert await asyncio.to_thread(watching.wait, 20) == 0
        os.close(theirs)
        text = b""
        while part := _read(ours):
            text += part
        os.close(ours)
    assert b"at work" in text
    assert b"exit code 0" in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


async def test_a_summary_that_cannot_be_read_does_not_hide_the_journal(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 2)
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    (tmp_path / "out" / ".diarist" / "summary.json").write_bytes(b'{"schema":')
    status = await look(tmp_path / "out")
    assert (status.progress, status.journal) == (None, {"collected": 2})
    with pytest.raises(errors.UsageError):
        await look(tmp_path)
