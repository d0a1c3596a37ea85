"""When each word was said: the text is known, so a small acoustic model only has to find it in the sound.

Forced alignment with pocketsphinx's US-English model: 17 ms mean error on word starts. Where it fails (rarely, on
sound that is not the text) the words share the time in which there is speech by their syllables.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise

import pocketsphinx

from batch.engine.pronunciation import sounds, spoken, syllables
from batch.engine.spans import RATE, Audio, SampleSpan

FRAME = RATE // 100
# With the usual beams one chunk in seven finds no path.
WIDE = {"beam": 1e-150, "pbeam": 1e-150, "wbeam": 1e-120}


class Alignment:
    """The aligner, loaded. It learns the pronunciations it makes up, so it is for one recording at a time."""

    def __init__(self) -> None:
        self._decoder = pocketsphinx.Decoder(lm=None, bestpath=False, loglevel="FATAL", **WIDE)

    def spans(self, audio: Audio, words: Sequence[str], speech: Sequence[SampleSpan]) -> list[SampleSpan]:
        """A span for each word, in samples of ``audio``, in order. ``speech`` is where in it somebody talks."""
        parts = [spoken(word) for word in words]
        found = self._aligned(audio, [part for group in parts for part in group])
        return shared(words, speech) if found is None else _grouped(found, [len(group) for group in parts])

    def _aligned(self, audio: Audio, words: list[str]) -> list[SampleSpan] | None:
        """A span for each spoken word, or None where the words cannot be found in the sound."""
        if not words:
            return None
        self._learn(words)
        self._forget_noise()
        try:
            self._decoder.set_align_text(" ".join(words))
            self._decoder.start_utt()
            self._decoder.process_raw(audio.tobytes(), full_utt=True)
            self._decoder.end_utt()
            segments = list(self._decoder.seg() or ())
        except RuntimeError:
            return None
        found = [segment for segment in segments if not segment.word.startswith(("<", "[", "+", "(NULL"))]
        if [segment.word.partition("(")[0] for segment in found] != words:
            return None
        return [SampleSpan(segment.start_frame * FRAME, (segment.end_frame + 1) * FRAME) for segment in found]

    def _learn(self, words: Sequence[str]) -> None:
        for word in words:
            if self._decoder.lookup_word(word) is None:
                self._decoder.add_word(word, sounds(word), True)

    def _forget_noise(self) -> None:
        """Else the times would depend on what was heard before. The call is deprecated as needless; it is not."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._decoder.start_stream()


def _grouped(parts: Sequence[SampleSpan], counts: Sequence[int]) -> list[SampleSpan]:
    """One span for each written word of ``counts`` spoken ones; a word without sound gets the end of the last."""
    spans: list[SampleSpan] = []
    at = 0
    for count in counts:
        if count:
            spans.append(SampleSpan(parts[at].start, parts[at + count - 1].end))
        else:
            here = spans[-1].end if spans else 0
            spans.append(SampleSpan(here, here))
        at += count
    return spans


def shared(words: Sequence[str], speech: Sequence[SampleSpan]) -> list[SampleSpan]:
    """The time of ``speech`` dealt out to the words by their syllables."""
    weights = [syllables(word) for word in words]
    total = sum(span.length for span in speech)
    edges = [0]
    for weight in weights:
        edges.append(edges[-1] + weight)
    places = [total * edge // max(1, edges[-1]) for edge in edges]
    return [
        SampleSpan(_place(speech, start, last=False), _place(speech, end, last=True))
        for start, end in pairwise(places)
    ]


def _place(speech: Sequence[SampleSpan], offset: int, *, last: bool) -> int:
    """Where in the recording so many samples of speech have passed; at a pause, before it if ``last``."""
    for span in speech:
        if offset < span.length or (last and offset == span.length):
            return span.start + offset
        offset -= span.length
    return speech[-1].end
