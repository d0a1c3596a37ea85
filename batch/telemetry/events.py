"""What happens in a run, one type an event. ``records.to_record`` says how each is written down.

Of each row that is read exactly one of ``RowAdmitted``, ``RowSkipped`` and ``RowRejected`` is told.
"""

from __future__ import annotations

import msgspec

from batch.errors import FailureKind
from batch.model import Job, Reject


class JobMoved(msgspec.Struct, frozen=True):
    """A job is in a new state, which is on disk."""

    job: Job


class JobPostponed(msgspec.Struct, frozen=True):
    """A job is left for the next run, and why."""

    job: Job
    reason: str
    kind: FailureKind


class RowAdmitted(msgspec.Struct, frozen=True):
    """A row's job is carried; ``is_under_way``: it was carried already, since an earlier run has submitted it."""

    job: Job
    why: str
    action: str
    is_under_way: bool = False


class RowSkipped(msgspec.Struct, frozen=True):
    """Nothing is done for a row: ``action`` is what was decided, ``why`` the reason, ``job`` what its key has, if
    anything."""

    job: Job | None
    why: str
    action: str


class RowRejected(msgspec.Struct, frozen=True):
    """A row cannot run."""

    reject: Reject


class RowsCounted(msgspec.Struct, frozen=True):
    """There are so many rows in all; ``read_all``: each of them has been told of, else they were counted beside the
    run."""

    count: int
    read_all: bool = False


class BudgetReached(msgspec.Struct, frozen=True):
    """No more rows are admitted, since the next does not fit into a limit."""

    message: str


class RequestStarted(msgspec.Struct, frozen=True):
    """A request is sent to the provider."""

    operation: str


class RequestEnded(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One HTTP request to the provider and what came of it.

    ``request_id`` is ours, one for each request; ``path`` has no query; ``attempt`` counts the tries of the same one
    from 1. ``status`` None: no answer came; ``kind`` is that of the error, if it was one (``cut``: we gave it up).
    """

    request_id: str
    operation: str = msgspec.field(name="route")
    method: str
    path: str
    attempt: int
    seconds: float
    sent_bytes: int
    received_bytes: int
    status: int | None = None
    kind: str | None = None
    key: str | None = None
    transcript_id: str | None = None


class RequestRetried(msgspec.Struct, frozen=True):
    """Something is tried again, after ``pause_seconds``; ``kind`` is that of the failure."""

    message: str
    kind: FailureKind
    pause_seconds: float = 0.0


class BytesSent(msgspec.Struct, frozen=True):
    """So many bytes more of audio are sent."""

    count: int


class ProviderStatus(msgspec.Struct, frozen=True):
    """A sentence about the provider; ``is_starting``: it does no work yet."""

    message: str
    is_starting: bool = False


class Notice(msgspec.Struct, frozen=True):
    """A sentence for the log, about ``job`` if there is one."""

    message: str
    job: Job | None = None
    kind: FailureKind | None = None


Event = (
    JobMoved
    | JobPostponed
    | RowAdmitted
    | RowSkipped
    | RowRejected
    | RowsCounted
    | BudgetReached
    | RequestStarted
    | RequestEnded
    | RequestRetried
    | BytesSent
    | ProviderStatus
    | Notice
)
