"""The laws of pacing, played on a clock that skips: the real gate and the real slots before services that refuse by
chance, by a limit, by a limit that moves, or altogether.

Every figure is a ratio within one play: the time to what an ideal client takes, refusals to answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import selectors
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import pytest

from batch import errors
from batch.config import RateSettings, RetrySettings
from batch.errors import FailureKind
from batch.jobs.flow_control import laws
from batch.jobs.flow_control.concurrency import ConcurrencyLimiter
from batch.jobs.flow_control.rate_limit import Pacing, SubmissionRamp
from batch.jobs.flow_control.throttle import Throttle
from batch.providers.interface import Operation

T = TypeVar("T")
Limit = Callable[[float], float]
"""Requests a second that the service takes at a time."""
RECORDINGS, JOB_SECONDS, LATENCY_SECONDS = 300, 0.5, 0.05


class _Skips(selectors.SelectSelector):
    """Nobody waits: where the loop would sleep, its clock moves on."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and nothing can happen any more"
        self.now += timeout
        return super().select(0)


class SkippingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skips = _Skips()
        super().__init__(self._skips)

    def time(self) -> float:
        return self._skips.now


def played(work: Coroutine[Any, Any, T]) -> T:
    with contextlib.closing(SkippingLoop()) as loop:
        return loop.run_until_complete(work)


class Bucket:
    """A limiter that lets a second's worth through at once."""

    def __init__(self, limit: Limit) -> None:
        self._limit, self._at, self._tokens = limit, 0.0, limit(0.0)

    def __call__(self, now: float) -> bool:
        rate = self._limit(now)
        self._tokens, self._at = min(max(rate, 1.0), self._tokens + (now - self._at) * rate), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Windows:
    """A limiter that counts anew in each window."""

    def __init__(self, limit: Limit, seconds: float = 1.0) -> None:
        self._limit, self._seconds, self._asked = limit, seconds, Counter[int]()

    def __call__(self, now: float) -> bool:
        window = int(now / self._seconds)
        self._asked[window] += 1
        return self._asked[window] <= self._limit(now) * self._seconds


