"""Who speaks when, locally: up to three voices in ten seconds. It is also the voice activity detector.

The net is pyannote's powerset segmentation (A. Plaquet and H. Bredin, "Powerset multi-class cross entropy loss for
neural speaker diarization", Interspeech 2023). A voice has the same number only within one window; `diarization`
finds out which voices of different windows are the same person.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.engine import onnx
from batch.engine.spans import Audio, SampleSpan, seconds

WINDOW = seconds(10)
STEP = seconds(5)
MARGIN = (WINDOW - STEP) // 2  # heard by the net but not kept: it judges the middle of its window best
FRAME_STEP = 270  # samples between frames, 16.875 ms
FRAME_CENTRE = 495  # sample in the middle of the first frame's receptive field
VOICES = 3  # that the net tells apart in one window
SILENCE = 1e-4  # a window whose peak is below -80 dBFS is not worth the net


class Stretch(NamedTuple):
    """While ``span`` lasts, the ``voice`` (0-2) of window number ``window`` talks, ``alone`` or with others."""

    span: SampleSpan
    window: int
    voice: int
    alone: bool


class Segmentation:
    """The net, loaded."""

    def __init__(self) -> None:
        self._net = onnx.session("segmentation")

    def stretches(self, audio: Audio) -> list[Stretch]:
        """All speech in the recording, in order of time, cut where the set of voices changes."""
        return [stretch for i, kept in enumerate(windows(len(audio))) for stretch in self._window(audio, i, kept)]

    def _window(self, audio: Audio, number: int, kept: SampleSpan) -> Iterator[Stretch]:
        start = number * STEP
        window = audio[start : start + WINDOW].astype(np.float32) / 32768
        if not len(window) or np.abs(window).max() < SILENCE:
            return
        waveform = np.zeros((1, 1, WINDOW), np.float32)
        waveform[0, 0, : len(window)] = window
        (activity,) = self._net.run(None, {"waveforms": waveform})
        yield from _runs(activity[0] > 0.5, number, start, kept)


def windows(length: int) -> list[SampleSpan]:
    """The part of the recording, ``length`` samples long, that each window decides. They tile it without overlap."""
    count = max(1, -(-(length - WINDOW) // STEP) + 1)
    starts = [0, *(i * STEP + MARGIN for i in range(1, count))]
    return [SampleSpan(start, end) for start, end in zip(starts, [*starts[1:], length], strict=True)]


def _runs(active: NDArray[np.bool_], number: int, start: int, kept: SampleSpan) -> Iterator[Stretch]:
    """Stretches of unchanging ``active`` voices (frames, voices) inside ``kept``; the window begins at ``start``."""
    changes = np.flatnonzero(np.any(active[1:] != active[:-1], axis=1)) + 1
    for first, last in zip([0, *changes], [*changes, len(active)], strict=True):
        voices = np.flatnonzero(active[first])
        span = SampleSpan(max(kept.start, _edge(first, start)), min(kept.end, _edge(last, start)))
        if span.length > 0:
            yield from (Stretch(span, number, int(voice), len(voices) == 1) for voice in voices)


def _edge(frame: int, start: int) -> int:
    """The sample where ``frame`` begins. The first frame reaches back to the window's start."""
    return start if frame == 0 else start + int(frame) * FRAME_STEP + FRAME_CENTRE - FRAME_STEP // 2
