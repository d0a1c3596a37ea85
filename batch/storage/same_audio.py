"""Whether audio is what it was, at the least cost: by its stamp, by the tag of its content, by its digest."""

from __future__ import annotations

import functools
from typing import Final

from batch.model import Job, Recording, Stamp
from batch.storage import audio, disk_errors
from batch.storage.locations import identity, is_stored, is_url

_REMEMBERED: Final = 10_000


def compared(recording: Recording, job: Job) -> tuple[bool, Stamp | None]:
    """Whether the row's audio differs from what the job staged, and its stamp now.

    The digest is read only if the stamp differs; a stored object is known by its stamp alone. Audio that is gone
    counts as it was, if it was at the same place.
    """
    moved = identity(recording.source) != identity(job.recording.source)
    if is_url(recording.source):
        return moved, None
    stamp = recording.stamp or audio.stamp(recording.source)
    if stamp is None or (job.size_bytes is None and not moved):
        return moved, None
    if is_stored(recording.source):
        return not _is_same_object(stamp, job, moved), stamp
    if not moved and stamp[:2] == (job.size_bytes, job.mtime_ns):
        return False, stamp
    if stamp.size_bytes != job.size_bytes or job.sha256 is None:
        return True, stamp
    try:
        return _digest(recording.source, stamp) != job.sha256, stamp
    except OSError as error:
        disk_errors.check_limits(error)
        return True, stamp


@functools.lru_cache(_REMEMBERED)
def _digest(path: str, stamp: Stamp) -> str:
    """The digest of a file as it was when it had this stamp: a run looks at its rows twice."""
    return audio.digest(path)


def _is_same_object(stamp: Stamp, job: Job, moved: bool) -> bool:
    """Whether a stored object is what it was: by the tag of its content wherever it lies now, else by its time."""
    if stamp.etag and job.etag:
        return (stamp.etag, stamp.size_bytes) == (job.etag, job.size_bytes)
    return not moved and stamp[:2] == (job.size_bytes, job.mtime_ns)


def same_audio(row: Recording, first: Recording) -> bool:
    """Whether two rows name the same audio. Blocks: reads both files, if they have one size."""
    if identity(row.source) == identity(first.source):
        return True
    stamp = None if is_url(first.source) else first.stamp or audio.stamp(first.source)
    if stamp is None or is_stored(first.source):
        return False
    try:
        job = Job(first, "", sha256=_digest(first.source, stamp), **stamp._asdict())
    except OSError as error:
        disk_errors.check_limits(error)
        return False
    return not compared(row, job)[0]
