"""The columns of a journal: a job as a row, and back."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from batch.model import Job, Recording, State
from batch.providers import registry
from batch.storage.locations import identity

_OF_RECORDING: Final = ("key", "source", "manifest", "line", "options", "labels")
_OF_JOB: Final = tuple(name for name in Job.__struct_fields__ if name != "recording")
COLUMNS: Final = (*_OF_RECORDING, *_OF_JOB)
_DERIVED: Final = ("origin", "asked")
"""What jobs are compared by: the ``identity`` of the source, the canonical form of the options."""
_OPTIONS: Final = _OF_RECORDING.index("options")
_STATE, _PAST_IDS = _OF_JOB.index("state"), _OF_JOB.index("past_ids")
TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys((*COLUMNS, *_DERIVED), "TEXT"),
    **dict.fromkeys(("staged_at", "intent_at", "submitted_at", "ended_at", "audio_seconds"), "REAL"),
    **dict.fromkeys(("line", "size_bytes", "mtime_ns", "submissions", "failures", "speakers"), "INTEGER"),
    **dict.fromkeys(("result_bytes", "result_mtime_ns"), "INTEGER"),
}
ALL_COLUMNS: Final = ", ".join(TYPES)


def row_of(job: Job) -> tuple[Any, ...]:
    """A job as a row, in the order of ``TYPES``."""
    row = [getattr(job.recording, name) for name in _OF_RECORDING] + [getattr(job, name) for name in _OF_JOB]
    texts = tuple(map(as_text, row))
    return (*texts, identity(job.recording.source), canonical_options(job.service, texts[_OPTIONS]))


@functools.lru_cache(4096)
def canonical_options(service: str, options: str) -> str:
    """The canonical form of a service's options in JSON."""
    return msgspec.json.encode(registry.named(service).options.canonical(msgspec.json.decode(options))).decode()


def as_text(value: Any) -> Any:
    """A value as a column holds it: objects and lists as JSON."""
    return msgspec.json.encode(value).decode() if isinstance(value, dict | tuple) else value


def job_of_row(row: Sequence[Any]) -> Job:
    """A job of its row: by position, because a second run over millions of rows does little else."""
    key, source, manifest, line, options, labels = row[: len(_OF_RECORDING)]
    decode = msgspec.json.decode
    recording = Recording(key, source, manifest, line, decode(options), decode(labels))
    facts = list(row[len(_OF_RECORDING) :])
    facts[_STATE] = State(facts[_STATE])
    facts[_PAST_IDS] = tuple(decode(facts[_PAST_IDS]))
    return Job(recording, *facts)
