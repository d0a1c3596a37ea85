"""Which rows of a manifest become jobs: what is new, what is done, what changed, what is another's, and why.

``decide`` is pure; ``Admission`` feeds it from the manifest, the journal, the results and the files' stamps, a batch
at a time. A row is paid for only if no transcript of the same audio with the same options by the same service is
found: not in the journal, not among what was replaced, not on disk, not in the bucket.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from batch import errors, sources
from batch.budget import Purse
from batch.journal import Journal
from batch.locations import identity
from batch.model import WITH_SERVICE, Event, Job, Recording, Reject, Stamp, State
from batch.options import differing
from batch.results import Placed, Results
from batch.stores import is_stored
from batch.window import Window

_BATCH_ROWS: Final = 500
_LOOKS_AT_ONCE: Final = 32
_COPIES: Final = 1000
_REMEMBERED: Final = 10_000
TRIED_ANYWAY: Final = frozenset(
    {
        *("missing", "unreadable", "empty", "too_large", "changed"),
        *("not_connected", "broken_connection", "timeout", "bad_answer", "server_error"),
        *("throttled", "upload_failed", "link_refused", "forbidden", "download_error", "internal_error"),
    }
)
"""Failures that cost nothing and that time or the user may have mended: the next run tries them unasked."""


_TAKEN: Final = WITH_SERVICE | {State.COLLECTED}
"""A key whose job is in one of these belongs to its recording for good: it was paid for, or may have been."""


class Verdict(StrEnum):
    RUN = "run"
    REFETCH = "refetch"
    DONE = "done"
    FAILED_BEFORE = "failed before"
    UNDER_WAY = "under way"
    ELSEWHERE = "elsewhere"
    HELD = "held"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


class Decision(NamedTuple):
    """``pays_again``: the recording is done and its audio has not changed, and it would be paid for once more."""

    verdict: Verdict
    why: str
    pays_again: bool = False


class Wish(msgspec.Struct, frozen=True):
    """What the user asks to be done again: everything (``force``), or what ``failed`` or also came out ``empty``.

    ``forced_since`` is when the forced pass began: what was submitted since then is part of it, and done.
    """

    force: bool = False
    failed: bool = False
    empty: bool = False
    forced_since: float = math.inf


def decide(
    recording: Recording, job: Job | None, service: str, wish: Wish, *, changed: bool, stored: bool
) -> Decision:
    """What to do about a row.

    ``changed``: its audio is not what was staged before; ``stored``: its result is in place, and whole.
    """
    if job is None:
        return Decision(Verdict.RUN, "new")
    if changed and job.state in _TAKEN and identity(recording.source) != identity(job.recording.source):
        return Decision(Verdict.REFUSED, _collision(recording, job))
    pays_again = job.state is State.COLLECTED and not changed
    if job.service != service:
        if job.state in WITH_SERVICE:
            return Decision(Verdict.ELSEWHERE, f"still with {job.service}: run with --service {job.service} first")
        return Decision(Verdict.RUN, f"service changed from {job.service}", pays_again)
    if changed:
        return Decision(Verdict.RUN, "audio changed")
    if names := differing(recording.options, job.recording.options):
        return Decision(Verdict.RUN, f"option changed: {', '.join(names)}", pays_again)
    return _decide_same(job, wish, stored)


def _decide_same(job: Job, wish: Wish, stored: bool) -> Decision:
    """For a row whose audio and options are those of its job."""
    if job.state in WITH_SERVICE:
        return Decision(Verdict.UNDER_WAY, "submitted before")
    if wish.force and not (job.state is State.COLLECTED and (job.submitted_at or 0.0) >= wish.forced_since):
        return Decision(Verdict.RUN, "forced", pays_again=job.state is State.COLLECTED)
    if job.state is State.FAILED:
        again = wish.failed or job.kind in TRIED_ANYWAY
        return Decision(Verdict.RUN if again else Verdict.FAILED_BEFORE, f"failed before: {job.kind}")
    if job.state is not State.COLLECTED:
        return Decision(Verdict.RUN, "begun before")
    if wish.empty and job.kind == "no_speech":
        return Decision(Verdict.RUN, "came out empty before")
    return Decision(Verdict.DONE, "done before") if stored else Decision(Verdict.REFETCH, "result missing")


def _collision(recording: Recording, job: Job) -> str:
    return (
        f"the key {recording.key!r} belongs to {job.recording.source} ({job.recording.where}), and "
        f"{recording.source} is another recording: nothing was paid, the result stays. Give the row another id, "
        "put the keys of this run under a --prefix, or choose another --out"
    )


class Known(NamedTuple):
    """What is known of a key before anything is looked at: its job, those whose place it took, and the objects in the
    bucket that are named after it, with their sizes in bytes."""

    job: Job | None = None
    replaced: Sequence[Job] = ()
    copies: dict[str, int] = {}  # noqa: RUF012 (never written to)


class Admission:
    """Turns manifest rows into jobs to carry. ``rows`` blocks while it reads; it is drawn from in a thread.

    ``agreed``: somebody has agreed to pay again for what is done. ``exhausted`` is set once every row was looked at.
    """

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
        agreed: bool = False,
    ) -> None:
        self._journal, self._results, self._service = journal, results, service
        self._rows = iter(window.over(rows, sources.stamp))
        self._wish, self._window, self._notify, self._purse = wish, window, notify, purse
        self._agreed, self._copies_are_listed = agreed, False
        self.exhausted = False
        self._read_rows = 0

    async def jobs(
        self,
        under_way: frozenset[str] = frozenset(),
        relabel: Callable[[Recording], bool] = lambda recording: False,
    ) -> AsyncIterator[Job]:
        """The jobs to carry, in the order of the manifest. Raises what reading the manifest raises.

        ``under_way``: the keys that are carried anyway because the service has them. Their rows give a job only if
        they ask for something else now; labels that have changed are handed to ``relabel``, which says whether the
        job is still being carried.
        """
        await self._claim_carried(under_way)
        admitted = 0
        async for batch in self.judged():
            await asyncio.gather(*map(self._bring_up_to_date, batch))
            for judged in batch:
                job = judged.job_to_carry(self._service)
                if judged.recording.key in under_way and not judged.asks_for_something_else:
                    self._tell("admitted", judged.job, "submitted before", Verdict.UNDER_WAY)
                    await self._relabel(judged, relabel)
                elif job is None:
                    self._tell("skipped", judged.job, judged.decision.why, judged.decision.verdict)
                elif judged.decision.pays_again and not self._agreed:
                    self._tell("skipped", judged.job, judged.decision.why, Verdict.HELD)
                elif admitted == self._window.limit:
                    return
                elif over := await self._over_budget(job):
                    self._notify(Event("budget", message=over))
                    return
                else:
                    admitted += 1
                    self._tell("admitted", job, judged.decision.why, judged.decision.verdict)
                    yield job
        self.exhausted = True
        self._notify(Event("total", count=self._read_rows, kind="read"))

    async def _claim_carried(self, under_way: frozenset[str]) -> None:
        carried = [job.recording for job in (await self._journal.find(sorted(under_way))).values()]
        await self._journal.claim(carried, self._places(carried), is_carried=True)

    async def _over_budget(self, job: Job) -> str:
        """The limit that the job does not fit into, if it costs anything and there is a limit."""
        if self._purse is None or not self._purse.is_bounded or job.state in WITH_SERVICE:
            return ""
        return await asyncio.to_thread(self._purse.promise, job)

    async def _bring_up_to_date(self, judged: Judged) -> None:
        """Let a result that is there say what its row says now, in all formats, in the bucket too: for free."""
        if judged.adopted and judged.job:
            await self._journal.record(judged.job)
        job = judged.refreshed
        if job is None or (job == judged.journals and judged.upkeep is Upkeep.NONE):
            return
        try:
            if judged.upkeep is Upkeep.REWRITE:
                job = await asyncio.to_thread(self._results.rewrite, job)
            elif judged.upkeep is Upkeep.PUT_COPIES:
                await asyncio.to_thread(self._results.put_copies, job.key)
        except (errors.Postponed, errors.Permanent, ValueError, OSError) as error:
            message = f"its result could not be brought up to date: {error}"
            self._notify(Event("notice", job=judged.job, message=message, kind="result_behind"))
            return
        await self._journal.record(job)

    async def _relabel(self, judged: Judged, relabel: Callable[[Recording], bool]) -> None:
        """Let a result that is on its way say what its row says now."""
        row, job = judged.recording, judged.job
        if job is None or job.recording.labels == row.labels or relabel(row):
            return
        job = (await self._journal.find([row.key]))[row.key]
        if job.state is State.COLLECTED and job.recording.labels != row.labels:
            done = Decision(Verdict.DONE, "done before")
            await self._bring_up_to_date(Judged(row, job, done, upkeep=Upkeep.REWRITE, journals=job))

    async def judged(self) -> AsyncIterator[list[Judged]]:
        """Every row of this window that is the first of its key, judged, in batches. Refused rows are told."""
        reading = self._read()
        while batch := await reading:
            reading = self._read()  # the next rows, while these are judged
            self._read_rows += len(batch)
            recordings = [row for row in batch if isinstance(row, Recording)]
            for row in batch:
                if isinstance(row, Reject):
                    self._reject(row)
            known = await self._known([recording.key for recording in recordings])
            found = await asyncio.to_thread(self._judge_all, recordings, known)
            yield await self._claimed(found)

    def _read(self) -> asyncio.Future[list[Recording | Reject]]:
        """Rows in a thread; none at the end."""
        reading = asyncio.ensure_future(asyncio.to_thread(lambda: list(itertools.islice(self._rows, _BATCH_ROWS))))
        reading.add_done_callback(lambda read: read.cancelled() or read.exception())  # it may be wanted no more
        return reading

    async def _known(self, keys: Sequence[str]) -> list[Known]:
        jobs, replaced = await asyncio.gather(self._journal.find(keys), self._journal.replaced(keys))
        copies = await self._copies(keys) if self._results.copies else {}
        return [
            Known(
                jobs.get(key),
                replaced.get(key, ()),
                {name: copies[name] for name in self._results.names(key) if name in copies},
            )
            for key in keys
        ]

    async def _copies(self, keys: Sequence[str]) -> dict[str, int]:
        """The objects named after ``keys`` beside the results in the store, which is listed once a run."""
        if not self._copies_are_listed:
            self._copies_are_listed = True
            listing = self._results.list_copies()
            while names := await asyncio.to_thread(lambda: list(itertools.islice(listing, _COPIES))):
                await self._journal.add_copies(names)
        return await self._journal.copies([name for key in keys for name in self._results.names(key)])

    async def _claimed(self, batch: Iterable[Judged | Reject]) -> list[Judged]:
        """The rows that are the first to use their key, and may."""
        sound = [each for each in batch if isinstance(each, Judged)]
        for each in batch:
            if isinstance(each, Reject):
                self._reject(each)
        recordings = [judged.recording for judged in sound]
        firsts = await self._journal.claim(recordings, self._places(recordings))
        for judged, first in zip(sound, firsts, strict=True):
            if first:
                await self._again(judged.recording, first)
        return [judged for judged, first in zip(sound, firsts, strict=True) if first is None]

    def _places(self, recordings: Iterable[Recording]) -> list[str]:
        return [self._results.place(recording.key) for recording in recordings]

    async def _again(self, row: Recording, first: Recording) -> None:
        """A row whose place another has: the same once more, or refused."""
        if not (why := await asyncio.to_thread(_clash, row, first)):
            self._tell("skipped", Job(row, self._service), f"the same as {first.where}", Verdict.DUPLICATE)
        else:
            self._reject(Reject(row.manifest, row.line, why, row.key))

    def _reject(self, reject: Reject) -> None:
        self._notify(Event("rejected", reject=reject, message=reject.reason))

    def _judge_all(self, recordings: Sequence[Recording], known: Sequence[Known]) -> list[Judged | Reject]:
        recordings = _looked_up(recordings, known)
        return [self._judged(recording, each) for recording, each in zip(recordings, known, strict=True)]

    def _judged(self, recording: Recording, known: Known) -> Judged | Reject:
        """A row judged, or why it cannot run: whatever goes wrong with one is told of that one."""
        try:
            judged = self._judge(recording, known)
        except errors.DiaristError:
            raise
        except Exception as error:
            why = f"an unexpected internal error ({error!r}): please report it"
            return Reject(recording.manifest, recording.line, why, recording.key)
        if judged.decision.verdict is not Verdict.REFUSED:
            return judged
        return Reject(recording.manifest, recording.line, judged.decision.why, recording.key)

    def _judge(self, recording: Recording, known: Known) -> Judged:
        """Blocks: looks at the files."""
        job, placed = known.job, self._results.look(recording.key)
        if placed and placed.in_the_way:
            return Judged(recording, job, Decision(Verdict.REFUSED, f"no result can be written: {placed.in_the_way}"))
        changed, stamp = _compared(recording, job) if job else (False, None)
        whole = self._whole(job, placed, known) if job and job.state is State.COLLECTED else None
        decision = decide(recording, job, self._service, self._wish, changed=changed, stored=whole is not None)
        judged = Judged(recording, whole or job, decision, changed, stamp, journals=job)
        if decision.verdict is Verdict.DONE:
            return judged._replace(upkeep=self._upkeep(judged, placed, known))
        return self._paid_before(judged, placed, known) if decision.verdict is Verdict.RUN else judged

    def _whole(self, job: Job, placed: Placed | None, known: Known) -> Job | None:
        """The job, with the stamp and the labels of its result, if the result is in place and whole: on disk, or where
        there is a bucket, at least there."""
        stamp = (job.result_bytes, job.result_mtime_ns)
        if placed is None:
            there = known.copies.get(f"{job.key}.json")
            return job if there and there == (job.result_bytes or there) else None
        if stamp == placed[:2]:
            return job
        stored = self._results.stored(job.key)
        if stored is None or stored.transcript_id != job.transcript_id:
            return None
        says = msgspec.structs.replace(job.recording, labels=stored.recording.labels)
        stamp_now = {"result_bytes": placed.size_bytes, "result_mtime_ns": placed.mtime_ns}
        return msgspec.structs.replace(job, recording=says, **stamp_now)

    def _upkeep(self, judged: Judged, placed: Placed | None, known: Known) -> Upkeep:
        job, names = judged.job, self._results.names(judged.recording.key)
        if job is None:
            return Upkeep.NONE
        lacking = [name for name in names[1:] if name not in known.copies and not self._results.has(name)]
        if lacking or judged.recording.labels != job.recording.labels:
            return Upkeep.REWRITE
        if placed and self._results.copies and any(name not in known.copies for name in names):
            return Upkeep.PUT_COPIES
        return Upkeep.NONE

    def _paid_before(self, judged: Judged, placed: Placed | None, known: Known) -> Judged:
        """A row that would be paid for, unless a transcript that answers it is found."""
        there, whole = self._proof(judged.recording.key, placed, known)
        if there is None and placed and not self._results.may_be_ours(judged.recording.key):
            return self._refused(
                judged, f"{self._results.path(judged.recording.key)} is not diarist's, and stays as it is: move it"
            )
        if there and self._answers(there, judged.recording):
            decision = decide(judged.recording, there, self._service, self._wish, changed=False, stored=whole)
            adopted = Judged(judged.recording, there, decision, stamp=judged.stamp, adopted=True)
            upkeep = self._upkeep(adopted, placed, known) if decision.verdict is Verdict.DONE else Upkeep.NONE
            return adopted._replace(upkeep=upkeep)
        if not self._wish.force:
            for old in itertools.chain(known.replaced, self._results.kept_jobs(judged.recording.key)):
                if self._answers(old, judged.recording):
                    return Judged(judged.recording, old, Decision(Verdict.REFETCH, "transcribed before"))
        if there is None or there.transcript_id in _ids(known):
            return judged
        if there.key != judged.recording.key:
            return self._refused(judged, f"on this disk its result would be that of {there.key!r}: rename it")
        return self._refused(
            judged,
            f"{self._results.path(there.key)} holds a transcript of {there.recording.source} that the journal does "
            "not know, and that does not answer this row: let `diarist recover` make the journal know it",
        )

    def _proof(self, key: str, placed: Placed | None, known: Known) -> tuple[Job | None, bool]:
        """The job of the result that stands at the place of the key, on disk or in the bucket, and whether that is
        whole."""
        if placed is None:
            return (self._results.stored_copy(key) if f"{key}.json" in known.copies else None), True
        if stored := self._results.stored(key):
            return stored, True
        return self._results.beginning(key), False

    def _refused(self, judged: Judged, why: str) -> Judged:
        advice = "give the row another id, put the keys of this run under a --prefix, or choose another --out"
        return judged._replace(decision=Decision(Verdict.REFUSED, f"{why}, {advice}"))

    def _answers(self, job: Job, recording: Recording) -> bool:
        """Whether a transcript is one of the recording's audio, by this service, with these options."""
        if job.service != self._service or differing(job.recording.options, recording.options):
            return False
        return job.key == recording.key and not _compared(recording, job)[0]

    def _tell(self, name: str, job: Job | None, why: str, kind: str) -> None:
        self._notify(Event(name, job=job, message=why, kind=kind))


