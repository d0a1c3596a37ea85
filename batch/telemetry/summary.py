"""What happened, in numbers: folds the events of a run into counts that a person and a cron job can act on."""

from __future__ import annotations

import contextlib
import signal
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from batch.errors import BudgetExceededError, DiaristError, FailureKind, RunError, UnavailableError
from batch.model import ENDED, Job, State
from batch.telemetry.events import (
    BudgetReached,
    BytesSent,
    Event,
    JobMoved,
    JobPostponed,
    Notice,
    ProviderStatus,
    RequestRetried,
    RequestStarted,
    RowAdmitted,
    RowRejected,
    RowsCounted,
    RowSkipped,
)
from batch.telemetry.rates import Rates

_SHOWN: Final = 20
_LAST: Final = 3


class Failure(msgspec.Struct):
    """Failures of one kind: how many, and one of them."""

    count: int
    where: str
    key: str | None
    reason: str


class RunContext(msgspec.Struct, frozen=True):
    """What a run works at and with, which does not change: ``requests_limit`` is of five minutes (None: no limit).

    ``command`` is what was asked, ``diarist run`` and its manifests first (empty: it cannot be said as a command),
    given in the directory ``cwd``. Nothing in it opens a door: what signs a URL is left out.
    """

    manifests: tuple[str, ...] = ()
    out: str = ""
    service: str = ""
    concurrency: int = 0
    requests_limit: int | None = None
    prices_as_of: str | None = None
    command: tuple[str, ...] = ()
    cwd: str = ""


class FailedList(msgspec.Struct, frozen=True):
    """The file that lists what failed: ``failed.jsonl``, in ``.diarist`` where the user has a file of that name.

    Its ``lines`` are ``failed + rejected + skipped["failed before"] + earlier``: ``earlier`` recordings of the
    directory failed in earlier runs, and no row of this run counts as failed for them.
    """

    path: str
    lines: int
    earlier: int


