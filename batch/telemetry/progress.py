"""How a run stands at a moment: what the live view, ``diarist status`` and ``summary.json`` show, in one shape."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from typing import Final

import msgspec

from batch.model import State
from batch.telemetry.redaction import redact
from batch.telemetry.summary import FailedList, Failure, RunContext, Summary
from batch.telemetry.wording import sentence

SCHEMA: Final = 1
"""Raised when a field changes its meaning or goes away; new ones may come without."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Counts are recordings unless they say otherwise, times UTC (ISO 8601), rates those of the last five minutes.

    ``rows = collected + failed + rejected + skipped + left``, and ``handled`` is all of them but ``left``: what this
    run has not done (yet), for whatever reason. ``rows`` is ``total``, or where that is None (neither counted nor
    read to the end) the rows that were read so far. ``carried_over`` come on top: the service had them from an
    earlier run, and no row that was read names them. ``skipped`` is by why; ``failed_list`` is the file that lists
    what failed (None: nothing has, or the run has not ended). ``listed``, ``staged`` and ``in_flight`` are on their
    way, ``postponed`` are left for the next run; ``audio_rate`` is how many times faster than real time;
    ``requests_lately`` those of five minutes; ``usd`` is about what the collected ones cost (None: nothing is
    charged); ``left_seconds`` None: cannot be told. ``starting`` is what the provider does before it can
    work. ``stopped_by`` is what ended the run early, ``stopped_kind`` its
    kind of failure. ``ended`` and ``exit_code`` are None while the run goes on.
    """

    schema: int = SCHEMA
    run: str = ""
    stage: RunContext
    host: str
    process: int
    began: datetime
    told: datetime
    ended: datetime | None = None
    exit_code: int | None = None
    elapsed_seconds: float
    total: int | None
    rows: int = 0
    handled: int
    left: int = 0
    listed: int
    staged: int
    in_flight: int
    collected: int
    carried_over: int = 0
    shared: int
    failed: int
    rejected: int
    postponed: int
    skipped: dict[str, int]
    audio_seconds: float
    audio_rate: float
    uploaded_bytes: int
    upload_bytes_per_second: float
    requests: int
    requests_lately: int
    requests_by_route: dict[str, int] = {}
    retries: dict[str, int]
    usd: float | None
    left_seconds: float | None
    failures: dict[str, Failure]
    last_failures: list[str]
    failed_list: FailedList | None = None
    budget_reached: str | None = None
    starting: str | None = None
    stopped_by: str | None = None
    stopped_kind: str | None = None

    def __str__(self) -> str:
        return sentence(self, self.stage.out)


def snapshot(summary: Summary, *, is_over: bool = False) -> Progress:
    """The state of a run now."""
    rates, alive, now, at = summary.rates, summary.alive, datetime.now(UTC), summary.clock()
    return Progress(
        run=summary.run,
        stage=summary.stage,
        host=socket.gethostname(),
        process=os.getpid(),
        began=summary.began,
        told=now,
        ended=now if is_over else None,
        exit_code=summary.exit_code if is_over else None,
        elapsed_seconds=round(at - summary.began_at, 3),
        total=summary.total,
        rows=summary.rows,
        handled=summary.handled,
        left=summary.left,
        listed=alive[State.LISTED],
        staged=alive[State.STAGED],
        in_flight=alive[State.SUBMITTING] + alive[State.SUBMITTED],
        collected=summary.collected,
        carried_over=summary.carried_over,
        shared=summary.shared,
        failed=summary.failed,
        rejected=summary.rejected,
        postponed=summary.postponed,
        skipped=dict(summary.skipped),
        audio_seconds=round(summary.audio_seconds, 3),
        audio_rate=round(rates.audio_rate(at), 3),
        uploaded_bytes=summary.sent_bytes,
        upload_bytes_per_second=round(rates.upload_rate(at)),
        requests=rates.all_requests,
        requests_lately=rates.requests(at),
        requests_by_route=dict(summary.requests),
        retries=dict(summary.retries),
        usd=None if summary.usd is None else round(summary.usd, 4),
        left_seconds=rates.left_seconds(at, summary.total, summary.handled),
        failures={kind: _discreet(failure) for kind, failure in summary.failures.items()},
        last_failures=list(map(redact, summary.last_failures)),
        failed_list=summary.failed_list,
        starting=None if is_over else summary.starting or None,
        budget_reached=redact(summary.budget_reached) or None,
        stopped_by=_stopped_by(summary),
        stopped_kind=summary.stopped_by.kind if summary.stopped_by else None,
    )


def _discreet(failure: Failure) -> Failure:
    return msgspec.structs.replace(failure, where=redact(failure.where), reason=redact(failure.reason))


def _stopped_by(summary: Summary) -> str | None:
    if summary.bug:
        return redact(f"an unexpected internal error: {summary.bug!r}")
    return redact(str(summary.stopped_by)) if summary.stopped_by else None
