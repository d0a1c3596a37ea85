"""One gate for every request to the service: a shared "not before", a way to try again, and when to stop the run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec

from batch import errors, policy
from batch.model import Event

T = TypeVar("T")
_OWN: Final = frozenset({"upload_failed"})
"""Refusals that speak of one recording, however the service does otherwise."""


class Patience(msgspec.Struct, frozen=True):
    """How long to keep trying. ``attempts`` counts a recording's own bad luck: tries that failed while others went
    well. ``outage_seconds`` is how long nothing at all may go well before the run stops."""

    attempts: int = 8
    base_seconds: float = 1.0
    cap_seconds: float = 60.0
    outage_seconds: float = 300.0


class Throttle:
    """Every request asks for its ``turn`` and tells how it went; ``insist`` does both and tries again.

    A service that is down for everybody is not a recording's failure: while nothing goes well, tries are not
    counted against the recording, and after ``outage_seconds`` of that the run stops, to be continued later.
    """

    def __init__(self, patience: Patience, *, rng: random.Random, notify: Callable[[Event], None]) -> None:
        self._patience, self._rng, self._notify = patience, rng, notify
        self._not_before = 0.0
        self._well_at: float | None = None
        self._ill_since: float | None = None

    async def turn(self) -> None:
        """Wait until the service may be asked again."""
        while (wait := self._not_before - _now()) > 0:  # noqa: ASYNC110 (it may move)
            await asyncio.sleep(wait)

    async def insist(self, attempt: Callable[[], Awaitable[T]], *, what: str, unanswered: bool = True) -> T:
        """Make ``attempt`` until it goes well, with backoff.

        With ``unanswered`` False only requests that certainly had no effect are repeated. Raises what the attempt
        raised last when it must not or no more be tried again, ``Permanent`` when a recording's tries are used up,
        and ``Unavailable`` when the service has been out for too long.
        """
        tries = own = 0
        since = _now()
        while True:
            await self.turn()
            try:
                answer = await attempt()
            except errors.Again as error:
                tries, own = tries + 1, own + self._is_its_own(error, since)
                since = _now()
                self._went_ill(error)
                if isinstance(error, errors.Unanswered) and not unanswered:
                    raise
                await self._wait(error, tries, own, what)
            else:
                self._went_well()
                return answer

    async def _wait(self, error: errors.Again, tries: int, own: int, what: str) -> None:
        patience = self._patience
        if own >= patience.attempts:
            raise errors.Permanent(f"{error} (after {tries} tries)", kind=error.kind) from error
        pause = policy.backoff_seconds(
            tries, base=patience.base_seconds, cap=patience.cap_seconds, rng=self._rng,
            at_least=error.retry_after_seconds or 0.0,
        )  # fmt: skip
        self._notify(Event("retrying", message=f"{what}: {error}", kind=error.kind, seconds=pause))
        await asyncio.sleep(pause)

    def _is_its_own(self, error: errors.Again, since: float) -> bool:
        """Whether the bad luck is the recording's: the service said so, or was well for others meanwhile."""
        return error.kind in _OWN or (self._well_at is not None and self._well_at >= since)

    def _went_well(self) -> None:
        self._well_at, self._ill_since = _now(), None

    def _went_ill(self, error: errors.Again) -> None:
        now = _now()
        if error.retry_after_seconds:
            self._not_before = max(self._not_before, now + error.retry_after_seconds)
        self._ill_since = now if self._ill_since is None else self._ill_since
        if now - self._ill_since >= self._patience.outage_seconds:
            raise errors.Unavailable(
                f"nothing has gone well for {now - self._ill_since:.0f} s; the last error: {error}. "
                "Run the same command again later: what was done is recorded",
                kind=error.kind,
            ) from error


def _now() -> float:
    return asyncio.get_running_loop().time()
