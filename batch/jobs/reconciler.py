"""Was it taken? Settles a submission whose answer was lost, by looking for it in the service's list.

That it is there is proof at once. That it is not there is none: the service may take it after we have let it go (a
gateway hands it on late), and its list may lag behind (a replica, a cache). So absence is believed only

- with a **witness**: the list shows a job of ours that the service acknowledged ``grace_seconds`` or more after the
  lost submission was let go, goes back beyond its intent, and does not show it; or
- by **time**: the intent is older than ``lag_seconds``, and a list that goes back beyond it does not show it. That is
  for the next run, where nothing else may be submitted that could be a witness;

and in two looks that agree, some time apart. Until then it is looked for again and again, which holds no slot. Once
nothing else has been done for ``patience_seconds``, so that no witness can come, it is left to the next run.

A recording that was uploaded has an ``audio_url`` of its own, so one match is proof at any time. A recording given as
a URL or read under a link has not: there the same URL, all of the options and a time that fits must do, and the log
says so. Which zone the list's times are in is learnt from jobs of ours in it; where there are none it is UTC.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple

from batch import errors
from batch.archive.journal import Journal
from batch.errors import FailureKind
from batch.jobs.flow_control.throttle import Throttle
from batch.model import Job
from batch.providers.interface import Connection, JobPage, Operation, Phase, Provider, RemoteJob
from batch.providers.job_pages import job_pages
from batch.storage.locations import identity, is_url
from batch.telemetry.events import Event, Notice

_GATHER_SECONDS: Final = 0.05
_LONGEST_GATHER_SECONDS: Final = 5.0
_LOOKS: Final = 2
"""So many looks in a row must agree before absence is believed: each may have met another replica."""
_SLACK_SECONDS: Final = 60.0
"""Between our clock and the service's, and between what is accepted and its place in the list."""
_WINDOW_SECONDS: Final = 600.0
"""A public URL's transcript that was made later after the intent is not taken for the lost one."""


class LostSubmission(NamedTuple):
    """A job in doubt, and when at the latest its submission was let go (seconds since the epoch)."""

    job: Job
    let_go_at: float

    @property
    def intent_at(self) -> float:
        return self.job.intent_at or 0.0


class ListWalk(NamedTuple):
    """What one look at the list has shown, each item once; of ``known`` ones, which are ours, the time of submission.

    ``zone_seconds`` is how far the list's times are ahead of UTC. ``is_complete``: it went back far enough.
    """

    jobs: Mapping[str, RemoteJob]
    known: Mapping[str, float]
    zone_seconds: float
    is_complete: bool

    @property
    def witness_at(self) -> float:
        """The newest job of ours in the list was acknowledged then: so far at least it has caught up."""
        return max(self.known.values(), default=-math.inf)


class _Ask(NamedTuple):
    lost: LostSubmission
    answer: asyncio.Future[tuple[RemoteJob | None, bool]]


