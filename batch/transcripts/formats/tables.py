"""Tables of a whole archive: their columns, and the rows that one recording gives to each."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from batch.transcripts.talk_stats import TalkStats, talk_stats
from batch.transcripts.transcript import Transcript

Row = tuple[Any, ...]

UTTERANCES: Final = {
    "key": str, "number": int, "speaker": str, "channel": str, "start": int, "end": int, "text": str,
    "confidence": float, "words": int,
}  # fmt: skip
"""One row an utterance, numbered from 0 in its recording; ``start`` and ``end`` are milliseconds, as in v2."""

RECORDINGS: Final = {
    "key": str, "source": str, "manifest": str, "line": int, "labels": str, "options": str, "service": str,
    "transcript_id": str, "status": str, "sha256": str, "audio_seconds": float, "language": str, "confidence": float,
    "speakers": int, "utterances": int, "words": int, "text": str,
}  # fmt: skip
"""One row a recording; ``labels`` and ``options`` are JSON objects."""

SPEAKERS: Final = ("key", *TalkStats.__struct_fields__)
"""One row for each speaker of each recording: see ``TalkStats``."""


_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")
"""What spreadsheets take for the beginning of a formula, which they execute (OWASP, CSV injection): the last four are
as wide as Chinese characters."""


def inert(row: Row) -> Row:
    """A row whose texts no spreadsheet executes: an apostrophe stands before what it would take for a formula."""
    return tuple(f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in row)


def utterance_rows(spoken: Transcript) -> list[Row]:
    return [
        (spoken.key, number, said.speaker or None, said.channel, said.start, said.end, said.text, said.confidence,
         len(said.words))
        for number, said in enumerate(spoken.utterances)
    ]  # fmt: skip


def recording_row(spoken: Transcript) -> Row:
    about = spoken.recording
    words = sum(len(said.words) for said in spoken.utterances)
    return (
        spoken.key, about.get("source"), about.get("manifest"), about.get("line"), _json(about.get("labels")),
        _json(about.get("options")), about.get("service"), spoken.transcript_id, spoken.status, about.get("sha256"),
        spoken.seconds, spoken.language, spoken.confidence, len(set(spoken.speakers) - {""}),
        len(spoken.utterances), words, spoken.text,
    )  # fmt: skip


def speaker_rows(spoken: Transcript) -> list[Row]:
    return [(spoken.key, *msgspec.structs.astuple(measure)) for measure in talk_stats(spoken)]


def _json(value: Any) -> str:
    return msgspec.json.encode(value or {}).decode()
