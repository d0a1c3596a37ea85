"""Results on disk: one JSON file a recording, there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from batch import stores
from batch.errors import DiaristError, Postponed, Unavailable, Usage
from batch.model import Job

FAILED: Final = "failed.jsonl"
_DISK_TROUBLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


class _Spoken(msgspec.Struct):
    speaker: str | None = None


class _Said(msgspec.Struct):
    utterances: list[_Spoken] | None = None


class Results:
    """The result files under ``directory``, made at once unless it is only looked at, with ``copies`` under a prefix
    of an object store.

    Every method blocks: call it off the event loop. Raises ``Usage`` at the start if the directory cannot be written,
    ``Unavailable`` when the disk refuses later.
    """

    def __init__(self, directory: Path, *, copies: str = "", make: bool = True) -> None:
        self.directory, self._copies = directory, copies.rstrip("/")
        if not make:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            probe = directory / ".diarist" / "writable"
            probe.parent.mkdir(exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise Usage(f"cannot write to {directory}: {error.strerror}. Choose another --out") from error

    def path(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def exists(self, key: str) -> bool:
        return os.path.isfile(f"{self.directory}/{key}.json")  # noqa: PTH113 (a hot path)

    def write(self, job: Job, transcript: bytes) -> int:
        """Put the result in place: what we know of the recording, then the service's object, byte for byte.

        On return the file and its name are on disk. Returns the number of different speakers.
        """
        speakers = count_speakers(transcript)
        head = msgspec.json.encode(_about(job))
        body = transcript.strip()
        whole = b'{"recording":' + head + (b"," if body != b"{}" else b"") + body[1:] + b"\n"
        try:
            _replace(self.path(job.key), whole)
        except OSError as error:
            raise _unwritable(self.path(job.key), error) from error
        if self._copies:
            stores.put(f"{self._copies}/{job.key}.json", whole)
        return speakers

    def write_failed(self, jobs: Iterable[Job]) -> None:
        """``failed.jsonl``: the failed jobs as rows of a manifest, with the reason in ``_failed``; none, no file."""
        path = self.directory / FAILED
        rows = [msgspec.json.encode(_as_row(job)) + b"\n" for job in jobs]
        try:
            if rows:
                _replace(path, b"".join(rows))
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error


def _as_row(job: Job) -> dict[str, Any]:
    recording = job.recording
    failed = {"kind": job.kind, "reason": job.reason, "manifest": recording.manifest, "line": recording.line}
    return {"id": job.key, "audio": recording.source, **recording.options, **recording.labels, "_failed": failed}


def _unwritable(path: Path, error: OSError) -> DiaristError:
    """A disk that refuses everybody ends the run; a name that this disk cannot hold is one recording's trouble."""
    if error.errno in _DISK_TROUBLE:
        return Unavailable(
            f"cannot write {path}: {error.strerror}. Free some space or make it writable, then run the same command "
            "again: the transcript is fetched again, not paid again",
            kind="disk",
        )
    return Postponed(f"cannot write {path}: {error.strerror}. Give the recording another id", kind="unwritable")


def count_speakers(transcript: bytes) -> int:
    """How many different speakers a transcript object names in its utterances."""
    said = msgspec.json.decode(transcript, type=_Said)
    return len({utterance.speaker for utterance in said.utterances or ()} - {None})


def _about(job: Job) -> dict[str, Any]:
    recording = job.recording
    return {
        "key": job.key,
        "source": recording.source,
        "manifest": recording.manifest,
        "line": recording.line,
        "labels": recording.labels,
        "options": recording.options,
        "service": job.service,
        "sha256": job.sha256,
        "size_bytes": job.size_bytes,
        "mtime_ns": job.mtime_ns,
        "shared_with": job.shared_with,
    }


def _replace(path: Path, content: bytes) -> None:
    """Temporary file, fsync, rename, fsync of the directory. The name is the key's own, so that a leftover of a
    killed run is overwritten by the next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