class Upkeep(StrEnum):
    """What is done, for free, to a result that is there."""

    NONE = "none"
    REWRITE = "rewrite"
    PUT_COPIES = "put copies"


class Judged(NamedTuple):
    """A row, the job that is known under its key, and what to do. ``stamp`` is the audio's, if it was looked at;
    ``journals`` is the job as the journal has it; ``adopted``: the job is that of a result that was found instead."""

    recording: Recording
    job: Job | None
    decision: Decision
    changed: bool = False
    stamp: Stamp | None = None
    upkeep: Upkeep = Upkeep.NONE
    adopted: bool = False
    journals: Job | None = None

    @property
    def asks_for_something_else(self) -> bool:
        job, row = self.job, self.recording
        return job is not None and (self.changed or bool(differing(row.options, job.recording.options)))

    @property
    def refreshed(self) -> Job | None:
        """The job of a row that is done, with what has changed of the row and the stamps, if anything has: the next
        run need not read the files."""
        if not self.job or self.decision.verdict is not Verdict.DONE:
            return None
        job = msgspec.structs.replace(self.job, **(self.stamp._asdict() if self.stamp else {}))
        moved = job.recording.source != self.recording.source or job.recording.labels != self.recording.labels
        return msgspec.structs.replace(job, recording=self.recording) if moved else job

    def job_to_carry(self, service: str) -> Job | None:
        """A new job, which keeps what was already staged of the same audio for the same service; or a collected one
        whose result is to be fetched again; or None."""
        job = self.job
        if self.decision.verdict is Verdict.REFETCH and job:
            return msgspec.structs.replace(job.move(State.SUBMITTED), recording=self.recording)
        if self.decision.verdict is not Verdict.RUN:
            return None
        if job is None:
            return Job(recording=self.recording, service=service)
        if job.state is State.STAGED and job.service == service and not self.changed:
            return msgspec.structs.replace(job, recording=self.recording)
        past_ids = (*job.past_ids, job.transcript_id) if job.transcript_id else job.past_ids
        return Job(recording=self.recording, service=service, past_ids=past_ids)


