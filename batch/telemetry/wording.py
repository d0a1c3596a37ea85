"""The sentence that ends a run: its rows, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from batch.transcripts.timecodes import short_clock

if TYPE_CHECKING:
    from batch.telemetry.progress import Progress

STATES: Final[Mapping[str, str]] = {"staged": "uploaded", "collected": "transcribed"}
"""States as people read them, where that is another word than the one that is written down."""
_WHY: Final = {
    "done": "done before",
    "elsewhere": "still with another service",
    "duplicate": "the same as another row",
    "held": "done, and paid for again only with --yes",
    "kept": "done, and left as they are",
}
"""Of rows that were skipped, where the kind does not say it all."""


def sentence(now: Progress, out: Path | str) -> str:
    """What came of a run, in one line: its rows, and the parts that add up to them."""
    parts = [f"{now.collected:,} transcribed" + _shared(now)]
    counts = {"failed": now.failed, "rejected": now.rejected, "skipped": sum(now.skipped.values()), "left": now.left}
    more = {"skipped": _reasons(now), "left": _postponed(now)}
    parts += [f"{count:,} {what}{more.get(what, '')}" for what, count in counts.items() if count]
    rows = f"{now.rows:,} row{'' if now.rows == 1 else 's'}{'' if now.total is not None else ' read so far'}"
    over = f" · {now.carried_over:,} more, of earlier runs, that no row names" if now.carried_over else ""
    audio = f"{short_clock(now.audio_seconds)} of audio in {now.elapsed_seconds:.1f} s{_pace(now)}"
    return f"{rows}: {', '.join(parts)}{over} · {audio} · results in {out}"


def _pace(now: Progress) -> str:
    times = now.audio_seconds / now.elapsed_seconds if now.elapsed_seconds > 0 else 0.0
    return f", {times:,.1f} x real time" if times else ""


def _shared(now: Progress) -> str:
    return f" ({now.shared:,} of them share the transcript of an identical recording)" if now.shared else ""


def _postponed(now: Progress) -> str:
    return f" ({now.postponed:,} of them put off until the next run)" if now.postponed else ""


def _reasons(now: Progress) -> str:
    ordered = sorted(now.skipped.items(), key=lambda pair: -pair[1])
    return f" ({', '.join(f'{count:,} {_WHY.get(why, why)}' for why, count in ordered)})"
