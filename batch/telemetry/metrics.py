"""``--metrics-port``: how a run stands, for Prometheus.

What the summary counts is read from it when it is asked for, so nothing is counted twice. Names follow Prometheus'
conventions (https://prometheus.io/docs/practices/naming/), and no label takes a value from a recording.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web

from batch import __version__
from batch.config import MetricsSettings
from batch.errors import UsageError
from batch.model import Job, State
from batch.network.http_listener import listening
from batch.telemetry.events import Event, JobMoved, RequestEnded
from batch.telemetry.progress import Progress, snapshot
from batch.telemetry.summary import Summary

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

_CALL_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_TURNAROUND_SECONDS: Final = (1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)


@contextlib.asynccontextmanager
async def serving(metrics: MetricsSettings, summary: Summary) -> AsyncIterator[Callable[[Event], None]]:
    """Serve ``/metrics`` of the run while the context lasts; gives who is to be told its events.

    Raises ``UsageError`` if the port is taken, or the library is missing.
    """
    try:
        import prometheus_client
    except ImportError:
        raise UsageError("metrics need prometheus_client: pip install 'diarist[metrics]'") from None
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    registry.register(_Run(summary))
    app = web.Application()
    app.router.add_get("/metrics", _exposing(registry))
    words = {"what": "serve metrics", "cure": "Choose another --metrics-port"}
    async with listening(app, metrics.host, metrics.port, **words):
        yield _times(registry)


def _exposing(registry: CollectorRegistry) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The format that who asks can read: Prometheus' text, or OpenMetrics."""
    from prometheus_client.exposition import choose_encoder

    async def expose(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    return expose


def _times(registry: CollectorRegistry) -> Callable[[Event], None]:
    """Who folds durations, which the summary does not keep, into histograms."""
    from prometheus_client import Histogram

    calls = Histogram(
        "diarist_request_duration_seconds", "From a request to the last byte of its answer, by what came of it.",
        ("route", "outcome"), buckets=_CALL_SECONDS, registry=registry,
    )  # fmt: skip
    turnaround = Histogram(
        "diarist_turnaround_seconds", "From the submission of a recording to its result on disk.",
        buckets=_TURNAROUND_SECONDS, registry=registry,
    )  # fmt: skip

    def take(event: Event) -> None:
        if isinstance(event, RequestEnded):
            calls.labels(event.operation, outcome(event)).observe(event.seconds)
        elif isinstance(event, JobMoved) and (seconds := _turnaround(event.job)) is not None:
            turnaround.observe(seconds)

    return take


def outcome(request: RequestEnded) -> str:
    """``ok``, ``3xx`` to ``5xx``, ``unanswered``, or ``cut`` (we gave it up)."""
    if not request.kind or request.kind == "cut":
        return request.kind or "ok"
    return f"{request.status // 100}xx" if request.status and 300 <= request.status < 600 else "unanswered"


def _turnaround(job: Job) -> float | None:
    if job.state is not State.COLLECTED or job.shared_with or not (job.ended_at and job.submitted_at):
        return None
    return max(0.0, job.ended_at - job.submitted_at)


class _Run:
    """Prometheus' view of a summary, made when it is asked for."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary

    def collect(self) -> Iterator[Metric]:
        now = snapshot(self._summary)
        yield from _counters(now)
        yield from _gauges(now, self._summary)
        yield _info(now)


def _counters(now: Progress) -> Iterator[Metric]:
    ended = {"collected": now.collected, "failed": now.failed, "rejected": now.rejected, "postponed": now.postponed}
    by_state = ended | {"skipped": sum(now.skipped.values())}
    failures = {kind: failure.count for kind, failure in now.failures.items()}
    yield _counter("recordings", "Recordings that this run is done with, by where they stand now.", "state", by_state)
    yield _counter("skipped", "Recordings that had not to run, by why.", "reason", now.skipped)
    yield _counter("failures", "Recordings that failed, were rejected or left for later, by kind.", "kind", failures)
    yield _counter("retries", "Requests that were tried again, by why.", "kind", now.retries)
    yield _counter("requests", "Requests to the service.", "route", now.requests_by_route)
    yield _total("shared", "Collected recordings that an identical one has paid for.", now.shared)
    yield _total("audio_seconds", "Audio that was collected.", now.audio_seconds)
    yield _total("uploaded_bytes", "Audio that was sent.", now.uploaded_bytes)
    if now.usd is not None:
        yield _total("cost_usd", "What the collected recordings cost, about.", now.usd)


def _gauges(now: Progress, summary: Summary) -> Iterator[Metric]:
    yield _gauge("listed", "Recordings that are admitted and not staged yet.", now.listed)
    yield _gauge("staged", "Recordings that wait for a slot.", now.staged)
    yield _gauge("in_flight", "Recordings at the service.", now.in_flight)
    yield _gauge("concurrency", "Recordings that may be at the service at once.", now.stage.concurrency)
    yield _gauge("start_time_seconds", "When the run began (seconds since the epoch).", summary.began.timestamp())
    if now.total is not None:
        yield _gauge("rows", "Rows of the manifests.", now.total)
    if now.left_seconds is not None:
        yield _gauge("left_seconds", "How long the run will take yet, if it goes on as lately.", now.left_seconds)


def _counter(name: str, meaning: str, label: str, counts: Mapping[str, float]) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(f"diarist_{name}", meaning, labels=[label])
    _fill(family.add_metric, counts.items())
    return family


def _fill(add: Callable[[list[str], float], None], counts: Iterable[tuple[str, float]]) -> None:
    for value, count in counts:
        add([value], count)


def _total(name: str, meaning: str, value: float) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(f"diarist_{name}", meaning, value=value)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"diarist_{name}", meaning, value=value)


def _info(now: Progress) -> Metric:
    from prometheus_client.core import InfoMetricFamily

    return InfoMetricFamily("diarist_run", "What runs.", value={"version": __version__, "service": now.stage.service})
