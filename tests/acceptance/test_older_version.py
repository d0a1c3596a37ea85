"""A directory that an older version has begun is continued by this one: journal, results, settings, search index.

git worktree add ../older 6aba060 && DIARIST_OLDER=../older pytest tests/acceptance/test_older_version.py
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from tests.support.places import ROOT
from tests.support.processes import CLEAN, Ended
from tests.support.recordings import archive, check_results, submitted_audio
from tests.support.service import Double, start_service

OLDER = os.environ.get("DIARIST_OLDER", "")
SETTINGS = """
concurrency = 8
formats = ["srt"]
reconcile_grace_seconds = 1.0
reconcile_lag_seconds = 3.0
[patience]
base_seconds = 0.02
[sweep]
least_seconds = 0.05
[options]
speaker_labels = true
"""


async def start(code: Path, *arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batch", *map(str, arguments), cwd=code, env=CLEAN | {"PYTHONPATH": str(code)},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def end(child: asyncio.subprocess.Process) -> Ended:
    _, said = await asyncio.wait_for(child.communicate(), 60)
    return Ended(child.returncode or 0, said.decode())


async def killed(child: asyncio.subprocess.Process, service: Double, submissions: int) -> None:
    while len(service.submissions) < submissions and child.returncode is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    child.kill()
    await child.communicate()
    assert child.returncode == -signal.SIGKILL


@pytest.mark.skipif(not OLDER, reason="an older version is needed: name its directory in DIARIST_OLDER")
@pytest.mark.parametrize("kills", [[], [1], [12, 30], [39]])
async def test_what_an_older_version_began_is_continued(tmp_path: Path, kills: list[int]) -> None:
    """Begun, and perhaps killed, by the older one; ended by this one with the same command: all is there, each
    recording was paid for once, and one more run sends nothing."""
    manifest, out, older = archive(tmp_path / "audio", 40), tmp_path / "out", Path(OLDER).resolve()
    config = tmp_path / "settings.toml"
    config.write_text(SETTINGS)
    async with start_service(tmp_path / "service", seconds=0.2) as service:
        command = ("run", manifest, "--out", out, "--service", service.base_url, "--config", config)
        for submissions in kills:
            await killed(await start(older, *command), service, submissions)
        if not kills:
            begun = await end(await start(older, *command, "--limit", random.Random(1).randint(5, 30)))
            assert begun.code == 0, begun.said
        ended = await end(await start(ROOT, *command))
        assert ended.code == 0, ended.said
        check_results(tmp_path / "audio", out, 40)
        assert set(submitted_audio(service).values()) == {1}
        asked = len(service.requests)
        again = await end(await start(ROOT, *command))
        assert (again.code, len(service.requests)) == (0, asked), again.said
    assert len(list(out.glob("calls/*.srt"))) == 40
    found = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batch", "search", out, "sha256", "--json", "--limit", "100", cwd=ROOT, env=CLEAN,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    hits, _ = await found.communicate()
    assert {json.loads(line)["key"] for line in hits.splitlines()} == {f"calls/{n}" for n in range(40)}
