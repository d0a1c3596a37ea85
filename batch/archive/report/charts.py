"""Charts as SVG, drawn for any width: what is drawn stretches, text and strokes keep their size. Pure.

A chart has no view box of its own. Places across are percent, places down pixels; curves are in a stretched
picture inside. Colours come from the page's style sheet, so that charts follow the dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from batch.archive.report.statistics import Series, Took, step_of

_HEIGHT, _TOP, _BOTTOM = 188, 22, 160
_MOST_TICKS: Final = 6
_MOST_BARS: Final = 9
FEW_POINTS: Final = 500
"""So many recordings are still a dot each."""
_TICKS: Final = (
    (0.1, 1.0, 10, 60, 600, 3600, 36000),
    (0.1, 0.3, 1.0, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800, 36000),
    (0.1, 0.2, 0.5, 1.0, 2, 5, 10, 15, 20, 30, 40, 50, 60, 90, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400),
)
"""Of logarithmic axes of time, in seconds: the coarsest that has enough of them is taken."""
_ENOUGH_TICKS: Final = 3
_LEAST: Final = 0.05
"""No shorter time has a place of its own on them."""


def over_time(title: str, series: Series, unit: str) -> str:
    """A value for each step of time."""
    top = _nice(max(series.values))
    count, width = len(series.values), 1000
    points = [
        f"V{1000 * (1 - value / top):.1f}H{width * (place + 1) / count:.1f}"
        for place, value in enumerate(series.values)
    ]
    path = f"M0 1000{''.join(points)}"
    curve = (
        f'<svg x="0" y="{_TOP}" width="100%" height="{_BOTTOM - _TOP}" viewBox="0 0 {width} 1000" '
        f'preserveAspectRatio="none"><path class="area" d="{path}V1000Z"/><path class="line" d="{path}"/></svg>'
    )
    said = f"At most {number(max(series.values))} {unit}, in steps of {duration(series.step_seconds)}."
    lines = [(value, number(value) + (f" {unit}" if value == top else "")) for value in (top / 2, top)]
    return _chart(title, said, [curve], [(value / top, text) for value, text in lines], _hours(series))


def bars(title: str, counts: Iterable[tuple[int, int]], said: str) -> str:
    """How often each small number occurs; the last bar is all that are larger."""
    found = dict(counts)
    most = max(found)
    labels = [str(place) for place in range(min(most, _MOST_BARS) + 1)]
    heights = [found.get(place, 0) for place in range(len(labels))]
    if most > _MOST_BARS:
        labels[-1] += "+"
        heights[-1] = sum(count for place, count in found.items() if place >= _MOST_BARS)
    if not heights[0]:
        labels, heights = labels[1:], heights[1:]
    top, slot = max(heights), 100 / max(6, len(labels))
    body = []
    for place, count in enumerate(heights):
        height = (_BOTTOM - _TOP) * count / top
        body.append(
            f'<rect class="bar" x="{place * slot + slot * 0.18:.2f}%" width="{slot * 0.64:.2f}%" '
            f'y="{_BOTTOM - height:.1f}" height="{height:.1f}"/>'
        )
        middle = f"{(place + 0.5) * slot:.2f}%"
        if count:
            body.append(f'<text x="{middle}" y="{_BOTTOM - height - 6:.1f}" text-anchor="middle">{count:,}</text>')
    ticks = [((place + 0.5) * slot / 100, label) for place, label in enumerate(labels)]
    return _chart(title, said, body, [], ticks)


def turnarounds(title: str, points: Sequence[tuple[float, float]], took: Sequence[Took]) -> str:
    """Turnaround by length: a dot for each recording, or where there are many the middle 80 % of each length."""
    ordered = sorted(seconds for _, seconds in points)
    lowest, highest = ordered[0], max(0.1, ordered[-1])
    across = _logarithmic(min(length for length, _ in points), max(length for length, _ in points))
    down = _logarithmic(lowest, highest)
    few = len(points) <= FEW_POINTS
    body = list(_dots(points, across, down) if few else _ranges(took, across, down))
    rows = [(down(tick), duration(tick)) for tick in _within(down)]
    ticks = [(across(tick), duration(tick)) for tick in _within(across)]
    what = "A dot for each recording." if few else "The middle 80 % of each length, and its median."
    return _chart(title, what, body, rows, ticks)


def _dots(
    points: Iterable[tuple[float, float]], across: Callable[[float], float], down: Callable[[float], float]
) -> Iterator[str]:
    for length, seconds in points:
        yield f'<circle class="dot" cx="{100 * across(length):.2f}%" cy="{_y(down(seconds)):.1f}" r="3"/>'


def _ranges(took: Iterable[Took], across: Callable[[float], float], down: Callable[[float], float]) -> Iterator[str]:
    for one in took:
        left, right = (max(0.0, min(1.0, across(edge))) for edge in (one.shortest, one.longest))
        high, low = _y(down(one.high)), _y(down(one.low))
        middle = _y(down(one.median))
        x, width = f"{100 * left + 0.4:.2f}%", f"{max(0.4, 100 * (right - left) - 0.8):.2f}%"
        yield (
            f'<rect class="range" x="{x}" width="{width}" y="{high:.1f}" height="{max(2.0, low - high):.1f}">'
            f"<title>{one.count:,} recordings of {duration(one.shortest)} to {duration(one.longest)}: "
            f"median {duration(one.median)}, 80 % from {duration(one.low)} to {duration(one.high)}</title></rect>"
            f'<rect class="bar" x="{x}" width="{width}" y="{middle - 1:.1f}" height="2"/>'
        )


def _logarithmic(lowest: float, highest: float) -> Callable[[float], float]:
    """Values as parts (0-1) of an axis that holds both, with a little room at its ends."""
    low, high = math.log(max(lowest, _LEAST)), math.log(max(highest, _LEAST))
    room = max(0.06 * (high - low), 0.15)
    return lambda value: (math.log(max(value, _LEAST)) - low + room) / (high - low + 2 * room)


def _within(place: Callable[[float], float]) -> list[float]:
    """The ticks of a logarithmic axis."""
    found = [[tick for tick in ticks if 0.03 <= place(tick) <= 0.97] for ticks in _TICKS]
    return next((ticks for ticks in found if len(ticks) >= _ENOUGH_TICKS), found[-1])


def _hours(series: Series) -> list[tuple[float, str]]:
    """Where and how the time is written below."""
    whole = series.step_seconds * len(series.values)
    step = step_of(whole, _MOST_TICKS)
    first = math.ceil(series.begin / step) * step
    ticks = (((at - series.begin) / whole, at) for at in range(int(first), int(series.begin + whole) + 1, step))
    return [(place, _moment(at, step)) for place, at in ticks if 0.03 < place < 0.97]


def _moment(at: float, step: int) -> str:
    time = datetime.fromtimestamp(at, UTC)
    if step >= 86400 or at % 86400 == 0:
        return f"{time.day} {time:%b}"
    return f"{time:%H:%M}" if step >= 60 else f"{time:%H:%M:%S}"


def _chart(
    title: str, said: str, body: Iterable[str], lines: Iterable[tuple[float, str]], ticks: Iterable[tuple[float, str]]
) -> str:
    """``lines`` across, by height (0-1) and text; ``ticks`` below, by place (0-1) and text."""
    parts = [f'<svg class="chart" role="img" width="100%" height="{_HEIGHT}">', f"<title>{escape(title)}</title>"]
    parts.append(f"<desc>{escape(said)}</desc>")
    lines = list(lines)
    for height, _ in lines:
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{_y(height):.1f}" y2="{_y(height):.1f}"/>')
    parts += body
    parts.append(f'<line class="axis" x1="0" x2="100%" y1="{_BOTTOM}" y2="{_BOTTOM}"/>')
    for height, text in lines:
        parts.append(f'<text class="halo" x="0" y="{_y(height) - 5:.1f}">{escape(text)}</text>')
    for place, text in ticks:
        parts.append(f'<text x="{100 * place:.2f}%" y="{_BOTTOM + 19}" text-anchor="middle">{escape(text)}</text>')
    return "".join([*parts, "</svg>"])


def _y(height: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * max(0.0, min(1.0, height))


def _nice(most: float) -> float:
    """The next round number, of which the half is round too."""
    if most <= 0:
        return 1.0
    power: float = 10 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= most * 0.999)


def number(value: float) -> str:
    """``12345.6`` as ``12,346``, ``1.25`` as ``1.3``."""
    return f"{value:,.0f}" if value >= 10 or value == round(value) else f"{value:.2g}"


def duration(seconds: float) -> str:
    """``90`` as ``1.5 min``: one unit, at most two digits that matter."""
    if seconds < 0.95:
        return f"{seconds:.1f} s"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            count = seconds / size
            return f"{count:.0f} {unit}" if count >= 10 or abs(count - round(count)) < 0.05 else f"{count:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == round(seconds) else f"{seconds:.1f} s"
