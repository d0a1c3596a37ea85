"""Which rows of a manifest become jobs: what is new, what is done, what changed, and why.

``decide`` is pure; ``Admission`` feeds it from the manifest, the journal and the files' stamps, a batch at a time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from batch import sources
from batch.budget import Purse
from batch.journal import Journal
from batch.model import WITH_SERVICE, Event, Job, Recording, Reject, State
from batch.results import Results
from batch.stores import is_stored
from batch.window import Window

_BATCH_ROWS: Final = 500
_LOOKS_AT_ONCE: Final = 32
TRIED_ANYWAY: Final = frozenset(
    {
        *("missing", "unreadable", "empty", "too_large", "changed"),
        *("not_connected", "broken_connection", "timeout", "bad_answer", "server_error"),
        *("throttled", "upload_failed", "link_refused"),
    }
)
"""Failures that cost nothing and that time or the user may have mended: the next run tries them unasked."""


class Verdict(StrEnum):
    RUN = "run"
    REFETCH = "refetch"
    DONE = "done"
    FAILED_BEFORE = "failed before"
    UNDER_WAY = "under way"
    ELSEWHERE = "elsewhere"


class Decision(NamedTuple):
    verdict: Verdict
    why: str


class Wish(msgspec.Struct, frozen=True):
    """What the user asks to be done again: everything (``force``), or what ``failed`` or also came out ``empty``."""

    force: bool = False
    failed: bool = False
    empty: bool = False


def decide(
    recording: Recording, job: Job | None, service: str, wish: Wish, *, changed: bool, stored: bool
) -> Decision:
    """What to do about a row.

    ``changed``: its audio is not what was staged before; ``stored``: its result is in place.
    """
    if job is None:
        return Decision(Verdict.RUN, "new")
    if job.service != service:
        if job.state in WITH_SERVICE:
            return Decision(Verdict.ELSEWHERE, f"still with {job.service}: run with --service {job.service} first")
        return Decision(Verdict.RUN, f"service changed from {job.service}")
    if changed:
        return Decision(Verdict.RUN, "audio changed")
    if differing := _differing(recording, job.recording):
        return Decision(Verdict.RUN, f"option changed: {', '.join(differing)}")
    return _decide_same(job, wish, stored)


def _decide_same(job: Job, wish: Wish, stored: bool) -> Decision:
    """For a row whose audio and options are those of its job."""
    if job.state in WITH_SERVICE:
        return Decision(Verdict.UNDER_WAY, "submitted before")
    if wish.force:
        return Decision(Verdict.RUN, "forced")
    if job.state is State.FAILED:
        again = wish.failed or job.kind in TRIED_ANYWAY
        return Decision(Verdict.RUN if again else Verdict.FAILED_BEFORE, f"failed before: {job.kind}")
    if job.state is not State.COLLECTED:
        return Decision(Verdict.RUN, "begun before")
    if wish.empty and job.kind == "no_speech":
        return Decision(Verdict.RUN, "came out empty before")
    return Decision(Verdict.DONE, "done before") if stored else Decision(Verdict.REFETCH, "result missing")


def _differing(one: Recording, other: Recording) -> list[str]:
    names = sorted(one.options.keys() | other.options.keys())
    return [name for name in names if one.options.get(name) != other.options.get(name)]


class Admission:
    """Turns manifest rows into jobs to carry. ``rows`` blocks while it reads; it is drawn from in a thread."""

    def __init__(
        self,
        rows: Iterator[Recording | Reject],
        journal: Journal,
        results: Results,
        service: str,
        *,
        wish: Wish,
        window: Window,
        notify: Callable[[Event], None],
        purse: Purse | None = None,
    ) -> None:
        self._journal, self._results, self._service = journal, results, service
        self._rows = iter(window.over(rows, sources.stamp))
        self._wish, self._window, self._notify, self._purse = wish, window, notify, purse

    async def jobs(self, under_way: frozenset[str] = frozenset()) -> AsyncIterator[Job]:
        """The jobs to carry, in the order of the manifest. Raises what reading the manifest raises.

        ``under_way``: the keys that are carried anyway because the service has them. Their rows give a job only if
        they ask for something else now.
        """
        admitted = 0
        async for batch in self.judged():
            for judged in batch:
                job = judged.job_to_carry(self._service)
                if judged.recording.key in under_way and not judged.asks_for_something_else:
                    continue
                if job is None:
                    self._skip(judged)
                elif admitted == self._window.limit:
                    return
                elif over := await self._over_budget(job):
                    self._notify(Event("budget", message=over))
                    return
                else:
                    admitted += 1
                    yield job
            await asyncio.gather(*(self._journal.record(job) for each in batch if (job := each.restamped)))

    async def _over_budget(self, job: Job) -> str:
        """The limit that the job does not fit into, if it costs anything and there is a limit."""
        if self._purse is None or not self._purse.is_bounded or job.state in WITH_SERVICE:
            return ""
        return await asyncio.to_thread(self._purse.promise, job)

    async def judged(self) -> AsyncIterator[list[Judged]]:
        """Every row of this window that is the first of its key, judged, in batches."""
        reading = self._read()
        while batch := await reading:
            reading = self._read()  # the next rows, while these are judged
            recordings = await self._claimed(batch)
            known = await self._journal.find([recording.key for recording in recordings])
            yield await asyncio.to_thread(self._judge_all, recordings, known)

    def _read(self) -> asyncio.Future[list[Recording | Reject]]:
        """Rows in a thread; none at the end."""
        reading = asyncio.ensure_future(asyncio.to_thread(lambda: list(itertools.islice(self._rows, _BATCH_ROWS))))
        reading.add_done_callback(lambda read: read.cancelled() or read.exception())  # it may be wanted no more
        return reading

    async def _claimed(self, batch: Sequence[Recording | Reject]) -> list[Recording]:
        """The rows that are the first to use their key."""
        rows = [row for row in batch if isinstance(row, Recording)]
        for row in batch:
            if isinstance(row, Reject):
                self._notify(Event("rejected", reject=row, message=row.reason))
        firsts = await self._journal.claim(rows)
        for row, first in zip(rows, firsts, strict=True):
            if first and (first.source, first.options) != (row.source, row.options):
                self._reject_duplicate(row, first)
        return [row for row, first in zip(rows, firsts, strict=True) if first is None]

    def _reject_duplicate(self, row: Recording, first: Recording) -> None:
        what = "audio" if first.source != row.source else "options"
        reason = (
            f"the key {row.key!r} is that of {first.where}, which has different {what}: give each its own id; "
            "the first one runs"
        )
        self._notify(Event("rejected", reject=Reject(row.manifest, row.line, reason, row.key), message=reason))

    def _judge_all(self, recordings: Sequence[Recording], known: Mapping[str, Job]) -> list[Judged]:
        recordings = _looked_up(recordings, known)
        return [self._judge(recording, known.get(recording.key)) for recording in recordings]

    def _judge(self, recording: Recording, job: Job | None) -> Judged:
        """Blocks: looks at the files."""
        if job is None:
            return Judged(recording, None, decide(recording, None, "", self._wish, changed=False, stored=False))
        stored = job.state is State.COLLECTED and self._results.exists(job.key)
        changed, stamp = _compared(recording, job)
        decision = decide(recording, job, self._service, self._wish, changed=changed, stored=stored)
        return Judged(recording, job, decision, changed, stamp)

    def _skip(self, judged: Judged) -> None:
        decision = judged.decision
        self._notify(Event("skipped", job=judged.job, message=decision.why, kind=decision.verdict))


class Judged(NamedTuple):
    """A row, the job that is known under its key, and what to do. ``stamp`` is the file's, if it was looked at."""

    recording: Recording
    job: Job | None
    decision: Decision
    changed: bool = False
    stamp: sources.Stamp | None = None

    @property
    def asks_for_something_else(self) -> bool:
        return self.job is not None and (self.changed or bool(_differing(self.recording, self.job.recording)))

    @property
    def restamped(self) -> Job | None:
        """The job with the file's new stamp, if that is all that has changed: the next run need not read the file."""
        job, stamp = self.job, self.stamp
        if not job or not stamp or self.decision.verdict is not Verdict.DONE:
            return None
        if (job.size_bytes, job.mtime_ns, job.recording.source) == (*stamp, self.recording.source):
            return None
        return msgspec.structs.replace(job, recording=self.recording, **stamp._asdict())

    def job_to_carry(self, service: str) -> Job | None:
        """A new job, which keeps what was already staged of the same audio for the same service; or a collected one
        whose result is to be fetched again; or None."""
        job = self.job
        if self.decision.verdict is Verdict.REFETCH and job:
            return job.move(State.SUBMITTED)
        if self.decision.verdict is not Verdict.RUN:
            return None
        if job is None:
            return Job(recording=self.recording, service=service)
        if job.state is State.STAGED and job.service == service and not self.changed:
            return msgspec.structs.replace(job, recording=self.recording)
        past_ids = (*job.past_ids, job.transcript_id) if job.transcript_id else job.past_ids
        return Job(recording=self.recording, service=service, past_ids=past_ids)


