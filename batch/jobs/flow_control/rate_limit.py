"""How many requests there may be in a time: a bucket of tokens, the ramp of submissions, the pace below a limit that
was met. Each says how long the next request has to wait."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from batch.config import RateSettings
from batch.jobs.flow_control import laws

_CATCH_UP_SECONDS: Final = 0.05
"""So much a paced request may make up for that went late."""


class TokenBucket:
    """Tokens for requests: it fills steadily, up to its capacity."""

    __slots__ = ("capacity", "filled_at", "rate", "tokens")

    def __init__(self, rate: RateSettings, now: float) -> None:
        self.capacity, self.rate = laws.bucket_for(rate.requests, rate.window_seconds)
        self.tokens, self.filled_at = self.capacity, now

    def wait_seconds(self, now: float) -> float:
        """0 and one token less, or how long until there is one."""
        self.tokens = min(self.capacity, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens < 1 - 1e-6:
            return (1 - self.tokens) / self.rate
        self.tokens -= 1
        return 0.0


class SubmissionRamp:
    """Submissions by windows: at most what is allowed in each, more in each that follows, fewer after throttling."""

    __slots__ = ("began", "sent", "start", "window")

    def __init__(self) -> None:
        self.start: float | None = None
        self.window, self.sent, self.began = 0, 0, 0

    def wait_seconds(self, now: float) -> float:
        """0 and one submission noted, or how long until the next window."""
        self.start = now if self.start is None else self.start
        window = int((now - self.start) / laws.RAMP_WINDOW_SECONDS)
        if window != self.window:
            self.window, self.sent = window, 0
        if self.sent >= laws.ramp_allowance(window - self.began):
            return self.start + (window + 1) * laws.RAMP_WINDOW_SECONDS - now
        self.sent += 1
        return 0.0

    def fall_back(self) -> None:
        """Half way back to the start of the ramp."""
        self.began += (self.window - self.began) // 2 + 1
        self.began = min(self.began, self.window)


class Pacing:
    """How far apart requests are, once refusals for their number have shown a limit. Nothing is held back before.

    Each such refusal pauses everybody; whether to slow down is decided when the pause is over, by all that was
    answered in the seconds before it and during it. ``closed`` says that nothing has got through since the pause
    before: then one request goes ahead of the others.
    """

    __slots__ = (
        "_answers", "_free_until", "_got_through", "_next_at", "_passed", "_paused_at", "_share", "_since", "closed",
    )  # fmt: skip

    def __init__(self) -> None:
        self._answers: deque[tuple[float, bool]] = deque()
        self._got_through, self._share, self._since = math.inf, 1.0, -math.inf
        self._next_at, self._free_until = 0.0, 0.0
        self._paused_at: float | None = None
        self._passed, self.closed = 0, False

    def wait_seconds(self, now: float) -> float:
        """0 and one request noted, or how long until the next one."""
        if self._got_through == math.inf:
            return 0.0
        if self._next_at > now:
            return self._next_at - now
        apart = 1 / laws.pace(self._got_through, now - self._since)
        self._next_at = max(self._next_at, now - _CATCH_UP_SECONDS) + apart
        return 0.0

    def answered(self, asked_at: float, now: float, refused: bool) -> None:
        """Note an answer. What was asked before the last decision tells nothing about it."""
        if not refused:
            self._passed, self.closed = self._passed + 1, False
        if asked_at < self._since:
            return
        self._answers.append((now, refused))
        while self._paused_at is None and self._answers[0][0] < now - laws.looked_back_seconds(now - self._since):
            self._answers.popleft()
        if refused and self._paused_at is None:
            self._paused_at = now

    def slows_down(self, now: float) -> bool:
        """Decide, if a pause has just ended: whether requests are slowed down from now on."""
        if self._paused_at is None:
            return False
        paused_at, self._paused_at = self._paused_at, None
        self.closed, self._passed = self._passed == 0, 0
        refused = sum(refused for _, refused in self._answers)
        if not laws.is_throttling(refused, len(self._answers)):
            self._stay(paused_at, now)
            return False
        answers, self._answers = self._answers, deque()
        share, before, self._share = refused / len(answers), self._share, refused / len(answers)
        if self._got_through < math.inf and laws.is_in_vain(share, before, now - self._since):
            self._got_through, self._free_until = math.inf, now + laws.in_vain_seconds()
        elif now > self._free_until:
            seconds = max(paused_at - answers[0][0], laws.THROTTLING_SECONDS / 3)
            self._got_through = (len(answers) - refused) / seconds
        self._since = now
        return self._got_through < math.inf

    def _stay(self, paused_at: float, now: float) -> None:
        """A refusal beyond what is known to pass: begin again below the pace that met it."""
        if self._got_through < math.inf and paused_at - self._since > laws.plateau_seconds():
            self._got_through, self._since = laws.pace(self._got_through, paused_at - self._since), now
