"""When to try again and how long to wait: pure functions on numbers."""

from __future__ import annotations

import random
from enum import StrEnum
from typing import Final

from batch.errors import LINE_DOWN, FailureKind

FAILURES_LIMIT: Final = 3
"""So often the service may fail one job before it is given up (failed jobs are not billed)."""
SUBMISSIONS_LIMIT: Final = 8
"""So many submissions of one job may stay without an answer, while others are answered, before it is given up."""


def backoff_seconds(attempt: int, *, base: float, cap: float, rng: random.Random, at_least: float = 0.0) -> float:
    """How long to wait before attempt ``attempt`` + 1 (attempts count from 1).

    Full jitter below an exponential ceiling (Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog,
    2015). ``at_least`` is the service's own Retry-After: a floor, so the jitter comes on top of it.
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 30))
    return at_least + rng.uniform(0.0, ceiling)


RAMP_FIRST: Final = 25
RAMP_WINDOW_SECONDS: Final = 15.0
RAMP_GROWTH: Final = 1.085
"""The vendor's bulk guide: so many submissions in the first window of 15 s, and 8.5 % more in each that follows."""


def ramp_allowance(windows: int) -> int:
    """How many submissions the vendor recommends at most in window ``windows`` (from 0) of a run."""
    return int(RAMP_FIRST * RAMP_GROWTH ** min(windows, 200))


def bucket_for(requests: int, window_seconds: float) -> tuple[float, float]:
    """A token bucket (capacity, tokens a second) that in no window lets more than ``requests`` pass.

    Two fifths may go at once, so that a small run never waits; the rest is spread over the window.
    """
    capacity = 0.4 * requests
    return capacity, (requests - capacity) / window_seconds


THROTTLING_SECONDS: Final = 3.0
"""The answers of so long a time tell whether the service has a limit on requests that we are beyond."""
THROTTLING_ANSWERS: Final = 5
THROTTLING_SHARE: Final = 0.25
SLOWEST: Final = 1.0
"""So many requests a second are sent even if the service lets almost nothing through."""
_BELOW: Final = 0.2


def is_throttling(refused: int, answered: int) -> bool:
    """Whether refusals for the number of requests show a limit: a few among many answers are noise."""
    return refused >= THROTTLING_ANSWERS and refused >= THROTTLING_SHARE * answered


def pace(got_through: float, seconds: float) -> float:
    """How many requests a second to send, so long after the service was seen to let ``got_through`` a second pass.

    The cubic of TCP (RFC 9438): a fifth below at first, then for long close to what is known to pass, then faster and
    faster, for a limit may have risen.
    """
    growth = (seconds - plateau_seconds()) / plateau_seconds()
    return max(SLOWEST, got_through * (1 + _BELOW * growth**3))


def plateau_seconds() -> float:
    """When the pace is back at what is known to pass."""
    return 1.5 * THROTTLING_SECONDS


def looked_back_seconds(seconds: float) -> float:
    """How far back answers count, ``seconds`` after requests were slowed down: at first till then: they are few."""
    return max(THROTTLING_SECONDS, seconds if seconds < 2 * plateau_seconds() else 0.0)


def is_in_vain(share: float, before: float, seconds: float) -> bool:
    """Whether requests were slowed down to no avail, ``seconds`` ago, because the share of refusals is still most of
    what it was ``before``: then it does not depend on their number, and is borne with pauses alone."""
    return share >= max(0.5, 0.7 * before) and seconds < 2 * plateau_seconds()


def in_vain_seconds() -> float:
    """For so long requests are not slowed down again once that was in vain."""
    return 10 * THROTTLING_SECONDS


class Blame(StrEnum):
    """Whose failure an outage is."""

    RECORDING = "recording"
    SERVICE = "service"


def blame(kind: FailureKind, callers: int, *, is_upload: bool, is_throttled: bool) -> Blame:
    """Whose failure it is that nothing has gone well on an operation for as long as an outage takes.

    A recording can only be to blame for its own upload, and only if no other was tried meanwhile: ``callers`` is how
    many have failed. A line that is down, or a service that is asked too often, is never its fault.
    """
    is_its_own = is_upload and callers == 1 and not is_throttled and kind not in LINE_DOWN
    return Blame.RECORDING if is_its_own else Blame.SERVICE


def sweep_pause_seconds(turnaround: float | None, *, least: float, most: float) -> float:
    """The pause between two sweeps: a twentieth of what jobs have taken so far, within bounds.

    ``turnaround`` is the recent mean from submitted to done, in seconds; None while nothing is known yet.
    """
    return least if turnaround is None else min(most, max(least, turnaround / 20))


def is_congested(waiting: int, queued: int, ended: int) -> bool:
    """Whether the service queues more of our jobs than it needs to stay busy until the next look.

    Of ``waiting`` jobs ``queued`` have not begun, and ``ended`` have ended since the last look: a queue of a quarter,
    or of twice what ends between two looks, keeps any service busy.
    """
    return queued > max(4, waiting // 4, 2 * ended)


def slots_after_queue(held: int) -> int:
    """How many jobs the service gets at once when its own queue has gone: half as many again as it has."""
    return held + max(4, held // 2)


def is_expired(staged_at: float | None, now: float, life_seconds: float) -> bool:
    """Whether an upload is too old to be submitted."""
    return staged_at is None or now - staged_at > life_seconds