class Summary:
    """The state of a run as told by its events; ``exit_code`` once it has ended.

    ``rows = collected + failed + rejected + skipped + left`` at any time: ``skipped`` by why; ``left`` is what this
    run has not handled (yet). ``carried_over`` come on top: jobs that the service had from an earlier run, and that
    no row that was read names. ``total`` is the number of rows in all (None: not counted), ``read_all``: each was
    told of. ``alive`` counts the jobs on their way by state, ``ended`` those that ended in this run; ``shared`` the
    collected ones that an identical recording has paid for; ``behind`` counts results of recordings that are done
    and could not be given what their rows say now; ``shown`` the first twenty jobs that ended, ``failures``
    by kind, ``last_failures`` a sentence each; ``failed_list`` is known at the end. ``usd`` is what the collected
    ones cost (None: nothing is charged), ``starting`` what the provider does before it can
    work, ``rates`` knows rates, ``stage`` what does not change, ``run`` is the run's
    own id. Memory does not grow with rows.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.rates, self.stage = clock, Rates(), RunContext()
        self.run = str(uuid.uuid4())
        self.began, self.began_at = datetime.now(UTC), clock()
        self.usd: float | None = None
        self.last_failures: deque[str] = deque(maxlen=_LAST)
        self.behind = 0
        self.ended: Counter[State] = Counter()
        self.skipped: Counter[str] = Counter()
        self.alive: Counter[State] = Counter()
        self.requests: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.failures: dict[str, Failure] = {}
        self.shown: list[Job] = []
        self.failed_list: FailedList | None = None
        self.admitted = 0
        self.rejected = 0
        self.postponed = 0
        self.shared = 0
        self.audio_seconds = 0.0
        self.sent_bytes = 0
        self.total: int | None = None
        self.read_all = False
        self.budget_reached = ""
        self.starting = ""
        self.stopped_by: RunError | None = None
        self.signal_number: int | None = None
        self.bug: Exception | None = None
        self._states: dict[str, State] = {}
        self._carried: dict[str, State | None] = {}
        self._over: Counter[State] = Counter()

    def carries(self, keys: Iterable[str]) -> None:
        """The jobs that are carried whether a row names them or not: those of earlier runs that the service has."""
        self._carried = {key: self._carried.get(key) for key in keys}

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        self.rates.note(event, self.clock())
        match event:
            case JobMoved(job=job):
                self._moved(job)
            case RowAdmitted(job=job, is_under_way=is_under_way):
                self._admitted(job, is_carried=is_under_way)
            case RowSkipped(job=known, why=why, action=action):
                self.skipped[action] += 1
                if action == "elsewhere" and known:
                    self._failed(action, known.recording.where, known.key, why)
                if action == "failed before" and known:
                    self._failed(known.kind or "", known.recording.where, known.key, known.reason or "")
            case RowRejected(reject=reject):
                self.rejected += 1
                self._failed("bad_row", reject.where, reject.key, reject.reason)
            case JobPostponed(job=job, reason=reason, kind=kind):
                self.postponed += 1
                self._failed(kind, job.recording.where, job.key, f"{reason} (left for the next run)")
            case Notice(kind=FailureKind.RESULT_BEHIND, job=Job() as job, message=message):
                self.behind += 1
                self._failed("result_behind", job.recording.where, job.key, message)
            case RequestRetried(kind=kind):
                self.retries[kind] += 1
            case RequestStarted(operation=operation):
                self.requests[operation] += 1
            case BytesSent(count=count):
                self.sent_bytes += count
            case RowsCounted(count=count, read_all=read_all) if not self.read_all:
                self.total, self.read_all = count, read_all
            case BudgetReached(message=message):
                self.budget_reached = message
            case ProviderStatus(message=message, is_starting=is_starting):
                self.starting = message if is_starting else ""

    @contextlib.contextmanager
    def record_exit(self) -> Iterator[None]:
        """Keep what ends the run early, and let it through."""
        try:
            yield
        except DiaristError as error:
            ours = error if isinstance(error, RunError) else UnavailableError(str(error), kind=error.kind)
            self.stopped_by = self.stopped_by or ours
            raise
        except Exception as error:
            self.bug = error
            raise
        except BaseException:  # whoever called the run has cancelled it
            self.signal_number = self.signal_number or signal.SIGINT
            raise

    @property
    def exit_code(self) -> int:
        if self.bug:
            return 1
        if self.stopped_by:
            return self.stopped_by.exit_code
        if self.signal_number:
            return 128 + self.signal_number
        if self.budget_reached or self.skipped["held"]:
            return BudgetExceededError.exit_code
        if self.postponed or self.skipped["elsewhere"]:
            return 5
        if self.ended[State.FAILED] or self.rejected or self.skipped["failed before"] or self.behind:
            return 3
        return 0

    @property
    def collected(self) -> int:
        return self.ended[State.COLLECTED] - self._over[State.COLLECTED]

    @property
    def failed(self) -> int:
        return self.ended[State.FAILED] - self._over[State.FAILED]

    @property
    def carried_over(self) -> int:
        return self._over.total()

    @property
    def handled(self) -> int:
        """Rows that need nothing more of this run."""
        return self.collected + self.failed + self.skipped.total() + self.rejected

    @property
    def rows(self) -> int:
        """In all, or as far as they were read."""
        return max(self.total or 0, self.admitted + self.skipped.total() + self.rejected, self.handled)

    @property
    def left(self) -> int:
        return self.rows - self.handled

    def _admitted(self, job: Job, *, is_carried: bool) -> None:
        self.admitted += 1
        if is_carried:
            if ended := self._carried.pop(job.key, None):
                self._over[ended] -= 1
        elif job.key not in self._states:
            self._stands(job)

    def _stands(self, job: Job) -> None:
        self._states[job.key] = job.state
        self.alive[job.state] += 1

    def _moved(self, job: Job) -> None:
        before = self._states.pop(job.key, None)
        if before:
            self.alive[before] -= 1
        if job.state not in ENDED:
            self._stands(job)
            return
        self.ended[job.state] += 1
        if self._carried.get(job.key, job.state) is None:
            self._carried[job.key] = job.state
            self._over[job.state] += 1
        self.shared += job.state is State.COLLECTED and job.shared_with is not None
        self.audio_seconds += job.audio_seconds or 0.0
        if len(self.shown) < _SHOWN:
            self.shown.append(job)
        if job.state is State.FAILED:
            self._failed(job.kind or "", job.recording.where, job.key, job.reason or "")

    def _failed(self, kind: str, where: str, key: str | None, reason: str) -> None:
        failure = self.failures.setdefault(kind, Failure(0, where, key, reason))
        failure.count += 1
        self.last_failures.append(f"{key or where}: {reason} [{kind}]")
