"""A picture of who speaks when: SVG, a row for each speaker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from batch.transcripts.speech_spans import SpeechSpan, speech_spans
from batch.transcripts.talk_stats import talk_stats
from batch.transcripts.timecodes import clock
from batch.transcripts.transcript import Transcript, speaker_label

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#555555")
"""Told apart by the colour-blind too: Okabe and Ito, https://jfly.uni-koeln.de/color/ (black and yellow replaced)."""
_LEFT, _RIGHT, _TOP, _ROW, _WIDTH = 170, 36, 46, 34, 1000
_TICKS_SECONDS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
_MOST_TICKS: Final = 12


def svg(spoken: Transcript) -> str:
    rows = {measure.speaker: measure for measure in talk_stats(spoken)}
    height = _TOP + _ROW * max(1, len(rows)) + 34
    spans = speech_spans(spoken)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif"'
        ' font-size="13" role="img">',
        f"<title>Who speaks when in {_text(spoken.key)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="26" font-size="16" font-weight="bold">{_text(spoken.key)}</text>',
        *_axis(spoken.seconds, height - 34),
    ]
    for number, (speaker, measure) in enumerate(rows.items()):
        label = f"{_shortened(speaker_label(speaker) or 'speech')} {measure.share:.0%}"
        top = _TOP + _ROW * number
        lines.append(f'<text x="12" y="{top + 21}">{_text(label)}</text>')
        lines.append(f'<g fill="{COLOURS[number % len(COLOURS)]}">')
        lines += (_bar(span, top, spoken.seconds) for span in spans if span.speaker == speaker)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>"]) + "\n"


def _axis(seconds: float, bottom: int) -> Iterator[str]:
    step = next((step for step in _TICKS_SECONDS if seconds / step <= _MOST_TICKS), _TICKS_SECONDS[-1])
    for tick in range(0, int(seconds) + 1, max(step, int(seconds) // 100)):
        x = _place(tick, seconds)
        yield f'<line x1="{x}" x2="{x}" y1="{_TOP - 6}" y2="{bottom + 4}" stroke="#dddddd"/>'
        yield f'<text x="{x}" y="{bottom + 20}" text-anchor="middle" fill="#555555">{clock(1000 * tick)}</text>'


def _bar(span: SpeechSpan, top: int, seconds: float) -> str:
    left, right = _place(span.start / 1000, seconds), _place(span.end / 1000, seconds)
    title = f"{_text(speaker_label(span.speaker))} {clock(span.start)}-{clock(span.end)}".strip()
    return (
        f'<rect x="{left}" y="{top + 5}" width="{max(0.5, right - left):.1f}" height="{_ROW - 10}" rx="2">'
        f"<title>{title}</title></rect>"
    )


def _place(seconds: float, whole: float) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / (whole or 1), 1)


def _shortened(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"


def _text(text: str) -> str:
    """Escaped, and without the characters that XML cannot hold."""
    return escape("".join(character for character in text if character.isprintable()))