class Sliding:
    """A limiter that counts what it let through in the last second: whoever goes over it by pauses loses most."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._passed: deque[float] = deque()

    def __call__(self, now: float) -> bool:
        while self._passed and self._passed[0] <= now - 1.0:
            self._passed.popleft()
        if len(self._passed) >= self._limit(now):
            return False
        self._passed.append(now)
        return True


def no_limit(now: float) -> bool:
    return True


class Service:
    """Answers after a moment, unless its limiter, or chance, refuses; notes when."""

    def __init__(self, limiter: Callable[[float], bool], noise: float, after: float | None, seed: int = 1) -> None:
        self._limiter, self._noise, self._after, self._rng = limiter, noise, after, random.Random(seed)
        self.came: list[float] = []
        self.refused: list[float] = []
        self.passed = 0

    async def ask(self) -> None:
        await asyncio.sleep(LATENCY_SECONDS * self._rng.uniform(0.6, 1.4))
        now = asyncio.get_running_loop().time()
        self.came.append(now)
        if self._rng.random() < self._noise or not self._limiter(now):
            self.refused.append(now)
            raise errors.ThrottledError("429", kind="throttled", retry_after_seconds=self._after)
        self.passed += 1

    def silence(self) -> float:
        """For how many seconds, in all, somebody had been asked to be silent."""
        spans = ((at, at + (self._after or 0.0)) for at in self.refused)
        return sum(max(0.0, min(end, after) - at) for (at, end), after in itertools.zip_longest(
            spans, self.refused[1:], fillvalue=float("inf")
        ))  # fmt: skip


class Played(NamedTuple):
    seconds: float
    service: Service
    failed: int

    @property
    def refused(self) -> float:
        """Refusals for each request that got through."""
        return len(self.service.refused) / self.service.passed


async def _night(service: Service, recordings: int, in_flight: int) -> Played:
    """Upload, submit and fetch recordings as a run does, with a look at the list four times a second."""
    gate = Throttle(RetrySettings(), rng=random.Random(2), on_event=lambda event: None)
    slots, uploads, loop, failed = ConcurrencyLimiter(in_flight), asyncio.Semaphore(8), asyncio.get_running_loop(), 0
    jobs: dict[str, tuple[float, asyncio.Future[None]]] = {}

    async def carry(key: str) -> None:
        nonlocal failed
        try:
            async with uploads:
                await gate.retry(service.ask, operation=Operation.UPLOAD, what=key)
            await slots.acquire(key)
            await gate.retry(service.ask, operation=Operation.SUBMIT, what=key)
            jobs[key] = (loop.time() + JOB_SECONDS, loop.create_future())
            await jobs[key][1]
            slots.release(key)
            await gate.retry(service.ask, operation=Operation.FETCH, what=key)
        except errors.RecordingError:
            failed += 1

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.25)
            with contextlib.suppress(errors.TransientError):
                if jobs:
                    await gate.attempt(service.ask, operation=Operation.LIST, what="list")
                    for key in [key for key, (ends_at, _) in jobs.items() if ends_at <= loop.time()]:
                        jobs.pop(key)[1].set_result(None)

    watching = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as group:
        for number in range(recordings):
            group.create_task(carry(str(number)))
    watching.cancel()
    await asyncio.wait([watching])
    return Played(loop.time(), service, failed)


def night(
    limiter: Callable[[float], bool] = no_limit,
    *,
    noise: float = 0.0,
    after: float | None = 1.0,
    recordings: int = RECORDINGS,
    in_flight: int = 100,
    seed: int = 1,
) -> Played:
    return played(_night(Service(limiter, noise, after, seed), recordings, in_flight))


def ideal_seconds(limit: Limit, requests: int) -> float:
    """How long the limit takes for so many requests, if it is used to the full."""
    step, let = 0.01, 0.0
    for number in itertools.count():
        if let >= requests:
            return number * step
        let += limit(number * step) * step
    raise AssertionError


AFTER = pytest.mark.parametrize("after", [1.0, None], ids=["Retry-After", "without"])


@pytest.mark.parametrize("noise", [0.01, 0.04, 0.10])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_costs_little_but_the_silence_that_it_asks_for(noise: float, seed: int) -> None:
    undisturbed, disturbed = night(), night(noise=noise, seed=seed)
    assert disturbed.failed == 0
    assert disturbed.seconds <= 1.35 * (undisturbed.seconds + disturbed.service.silence())


@AFTER
@pytest.mark.parametrize("rate", [15, 40])
@pytest.mark.parametrize(
    ("limiter", "slower", "refused"),
    [(Bucket, 1.15, 0.08), (Windows, 1.6, 0.08), (Sliding, 1.65, 0.08)],
    ids=["bucket", "windows", "sliding"],
)
def test_a_limit_is_used_almost_to_the_full_with_few_refusals(
    limiter: Any, rate: float, slower: float, refused: float, after: float | None
) -> None:
    limited = night(limiter(lambda now: rate), after=after)
    assert limited.failed == 0
    assert limited.seconds <= slower * ideal_seconds(lambda now: rate, limited.service.passed)
    assert limited.refused <= refused


def test_pauses_alone_would_draw_many_more_refusals_from_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    paced = night(Bucket(lambda now: 15.0))
    monkeypatch.setattr(laws, "is_throttling", lambda refused, answered: False)
    paused = night(Bucket(lambda now: 15.0))
    assert len(paused.service.refused) > 4 * len(paced.service.refused)
    assert paused.seconds > paced.seconds


@AFTER
def test_a_limit_that_shrinks_and_grows_is_followed(after: float | None) -> None:
    def limit(now: float) -> float:
        return 40 if now < 10 else 10 if now < 30 else 80

    moved = night(Sliding(limit), after=after, recordings=600)
    assert moved.failed == 0
    assert moved.seconds <= 1.6 * ideal_seconds(limit, moved.service.passed)
    assert moved.refused <= 0.1


@AFTER
@pytest.mark.parametrize("began", [0, 5])
def test_outage_meets_few_requests_and_ends_without_delay(began: int, after: float | None) -> None:
    """An outage is met with few requests, and is over at once when it is over."""

    def limit(now: float) -> float:
        return 0 if began <= now < 35 else 100

    out = night(Sliding(limit), after=after)
    met = sum(7 <= at < 35 for at in out.service.came)
    assert out.failed == 0
    assert out.seconds <= 1.5 * ideal_seconds(limit, out.service.passed)
    assert met <= 3 * 28 / (after or 0.5), "one request after each pause, and no crowd"


@AFTER
def test_a_minutes_quota_is_used_up_and_waited_for(after: float | None) -> None:
    quota = night(Windows(lambda now: 10.0, 60.0), after=after)
    assert quota.failed == 0
    assert quota.seconds <= 1.3 * 60, "so much as is needed passes in the second minute"
    assert quota.refused <= 0.3


def test_refusing_four_in_five_requests_fails_no_recording() -> None:
    """Refusals fail no recording, though four of five requests meet one."""
    refused = night(noise=0.8, recordings=200)
    assert refused.failed == 0
    assert refused.refused > 3.5
    at_once = 8 * 0.2  # what gets through of the uploads that are sent after each pause
    assert refused.seconds <= 2.5 * 200 / at_once, "slowing down is given up where it does not help"


def test_refusals_on_one_route_are_no_outage_if_others_go_well() -> None:
    async def well() -> None:
        await asyncio.sleep(LATENCY_SECONDS)

    async def refused() -> None:
        raise errors.ThrottledError("429", kind="throttled", retry_after_seconds=1.0)

    async def work() -> None:
        gate = Throttle(RetrySettings(outage_seconds=10.0), rng=random.Random(2), on_event=lambda event: None)
        for _ in range(30):
            await gate.attempt(well, operation=Operation.FETCH, what="a")
            with pytest.raises(errors.ThrottledError):
                await gate.attempt(refused, operation=Operation.UPLOAD, what="b")
        with pytest.raises(errors.UnavailableError, match="no request has gone well for 1[01] s"):
            await gate.retry(refused, operation=Operation.UPLOAD, what="b")

    played(work())


def test_request_that_alone_is_always_refused_is_postponed() -> None:
    """Whoever alone is refused for ever is left for the next run."""

    async def well() -> None:
        await asyncio.sleep(LATENCY_SECONDS)

    async def singled_out() -> None:
        await gate.retry(well, operation=Operation.FETCH, what="another")
        raise errors.ThrottledError("429", kind="throttled", retry_after_seconds=1.0)

    async def work() -> None:
        nonlocal gate
        gate = Throttle(RetrySettings(), rng=random.Random(2), on_event=lambda event: None)
        with pytest.raises(errors.PostponedError, match=r"429 \(after 100 tries\)"):
            await gate.retry(singled_out, operation=Operation.UPLOAD, what="this")

    gate: Throttle
    played(work())


def test_bucket_bounds_the_requests_of_every_window_at_the_gate() -> None:
    async def work() -> list[float]:
        service = Service(no_limit, 0.0, None)
        gate = Throttle(
            RetrySettings(), rng=random.Random(2), on_event=lambda event: None, rate=RateSettings(100, 10.0)
        )
        asks = (gate.attempt(service.ask, operation=Operation.FETCH, what=str(number)) for number in range(400))
        await asyncio.gather(*asks)
        return service.came

    came = played(work())
    assert max(sum(at <= other < at + 10.0 for other in came) for at in came) <= 101 + 6 * 2 * LATENCY_SECONDS
    assert came[-1] > 30.0


def test_what_is_paced_goes_in_the_order_in_which_it_came() -> None:
    """Nobody overtakes: with a crowd before the gate the last would otherwise wait by chance, and for ever."""

    async def work() -> list[int]:
        gate, served = Throttle(RetrySettings(), rng=random.Random(2), on_event=lambda event: None), list[int]()
        gate._pacing._got_through, gate._pacing._since = 10.0, 0.0

        async def ask(number: int) -> None:
            served.append(number)

        await asyncio.gather(
            *(gate.attempt(lambda n=n: ask(n), operation=Operation.FETCH, what="") for n in range(50))
        )  # type: ignore[misc]
        assert asyncio.get_running_loop().time() > 3.0
        return served

    assert played(work()) == list(range(50))


def test_old_answers_say_nothing_about_a_present_limit() -> None:
    pacing = Pacing()
    for _ in range(100):
        pacing.answered(0.0, 0.1, refused=False)
    for refused in (True, True, True, True, True, False):
        pacing.answered(60.0, 60.1, refused)
    assert pacing.slows_down(61.1)


@pytest.mark.parametrize(
    ("refused", "answered", "throttling"),
    [(4, 4, False), (5, 5, True), (5, 20, True), (5, 21, False), (30, 300, False)],
)
def test_limit_shows_in_refusals_that_are_many_of_the_answers(refused: int, answered: int, throttling: bool) -> None:
    """A limit shows in some refusals, if they are many of the answers."""
    assert laws.is_throttling(refused, answered) is throttling


def test_pace_begins_below_what_passes_and_later_rises_fast() -> None:
    """The pace begins below what passes, stays near it, and then rises fast."""
    plateau = laws.plateau_seconds()
    assert laws.pace(50, 0) == pytest.approx(40)
    assert laws.pace(50, plateau) == pytest.approx(50)
    assert 48 < laws.pace(50, plateau / 2) < laws.pace(50, 1.5 * plateau) < 52
    assert laws.pace(50, 4 * plateau) > 300
    assert laws.pace(0.1, 0) == laws.SLOWEST


@pytest.mark.parametrize(
    ("share", "before", "seconds", "in_vain"),
    [(0.8, 0.8, 3, True), (0.1, 0.8, 3, False), (0.3, 0.3, 3, False), (0.8, 0.8, 60, False)],
)
def test_slowing_down_is_in_vain_if_most_of_the_refusals_stay(
    share: float, before: float, seconds: float, in_vain: bool
) -> None:
    assert laws.is_in_vain(share, before, seconds) is in_vain


def test_the_ramp_steps_back_for_a_limit_and_not_for_noise() -> None:
    async def work(noise: float, limiter: Callable[[float], bool]) -> int:
        fallen, service = 0, Service(limiter, noise, 1.0)
        gate = Throttle(RetrySettings(), rng=random.Random(2), on_event=lambda event: None, ramp=True)
        fall_back = SubmissionRamp.fall_back

        def note(ramp: SubmissionRamp) -> None:
            nonlocal fallen
            fallen += 1
            fall_back(ramp)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SubmissionRamp, "fall_back", note)
            asks = (gate.retry(service.ask, operation=Operation.FETCH, what=str(number)) for number in range(300))
            await asyncio.gather(*asks)
        return fallen

    assert played(work(0.04, no_limit)) == 0
    assert played(work(0.0, Bucket(lambda now: 15.0))) > 0


@pytest.mark.parametrize(
    ("kind", "callers", "is_upload", "is_throttled", "whose"),
    [
        ("broken_connection", 1, True, False, "recording"),
        ("upload_failed", 1, True, False, "recording"),
        ("broken_connection", 2, True, False, "service"),
        ("broken_connection", 1, False, False, "service"),
        ("not_connected", 1, True, False, "service"),
        ("timeout", 1, True, False, "service"),
        ("no_room", 1, True, False, "service"),
        ("throttled", 1, True, True, "service"),
    ],
)
def test_only_an_upload_of_its_own_is_a_recordings_failure(
    kind: FailureKind, callers: int, is_upload: bool, is_throttled: bool, whose: str
) -> None:
    assert laws.blame(kind, callers, is_upload=is_upload, is_throttled=is_throttled) == whose
