"""``diarist status``: how the run in a directory stands, seen from outside, while it goes on or afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.text import Text

from batch import lock, suggest
from batch.harmless import harmless
from batch.journal import Journal
from batch.progress import Kept, Progress, journal_of, last_run, replaced
from batch.view import view

_LOOK_SECONDS: Final = 1.0


class Status(msgspec.Struct, frozen=True):
    """``at_work`` says who is (None: nobody); ``progress`` is that of the run at work, or of the last one (None: it
    was an older diarist's); ``journal`` counts all recordings of the directory by state; ``replaced`` are older
    results that are kept."""

    at_work: str | None
    progress: Progress | None
    journal: dict[str, int]
    replaced: Kept = Kept()


async def look(directory: Path) -> Status:
    """Raises ``Usage`` if nothing has ever run there."""
    path = journal_of(directory)
    at_work = lock.holder(path.with_name("lock"))
    with contextlib.closing(Journal(path, read_only=True)) as journal:
        counts = await journal.counts()
    held = {state.value: count for state, count in sorted(counts.items())}
    return Status(at_work, last_run(directory), held, await asyncio.to_thread(replaced, directory))


def drawn(status: Status) -> Group:
    """The status for people: how the run stands, then what the journal holds."""
    lines: list[RenderableType] = [Text(harmless(_headline(status)))]
    if status.progress:
        lines.append(view(status.progress))
        advice = suggest.advice(status.progress, Path.cwd()) if not status.at_work else ()
        lines += (Text(harmless(sentence)) for sentence in advice)
    held = ", ".join(f"{count:,} {state}" for state, count in status.journal.items() if count)
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