class Reconciler:
    """Answers for any number of jobs with one walk through the list. ``run`` must run beside the askers."""

    def __init__(
        self,
        provider: Provider,
        connection: Connection,
        throttle: Throttle,
        journal: Journal,
        *,
        grace_seconds: float,
        patience_seconds: float = 600.0,
        lag_seconds: float = 3600.0,
        clock: Callable[[], float] = time.time,
        on_event: Callable[[Event], None],
    ) -> None:
        self._provider, self._connection = provider, connection
        self._throttle, self._journal = throttle, journal
        self._grace_seconds, self._patience_seconds, self._lag_seconds = grace_seconds, patience_seconds, lag_seconds
        self._clock, self._on_event = clock, on_event
        self._asks: list[_Ask] = []
        self._asked = asyncio.Event()
        self._given: set[str] = set()
        self._bodies: dict[str, bytes | None] = {}
        self._zone_seconds: float | None = None
        self._is_busy: Callable[[], bool] = lambda: False

    async def find(self, job: Job, let_go_at: float | None = None) -> RemoteJob | None:
        """The transcript that ``job``'s last submission made, or None if the service has not taken it.

        ``let_go_at`` None: with its intent. Raises ``PostponedError`` if neither can be known in this run.
        """
        lost, agreeing, idle_since = LostSubmission(job, let_go_at or job.intent_at or 0.0), 0, None
        for number in itertools.count(1):
            found, is_absent = await self._look(lost)
            if found:
                return found
            agreeing = agreeing + 1 if is_absent else 0
            if agreeing >= _LOOKS:
                return None
            idle_since = None if self._is_busy() else idle_since or self._clock()
            if not agreeing and idle_since and self._clock() - idle_since >= self._patience_seconds:
                break
            await asyncio.sleep(self._pause_seconds(number))
        raise errors.PostponedError(
            "its submission was not answered, and the service's list cannot tell yet whether it was taken: it is not "
            "sent again before that is known",
            kind=FailureKind.UNANSWERED,
        )

    async def glance(self, job: Job, let_go_at: float) -> RemoteJob | None:
        """As ``find``, but with a single look, so that None means nothing, unless so much time has passed since the
        intent that absence can be believed."""
        return (await self._look(LostSubmission(job, let_go_at)))[0]

    def is_old(self, job: Job) -> bool:
        """Whether the intent is so old that the list must show what was taken."""
        return self._clock() >= (job.intent_at or 0.0) + self._lag_seconds

    async def run(self, is_busy: Callable[[], bool] = lambda: False) -> None:
        """Walk the list whenever someone asks, for as long as the task lives. ``is_busy``: whether anything else goes
        on in this run."""
        self._is_busy = is_busy
        while True:
            await self._asked.wait()
            await asyncio.sleep(min(_LONGEST_GATHER_SECONDS, max(_GATHER_SECONDS, self._grace_seconds / 60)))
            asks, self._asks = self._asks, []
            self._asked.clear()
            walk = await self._walk(min(ask.lost.intent_at for ask in asks))
            by_url = _by_url(walk)
            for ask in asks:
                found = await self._match(ask.lost, by_url.get(identity(ask.lost.job.audio_url or ""), []), walk)
                if not ask.answer.done():
                    ask.answer.set_result((found, found is None and self._is_absent(ask.lost, walk)))

    async def _look(self, lost: LostSubmission) -> tuple[RemoteJob | None, bool]:
        """What is found, or else whether this look makes its absence credible."""
        ask = _Ask(lost, asyncio.get_running_loop().create_future())
        self._asks.append(ask)
        self._asked.set()
        return await ask.answer

    def _is_absent(self, lost: LostSubmission, walk: ListWalk) -> bool:
        """Whether a list that does not show it is to be believed."""
        is_witnessed = walk.witness_at >= lost.let_go_at + self._grace_seconds
        return walk.is_complete and (is_witnessed or self.is_old(lost.job))

    def _pause_seconds(self, number: int) -> float:
        most = max(_GATHER_SECONDS, self._grace_seconds / 3)
        return min(most, max(_GATHER_SECONDS, self._grace_seconds / 30) * 1.5 ** min(number - 1, 20))

    async def _walk(self, earliest: float) -> ListWalk:
        """The list from now back to before ``earliest``."""
        jobs: dict[str, RemoteJob] = {}
        known: dict[str, float] = {}
        is_complete = False
        async for page in job_pages(self._page):
            jobs |= {job.id: job for job in page.jobs}
            known |= await self._journal.known_ids([job.id for job in page.jobs])
            self._learn_zone(jobs, known)
            if is_complete := self._is_before(page, known, earliest):
                break
        return ListWalk(jobs, known, self._zone_seconds or 0.0, is_complete or page.older is None)

    def _learn_zone(self, jobs: Mapping[str, RemoteJob], known: Mapping[str, float]) -> None:
        ours = [(jobs[each].created_at, at) for each, at in known.items() if at > 0 and each in jobs]
        if ahead := [made - at for made, at in ours if made is not None]:
            self._zone_seconds = statistics.median(ahead)

    def _is_before(self, page: JobPage, known: Mapping[str, float], earliest: float) -> bool:
        """Whether all of a page is older, by what we know of our own jobs and by the list's own times: within a page
        jobs may be in any order."""
        doubt = 0.0 if self._zone_seconds is not None else self._provider.capabilities.zone_seconds
        made = [job.created_at for job in page.jobs]
        at = [known.get(job.id, 0.0) for job in page.jobs]
        listed = [each - (self._zone_seconds or 0.0) + doubt if each is not None else math.inf for each in made]
        newest = [ours or theirs for ours, theirs in zip(at, listed, strict=True)]
        return bool(newest) and max(newest) < earliest - _SLACK_SECONDS

    async def _page(self, older: str | None) -> JobPage:
        """A page of the list, without which nothing may be submitted again."""
        look = partial(self._connection.jobs, older=older)
        try:
            return await self._throttle.retry(look, operation=Operation.LIST, what="list", at_last=None)
        except errors.RecordingError as error:
            raise errors.UnavailableError(
                f"the service does not list its transcripts: {error}", kind=error.kind
            ) from error

    async def _match(self, lost: LostSubmission, jobs: Iterable[RemoteJob], walk: ListWalk) -> RemoteJob | None:
        taken = self._given.union(walk.known, lost.job.past_ids)
        fitting = [job for job in jobs if job.id not in taken]
        if not _is_upload(lost.job):
            fitting = [job for job in fitting if _is_in_time(job, lost, walk) and await self._is_like(job, lost)]
        if not fitting:
            return None
        fitting.sort(key=lambda job: job.phase is Phase.FAILED)
        if len(fitting) > 1 or not _is_upload(lost.job):
            self._tell(lost.job, fitting)
        self._given.add(fitting[0].id)
        return fitting[0]

    async def _is_like(self, found: RemoteJob, lost: LostSubmission) -> bool:
        """Whether it was asked for with the same options."""
        if found.id not in self._bodies:
            self._bodies[found.id] = await self._body(found, lost.job)
        body = self._bodies[found.id]
        return body is not None and self._provider.matches(body, lost.job.recording.options)

    async def _body(self, found: RemoteJob, job: Job) -> bytes | None:
        """All that the provider has of a job; None if it was deleted since it was listed."""
        fetch, what = partial(self._connection.fetch, found.id), f"fetch of {job.key}"
        try:
            return (await self._throttle.retry(fetch, operation=Operation.FETCH, what=what, at_last=None)).body
        except errors.RecordingError:
            return None

    def _tell(self, job: Job, fitting: list[RemoteJob]) -> None:
        others = ", ".join(each.id for each in fitting[1:])
        also = f"; also there: {others} (paid twice? look at them)" if others else ""
        how = "audio_url" if _is_upload(job) else "URL, options and time"
        self._on_event(Notice(job=job, message=f"found in the list by {how} as {fitting[0].id}{also}"))


def _by_url(walk: ListWalk) -> dict[str, list[RemoteJob]]:
    found: dict[str, list[RemoteJob]] = {}
    for job in walk.jobs.values():
        found.setdefault(identity(job.link or ""), []).append(job)
    return found


def _is_in_time(found: RemoteJob, lost: LostSubmission, walk: ListWalk) -> bool:
    """Whether it was made within minutes of the intent."""
    made = found.created_at
    return made is not None and -_SLACK_SECONDS <= made - walk.zone_seconds - lost.intent_at <= _WINDOW_SECONDS


def _is_upload(job: Job) -> bool:
    """Whether nobody else can have submitted this ``audio_url``."""
    return not is_url(job.recording.source) and (job.sha256 is not None or job.etag is None)
