"""A transcript in the terminal: a head, then a paragraph for each turn, its speaker in a colour of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from batch.telemetry.redaction import harmless
from batch.transcripts.timecodes import clock, short_clock
from batch.transcripts.transcript import Transcript, speaker_label

_COLOURS: Final = ("cyan", "yellow", "green", "magenta", "blue", "red")


def lines(spoken: Transcript) -> Iterator[RenderableType]:
    """What the console prints, one after another."""
    about = spoken.recording
    facts = [short_clock(spoken.seconds), f"{len(spoken.speakers)} speakers", str(about.get("service") or "")]
    facts += [f"{name}: {value}" for name, value in (about.get("labels") or {}).items()]
    yield Text(harmless(spoken.key), style="bold")
    yield Text(harmless(" · ".join(fact for fact in facts if fact)), style="dim")
    if not spoken.utterances:
        yield Text("nothing was said")
        return
    yield ""
    colours = {speaker: _COLOURS[number % len(_COLOURS)] for number, speaker in enumerate(spoken.speakers)}
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim", justify="right")
    table.add_column(no_wrap=True, max_width=24, overflow="ellipsis")
    table.add_column(ratio=1)
    for said in spoken.utterances:
        who = Text(harmless(speaker_label(said.speaker or "")), style=f"bold {colours.get(said.speaker or '', '')}")
        table.add_row(clock(said.start), who, Text(harmless(said.text)))
    yield table
