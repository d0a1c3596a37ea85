"""Transcript to text, for everyone who reads something else than v2's JSON. Pure functions, one module a family.

``FORMATS`` are written for each recording, ``TABLES`` once for an archive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from batch.transcripts.formats import captions, corpora, png, prose, scoring, svg, textgrid
from batch.transcripts.transcript import Transcript


def _nothing() -> str:
    return ""


class Format(msgspec.Struct, frozen=True):
    """``suffix`` is what the file's name ends with, after the key and a point; ``missing`` says what keeps this
    machine from writing it (empty: nothing)."""

    suffix: str
    render: Callable[[Transcript], str | bytes]
    missing: Callable[[], str] = _nothing

    def content(self, spoken: Transcript) -> bytes:
        """The file. What UTF-8 cannot hold (a lone surrogate that JSON has escaped) becomes a question mark."""
        made = self.render(spoken)
        return made if isinstance(made, bytes) else made.encode("utf-8", "replace")


FORMATS: Final[Mapping[str, Format]] = {
    "srt": Format("srt", captions.srt),
    "vtt": Format("vtt", captions.vtt),
    "txt": Format("txt", prose.txt),
    "md": Format("md", prose.md),
    "rttm": Format("rttm", scoring.rttm),
    "ctm": Format("ctm", scoring.ctm),
    "stm": Format("stm", scoring.stm),
    "seglst": Format("seglst.json", scoring.seglst),
    "textgrid": Format("TextGrid", textgrid.textgrid),
    "whisper": Format("whisper.json", corpora.whisper),
    "svg": Format("svg", svg.svg),
    "png": Format("png", png.png, png.missing),
}

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "csv": ("utterances.csv",),
    "speakers": ("speakers.csv",),
    "parquet": ("utterances.parquet", "recordings.parquet"),
    "lhotse": ("supervisions.jsonl.gz",),
}
"""The files of each."""
