"""One gate for every request to the service: a shared "not before", a way to try again, and when to stop the run."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from batch import errors
from batch.config import RateSettings, RetrySettings
from batch.errors import RECORDINGS_OWN, FailureKind
from batch.jobs.flow_control import laws
from batch.jobs.flow_control.laws import Blame
from batch.jobs.flow_control.rate_limit import Pacing, SubmissionRamp, TokenBucket
from batch.providers.interface import Operation
from batch.telemetry import context
from batch.telemetry.events import Event, RequestRetried, RequestStarted

T = TypeVar("T")
_IN_TURN: Final = FailureKind.NO_ROOM
"""Whoever comes first takes the room that others have left: so it is bad luck, though others have gone well."""
_REFUSALS_LIMIT: Final = 100
"""So many refusals in a row, while others get through, leave a recording for the next run; it does not fail."""
_AHEAD_SECONDS: Final = 1.0
"""So long the others wait for the answer to the one that goes ahead."""


class _Health:
    """How one operation does: when it last went well, since when it has not, and for whom not."""

    __slots__ = ("failing_callers", "ill_since", "well_at")

    def __init__(self) -> None:
        self.well_at: float | None = None
        self.ill_since: float | None = None
        self.failing_callers: set[str] = set()

    def went_well(self, now: float) -> None:
        self.well_at, self.ill_since = now, None
        self.failing_callers.clear()

    def is_well_since(self, then: float) -> bool:
        return self.well_at is not None and self.well_at >= then

    def went_ill(self, now: float, what: str) -> float:
        """Returns for how many seconds nothing has gone well."""
        self.ill_since = now if self.ill_since is None else self.ill_since
        if len(self.failing_callers) < 2:
            self.failing_callers.add(what)
        return now - self.ill_since


class Throttle:
    """Every request asks for its turn and tells how it went; ``retry`` does both, and tries again.

    ``rate`` bounds all requests, ``ramp`` submissions as the vendor recommends. Each refusal for their number pauses
    all requests; a limit that such refusals show (``policy.is_throttling``) paces them. Refusals never count against
    a recording, and say nothing about how many jobs the service takes. A ``Retry-After``
    beyond ``longest_pause_seconds`` (None: as an outage) ends the run.

    A operation that is down for everybody is not a recording's failure: while nothing goes well on it, tries are not
    counted against the recording, and after ``outage_seconds`` of that the run stops, to be continued later.
    """

    def __init__(
        self,
        patience: RetrySettings,
        *,
        rng: random.Random,
        on_event: Callable[[Event], None],
        rate: RateSettings | None = None,
        ramp: bool = False,
        longest_pause_seconds: float | None = None,
    ) -> None:
        self._longest_pause = longest_pause_seconds or patience.outage_seconds
        self._patience, self._rng, self._on_event = patience, rng, on_event
        self._bucket = TokenBucket(rate, _now()) if rate and rate.requests else None
        self._ramp = SubmissionRamp() if ramp else None
        self._pacing = Pacing()
        self._line = asyncio.Lock()
        self._heard = asyncio.Event()
        self._heard.set()
        self._not_before = 0.0
        self._health = {operation: _Health() for operation in Operation}
        self._at_all = _Health()

    async def attempt(
        self, attempt: Callable[[], Awaitable[T]], *, operation: Operation, what: str, number: int = 1
    ) -> T:
        """Make one ``attempt``, the ``number``-th, as soon as the service may be asked. Raises what it raises, and
        ``UnavailableError`` when nothing has gone well on the operation for too long."""
        await self._allowance(operation)
        asked_at = _now()
        self._on_event(RequestStarted(operation))
        context.attempt_number.set(number)
        try:
            answer = await attempt()
        except errors.TransientError as error:
            self._record_failure(error, operation, what, asked_at)
            raise
        finally:
            self._heard.set()
        for health in (self._health[operation], self._at_all):
            health.went_well(_now())
        self._pacing.answered(asked_at, _now(), refused=False)
        return answer

    async def retry(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        operation: Operation,
        what: str,
        unanswered: bool = True,
        at_last: type[errors.DiaristError] | None = errors.RecordingError,
    ) -> T:
        """Make ``attempt`` until it goes well, with backoff.

        With ``unanswered`` False only requests that certainly had no effect are repeated. Raises what the attempt
        raised last when it must not be tried again, ``at_last`` when a recording's tries are used up (None: nothing
        but an outage ends it), ``PostponedError`` when the service has always been asked too often, but only by this
        recording, and ``UnavailableError`` when it has been out for too long.
        """
        tries = own = refused = 0
        since = _now()
        while True:
            try:
                return await self.attempt(attempt, operation=operation, what=what, number=tries + 1)
            except errors.TransientError as error:
                if isinstance(error, errors.UnknownOutcomeError) and not unanswered:
                    raise
                refused = refused + 1 if self._is_singled_out(error, since) else 0
                tries, own, since = tries + 1, own + self._is_its_own(error, operation, since), _now()
                if at_last and refused >= _REFUSALS_LIMIT:
                    raise errors.PostponedError(f"{error} (after {tries} tries)", kind=error.kind) from error
                if at_last and own >= self._patience.attempts:
                    raise at_last(f"{error} (after {tries} tries)", kind=error.kind) from error
                await self._rest(error, tries, what)

    def went_well_since(self, operation: Operation, then: float) -> bool:
        """Whether anything has gone well on the operation since ``then`` (loop time)."""
        return self._health[operation].is_well_since(then)

    async def wait_until_open(self) -> None:
        """Wait until the service may be asked. The client awaits it once more right before it sends: between a turn
        and the request lie a file that is opened, or an intent that is written."""
        while (wait := self._not_before - _now()) > 0:  # noqa: ASYNC110 (it may move)
            await asyncio.sleep(wait)

    async def _allowance(self, operation: Operation) -> None:
        """Wait for what the ramp gives submissions; then, in line, for the end of a pause, a token and the pace."""
        while self._ramp and operation is Operation.SUBMIT and (wait := self._ramp.wait_seconds(_now())):  # noqa: ASYNC110
            await asyncio.sleep(wait)
        async with self._line:
            await self._opening()
            while self._bucket and (wait := self._bucket.wait_seconds(_now())):  # noqa: ASYNC110
                await asyncio.sleep(wait)
            while wait := self._pacing.wait_seconds(_now()):  # noqa: ASYNC110
                await asyncio.sleep(wait)

    async def _opening(self) -> None:
        """Wait until nobody has to be silent. At a service that is closed the first in line learns for all whether it
        still is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AHEAD_SECONDS):
                await self._heard.wait()
        await self.wait_until_open()
        if self._pacing.slows_down(_now()) and self._ramp:
            self._ramp.fall_back()
        if self._pacing.closed:
            self._heard.clear()

    async def _rest(self, error: errors.TransientError, tries: int, what: str) -> None:
        """Whoever was refused for the number of requests has only to get in line again, behind the pause of all."""
        base, cap = self._patience.base_seconds, self._patience.cap_seconds
        at_least = error.retry_after_seconds or 0.0
        pause = laws.backoff_seconds(tries, base=base, cap=cap, rng=self._rng, at_least=at_least)
        if isinstance(error, errors.ThrottledError):
            pause = max(0.0, self._not_before - _now())
        self._on_event(RequestRetried(f"{what}: {error}", error.kind, pause))
        await asyncio.sleep(pause)

    def _is_its_own(self, error: errors.TransientError, operation: Operation, since: float) -> bool:
        """Whether the bad luck is the recording's: the service said so, or was well for others meanwhile."""
        if isinstance(error, errors.ThrottledError):
            return False
        return error.kind in RECORDINGS_OWN or (error.kind != _IN_TURN and self.went_well_since(operation, since))

    def _is_singled_out(self, error: errors.TransientError, since: float) -> bool:
        return isinstance(error, errors.ThrottledError) and self._at_all.is_well_since(since)

    def _record_failure(self, error: errors.TransientError, operation: Operation, what: str, asked_at: float) -> None:
        """Note what went wrong; raise if that has lasted for too long."""
        if (error.retry_after_seconds or 0.0) > self._longest_pause:
            raise self._asked_to_wait(error) from error
        now, is_throttled = _now(), isinstance(error, errors.ThrottledError)
        self._pause(error, now, asked_at)
        health = self._at_all if is_throttled else self._health[operation]
        self._give_up_if_out(error, operation, health.went_ill(now, what), len(health.failing_callers))

    def _give_up_if_out(
        self, error: errors.TransientError, operation: Operation, seconds: float, callers: int
    ) -> None:
        """Raise if nothing has gone well for ``seconds``, and that is an outage."""
        if seconds < self._patience.outage_seconds:
            return
        is_throttled = isinstance(error, errors.ThrottledError)
        is_upload = operation is Operation.UPLOAD
        if laws.blame(error.kind, callers, is_upload=is_upload, is_throttled=is_throttled) is Blame.RECORDING:
            raise errors.RecordingError(f"{error} (for {seconds:.0f} s)", kind=error.kind) from error
        nothing = "no request" if is_throttled else f"no {operation}"
        raise errors.UnavailableError(
            f"{nothing} has gone well for {seconds:.0f} s; the last error: {error}. "
            "Run the same command again later: what was done is recorded",
            kind=error.kind,
        ) from error

    def _asked_to_wait(self, error: errors.TransientError) -> errors.AskedToWaitError:
        seconds = error.retry_after_seconds or 0.0
        then = datetime.now().astimezone() + timedelta(seconds=seconds)
        return errors.AskedToWaitError(
            f"the service wants to be left alone for {seconds:,.0f} s, until {then:%Y-%m-%d %H:%M:%S %Z}: run the "
            f"same command again then, what was done is recorded. Its answer: {error}",
            kind=error.kind,
        )

    def _pause(self, error: errors.TransientError, now: float, asked_at: float) -> None:
        """Everybody is silent for as long as the service asks, if it does, or for a moment."""
        if error.kind != FailureKind.THROTTLED and not error.retry_after_seconds:
            return
        pause = error.retry_after_seconds or self._rng.uniform(0.0, self._patience.base_seconds)
        self._not_before = max(self._not_before, now + pause)
        if error.kind == FailureKind.THROTTLED:
            self._pacing.answered(asked_at, now, refused=True)


def _now() -> float:
    return asyncio.get_running_loop().time()
