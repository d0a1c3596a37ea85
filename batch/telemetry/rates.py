"""How fast a run goes: rates over the last minutes, and how long the work that is left will take."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from batch.model import ENDED, Job, State
from batch.telemetry.events import BytesSent, Event, JobMoved, JobPostponed, RequestStarted, RowRejected, RowSkipped

WINDOW_SECONDS: Final = 300.0
_STEP_SECONDS: Final = 1.0
_UPLOAD_SECONDS: Final = 10.0


class _Sums(NamedTuple):
    """What had been done at a time (seconds of some clock)."""

    at: float
    audio_seconds: float = 0.0
    sent_bytes: int = 0
    requests: int = 0
    work: float = 0.0


class Rates:
    """Folds the events of a run, each with its time; memory grows with what is under way only.

    Work is measured in bytes of audio, where they are known: an hour-long recording takes longer than a short one.
    """

    def __init__(self) -> None:
        self._now: _Sums | None = None
        self._past: deque[_Sums] = deque()
        self._under_way: dict[str, int | None] = {}
        self._known = self._known_bytes = 0
        self._ran = self._passed = 0
        self._first_run: float | None = None

    def note(self, event: Event, at: float) -> None:
        """``at`` never decreases."""
        if isinstance(event, RowSkipped | RowRejected):  # a million of them, at times
            self._passed += 1
            return
        sums = (self._now or _Sums(at))._replace(at=at)
        match event:
            case JobMoved(job=job):
                sums = self._moved(job, sums)
            case BytesSent(count=count):
                sums = sums._replace(sent_bytes=sums.sent_bytes + count)
            case RequestStarted():
                sums = sums._replace(requests=sums.requests + 1)
            case JobPostponed(job=job):
                self._under_way.pop(job.key, None)
        self._keep(sums)

    def audio_rate(self, at: float) -> float:
        """Seconds of audio collected per second, lately."""
        return self._lately(at, WINDOW_SECONDS, "audio_seconds")

    def upload_rate(self, at: float) -> float:
        """Bytes per second, in the last seconds."""
        return self._lately(at, _UPLOAD_SECONDS, "sent_bytes")

    def requests(self, at: float) -> int:
        """How many were sent in the last five minutes, which is how the vendor counts."""
        before = self._before(at, WINDOW_SECONDS)
        return self._now.requests - before.requests if self._now and before else 0

    @property
    def all_requests(self) -> int:
        return self._now.requests if self._now else 0

    def left_seconds(self, at: float, total: int | None, handled: int) -> float | None:
        """How long what is under way, and the rows that are not yet read, will take if it goes on as lately. None if
        it cannot be told yet. Of the rows to come as many will run as of those that were read."""
        rate = self._lately(at, WINDOW_SECONDS, "work")
        if total is None or not rate:
            return None
        to_come = max(0, total - handled - len(self._under_way)) * self._ran / (self._ran + self._passed)
        return (sum(map(self._weight, self._under_way.values())) + to_come * self._mean) / rate

    @property
    def _mean(self) -> float:
        return self._known_bytes / self._known if self._known else 1.0

    def _weight(self, size_bytes: int | None) -> float:
        return float(size_bytes or self._mean)

    def _moved(self, job: Job, sums: _Sums) -> _Sums:
        self._ran += job.key not in self._under_way
        self._first_run = sums.at if self._first_run is None else self._first_run
        if self._under_way.get(job.key) is None and job.size_bytes:
            self._known, self._known_bytes = self._known + 1, self._known_bytes + job.size_bytes
        self._under_way[job.key] = job.size_bytes
        if job.state not in ENDED:
            return sums
        work = self._weight(self._under_way.pop(job.key))
        if job.state is State.FAILED and job.submitted_at is None:  # as quick as a row that is passed over
            self._ran, self._passed, work = self._ran - 1, self._passed + 1, 0.0
        return sums._replace(work=sums.work + work, audio_seconds=sums.audio_seconds + (job.audio_seconds or 0.0))

    def _keep(self, sums: _Sums) -> None:
        if not self._past or sums.at - self._past[-1].at >= _STEP_SECONDS:
            self._past.append(self._now or sums)
            while len(self._past) > 2 and self._past[1].at < sums.at - WINDOW_SECONDS:
                self._past.popleft()
        self._now = sums

    def _before(self, at: float, seconds: float) -> _Sums | None:
        """How things stood so long ago, or at the start."""
        return next((sums for sums in reversed(self._past) if sums.at <= at - seconds), next(iter(self._past), None))

    def _lately(self, at: float, seconds: float, what: str) -> float:
        before = self._before(at, seconds)
        if not self._now or not before or self._first_run is None:
            return 0.0
        over = at - max(before.at, self._first_run)
        return (getattr(self._now, what) - getattr(before, what)) / over if over > 0 else 0.0
