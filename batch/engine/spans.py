"""Stretches of time, counted in samples at 16 kHz."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
PER_MS = RATE // 1000

Audio = NDArray[np.int16]
"""One channel of sound: shape (samples,), 16 kHz, 16-bit."""

Floats = NDArray[np.float32]


class SampleSpan(NamedTuple):
    """From sample ``start`` up to, not including, sample ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start

    def overlap(self, other: SampleSpan) -> int:
        return max(0, min(self.end, other.end) - max(self.start, other.start))


class Turn(NamedTuple):
    """``speaker`` (a cluster's number) talks during ``span``. Turns of different speakers may overlap."""

    span: SampleSpan
    speaker: int


def seconds(value: float) -> int:
    """That many seconds, in samples."""
    return round(value * RATE)


def union(spans: Iterable[SampleSpan], gap: int = 0) -> list[SampleSpan]:
    """The spans in order, those that touch, overlap or lie within ``gap`` samples of each other made one."""
    merged: list[SampleSpan] = []
    for span in sorted(spans):
        if merged and span.start - merged[-1].end <= gap:
            merged[-1] = SampleSpan(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
