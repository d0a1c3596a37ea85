"""What a voice sounds like: 256 numbers for each piece of sound with one voice in it.

The features are Kaldi's log-mel filter banks as the net was trained on them (80 bins, 25 ms every 10 ms, Hamming,
pre-emphasis 0.97, 16-bit scale; WeSpeaker's recipe), less their mean over the surrounding five seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from batch.engine import onnx
from batch.engine.spans import RATE, Audio, Floats, SampleSpan, seconds

FRAME, SHIFT, FFT, BINS = 400, 160, 512, 80
LOWEST_HZ = 20.0
PRE_EMPHASIS = 0.97
FLOOR = float(np.finfo(np.float32).eps)  # Kaldi's floor under the logarithm
AROUND = seconds(2.5)  # on either side of a frame: the neighbourhood whose mean is taken off
BLOCK = seconds(30)  # features are made for half a minute at a time: memory does not grow with the recording
WIDTH = 256


class Embedding:
    """The net, loaded."""

    def __init__(self) -> None:
        self._net = onnx.session("embedding")

    def of(self, audio: Audio, pieces: Sequence[SampleSpan]) -> Floats:
        """Unit vectors, shape (pieces, 256), in the order of the pieces, which must be in order of time.

        One at a time: on one thread a batch of sixteen takes exactly as long as sixteen calls.
        """
        vectors = np.zeros((len(pieces), WIDTH), np.float32)
        for number, features in enumerate(_features(audio, pieces)):
            weights = np.ones((1, len(features)), np.float32)
            (vectors[number : number + 1],) = self._net.run(None, {"fbank": features[None], "weights": weights})
        return unit(vectors)


def unit(vectors: Floats) -> Floats:
    """The vectors, shape (..., width), brought to length one."""
    lengths: Floats = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return np.divide(vectors, lengths)


def _features(audio: Audio, pieces: Sequence[SampleSpan]) -> Iterator[Floats]:
    """For each piece its features, shape (frames, 80)."""
    for block, group in groupby(pieces, key=lambda piece: piece.start // BLOCK):
        within = list(group)
        first = max(0, block * BLOCK - AROUND)
        features = centred(log_mel(audio[first : max(piece.end for piece in within) + AROUND]))
        for piece in within:
            frame = (piece.start - first) // SHIFT
            yield features[frame : frame + frame_count(piece.length)]


def frame_count(samples: int) -> int:
    """How many whole frames fit into so many samples (Kaldi's snip-edges)."""
    return max(0, (samples - FRAME) // SHIFT + 1)


def log_mel(audio: Audio) -> Floats:
    """Log-mel filter banks of 16-bit sound at 16 kHz: shape (frames, 80)."""
    count = frame_count(len(audio))
    if not count:
        return np.zeros((0, BINS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME)[::SHIFT][:count].astype(np.float32)
    frames -= frames.mean(axis=1, keepdims=True)
    emphasised = frames.copy()
    emphasised[:, 1:] -= PRE_EMPHASIS * frames[:, :-1]
    emphasised[:, 0] -= PRE_EMPHASIS * frames[:, 0]
    power = np.abs(np.fft.rfft(emphasised * _HAMMING, FFT)) ** 2
    mel: Floats = power.astype(np.float32) @ _MEL
    return np.log(np.maximum(mel, FLOOR))


def centred(features: Floats) -> Floats:
    """The features less their mean over the frames around each."""
    reach = AROUND // SHIFT
    sums = np.vstack([np.zeros((1, BINS)), np.cumsum(features, axis=0, dtype=np.float64)])
    index = np.arange(len(features))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(features))
    means: Floats = ((sums[high] - sums[low]) / (high - low)[:, None]).astype(np.float32)
    return features - means


def _mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def _mel_filters() -> Floats:
    """Triangles that are straight on the mel scale, as Kaldi has them: shape (257, 80)."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(RATE / 2), BINS + 2)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    bins = _mel(np.arange(FFT // 2 + 1) * RATE / FFT)[:, None]
    slopes = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    return np.maximum(slopes, 0).astype(np.float32)


_HAMMING = np.hamming(FRAME).astype(np.float32)
_MEL = _mel_filters()
