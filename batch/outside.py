"""Who watches a run from outside: a log file, Prometheus. None of them can harm it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from batch.logfile import logging_to
from batch.metrics import serving
from batch.model import Event
from batch.settings import Settings
from batch.summary import Summary


@contextlib.asynccontextmanager
async def watched(
    settings: Settings, summary: Summary, secrets: tuple[str, ...], notify: Callable[[Event], None]
) -> AsyncIterator[Callable[[Event], None]]:
    """Let everybody whom ``settings`` name watch while the context lasts; gives who is to be told each event, and
    tells ``notify`` too. ``summary`` keeps what ends the run early. None of ``secrets`` is told to anybody.

    Raises ``Usage`` if a log cannot be written or metrics cannot be served.
    """
    takers = [notify]

    def tell(event: Event) -> None:
        for take in takers:
            take(event)

    def complain(message: str) -> None:
        tell(Event("notice", message=message))

    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(summary.ending())
        if settings.log_file:
            log = stack.enter_context(logging_to(Path(settings.log_file), summary, secrets, complain))
            takers.append(log)
            stack.callback(takers.remove, log)
        stack.enter_context(summary.ending())  # before the log ends, which tells it
        if settings.metrics.port:
            takers.append(await stack.enter_async_context(serving(settings.metrics, summary)))
        yield tell
