"""Praat's TextGrid: an interval tier for each speaker, without gaps, as Praat wants it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from batch.transcripts.segmentation import segments
from batch.transcripts.transcript import Transcript, joined

_NOBODY: Final = "speech"
Interval = tuple[int, int, str]


def textgrid(spoken: Transcript) -> str:
    """The long text form (https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html), UTF-8.

    Speakers who speak at once are on tiers of their own; one who overlaps himself is cut at the next start.
    """
    end = max(1, round(1000 * spoken.seconds))
    tiers = {speaker: _intervals(spoken, speaker, end) for speaker in spoken.speakers or [""]}
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end / 1000}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (speaker, intervals) in enumerate(tiers.items(), 1):
        lines += [f"    item [{number}]:", *_tier(speaker or _NOBODY, end, list(_without_gaps(intervals, end)))]
    return "\n".join(lines) + "\n"


def _intervals(spoken: Transcript, speaker: str, end: int) -> list[Interval]:
    """The segments of one speaker, none of them overlapping: one that would have no length joins the next."""
    own = (utterance.words for utterance in spoken.utterances if utterance.speaker == speaker)
    found = sorted(
        (words[0].start, max(word.end for word in words), joined(words)) for said in own for words in segments(said)
    )
    made: list[Interval] = []
    for start, until, text in found:
        start, until = min(start, end - 1), min(max(until, start + 1), end)
        if made and start <= made[-1][0]:
            start, until, text = made[-1][0], max(until, made[-1][1]), f"{made.pop()[2]} {text}"
        elif made and start < made[-1][1]:
            made[-1] = (made[-1][0], start, made[-1][2])
        made.append((start, until, text))
    return made


def _without_gaps(intervals: list[Interval], end: int) -> Iterator[Interval]:
    at = 0
    for start, until, text in intervals:
        if start > at:
            yield at, start, ""
        yield start, until, text
        at = until
    if at < end:
        yield at, end, ""


def _tier(name: str, end: int, intervals: list[Interval]) -> Iterator[str]:
    yield '        class = "IntervalTier"'
    yield f"        name = {_quoted(name)}"
    yield "        xmin = 0"
    yield f"        xmax = {end / 1000}"
    yield f"        intervals: size = {len(intervals)}"
    for number, (start, until, text) in enumerate(intervals, 1):
        yield f"        intervals [{number}]:"
        yield f"            xmin = {start / 1000}"
        yield f"            xmax = {until / 1000}"
        yield f"            text = {_quoted(text)}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
