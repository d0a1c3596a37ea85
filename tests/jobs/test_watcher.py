"""Who is done: what the watcher makes of lists that lag, fail or show a queue."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from batch import errors
from batch.config import RetrySettings, SweepSettings
from batch.jobs.flow_control.throttle import Throttle
from batch.jobs.watcher import Watcher
from batch.providers.interface import Fetched, JobPage, Phase, RemoteJob


class Scripted:
    """A service whose list says what it is told, page after page; None: it is out of order."""

    def __init__(self, *pages: list[RemoteJob] | None) -> None:
        self.pages, self.asked = list(pages), list[str]()

    async def jobs(self, *, older: str | None = None) -> JobPage:
        jobs = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        if jobs is None:
            raise errors.NoEffectError("no list", kind="server_error")
        return JobPage(jobs, None)

    async def fetch(self, transcript_id: str) -> Fetched:
        self.asked.append(transcript_id)
        return Fetched(RemoteJob(transcript_id, Phase.COMPLETED), b"{}")


def watching(service: Any, held: list[bool]) -> Watcher:
    gate = Throttle(RetrySettings(outage_seconds=60), rng=random.Random(1), on_event=lambda event: None)
    return Watcher(service, gate, SweepSettings(0.01, 0.02), random.Random(1), pause=held.append)


async def test_slots_are_no_longer_held_back_once_nothing_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.jobs.watcher._UNSEEN_SECONDS", 0.05)
    names = [f"t{number}" for number in range(9)]
    held: list[bool] = []
    service = Scripted([RemoteJob(name, Phase.QUEUED) for name in names], None)
    watcher = watching(service, held)
    running = asyncio.create_task(watcher.run())
    ended = await asyncio.wait_for(asyncio.gather(*map(watcher.wait_until_ended, names)), 5)
    async with asyncio.timeout(5):
        while held[-1]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    assert {job.phase for job in ended} == {Phase.COMPLETED}
    assert sorted(service.asked) == names
    assert True in held
