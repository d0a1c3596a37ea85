"""One gate for every request to the service: a shared "not before", a way to try again, and when to stop the run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from batch import behalf, errors, policy
from batch.model import Event
from batch.protocol import Route

T = TypeVar("T")
_OWN: Final = frozenset({"upload_failed"})
"""Refusals that speak of one recording, however the service does otherwise."""
_LINE_DOWN: Final = frozenset({"not_connected", "timeout", "no_room"})
"""Misfortunes that are never one recording's."""
_IN_TURN: Final = "no_room"
"""Whoever comes first takes the room that others have left: so it is bad luck, though others have gone well."""


class Patience(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to keep trying. ``attempts`` counts a recording's own bad luck: tries that failed while others went
    well. ``outage_seconds`` is how long nothing at all may go well before the run stops."""

    attempts: int = 8
    base_seconds: float = 1.0
    cap_seconds: float = 60.0
    outage_seconds: float = 300.0


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service may be asked: so many requests in any window (0: no limit), and whether submissions follow the
    vendor's recommended ramp."""

    requests: Annotated[int, Meta(ge=0)] = 18_000
    window_seconds: Annotated[float, Meta(gt=0)] = 300.0
    ramp: Literal["auto", "on", "off"] = "auto"


class _Bucket:
    """Tokens for requests: it fills steadily, up to its capacity."""

    __slots__ = ("capacity", "filled_at", "rate", "tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self.capacity, self.rate = policy.burst(rate.requests, rate.window_seconds)
        self.tokens, self.filled_at = self.capacity, now

    def wait_seconds(self, now: float) -> float:
        """0 and one token less, or how long until there is one."""
        self.tokens = min(self.capacity, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1 - 1e-6:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0


class _Ramp:
    """Submissions by windows: at most what is allowed in each, more in each that follows, fewer after throttling."""

    __slots__ = ("began", "sent", "start", "window")

    def __init__(self) -> None:
        self.start: float | None = None
        self.window, self.sent, self.began = 0, 0, 0

    def wait_seconds(self, now: float) -> float:
        """0 and one submission noted, or how long until the next window."""
        self.start = now if self.start is None else self.start
        window = int((now - self.start) / policy.RAMP_WINDOW_SECONDS)
        if window != self.window:
            self.window, self.sent = window, 0
        if self.sent >= policy.ramp_allowance(window - self.began):
            return self.start + (window + 1) * policy.RAMP_WINDOW_SECONDS - now
        self.sent += 1
        return 0.0

    def fall_back(self) -> None:
        """Half way back to the start of the ramp."""
        self.began += (self.window - self.began) // 2 + 1
        self.began = min(self.began, self.window)


class _Health:
    """How one route does: when it last went well, since when it has not, and for whom not."""

    __slots__ = ("ill_since", "unlucky", "well_at")

    def __init__(self) -> None:
        self.well_at: float | None = None
        self.ill_since: float | None = None
        self.unlucky: set[str] = set()

    def went_well(self, now: float) -> None:
        self.well_at, self.ill_since = now, None
        self.unlucky.clear()

    def went_ill(self, now: float, what: str) -> float:
        """Returns for how many seconds nothing has gone well."""
        self.ill_since = now if self.ill_since is None else self.ill_since
        if len(self.unlucky) < 2:
            self.unlucky.add(what)
        return now - self.ill_since


class Throttle:
    """Every request asks for its turn and tells how it went; ``insist`` does both, and tries again.

    ``rate`` bounds all requests, ``ramp`` submissions as the vendor recommends; ``narrow`` is called when the
    service throttles. A ``Retry-After`` beyond ``longest_pause_seconds`` (None: as an outage) ends the run.

    A route that is down for everybody is not a recording's failure: while nothing goes well on it, tries are not
    counted against the recording, and after ``outage_seconds`` of that the run stops, to be continued later.
    """

    def __init__(
        self,
        patience: Patience,
        *,
        rng: random.Random,
        notify: Callable[[Event], None],
        rate: Rate | None = None,
        ramp: bool = False,
        narrow: Callable[[], None] = lambda: None,
        longest_pause_seconds: float | None = None,
    ) -> None:
        self._longest_pause = longest_pause_seconds or patience.outage_seconds
        self._patience, self._rng, self._notify, self._narrow = patience, rng, notify, narrow
        self._bucket = _Bucket(rate, _now()) if rate and rate.requests else None
        self._ramp = _Ramp() if ramp else None
        self._not_before = 0.0
        self._health = {route: _Health() for route in Route}

    async def once(self, attempt: Callable[[], Awaitable[T]], *, route: Route, what: str, number: int = 1) -> T:
        """Make one ``attempt``, the ``number``-th, as soon as the service may be asked. Raises what it raises, and
        ``Unavailable`` when nothing has gone well on the route for too long."""
        await self.turn()
        await self._allowance(route)
        self._notify(Event("asked", kind=route))
        behalf.ATTEMPT.set(number)
        try:
            answer = await attempt()
        except errors.Again as error:
            self._went_ill(error, route, what)
            raise
        self._health[route].went_well(_now())
        return answer

    async def insist(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        route: Route,
        what: str,
        unanswered: bool = True,
        at_last: type[errors.DiaristError] | None = errors.Permanent,
    ) -> T:
        """Make ``attempt`` until it goes well, with backoff.

        With ``unanswered`` False only requests that certainly had no effect are repeated. Raises what the attempt
        raised last when it must not be tried again, ``at_last`` when a recording's tries are used up (None: nothing
        but an outage ends it), and ``Unavailable`` when the service has been out for too long.
        """
        tries = own = 0
        since = _now()
        while True:
            try:
                return await self.once(attempt, route=route, what=what, number=tries + 1)
            except errors.Again as error:
                if isinstance(error, errors.Unanswered) and not unanswered:
                    raise
                tries, own, since = tries + 1, own + self._is_its_own(error, route, since), _now()
                if at_last and own >= self._patience.attempts:
                    raise at_last(f"{error} (after {tries} tries)", kind=error.kind) from error
                await self._rest(error, tries, what)

    def went_well_since(self, route: Route, then: float) -> bool:
        """Whether anything has gone well on the route since ``then`` (loop time)."""
        well_at = self._health[route].well_at
        return well_at is not None and well_at >= then

    async def turn(self) -> None:
        """Wait until the service may be asked. The client awaits it once more right before it sends: between a turn
        and the request lie a file that is opened, or an intent that is written."""
        while (wait := self._not_before - _now()) > 0:  # noqa: ASYNC110 (it may move)
            await asyncio.sleep(wait)

    async def _allowance(self, route: Route) -> None:
        """Wait for a token, and for a submission for the ramp."""
        while self._ramp and route is Route.SUBMIT and (wait := self._ramp.wait_seconds(_now())):  # noqa: ASYNC110
            await asyncio.sleep(wait)
        while self._bucket and (wait := self._bucket.wait_seconds(_now())):  # noqa: ASYNC110
            await asyncio.sleep(wait)

    async def _rest(self, error: errors.Again, tries: int, what: str) -> None:
        base, cap = self._patience.base_seconds, self._patience.cap_seconds
        at_least = error.retry_after_seconds or 0.0
        pause = policy.backoff_seconds(tries, base=base, cap=cap, rng=self._rng, at_least=at_least)
        self._notify(Event("retrying", message=f"{what}: {error}", kind=error.kind, seconds=pause))
        await asyncio.sleep(pause)

    def _slow_down(self) -> None:
        """Once for all who meet the same throttling: fewer jobs in flight, and a step back on the ramp."""
        self._narrow()
        if self._ramp:
            self._ramp.fall_back()

    def _is_its_own(self, error: errors.Again, route: Route, since: float) -> bool:
        """Whether the bad luck is the recording's: the service said so, or was well for others meanwhile."""
        return error.kind in _OWN or (error.kind != _IN_TURN and self.went_well_since(route, since))

    def _went_ill(self, error: errors.Again, route: Route, what: str) -> None:
        now, health = _now(), self._health[route]
        if (error.retry_after_seconds or 0.0) > self._longest_pause:
            raise self._asked_to_wait(error) from error
        if error.kind == "throttled" or error.retry_after_seconds:
            pause = error.retry_after_seconds or self._rng.uniform(0.0, self._patience.base_seconds)
            if now >= self._not_before:
                self._slow_down()
            self._not_before = max(self._not_before, now + pause)
        seconds = health.went_ill(now, what)
        if seconds < self._patience.outage_seconds:
            return
        if len(health.unlucky) == 1 and route is Route.UPLOAD and error.kind not in _LINE_DOWN:
            raise errors.Permanent(f"{error} (for {seconds:.0f} s)", kind=error.kind) from error
        raise errors.Unavailable(
            f"no {route} has gone well for {seconds:.0f} s; the last error: {error}. "
            "Run the same command again later: what was done is recorded",
            kind=error.kind,
        ) from error

    def _asked_to_wait(self, error: errors.Again) -> errors.AskedToWait:
        seconds = error.retry_after_seconds or 0.0
        then = datetime.now().astimezone() + timedelta(seconds=seconds)
        return errors.AskedToWait(
            f"the service wants to be left alone for {seconds:,.0f} s, until {then:%Y-%m-%d %H:%M:%S %Z}: run the "
            f"same command again then, what was done is recorded. Its answer: {error}",
            kind=error.kind,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
