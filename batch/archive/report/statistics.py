"""What a report counts, folded in one job at a time. Pure; of each job it keeps some times at most."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from batch.archive.report.recording_details import RecordingDetails
from batch.config import PriceTable
from batch.errors import RETRIED_UNASKED
from batch.model import Job, State
from batch.providers import registry
from batch.providers.interface import LIKELY_CHANNELS
from batch.telemetry.redaction import redact
from batch.telemetry.summary import Failure

_DOUBTFUL: Final = 20
_STEPS: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
    2419200,
)  # fmt: skip
"""Seconds that people count time in."""
_LEAST_BINS, _MOST_BINS = 12, 96
_LENGTHS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 36000)


class Doubtful(msgspec.Struct, frozen=True):
    """One of the recordings whose words the service was least sure of."""

    key: str
    confidence: float
    words: int


class Warned(msgspec.Struct, frozen=True):
    """A warning of the service, on how many recordings, and the first of them."""

    message: str
    count: int
    key: str


class Charge(msgspec.Struct, frozen=True):
    """``what`` is a model, or an extra; hours are those that are billed for it."""

    what: str
    hours: float
    usd_per_hour: float

    @property
    def usd(self) -> float:
        return self.hours * self.usd_per_hour


class Series(msgspec.Struct, frozen=True):
    """A value for each step of ``step_seconds``, the first from ``begin`` (seconds since the epoch)."""

    begin: float
    step_seconds: int
    values: list[float]


class Took(msgspec.Struct, frozen=True):
    """Turnarounds, in seconds, of the recordings of ``shortest`` to ``longest`` seconds."""

    shortest: float
    longest: float
    count: int
    low: float
    median: float
    high: float


class Statistics:
    """``prices`` are those of the vendor. ``first`` and ``last`` are when something was submitted or ended."""

    def __init__(self, prices: PriceTable) -> None:
        self.states: Counter[State] = Counter()
        self.speakers: Counter[int] = Counter()
        self.services: Counter[str] = Counter()
        self.failures: dict[str, Failure] = {}
        self.problems = self.shared = self.silent = self.words = 0
        self.audio_seconds = self.shared_usd = 0.0
        self.unknown: set[str] = set()
        self.first, self.last = float("inf"), 0.0
        self._prices = prices
        self._billed: Counter[tuple[str, float]] = Counter()
        self._warned: dict[str, tuple[int, str]] = {}
        self._least: list[tuple[float, int, Doubtful]] = []
        self._done, self._done_seconds = array("d"), array("d")
        self._sent, self._back = array("d"), array("d")
        self._lengths, self._took = array("d"), array("d")

    @property
    def total(self) -> int:
        return self.states.total()

    @property
    def open(self) -> int:
        """How many have neither ended well nor badly."""
        return self.total - self.states[State.COLLECTED] - self.states[State.FAILED]

    def note(self, job: Job, details: RecordingDetails) -> None:
        """Fold one in."""
        self.states[job.state] += 1
        self.services[job.service] += 1
        if job.state is State.FAILED:
            failure = self.failures.setdefault(
                job.kind or "?", Failure(0, redact(job.recording.where), job.key, redact(job.reason or ""))
            )
            failure.count += 1
        self._note_times(job)
        if job.state is State.COLLECTED:
            self._collected(job, details)

    def _collected(self, job: Job, details: RecordingDetails) -> None:
        self.audio_seconds += job.audio_seconds or 0.0
        self.shared += job.shared_with is not None
        self._charge(job)
        if details.problem:
            self.problems += 1
            return
        self.words += details.words or 0
        self.silent += not details.words
        self.speakers[job.speakers or 0] += 1
        if details.confidence is not None:
            doubt = Doubtful(job.key, details.confidence, details.words or 0)
            push = heapq.heappush if len(self._least) < _DOUBTFUL else heapq.heappushpop
            push(self._least, (-details.confidence, -self.total, doubt))
        for message in set(details.warnings):
            count, key = self._warned.get(message, (0, job.key))
            self._warned[message] = (count + 1, key)

    def _note_times(self, job: Job) -> None:
        sent, back = job.submitted_at, job.ended_at
        own = job.shared_with is None
        for at in (sent if own else None, back):
            if at:
                self.first, self.last = min(self.first, at), max(self.last, at)
        if back and job.state is State.COLLECTED:
            self._done.append(back)
            self._done_seconds.append(job.audio_seconds or 0.0)
        if own and sent and back and back >= sent:
            self._sent.append(sent)
            self._back.append(back)
            if job.state is State.COLLECTED and job.audio_seconds:
                self._lengths.append(job.audio_seconds)
                self._took.append(back - sent)

    def _charge(self, job: Job) -> None:
        pricing = registry.named(job.service).pricing(self._prices)
        if pricing is None:
            return
        quote = pricing.quote(job.recording.options)
        seconds = (job.audio_seconds or 0.0) * pricing.billed_channels(job.recording.options, LIKELY_CHANNELS)
        if job.shared_with is not None:
            self.shared_usd += quote.usd(seconds)
            return
        self.unknown.update(quote.unknown)
        for charge in quote.usd_per_hour.items():
            self._billed[charge] += seconds  # type: ignore[assignment]

    # ── what the page asks ───────────────────────────────────────────────────────────────────────────────────────

    @property
    def charges(self) -> list[Charge]:
        """The dearest first; empty if nothing is charged."""
        found = [Charge(what, seconds / 3600, usd) for (what, usd), seconds in self._billed.items()]
        return sorted(found, key=lambda charge: (-charge.usd, charge.what))

    @property
    def usd(self) -> float | None:
        """What the collected ones cost; None if nothing is charged."""
        return sum(charge.usd for charge in self.charges) if self._billed else None

    @property
    def doubtful(self) -> list[Doubtful]:
        """The twenty least certain, the worst first."""
        return [doubt for _, _, doubt in sorted(self._least, reverse=True)]

    @property
    def warned(self) -> list[Warned]:
        """The most frequent first."""
        found = [Warned(message, count, key) for message, (count, key) in self._warned.items()]
        return sorted(found, key=lambda warned: (-warned.count, warned.message))

    @property
    def failing(self) -> list[tuple[str, Failure, bool]]:
        """Kind, failures, and whether the next run tries them unasked; the most frequent first."""
        found = [(kind, failure, kind in RETRIED_UNASKED) for kind, failure in self.failures.items()]
        return sorted(found, key=lambda one: (-one[1].count, one[0]))

    @property
    def turnaround(self) -> tuple[float, float] | None:
        """Median and 95th percentile, in seconds."""
        took = sorted(self._took)
        return (quantile(took, 0.5), quantile(took, 0.95)) if took else None

    def throughput(self) -> Series | None:
        """Hours of audio collected in an hour."""
        if not self._done:
            return None
        begin, step, count = self._bins()
        values = [0.0] * count
        for at, seconds in zip(self._done, self._done_seconds, strict=True):
            values[min(count - 1, int((at - begin) / step))] += seconds / step
        return Series(begin, step, values)

    def in_flight(self) -> Series | None:
        """How many recordings were with the service, on average over each step."""
        if not self._sent:
            return None
        begin, step, count = self._bins()
        values = [0.0] * count
        for sent, back in zip(self._sent, self._back, strict=True):
            for place in range(int((sent - begin) / step), min(count, int((back - begin) / step) + 1)):
                left = begin + place * step
                values[place] += (min(back, left + step) - max(sent, left)) / step
        return Series(begin, step, values)

    @property
    def prices_as_of(self) -> str:
        return self._prices.as_of

    def _bins(self) -> tuple[float, int, int]:
        """From when, how long, how many: more recordings, more steps."""
        most = max(_LEAST_BINS, min(_MOST_BINS, len(self._done)))
        step = step_of(self.last - self.first, most)
        begin = self.first // step * step
        return begin, step, int((self.last - begin) / step) + 1

    def most_in_flight(self) -> int:
        """The most recordings that were with the service at once."""
        moves = sorted([(at, 1) for at in self._sent] + [(at, -1) for at in self._back])
        most = now = 0
        for _, change in moves:
            now += change
            most = max(most, now)
        return most

    def points(self) -> list[tuple[float, float]]:
        """Length and turnaround of each recording, in seconds."""
        return list(zip(self._lengths, self._took, strict=True))

    def took_by_length(self) -> list[Took]:
        """Turnarounds by length, from the 10th to the 90th percentile."""
        by_bin: dict[int, list[float]] = {}
        for length, took in zip(self._lengths, self._took, strict=True):
            place = sum(length >= edge for edge in _LENGTHS)
            by_bin.setdefault(place, []).append(took)
        edges = (0.3, *_LENGTHS, 2 * _LENGTHS[-1])
        return [
            Took(edges[place], edges[place + 1], len(found), *(quantile(found, part) for part in (0.1, 0.5, 0.9)))
            for place, found in sorted((place, sorted(found)) for place, found in by_bin.items())
        ]


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value below which ``part`` (0-1) of ``ordered`` lies (nearest rank)."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def step_of(seconds: float, most: int) -> int:
    """The shortest step that people count in, of which at most ``most`` make up ``seconds``."""
    return next(
        (step for step in _STEPS if seconds / step <= most), _STEPS[-1] * (1 + int(seconds / most / _STEPS[-1]))
    )
