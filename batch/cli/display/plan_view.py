"""Turns a plan into what a person, or a program, reads: a line a row on request, then the sum."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import IO, Any, Final

import msgspec

from batch.jobs.planning.planner import FAIL, Expectation, Plan, PlanRow
from batch.providers.interface import Pricing
from batch.telemetry.events import Event, Notice, RowRejected
from batch.telemetry.redaction import harmless, redact_tree

_SHOWN_REJECTS: Final = 10


class PlanWriter:
    """Writes the answer to ``out``, and what is wrong with rows to ``err``: the first ten, then their number.
    ``cannot_run`` is the number of those that are rejected, or whose audio cannot be read.

    ``rows``: a line for each row (verdict, key, why, separated by tabs); ``as_json``: lines of JSON instead, the last
    of which is the sum. ``command``: the one that does what is told.
    """

    def __init__(
        self, out: IO[str], err: IO[str], *, rows: bool = False, as_json: bool = False, command: str = ""
    ) -> None:
        self._out, self._err, self._rows, self._as_json = out, err, rows, as_json
        self._command = command
        self.rejected = self.cannot_run = 0

    def show(self, event: Event) -> None:
        if isinstance(event, RowRejected):
            self.rejected += 1
            self._cannot_run(event.reject.where, event.reject.reason)
        elif isinstance(event, Notice):
            self._err.write(f"{harmless(event.message)}\n")

    def _cannot_run(self, where: str, why: str) -> None:
        self.cannot_run += 1
        if self.cannot_run <= _SHOWN_REJECTS:
            self._err.write(f"{harmless(f'{where}: {why}')}\n")

    def row(self, row: PlanRow) -> None:
        if row.verdict == FAIL:
            self._cannot_run(row.where, row.reason)
        if not self._rows:
            return
        if self._as_json:
            self._out.write(msgspec.json.encode(redact_tree(msgspec.to_builtins(row))).decode() + "\n")
        else:
            note = row.note or row.reason
            cells = (row.verdict, row.key, row.why + (f" ({note})" if note else ""))
            self._out.write("\t".join(map(harmless, cells)) + "\n")

    def close(self, plan: Plan, prices: Pricing | None, expectation: Expectation, in_flight: int) -> None:
        """The sum, for so many recordings in flight."""
        seconds = expectation.run_seconds(plan.recordings, plan.seconds, in_flight)
        if self.cannot_run > _SHOWN_REJECTS:
            self._err.write(f"… and {self.cannot_run - _SHOWN_REJECTS:,} more rows that cannot run\n")
        if self._as_json:
            fields = _as_dict(plan, prices, self.rejected) | {
                "run_seconds": round(seconds, 1),
                "in_flight": in_flight,
            }
            self._out.write(msgspec.json.encode(fields).decode() + "\n")
            return
        stream = self._err if self._rows else self._out
        for line in _lines(plan, prices, self.rejected, seconds, f"{in_flight} in flight, {expectation.source}"):
            stream.write(harmless(line) + "\n")
        if plan.recordings and self._command:
            stream.write(f"to do it: {harmless(self._command)}\n")


def _as_dict(plan: Plan, prices: Pricing | None, rejected: int) -> dict[str, Any]:
    return {
        "rows": plan.rows,
        "rejected": rejected,
        "verdicts": dict(plan.verdicts),
        "notes": dict(plan.notes),
        "recordings": plan.recordings,
        "hours": round(plan.seconds / 3600, 4),
        "bytes": plan.size_bytes,
        "unknown_length": plan.unknown_length,
        "usd": None if plan.usd is None else round(plan.usd, 4),
        "prices_as_of": prices and prices.as_of,
        "unpriced": sorted(plan.unpriced),
        "again": {
            "recordings": plan.again.total(),
            "why": dict(plan.again),
            "hours": round(plan.again_seconds / 3600, 4),
            "usd": None if plan.usd is None else round(plan.again_usd, 4),
        },
    }


def _lines(plan: Plan, prices: Pricing | None, rejected: int, seconds: float, basis: str) -> Iterable[str]:
    for what, count in plan.verdicts.most_common():
        yield f"{count:>9,}  {what}"
    if rejected:
        yield f"{rejected:>9,}  cannot run: see above"
    for note, count in plan.notes.most_common():
        yield f"note: {count:,} x {note}"
    if plan.unpriced:
        yield f"note: no price is known for {', '.join(sorted(plan.unpriced))}: it is not counted"
    if plan.unknown_length:
        yield f"note: hours and price leave out {plan.unknown_length:,} recordings of unknown length, such as URLs"
    if plan.again:
        usd = "" if plan.usd is None else f", about ${plan.again_usd:,.2f}"
        hours = f"{plan.again_seconds / 3600:,.2f} hours{usd}"
        count = plan.again.total()
        yield f"of these done already, and paid for again: {count:,} recordings, {hours} (asks, or needs --yes)"
    if not plan.recordings:
        yield "nothing to pay for"
        return
    size = f"{plan.size_bytes / 1e9:,.2f} GB" if plan.size_bytes else "nothing"
    yield f"to run: {plan.recordings:,} recordings, {plan.seconds / 3600:,.2f} hours, {size} to upload"
    yield _price_line(plan, prices)
    yield f"time: about {timedelta(seconds=round(seconds))} ({basis})"


def _price_line(plan: Plan, prices: Pricing | None) -> str:
    if prices is None or plan.usd is None:
        return "price: none (not the vendor's service)"
    extras = ", ".join(f"{name} {usd:g}" for name, usd in prices.table.items())
    return f"price: about ${plan.usd:,.2f} (prices of {prices.as_of}, USD an hour: {extras})"
