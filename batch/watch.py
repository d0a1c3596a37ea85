"""Who is done: one sweep over the service's list instead of a poll for each job."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final

import msgspec

from batch import errors, policy
from batch.client import Client
from batch.protocol import DONE, PAGE_LIMIT, Item, Page
from batch.throttle import Throttle

_UNSEEN_SECONDS: Final = 10.0
"""A job that the list has not shown for so long is asked for by id: lists lag, and foreign jobs push ours down."""


class Pace(msgspec.Struct, frozen=True):
    """Bounds, in seconds, of the pause between two sweeps."""

    least_seconds: float = 0.3
    most_seconds: float = 5.0


class _Bell:
    """Someone waits for a transcript; ``unseen_since`` tells when the list last showed it (loop time)."""

    __slots__ = ("rung", "since", "unseen_since")

    def __init__(self, now: float) -> None:
        self.rung: asyncio.Future[Item] = asyncio.get_running_loop().create_future()
        self.since = self.unseen_since = now


class Watcher:
    """Lists the account's newest transcripts while anyone waits, and rings a bell for each one that has ended.

    ``run`` must run beside whoever awaits ``done``.
    """

    def __init__(self, client: Client, throttle: Throttle, pace: Pace) -> None:
        self._client, self._throttle, self._pace = client, throttle, pace
        self._bells: dict[str, _Bell] = {}
        self._wanted = asyncio.Event()
        self._turnaround: float | None = None

    async def done(self, transcript_id: str) -> Item:
        """The list's line for the transcript, once it has ended. Raises ``UnknownId`` if the service knows it not."""
        bell = self._bells.setdefault(transcript_id, _Bell(_now()))
        self._wanted.set()
        try:
            return await bell.rung
        finally:
            self._bells.pop(transcript_id, None)

    async def run(self) -> None:
        """Sweep for as long as the task lives, resting while nobody waits."""
        while True:
            if not self._bells:
                self._wanted.clear()
            await self._wanted.wait()
            await asyncio.sleep(self._pause())
            await self._ask_by_id(await self._sweep(dict(self._bells)))

    def _pause(self) -> float:
        pace = self._pace
        return policy.sweep_pause_seconds(self._turnaround, least=pace.least_seconds, most=pace.most_seconds)

    async def _sweep(self, waiting: Mapping[str, _Bell]) -> list[str]:
        """Ring for whoever the newest pages show as ended; return the ids that they do not show at all."""
        unseen, before_id = set(waiting), None
        for _ in range(len(waiting) // PAGE_LIMIT + 2):
            page = await self._page(before_id)
            for item in page.transcripts:
                if item.id in unseen:
                    unseen.discard(item.id)
                    self._look(item)
            if not unseen or not page.page_details.prev_url or not page.transcripts:
                break
            before_id = page.transcripts[-1].id
        return list(unseen)

    async def _page(self, before_id: str | None) -> Page:
        return await self._throttle.insist(partial(self._client.page, before_id=before_id), what="list")

    def _look(self, item: Item) -> None:
        if bell := self._bells.get(item.id):
            bell.unseen_since = _now()
            if item.status in DONE and not bell.rung.done():
                self._learn(_now() - bell.since)
                bell.rung.set_result(item)

    async def _ask_by_id(self, unseen: list[str]) -> None:
        for transcript_id in unseen:
            bell = self._bells.get(transcript_id)
            if bell is None or _now() - bell.unseen_since < _UNSEEN_SECONDS:
                continue
            try:
                head, _ = await self._throttle.insist(partial(self._client.fetch, transcript_id), what="fetch")
                self._look(Item(head.id, head.status, audio_url=head.audio_url, error=head.error))
            except errors.Permanent as error:
                if not bell.rung.done():
                    bell.rung.set_exception(error)

    def _learn(self, seconds: float) -> None:
        """A running mean of how long jobs take, in which the last ten or so count."""
        self._turnaround = seconds if self._turnaround is None else 0.9 * self._turnaround + 0.1 * seconds


def _now() -> float:
    return asyncio.get_running_loop().time()
