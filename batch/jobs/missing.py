"""Is it gone? What a service says that it does not know is paid all the same, so its word is not taken at once.

A replica that lags, or a gateway, says so of transcripts that are there. It is believed only if it says the same in
every look over some minutes, and if the list does not show the transcript either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from batch import errors
from batch.errors import FailureKind
from batch.jobs.flow_control.throttle import Throttle
from batch.model import Job
from batch.providers.interface import Capabilities, Connection, JobPage, Operation, RemoteJob
from batch.providers.job_pages import job_pages

_LOOKS: Final = (1 / 36, 1 / 12, 1 / 4, 23 / 36)
"""The pauses before the looks, as parts of the whole time: most replicas catch up within seconds."""
_GATHER_SECONDS: Final = 0.05


class _Ask(NamedTuple):
    transcript_id: str
    submitted_at: float
    answer: asyncio.Future[bool]


class MissingTranscripts:
    """``seconds`` lie between the first word that a transcript is not known and the last look for it."""

    def __init__(
        self, connection: Connection, capabilities: Capabilities, throttle: Throttle, seconds: float
    ) -> None:
        self._connection, self._capabilities = connection, capabilities
        self._throttle, self._seconds = throttle, seconds
        self._asks: list[_Ask] = []
        self._walking: asyncio.Task[None] | None = None

    async def is_gone(self, job: Job) -> bool:
        """Whether the job's transcript, of which the service has just said that it does not know it, is gone; False:
        it is there after all. Raises ``PostponedError`` if the list shows what the service says it does not know."""
        for part in _LOOKS:
            await asyncio.sleep(part * self._seconds)
            if await self._is_known(job):
                return False
        if self._capabilities.lists_jobs and await self._is_listed(job):
            raise errors.PostponedError(
                f"the service lists transcript {job.transcript_id}, and says that it does not know it",
                kind=FailureKind.UNKNOWN_ID,
            )
        return True

    async def _is_known(self, job: Job) -> bool:
        fetch = partial(self._connection.fetch, job.transcript_id or "")
        what = f"another look for {job.key}"
        try:
            await self._throttle.retry(fetch, operation=Operation.FETCH, what=what, at_last=errors.PostponedError)
        except errors.TranscriptNotFoundError:
            return False
        return True

    async def _is_listed(self, job: Job) -> bool:
        """All who ask at one time share one walk through the list."""
        ask = _Ask(job.transcript_id or "", job.submitted_at or 0.0, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        if self._walking is None or self._walking.done():
            self._walking = asyncio.create_task(self._walk_for_all())
        return await ask.answer

    async def _walk_for_all(self) -> None:
        await asyncio.sleep(_GATHER_SECONDS)
        while asks := self._asks:
            self._asks = []
            waiting = [ask for ask in asks if not ask.answer.done()]
            try:
                listed = await self._walk(waiting)
            except errors.DiaristError as error:
                _answer(waiting, error)
            else:
                for ask in waiting:
                    _answer([ask], ask.transcript_id in listed)

    async def _walk(self, asks: Sequence[_Ask]) -> set[str]:
        """Those of the transcripts that the list shows, read back to before the oldest of them can have been made."""
        wanted, listed = {ask.transcript_id for ask in asks}, set[str]()
        earliest = min((ask.submitted_at for ask in asks), default=0.0)
        if not wanted:
            return listed
        async for page in job_pages(self._page):
            listed |= wanted.intersection(there.id for there in page.jobs)
            if listed == wanted or _is_before(page.jobs, earliest - self._capabilities.zone_seconds):
                break
        return listed

    async def _page(self, older: str | None) -> JobPage:
        look = partial(self._connection.jobs, older=older)
        try:
            return await self._throttle.retry(look, operation=Operation.LIST, what="list", at_last=None)
        except errors.RecordingError as error:
            raise errors.PostponedError(
                f"the service does not list its transcripts: {error}", kind=error.kind
            ) from error


def _answer(asks: Sequence[_Ask], answer: bool | errors.DiaristError) -> None:
    for ask in asks:
        if ask.answer.done():
            continue
        if isinstance(answer, errors.DiaristError):
            ask.answer.set_exception(answer)
        else:
            ask.answer.set_result(answer)


def _is_before(jobs: Sequence[RemoteJob], earliest: float) -> bool:
    """Whether all of a page, whatever its order, is from before ``earliest``."""
    return all(there.created_at is not None and there.created_at < earliest for there in jobs)
