"""Who is done: one sweep over the provider's list instead of a poll for each job, where there is such a list."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from batch import errors
from batch.config import SweepSettings
from batch.jobs.flow_control import laws
from batch.jobs.flow_control.throttle import Throttle
from batch.providers.interface import Connection, Operation, Phase, RemoteJob

_ASK_CAP_SECONDS: Final = 60.0
_ASKED_AT_ONCE: Final = 8
_UNSEEN_SECONDS: Final = 10.0
"""A job that the list has not shown for so long is asked for by id: lists lag, and foreign jobs push ours down."""


_BARREN_PAGES: Final = 2
"""So many pages without a job of ours end a look at the list."""
_EARLY_LIMIT: Final = 10_000


class _Waiter:
    """So many ``waiters`` wait for a transcript, ``since`` when (loop time). It is asked for by id at ``ask_at``,
    ``pause_seconds`` from now whenever the list shows it, and later each time that it was asked for."""

    __slots__ = ("ask_at", "asked", "pause_seconds", "rung", "since", "waiters")

    def __init__(self, now: float, pause_seconds: float) -> None:
        self.rung: asyncio.Future[RemoteJob] = asyncio.get_running_loop().create_future()
        self.pause_seconds = pause_seconds
        self.since, self.ask_at, self.asked, self.waiters = now, now + pause_seconds, 0, 0

    def seen(self, now: float) -> None:
        self.ask_at, self.asked = now + self.pause_seconds, 0

    def put_off(self, now: float, rng: random.Random, most_seconds: float) -> None:
        self.asked += 1
        pause = min(most_seconds, self.pause_seconds * 1.5 ** min(self.asked, 20))
        self.ask_at = now + pause * rng.uniform(0.8, 1.2)

    def break_off(self, error: errors.RecordingError) -> None:
        if not self.rung.done():
            self.rung.set_exception(error)


class Watcher:
    """Lists the account's newest transcripts while anyone waits, and rings a bell for each one that has ended.

    Jobs that the list does not show, and all of them while there is no list to be had (``lists_jobs`` False: ever),
    are asked for by id, each with backoff. ``notice`` is for webhooks: while they come and sweeps find nothing that
    they have not told, sweeps are seldom. ``pause`` is told after each sweep whether the service has a queue of its
    own. ``run`` must run beside whoever awaits ``wait_until_ended``.
    """

    def __init__(
        self,
        connection: Connection,
        throttle: Throttle,
        pace: SweepSettings,
        rng: random.Random,
        *,
        lists_jobs: bool = True,
        pause: Callable[[bool], None] = lambda held_back: None,
    ) -> None:
        self._connection, self._throttle, self._pace, self._rng = connection, throttle, pace, rng
        self._lists_jobs = lists_jobs
        self._hold_back = pause
        self._bells: dict[str, _Waiter] = {}
        self._early: dict[str, RemoteJob] = {}
        self._wanted, self._hurried = asyncio.Event(), asyncio.Event()
        self._turnaround: float | None = None
        self._swept_at = 0.0
        self._noticed = self._trusted = False

    async def wait_until_ended(self, transcript_id: str) -> RemoteJob:
        """The job, once it has ended. Raises ``TranscriptNotFoundError`` if the service
        knows it not."""
        pause = _UNSEEN_SECONDS if self._lists_jobs else self._pace.least_seconds
        bell = self._bells.setdefault(transcript_id, _Waiter(_now(), pause))
        bell.waiters += 1
        self._wanted.set()
        if early := self._early.pop(transcript_id, None):
            self.on_notice(early)
        try:
            return await asyncio.shield(bell.rung)
        finally:
            bell.waiters -= 1
            if not bell.waiters:
                self._bells.pop(transcript_id, None)

    def on_notice(self, job: RemoteJob) -> None:
        """Somebody says that a job has ended. May be said twice, or before anyone waits for it."""
        bell = self._bells.get(job.id)
        self._noticed = True
        if bell is None:
            self._early[job.id] = job
            if len(self._early) > _EARLY_LIMIT:
                del self._early[next(iter(self._early))]
        elif job.phase is Phase.COMPLETED:
            self._look(job)
        else:  # why it failed is not said
            bell.ask_at = -math.inf
            self._hurried.set()

    async def run(self) -> None:
        """Sweep for as long as the task lives, resting while nobody waits."""
        failures = 0
        while True:
            if not self._bells:
                self._hold_back(False)  # nothing of ours is queued, and no sweep would tell
                self._wanted.clear()
                await self._wanted.wait()
                self._swept_at = _now()
            if not self._lists_jobs:
                await self._rest_until(min(bell.ask_at for bell in self._bells.values()))
            elif await self._rest_until(self._swept_at + self._pause() + self._backoff(failures)):
                try:
                    await self._sweep(dict(self._bells))
                    failures = 0
                except errors.AskedToWaitError:
                    raise
                except (errors.TransientError, errors.RecordingError, errors.UnavailableError):
                    failures += 1
                self._swept_at = _now()
            await self._ask_by_id()

    async def _rest_until(self, due: float) -> bool:
        """Rest until ``due`` (loop time), or, which is False, until somebody is to be asked for at once."""
        try:
            async with asyncio.timeout_at(due):
                await self._hurried.wait()
        except TimeoutError:
            return True
        self._hurried.clear()
        return False

    def _pause(self) -> float:
        pace = self._pace
        if self._trusted:
            return pace.noticed_seconds
        return laws.sweep_pause_seconds(self._turnaround, least=pace.least_seconds, most=pace.most_seconds)

    def _backoff(self, failures: int) -> float:
        if not failures:
            return 0.0
        base, cap = self._pace.least_seconds, 4 * self._pace.most_seconds
        return laws.backoff_seconds(failures, base=base, cap=cap, rng=self._rng)

    async def _sweep(self, waiting: Mapping[str, _Waiter]) -> None:
        """Ring for whoever the list shows as ended. It is read back for as long as its pages show jobs of ours: one
        page costs what asking for one job does."""
        unseen, older, barren = set(waiting), None, 0
        queued = ended = found = 0
        noticed, self._noticed = self._noticed, False
        while unseen and barren < _BARREN_PAGES:
            look = partial(self._connection.jobs, older=older)
            page = await self._throttle.attempt(look, operation=Operation.LIST, what="list")
            shown = [job for job in page.jobs if job.id in unseen]
            for job in shown:
                unseen.discard(job.id)
                queued, ended = queued + (job.phase is Phase.QUEUED), ended + job.has_ended
                found += self._look(job)
            if page.older is None or page.older == older:
                break
            older, barren = page.older, 0 if shown else barren + 1
        self._hold_back(laws.is_congested(len(waiting), queued, ended))
        self._trusted = not found and (noticed or self._trusted)

    def _look(self, job: RemoteJob) -> bool:
        """Ring for whoever waits for it, if it has ended; whether it did."""
        bell = self._bells.get(job.id)
        if bell is None or bell.rung.done():
            return False
        bell.seen(_now())
        if job.has_ended:
            self._learn(_now() - bell.since)
            bell.rung.set_result(job)
        return bell.rung.done()

    async def _ask_by_id(self) -> None:
        """Ask for those whose time has come, a few at once."""
        due = [name for name, bell in self._bells.items() if bell.ask_at <= _now() and not bell.rung.done()]
        for start in range(0, len(due), _ASKED_AT_ONCE):
            async with asyncio.TaskGroup() as asking:
                for name in due[start : start + _ASKED_AT_ONCE]:
                    asking.create_task(self._ask_for(name))

    async def _ask_for(self, transcript_id: str) -> None:
        if (bell := self._bells.get(transcript_id)) is None:
            return
        bell.put_off(_now(), self._rng, _ASK_CAP_SECONDS if self._lists_jobs else 4 * self._pace.most_seconds)
        try:
            fetch = partial(self._connection.fetch, transcript_id)
            job = (
                await self._throttle.attempt(fetch, operation=Operation.FETCH, what=f"fetch of {transcript_id}")
            ).job
        except errors.TransientError:
            return
        except errors.RecordingError as error:
            bell.break_off(error)
            return
        if job.has_ended:
            self._look(job)

    def _learn(self, seconds: float) -> None:
        """A running mean of how long jobs take, in which the last ten or so count."""
        self._turnaround = seconds if self._turnaround is None else 0.9 * self._turnaround + 0.1 * seconds


def _now() -> float:
    return asyncio.get_running_loop().time()
