"""``diarist status``, drawn: how the run in a directory stands, once or until it has ended."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.text import Text

from batch.archive.status import Status, look
from batch.cli.display.progress_view import view
from batch.telemetry import suggestions
from batch.telemetry.redaction import harmless
from batch.telemetry.wording import STATES

_LOOK_SECONDS: Final = 1.0


def drawn(status: Status) -> Group:
    """The status for people: how the run stands, then what the journal holds."""
    lines: list[RenderableType] = [Text(harmless(_headline(status)))]
    if status.progress:
        lines.append(view(status.progress))
        advice = suggestions.advice(status.progress, Path.cwd()) if not status.at_work else ()
        lines += (Text(harmless(sentence)) for sentence in advice)
    held = ", ".join(f"{count:,} {STATES.get(state, state)}" for state, count in status.journal.items() if count)
    lines.append(Text(f"in the journal, of all runs: {held or 'nothing'}"))
    if kept := status.replaced:
        lines.append(Text(f"older results that were replaced and are kept: {kept.count:,} ({decimal(kept.bytes)})"))
    return Group(*lines)


def _headline(status: Status) -> str:
    last = status.progress
    if status.at_work:
        return f"at work: {status.at_work}"
    if last is None:
        return "nobody is at work"
    if last.ended is None:
        seen = f"process {last.process} on {last.host} did not end by itself, last seen {_time(last.told)}"
        return f"nobody is at work: {seen}"
    return f"nobody is at work: ended {_time(last.ended)}, exit code {last.exit_code}"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def follow(directory: Path, console: Console) -> None:
    """Draw the status in place until nobody is at work any more. Raises as ``look``."""
    with Live(console=console, auto_refresh=False) as live:
        while True:
            status = asyncio.run(look(directory))
            live.update(drawn(status), refresh=True)
            if status.at_work is None:
                return
            time.sleep(_LOOK_SECONDS)
