"""Was it taken? Settles a submission whose answer was lost, by looking for it in the service's list.

A recording that was uploaded has an ``audio_url`` of its own, so one match is proof. A recording given as a URL has
not: there the same URL, the same options and a time that fits must do, and the log says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from batch import errors
from batch.client import Client
from batch.journal import Journal
from batch.model import Event, Job
from batch.protocol import Item, Page, Route
from batch.sources import is_url
from batch.throttle import Throttle

_GATHER_SECONDS: Final = 0.05
_ANCHOR_SECONDS: Final = 60.0
"""A job of ours, submitted so long before the intent, marks the place in the list beyond which no match can be."""
_ZONE_SECONDS: Final = 15 * 3600.0
"""The list's times carry no zone, and zones differ by up to 14 hours."""


class _Ask(NamedTuple):
    job: Job
    answer: asyncio.Future[Item | None]


class Reconciler:
    """Answers ``find`` for any number of jobs with one walk through the list. ``run`` must run beside the askers."""

    def __init__(
        self,
        client: Client,
        throttle: Throttle,
        journal: Journal,
        *,
        grace_seconds: float,
        notify: Callable[[Event], None],
    ) -> None:
        self._client, self._throttle, self._journal = client, throttle, journal
        self._grace_seconds, self._notify = grace_seconds, notify
        self._asks: list[_Ask] = []
        self._asked = asyncio.Event()
        self._given: set[str] = set()

    async def find(self, job: Job) -> Item | None:
        """The transcript that ``job``'s last submission made, or None if the service has not taken it.

        Looks twice, ``grace_seconds`` apart, before it says None: a list may lag behind what was accepted.
        """
        return await self._look(job) or await self._look_again(job)

    async def run(self) -> None:
        """Walk the list whenever someone asks, for as long as the task lives."""
        while True:
            await self._asked.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            asks, self._asks = self._asks, []
            self._asked.clear()
            found = await self._walk(min(ask.job.intent_at or 0.0 for ask in asks), _urls(asks))
            for ask in asks:
                item = await self._match(ask.job, found.get(ask.job.audio_url or "", []))
                if not ask.answer.done():
                    ask.answer.set_result(item)

    async def _look(self, job: Job) -> Item | None:
        ask = _Ask(job, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        self._asked.set()
        return await ask.answer

    async def _look_again(self, job: Job) -> Item | None:
        await asyncio.sleep(self._grace_seconds)
        return await self._look(job)

    async def _walk(self, earliest: float, wanted: set[str]) -> dict[str, list[Item]]:
        """The list from now back to before ``earliest``: the items with a wanted ``audio_url`` that no job owns."""
        found: dict[str, list[Item]] = {}
        before_id: str | None = None
        while True:
            page = await self._page(before_id)
            known = await self._journal.known_ids([item.id for item in page.transcripts])
            for item in page.transcripts:
                if item.audio_url in wanted and item.id not in known:
                    found.setdefault(item.audio_url, []).append(item)
            if not page.page_details.prev_url or _is_before(page.transcripts, known, earliest):
                return found
            before_id = page.transcripts[-1].id

    async def _page(self, before_id: str | None) -> Page:
        """A page of the list, without which nothing may be submitted again."""
        look = partial(self._client.page, before_id=before_id)
        try:
            return await self._throttle.insist(look, route=Route.LIST, what="list", at_last=None)
        except errors.Permanent as error:
            raise errors.Unavailable(
                f"the service does not list its transcripts: {error}", kind=error.kind
            ) from error

    async def _match(self, job: Job, items: Iterable[Item]) -> Item | None:
        fitting = [item for item in items if item.id not in self._given and item.id not in job.past_ids]
        if is_url(job.recording.source):
            fitting = [item for item in fitting if await self._is_like(item, job)]
        if not fitting:
            return None
        if len(fitting) > 1 or is_url(job.recording.source):
            self._tell(job, fitting)
        self._given.add(fitting[0].id)
        return fitting[0]

    async def _is_like(self, item: Item, job: Job) -> bool:
        """Whether a transcript of the same public URL was asked for with the same options, not before the intent."""
        if _created(item) < (job.intent_at or 0.0) - _ZONE_SECONDS:
            return False
        fetch = partial(self._client.fetch, item.id)
        what = f"fetch of {job.key}"
        try:
            _, body = await self._throttle.insist(fetch, route=Route.FETCH, what=what, at_last=None)
        except errors.Permanent:
            return False  # deleted since it was listed
        said: dict[str, Any] = msgspec.json.decode(body)
        return all(said.get(name, value) == value for name, value in job.recording.options.items())

    def _tell(self, job: Job, fitting: list[Item]) -> None:
        others = ", ".join(item.id for item in fitting[1:])
        also = f"; also there: {others} (paid twice? look at them)" if others else ""
        how = "URL, options and time" if is_url(job.recording.source) else "audio_url"
        self._notify(Event("notice", job=job, message=f"found in the list by {how} as {fitting[0].id}{also}"))


def _urls(asks: Iterable[_Ask]) -> set[str]:
    return {ask.job.audio_url for ask in asks if ask.job.audio_url}


def _is_before(items: tuple[Item, ...], known: Mapping[str, float], earliest: float) -> bool:
    """Whether a page reaches back to before ``earliest``: by a job of ours, else by the list's own times."""
    if not items or any(0 < at < earliest - _ANCHOR_SECONDS for at in known.values()):
        return True
    return _created(items[-1]) < earliest - _ZONE_SECONDS


def _created(item: Item) -> float:
    """When the list says that the transcript was made, read as UTC; now, if it does not say."""
    try:
        return datetime.fromisoformat(item.created or "").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return datetime.now(UTC).timestamp()
