"""Who watches a run from outside: a watchdog that is pinged, a log file, Prometheus. None of them can harm it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from batch.config import Settings
from batch.telemetry.events import Event, Notice
from batch.telemetry.healthchecks import pinging
from batch.telemetry.log_file import logging_to
from batch.telemetry.metrics import serving
from batch.telemetry.progress import snapshot
from batch.telemetry.redaction import redact
from batch.telemetry.summary import Summary


@contextlib.asynccontextmanager
async def observe(
    settings: Settings, summary: Summary, secrets: tuple[str, ...], on_event: Callable[[Event], None]
) -> AsyncIterator[Callable[[Event], None]]:
    """Let everybody whom ``settings`` name watch while the context lasts; gives who is to be told each event, and
    tells ``on_event`` too. ``summary`` keeps what ends the run early. None of ``secrets`` is told to anybody.

    Raises ``UsageError`` if a log cannot be written, metrics cannot be served or a ping's URL is none.
    """
    takers = [on_event]

    def emit(event: Event) -> None:
        for take in takers:
            take(event)

    def on_warning(message: str) -> None:
        emit(Notice(message))

    def outcome() -> tuple[int, str]:
        return summary.exit_code, redact(_outcome(summary), secrets)

    async with contextlib.AsyncExitStack() as stack:
        if settings.ping.url:
            await stack.enter_async_context(pinging(settings.ping, summary.run, outcome, on_warning))
        stack.enter_context(summary.record_exit())
        if settings.log_file:
            log = stack.enter_context(logging_to(Path(settings.log_file), summary, secrets, on_warning))
            takers.append(log)
            stack.callback(takers.remove, log)
        stack.enter_context(summary.record_exit())  # before the log ends, which tells it
        if settings.metrics.port:
            takers.append(await stack.enter_async_context(serving(settings.metrics, summary)))
        yield emit


def _outcome(summary: Summary) -> str:
    line = str(snapshot(summary))
    stopped = summary.bug or summary.stopped_by
    return f"{stopped} · {line}" if stopped else line