def _ids(known: Known) -> set[str | None]:
    """The transcripts that the journal knows under a key."""
    jobs = [known.job, *known.replaced] if known.job else [*known.replaced]
    return {transcript_id for job in jobs for transcript_id in (job.transcript_id, *job.past_ids)}


def _clash(row: Recording, first: Recording) -> str:
    """Why a row may not have the key of an earlier one; empty if it is the same once more. Blocks: reads the files,
    if they have one size."""
    if row.key != first.key:
        return f"its result would be where that of {first.key!r} ({first.where}) is: give each its own id"
    if not _same_audio(row, first):
        what = "audio"
    elif differing(row.options, first.options):
        what = "options"
    elif row.labels != first.labels:
        what = "labels"
    else:
        return ""
    return (
        f"the key {row.key!r} is that of {first.where}, which has different {what}: give each its own id; the first "
        "one counts"
    )


def _same_audio(row: Recording, first: Recording) -> bool:
    if identity(row.source) == identity(first.source):
        return True
    stamp = None if sources.is_url(first.source) else first.stamp or sources.stamp(first.source)
    if stamp is None or is_stored(first.source):
        return False
    try:
        job = Job(first, "", sha256=_digest(first.source, stamp), **stamp._asdict())
    except OSError:
        return False
    return not _compared(row, job)[0]


