"""Who is done: one sweep over the service's list instead of a poll for each job."""

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
from batch.providers.assemblyai.client import Client
from batch.providers.assemblyai.protocol import DONE, Item, Route, Status

_ASK_CAP_SECONDS: Final = 60.0
_UNSEEN_SECONDS: Final = 10.0
"""A job that the list has not shown for so long is asked for by id: lists lag, and foreign jobs push ours down."""


_BARREN_PAGES: Final = 2
"""So many pages without a job of ours end a look at the list."""
_EARLY_LIMIT: Final = 10_000


class _Waiter:
    """So many ``waiters`` wait for a transcript, ``since`` when (loop time). It is asked for by id at ``ask_at``,
    which moves on whenever the list shows it, and further each time that it was asked for."""

    __slots__ = ("ask_at", "asked", "rung", "since", "waiters")

    def __init__(self, now: float) -> None:
        self.rung: asyncio.Future[Item] = asyncio.get_running_loop().create_future()
        self.since, self.ask_at, self.asked, self.waiters = now, now + _UNSEEN_SECONDS, 0, 0

    def seen(self, now: float) -> None:
        self.ask_at, self.asked = now + _UNSEEN_SECONDS, 0

    def put_off(self, now: float, rng: random.Random) -> None:
        self.asked += 1
        pause = min(_ASK_CAP_SECONDS, _UNSEEN_SECONDS * 1.5 ** min(self.asked, 10))
        self.ask_at = now + pause * rng.uniform(0.8, 1.2)

    def break_off(self, error: errors.RecordingError) -> None:
        if not self.rung.done():
            self.rung.set_exception(error)


class Watcher:
    """Lists the account's newest transcripts while anyone waits, and rings a bell for each one that has ended.

    Jobs that the list does not show, and all of them while there is no list to be had, are asked for by id, each with
    backoff. ``notice`` is for webhooks: while they come and sweeps find nothing that they have not told, sweeps are
    seldom. ``pause`` is told after each sweep whether the service has a queue of its own. ``run`` must run beside
    whoever awaits ``wait_until_ended``.
    """

    def __init__(
        self,
        client: Client,
        throttle: Throttle,
        pace: SweepSettings,
        rng: random.Random,
        *,
        pause: Callable[[bool], None] = lambda held_back: None,
    ) -> None:
        self._client, self._throttle, self._pace, self._rng = client, throttle, pace, rng
        self._hold_back = pause
        self._bells: dict[str, _Waiter] = {}
        self._early: dict[str, Status] = {}
        self._wanted, self._hurried = asyncio.Event(), asyncio.Event()
        self._turnaround: float | None = None
        self._swept_at = 0.0
        self._noticed = self._trusted = False

    async def wait_until_ended(self, transcript_id: str) -> Item:
        """The list's line for the transcript, once it has ended. Raises ``TranscriptNotFoundError`` if the service
        knows it not."""
        bell = self._bells.setdefault(transcript_id, _Waiter(_now()))
        bell.waiters += 1
        self._wanted.set()
        if early := self._early.pop(transcript_id, None):
            self.on_notice(transcript_id, early)
        try:
            return await asyncio.shield(bell.rung)
        finally:
            bell.waiters -= 1
            if not bell.waiters:
                self._bells.pop(transcript_id, None)

    def on_notice(self, transcript_id: str, status: Status) -> None:
        """Somebody says that a transcript has ended. May be said twice, or before anyone waits for it."""
        bell = self._bells.get(transcript_id)
        self._noticed = True
        if bell is None:
            self._early[transcript_id] = status
            if len(self._early) > _EARLY_LIMIT:
                del self._early[next(iter(self._early))]
        elif status is Status.COMPLETED:
            self._look(Item(transcript_id, status))
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
            if await self._rest_until(self._swept_at + self._pause() + self._backoff(failures)):
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
        unseen, before_id, barren = set(waiting), None, 0
        queued = ended = found = 0
        noticed, self._noticed = self._noticed, False
        while unseen and barren < _BARREN_PAGES:
            look = partial(self._client.page, before_id=before_id)
            page = await self._throttle.attempt(look, route=Route.LIST, what="list")
            shown = [item for item in page.transcripts if item.id in unseen]
            for item in shown:
                unseen.discard(item.id)
                queued, ended = queued + (item.status is Status.QUEUED), ended + (item.status in DONE)
                found += self._look(item)
            if not page.page_details.prev_url or not page.transcripts:
                break
            before_id, barren = page.transcripts[-1].id, 0 if shown else barren + 1
        self._hold_back(laws.is_congested(len(waiting), queued, ended))
        self._trusted = not found and (noticed or self._trusted)

    def _look(self, item: Item) -> bool:
        """Ring for whoever waits for it, if it has ended; whether it did."""
        bell = self._bells.get(item.id)
        if bell is None or bell.rung.done():
            return False
        bell.seen(_now())
        if item.status in DONE:
            self._learn(_now() - bell.since)
            bell.rung.set_result(item)
        return bell.rung.done()

    async def _ask_by_id(self) -> None:
        for transcript_id, bell in tuple(self._bells.items()):
            if _now() < bell.ask_at or bell.rung.done():
                continue
            bell.put_off(_now(), self._rng)
            try:
                fetch = partial(self._client.fetch, transcript_id)
                head, _ = await self._throttle.attempt(fetch, route=Route.FETCH, what=f"fetch of {transcript_id}")
            except errors.TransientError:
                continue
            except errors.RecordingError as error:
                bell.break_off(error)
                continue
            if head.status in DONE:
                self._look(Item(head.id, head.status, audio_url=head.audio_url, error=head.error))

    def _learn(self, seconds: float) -> None:
        """A running mean of how long jobs take, in which the last ten or so count."""
        self._turnaround = seconds if self._turnaround is None else 0.9 * self._turnaround + 0.1 * seconds


def _now() -> float:
    return asyncio.get_running_loop().time()
