"""Whole runs against a service that notes when each request came: what paces a run is really connected to it.

Each test fails if the part that it is about is switched off: ``SWITCHED_OFF`` shows it.
"""

from __future__ import annotations

import asyncio
import random
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import batch
from batch.archive.journal import Journal
from batch.config import RateSettings, Settings
from batch.jobs.connection import _ramps
from batch.jobs.flow_control import laws
from batch.model import Job, State
from batch.providers.assemblyai.protocol import THROTTLED_TEXT
from batch.providers.registry import named
from batch.server.faults import Fault, FaultKind, Faults
from tests.support.limiter import Limiter
from tests.support.recordings import archive, check_results, settings
from tests.support.service import Handler, start_service
from tests.support.waiting import UnhurriedClock


def since_the_first(limiter: Limiter, *, submissions: bool) -> list[float]:
    """When requests came, in seconds since the first of the run.

    A busy machine makes a request late, never early: the tests assert the most that may have come by then.
    """
    began = min(one.at for one in limiter.log)
    return sorted(one.at - began for one in limiter.log if one.submits or not submissions)


async def carried(tmp_path: Path, count: int, limiter: Limiter, *, slots: int = 50, **given: Any) -> Any:
    """A run of so many recordings; the double when it is over."""
    manifest, out = archive(tmp_path / "audio", count), tmp_path / "out"
    async with start_service(
        tmp_path / "service", seconds=0.1, slots=slots, middlewares=[limiter.middleware]
    ) as service:
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url, **given))
    assert (summary.collected, summary.exit_code) == (count, 0)
    check_results(tmp_path / "audio", out, count)
    return service


async def test_submissions_follow_the_ramp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laws, "RAMP_WINDOW_SECONDS", 0.5)
    monkeypatch.setattr(laws, "RAMP_FIRST", 4)
    await carried(tmp_path, 24, limiter := Limiter(), rate=RateSettings(ramp="on"))
    allowed = list(accumulate(laws.ramp_allowance(window) for window in range(100)))
    for number, at in enumerate(since_the_first(limiter, submissions=True)):
        assert number < allowed[int(at / 0.5)]


@pytest.mark.parametrize(
    ("asked", "vendors", "ours"), [("auto", True, False), ("on", True, True), ("off", False, False)]
)
def test_ramp_applies_only_to_vendor_hosts_unless_asked_for(asked: Any, vendors: bool, ours: bool) -> None:
    given = Settings(rate=RateSettings(ramp=asked))
    assert _ramps(named("assemblyai"), given) is vendors
    assert _ramps(named("http://127.0.0.1:1"), given) is ours


async def test_no_window_sees_more_requests_than_the_rate(tmp_path: Path) -> None:
    await carried(tmp_path, 40, limiter := Limiter(), rate=RateSettings(requests=40, window_seconds=1.0))
    came = since_the_first(limiter, submissions=False)
    assert len(came) > 3 * 40
    for number, at in enumerate(came):
        assert number <= 40 * max(1.0, at) + 1  # the first request of all is outside of the rate


async def test_requests_follow_a_limit_of_the_service(tmp_path: Path) -> None:
    async with UnhurriedClock() as clock:
        await carried(tmp_path, 80, limiter := Limiter(rate=30))
    assert limiter.refused <= 0.5 * limiter.passed
    assert clock.seconds <= 1.8 * limiter.passed / 30


async def test_no_recording_fails_though_most_requests_are_refused(tmp_path: Path) -> None:
    """No recording fails for refusals, though four of five requests meet one."""
    manifest, faults = (
        archive(tmp_path / "audio", 40),
        Faults([Fault(FaultKind.THROTTLE, probability=0.8)], random.Random(2)),
    )
    async with start_service(tmp_path / "service", faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
        assert faults.met[FaultKind.THROTTLE] > 3 * len(service.requests)
    assert (summary.collected, summary.failed, summary.exit_code) == (40, 0, 0)


async def test_slots_follow_the_services_own_queue(tmp_path: Path) -> None:
    queueing = await carried(tmp_path, 60, Limiter(), slots=1, uploads=1, concurrency=50)
    assert queueing.most_open <= 20, "fifty are allowed, and one is worked on"


async def test_refusals_take_no_slots_away(tmp_path: Path) -> None:
    manifest, faults = (
        archive(tmp_path / "audio", 60),
        Faults([Fault(FaultKind.THROTTLE, probability=0.1)], random.Random(3)),
    )
    async with start_service(tmp_path / "service", seconds=1.0, slots=50, faults=faults) as service:
        asked = settings(service.base_url, concurrency=20)
        assert (await batch.run(str(manifest), tmp_path / "out", settings=asked)).collected == 60
        assert faults.met.total() >= 10
    assert service.most_open == 20


async def test_retry_after_between_intent_and_request_is_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each intent takes so long to write that a Retry-After for another request arrives meanwhile."""
    writing, refused, record = asyncio.Event(), asyncio.Event(), Journal.record

    async def slow(journal: Journal, job: Job) -> None:
        await record(journal, job)
        if job.state is State.SUBMITTING and not writing.is_set():
            writing.set()
            await refused.wait()
            await asyncio.sleep(0.3)

    @web.middleware
    async def refuse_once(request: web.Request, handler: Handler) -> web.StreamResponse:
        if writing.is_set() and not refused.is_set():
            refused.set()
            return web.json_response({"error": THROTTLED_TEXT}, status=429, headers={"Retry-After": "2"})
        return await handler(request)

    monkeypatch.setattr(Journal, "record", slow)
    manifest, limiter = archive(tmp_path / "audio", 20), Limiter()
    layers = [limiter.middleware, refuse_once]
    async with start_service(tmp_path / "service", middlewares=layers) as service:
        asked = settings(service.base_url, uploads=1)
        assert (await batch.run(str(manifest), tmp_path / "out", settings=asked)).collected == 20
    (asked_at,) = (one.answered for one in limiter.log if one.status == 429)
    on_its_way_seconds = 0.5  # what had left before the refusal was read, on a busy machine
    early = [one for one in limiter.log if asked_at + on_its_way_seconds < one.at < asked_at + 2.0]
    assert not early


async def test_each_submission_comes_on_a_connection_of_its_own(tmp_path: Path) -> None:
    await carried(tmp_path, 30, limiter := Limiter(), concurrency=4)
    submitted = [one.peer for one in limiter.log if one.submits]
    others = {one.peer for one in limiter.log if not one.submits}
    assert len(set(submitted)) == len(submitted) == 30
    assert not others & set(submitted)
    assert len(others) < 30, "all else keeps its connections"
