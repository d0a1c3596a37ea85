"""A run at a glance: what the live view and ``diarist status`` draw, calm in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from batch.telemetry.progress import Progress
from batch.telemetry.redaction import harmless
from batch.transcripts.timecodes import short_clock


def view(progress: Progress) -> Group:
    """No line is wider than the console: what does not fit ends in an ellipsis."""
    lines: list[RenderableType] = [_line(_head(progress), "bold"), _begun(progress)]
    lines += map(_line, (_rows(progress), _states(progress), _pace(progress), _traffic(progress)))
    if progress.retries:
        lines.append(_line(f"↻ {_by_kind(progress.retries)}", "yellow"))
    lines += (_line(f"✗ {failure}", "red") for failure in progress.last_failures)
    lines += (_line(end, "yellow") for end in (progress.budget_reached, progress.stopped_by) if end)
    return Group(*lines)


def pulse(progress: Progress) -> str:
    """How far a run is, how fast, and for how long yet, in one line of a log."""
    of = f" of {progress.total:,}" if progress.total is not None else ""
    parts = [f"{progress.handled:,}{of} done", *_flow(progress), f"{short_clock(progress.elapsed_seconds)} so far"]
    return " · ".join(parts)


def _line(text: str, style: str = "") -> Text:
    return Text(harmless(text), overflow="ellipsis", no_wrap=True, style=style)


def _head(progress: Progress) -> str:
    """What is short comes first: paths may be cut off."""
    stage = progress.stage
    named = [*stage.manifests[:1]]
    if len(stage.manifests) > 1:
        named.append(f"and {len(stage.manifests) - 1} more")
    way = f"{' '.join(named)} → {stage.out}" if named else ""
    return " · ".join(part for part in (short_clock(progress.elapsed_seconds), stage.service, way) if part)


def _begun(progress: Progress) -> RenderableType:
    """The bar, or what is done before anything can move it."""
    if progress.starting and not progress.collected:
        return _line(f"… {progress.starting}", "cyan")
    return _bar(progress)


def _bar(progress: Progress) -> RenderableType:
    if not progress.total:
        return _line(f"{progress.handled:,} done")
    handled = min(progress.handled, progress.total)
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True)
    row.add_row(
        ProgressBar(total=progress.total, completed=handled),
        f"{handled / progress.total:.0%}  {progress.handled:,} of {progress.total:,} done",
    )
    return row


def _rows(progress: Progress) -> str:
    """What adds up to all rows."""
    parts = [
        f"transcribed {progress.collected:,}",
        f"failed {progress.failed:,}",
        f"rejected {progress.rejected:,}",
        f"skipped {sum(progress.skipped.values()):,}",
        f"left {progress.left:,}" if progress.total is not None else f"left {progress.left:,} of those read",
    ]
    return "   ".join(parts)


def _states(progress: Progress) -> str:
    most = progress.stage.concurrency
    waiting = max(0, progress.in_flight - most) if most else 0
    parts = [
        f"in flight {progress.in_flight - waiting:,}/{most:,}",
        *([f"next at the service {waiting:,}"] if waiting else []),
        f"uploaded ahead {progress.staged:,}",
    ]
    if progress.postponed:
        parts.append(f"postponed {progress.postponed:,}")
    if progress.carried_over:
        parts.append(f"carried over {progress.carried_over:,}")
    return "   ".join(parts)


def _pace(progress: Progress) -> str:
    return " · ".join(_flow(progress))


def _flow(progress: Progress) -> Iterator[str]:
    yield f"{progress.audio_seconds / 3600:,.2f} h of audio"
    yield f"{progress.audio_rate:,.1f} x real time"
    if progress.usd is not None:
        yield f"about ${progress.usd:,.2f}"
    if progress.left_seconds is not None and progress.ended is None:
        yield f"{short_clock(progress.left_seconds)} left"


def _traffic(progress: Progress) -> str:
    rate = 0 if progress.ended else int(progress.upload_bytes_per_second)
    parts = [f"uploaded {decimal(progress.uploaded_bytes)}" + (f" at {decimal(rate)}/s" if rate else "")]
    most = progress.stage.requests_limit
    used = f" ({progress.requests_lately / most:.0%} of what five minutes allow)" if most else ""
    return " · ".join([*parts, f"{progress.requests:,} requests{used}"])


def _by_kind(counts: dict[str, int]) -> str:
    listed = sorted(counts.items(), key=lambda pair: -pair[1])
    return f"{sum(counts.values()):,} retries: " + ", ".join(f"{kind} {count:,}" for kind, count in listed)
