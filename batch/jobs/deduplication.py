"""Identical audio with identical options is paid for once: who is paying for it, and who was.

Identical means: the same SHA-256, canonical options and service; for a stored object the same size and tag of its
content; for a URL that the service fetches itself, the same one within one run, because what is behind it may change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from batch.archive.journal import Journal
from batch.errors import PostponedError
from batch.model import Job
from batch.providers import registry
from batch.storage.locations import identity


class Deduplicator:
    """``began`` is the start of the run, in seconds since the epoch; ``anew``: what was paid before it does not
    count."""

    def __init__(self, journal: Journal, *, began: float, anew: bool = False) -> None:
        self._journal, self._began, self._anew = journal, began, anew
        self._paying: dict[bytes, asyncio.Future[Job | None]] = {}
        self._payers: dict[str, bytes] = {}

    async def find_or_claim(self, job: Job, waits: Callable[[str], object] = lambda key: None) -> Job | None:
        """The job whose transcript is this one's too. None: this job is the one to pay, and identical ones wait until
        it has ``paid`` or ``gives_up``. ``waits`` is told the key of a job that has to wait: what it holds until then
        may be what the other one needs. Raises what whoever was to pay ``leaves``."""
        identity = _identity(job)
        if self._payers.get(job.key) == identity:
            return None
        self.release(job.key)
        while paying := self._paying.get(identity):
            waits(job.key)
            if (paid := await asyncio.shield(paying)) and paid.transcript_id not in job.past_ids:
                return paid
        self._paying[identity] = asyncio.get_running_loop().create_future()
        self._payers[job.key] = identity
        try:
            since = self._began if self._anew or not (job.sha256 or job.etag) else 0.0
            found = await self._journal.twin(job, since)
        except BaseException:
            self.release(job.key)
            raise
        if found:
            self._settle(job.key, found)
        return found

    def claim(self, job: Job) -> None:
        """The job may have been paid for already: identical ones wait until that is known."""
        identity = _identity(job)
        if identity not in self._paying:
            self._paying[identity] = asyncio.get_running_loop().create_future()
            self._payers[job.key] = identity

    def leave(self, key: str, error: PostponedError) -> None:
        """Whether the job was paid for cannot be known in this run: identical ones meet ``error``, too."""
        if identity := self._payers.pop(key, None):
            self._paying[identity].set_exception(error)
            self._paying[identity].exception()  # seen, though nobody may wait

    def resolve(self, job: Job) -> None:
        """The job has its transcript's id."""
        self._settle(job.key, job)

    def release(self, key: str) -> None:
        """The job will not pay. Does no harm if it was not going to."""
        self._settle(key, None)

    def _settle(self, key: str, outcome: Job | None) -> None:
        if identity := self._payers.pop(key, None):
            self._paying.pop(identity).set_result(outcome)


def _identity(job: Job) -> bytes:
    audio = job.sha256 or (job.etag and [job.etag, job.size_bytes]) or identity(job.recording.source)
    options = registry.named(job.service).options.canonical(job.recording.options)
    return msgspec.json.encode([job.service, audio, options], order="sorted")
