"""Trying again: what is repeated, for how long, and whose fault it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from batch import errors
from batch.config import RateSettings, RetrySettings
from batch.jobs.flow_control import laws
from batch.jobs.flow_control.rate_limit import SubmissionRamp, TokenBucket
from batch.jobs.flow_control.throttle import Throttle
from batch.providers.interface import Operation
from batch.telemetry.events import Event
from batch.telemetry.records import to_record

QUICK = RetrySettings(attempts=3, base_seconds=0.001, cap_seconds=0.01, outage_seconds=60)


def gate(patience: RetrySettings = QUICK, told: list[Event] | None = None) -> Throttle:
    events = told if told is not None else []
    return Throttle(patience, rng=random.Random(1), on_event=events.append)


def failing(*misfortunes: Exception) -> Callable[[], Awaitable[str]]:
    """An attempt that meets these misfortunes in turn, then goes well."""
    left = list(misfortunes)

    async def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


async def test_a_transient_error_is_tried_again_and_told() -> None:
    told: list[Event] = []
    attempt = failing(
        errors.NoEffectError("busy", kind="throttled"), errors.UnknownOutcomeError("lost", kind="timeout")
    )
    assert await gate(told=told).retry(attempt, operation=Operation.FETCH, what="fetch of a.wav") == "done"
    asked = ("asked", "fetch")
    retrying = [("retrying", "throttled"), ("retrying", "timeout")]
    assert [(line.event, line.kind) for line in map(to_record, told)] == [
        asked,
        retrying[0],
        asked,
        retrying[1],
        asked,
    ]


async def test_submission_is_repeated_only_if_it_surely_had_no_effect() -> None:
    attempt = failing(errors.NoEffectError("busy"), errors.UnknownOutcomeError("lost", kind="timeout"))
    with pytest.raises(errors.UnknownOutcomeError, match="lost"):
        await gate().retry(attempt, operation=Operation.FETCH, what="submission", unanswered=False)


@pytest.mark.parametrize(
    "error", [errors.RecordingError("no"), errors.AuthenticationError("no"), errors.ExpiredLinkError("no")]
)
async def test_what_cannot_get_better_is_not_repeated(error: errors.DiaristError) -> None:
    with pytest.raises(type(error)):
        await gate().retry(failing(error), operation=Operation.FETCH, what="x")


async def test_retry_after_holds_back_everybody_not_only_its_receiver() -> None:
    throttle = gate()
    loop = asyncio.get_running_loop()
    began = loop.time()
    unlucky = throttle.retry(
        failing(errors.NoEffectError("busy", retry_after_seconds=0.3)), operation=Operation.FETCH, what="a"
    )
    other_went_at = 0.0

    async def other() -> None:
        nonlocal other_went_at
        other_went_at = loop.time()

    first = asyncio.create_task(unlucky)
    await asyncio.sleep(0.05)
    await throttle.retry(other, operation=Operation.FETCH, what="b")
    await first
    assert other_went_at - began >= 0.3


async def test_a_recording_that_fails_while_others_go_well_is_given_up() -> None:
    throttle = gate()

    async def well() -> None: ...

    async def attempt() -> None:
        await throttle.retry(well, operation=Operation.FETCH, what="another")
        raise errors.UnknownOutcomeError("reset", kind="broken_connection")

    with pytest.raises(errors.RecordingError, match=r"reset \(after 3 tries\)") as caught:
        await throttle.retry(attempt, operation=Operation.FETCH, what="a")
    assert caught.value.kind == "broken_connection"


async def test_outage_for_everybody_fails_no_recording_but_stops_run() -> None:
    """An outage for everybody is no recording's failure, and in the end stops the run."""
    patience = RetrySettings(attempts=2, base_seconds=0.01, cap_seconds=0.02, outage_seconds=0.3)
    outage = [errors.NoEffectError("no connection", kind="not_connected")] * 1000
    with pytest.raises(errors.UnavailableError, match="no fetch has gone well.*no connection"):
        await gate(patience).retry(failing(*outage), operation=Operation.FETCH, what="a")


@pytest.mark.parametrize("attempt", [1, 2, 5, 50])
def test_backoff_is_full_jitter_on_top_of_what_the_service_said(attempt: int) -> None:
    """Backoff is full jitter under a doubling ceiling, on top of what the service said."""
    rng = random.Random(0)
    waits = [laws.backoff_seconds(attempt, base=1, cap=60, rng=rng, at_least=5) for _ in range(1000)]
    ceiling = min(60, 2 ** (attempt - 1))
    assert min(waits) >= 5
    assert max(waits) <= 5 + ceiling
    assert max(waits) > 5 + 0.9 * ceiling


@pytest.mark.parametrize(("turnaround", "pause"), [(None, 0.3), (1, 0.3), (40, 2), (3600, 5)])
def test_the_pause_between_sweeps_follows_what_jobs_take(turnaround: float | None, pause: float) -> None:
    assert laws.sweep_pause_seconds(turnaround, least=0.3, most=5) == pause


def test_the_ramp_is_the_vendors() -> None:
    allowed = [laws.ramp_allowance(window) for window in range(30)]
    assert allowed[:4] == [25, 27, 29, 31]
    assert 49 <= allowed[9] <= 53
    assert 240 <= allowed[28] <= 255


@pytest.mark.parametrize("requests", [300, 18_000, 20_000])
def test_no_window_lets_more_requests_pass_than_the_rate(requests: int) -> None:
    bucket = TokenBucket(RateSettings(requests=requests, window_seconds=300), now=0.0)
    sent, now = [], 0.0
    while now < 900:
        if wait := bucket.wait_seconds(now):
            now += wait
        else:
            sent.append(now)
    for start in range(0, 600, 50):
        assert sum(start <= at < start + 300 for at in sent) <= requests + 1
    assert len(sent) > 2.1 * requests


def test_after_throttling_the_ramp_goes_on_from_half_way_back() -> None:
    ramp = SubmissionRamp()
    for window in range(10):
        while not ramp.wait_seconds(window * 15.0):
            pass
    assert ramp.sent == laws.ramp_allowance(9)
    ramp.fall_back()
    while not ramp.wait_seconds(150.0):
        pass
    assert ramp.sent == laws.ramp_allowance(5)


@pytest.mark.parametrize(
    ("waiting", "queued", "ended", "congested"),
    [(100, 0, 0, False), (100, 25, 0, False), (100, 26, 0, True), (100, 60, 40, False), (3, 3, 0, False)],
)
def test_queue_counts_only_beyond_what_keeps_the_service_busy(
    waiting: int, queued: int, ended: int, congested: bool
) -> None:
    assert laws.is_congested(waiting, queued, ended) is congested