def _looked_up(recordings: Sequence[Recording], known: Sequence[Known]) -> Sequence[Recording]:
    """The recordings, with stamps of stored ones that may have changed: a store answers many questions at once."""
    asked = [
        row.source for row, each in zip(recordings, known, strict=True)
        if (each.job or each.copies) and is_stored(row.source) and not row.stamp
    ]  # fmt: skip
    if not asked:
        return recordings
    with ThreadPoolExecutor(_LOOKS_AT_ONCE, "look") as pool:
        stamps = dict(zip(asked, pool.map(sources.stamp, asked), strict=True))
    return [msgspec.structs.replace(row, stamp=stamps.get(row.source, row.stamp)) for row in recordings]


def _compared(recording: Recording, job: Job) -> tuple[bool, Stamp | None]:
    """Whether the row's audio differs from what the job staged, and its stamp now.

    The digest is read only if the stamp differs; a stored object is known by its stamp alone. Audio that is gone
    counts as it was, if it was at the same place.
    """
    moved = identity(recording.source) != identity(job.recording.source)
    if sources.is_url(recording.source):
        return moved, None
    stamp = recording.stamp or sources.stamp(recording.source)
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
    except OSError:
        return True, stamp


@functools.lru_cache(_REMEMBERED)
def _digest(path: str, stamp: Stamp) -> str:
    """The digest of a file as it was when it had this stamp: a run looks at its rows twice."""
    return sources.digest(path)


def _is_same_object(stamp: Stamp, job: Job, moved: bool) -> bool:
    """Whether a stored object is what it was: by the tag of its content wherever it lies now, else by its time."""
    if stamp.etag and job.etag:
        return (stamp.etag, stamp.size_bytes) == (job.etag, job.size_bytes)
    return not moved and stamp[:2] == (job.size_bytes, job.mtime_ns)
