"""The table of all recordings and what opens from it, packed as the page reads it: columns, and parts of details."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from batch.archive.report.recording_details import RecordingDetails
from batch.model import Job, State
from batch.telemetry.redaction import redact

PART_BYTES: Final = 512_000
"""What is read at once when a recording is opened, unpacked."""
_LABELS: Final = 200
_STATES: Final = {State.COLLECTED: 0, State.FAILED: 1}


class Table:
    """The columns of all rows, in their order. Numbers are small integers, because a page of 100,000 rows is read
    before it is shown: seconds in tenths, confidence in thousandths, times in seconds."""

    def __init__(self) -> None:
        self._columns: dict[str, list[Any]] = {
            name: []
            for name in ("key", "state", "kind", "seconds", "speakers", "confidence", "words", "took", "ended")
        } | {"labels": []}
        self._kinds: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self._sparse: dict[str, dict[int, str]] = {"reason": {}, "warning": {}, "problem": {}, "shared": {}}
        self.starts: list[int] = []

    @property
    def rows(self) -> int:
        return len(self._columns["key"])

    def add(self, job: Job, details: RecordingDetails) -> None:
        """One more row."""
        shared = job.shared_with is not None
        sent = None if shared else job.submitted_at
        ended = job.ended_at
        cells = {
            "key": job.key,
            "state": _STATES.get(job.state, 2),
            "kind": self._kinds.setdefault(job.kind or job.state.value, len(self._kinds)),
            "seconds": _tenths(job.audio_seconds),
            "speakers": job.speakers,
            "confidence": None if details.confidence is None else round(1000 * details.confidence),
            "words": details.words,
            "took": _tenths(ended - sent) if ended and sent else None,
            "ended": round(ended) if ended else None,
            "labels": self._labelled(job.recording.labels),
        }
        fields = {
            "reason": redact(job.reason or ""), "warning": "\n".join(details.warnings), "problem": details.problem,
            "shared": job.shared_with,
        }  # fmt: skip
        for name, text in fields.items():
            if text:
                self._sparse[name][self.rows] = text
        for name, cell in cells.items():
            self._columns[name].append(cell)

    def _labelled(self, labels: Mapping[str, Any]) -> str:
        """A line for each label: the number of its name, and its value."""
        numbers = [self._labels.setdefault(redact(name), len(self._labels)) for name in labels]
        values = (redact(" ".join(str(value).split()))[:_LABELS] for value in labels.values())
        return "\n".join(f"{number} {value}" for number, value in zip(numbers, values, strict=True))

    def packed(self, **more: Any) -> str:
        """For ``page.js``, with ``more`` facts beside the columns."""
        whole = {
            "columns": self._columns,
            "kinds": list(self._kinds),
            "labels": list(self._labels),
            "starts": self.starts,
            **self._sparse,
            **more,
        }
        return packed(msgspec.json.encode(whole))


class TranscriptParts:
    """The details of all rows, a part a time: ``take`` gives those that are full, ``rest`` what is left."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._details: list[bytes] = []
        self._bytes = 0

    def add(self, detail: bytes) -> Iterator[str]:
        if not self._details:
            self._table.starts.append(self._table.rows)
        self._details.append(detail)
        self._bytes += len(detail)
        if self._bytes >= PART_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[str]:
        if self._details:
            yield packed(b"[" + b",".join(self._details) + b"]")
        self._details, self._bytes = [], 0


def packed(content: bytes) -> str:
    """Deflated, in base64: a third of the size, and nothing that HTML could take for its own."""
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return base64.b64encode(deflate.compress(content) + deflate.flush()).decode()


def _tenths(seconds: float | None) -> int | None:
    return None if seconds is None else round(10 * seconds)