def _looked_up(recordings: Sequence[Recording], known: Mapping[str, Job]) -> Sequence[Recording]:
    """The recordings, with stamps of stored ones that may have changed: a store answers many questions at once."""
    asked = [row.source for row in recordings if row.key in known and is_stored(row.source) and not row.stamp]
    if not asked:
        return recordings
    with ThreadPoolExecutor(_LOOKS_AT_ONCE, "look") as pool:
        stamps = dict(zip(asked, pool.map(sources.stamp, asked), strict=True))
    return [msgspec.structs.replace(row, stamp=stamps.get(row.source, row.stamp)) for row in recordings]


def _compared(recording: Recording, job: Job) -> tuple[bool, sources.Stamp | None]:
    """Whether the row's audio differs from what the job staged, and its stamp now.

    The digest is read only if the stamp differs; a stored object is known by its stamp alone. Audio that is gone
    counts as it was, if it was at the same place.
    """
    moved = recording.source != job.recording.source
    if sources.is_url(recording.source):
        return moved, None
    stamp = sources.Stamp(*recording.stamp) if recording.stamp else sources.stamp(recording.source)
    if stamp is None or (job.size_bytes is None and not moved):
        return moved, None
    if not moved and stamp == (job.size_bytes, job.mtime_ns):
        return False, stamp
    if stamp.size_bytes != job.size_bytes or is_stored(recording.source) or job.sha256 is None:
        return True, stamp
    try:
        return sources.digest(recording.source) != job.sha256, stamp
    except OSError:
        return True, stamp
