"""A journal made anew: from the results, from what damaged ones still tell, and from the service's list. It is made
beside the old one, and takes its place only when it is whole."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.archive.journal import Journal, seal
from batch.archive.journal_files import ASIDE, BESIDE, asides, unfinished
from batch.archive.layout import JOURNAL
from batch.archive.results import Results, job_of, result_files
from batch.archive.salvage import Salvaged, salvage, salvaged_notes
from batch.errors import FailureKind, UnavailableError
from batch.model import ENDED, WITH_SERVICE, Job, Recording, State
from batch.providers.interface import Connection, Phase, Provider, RemoteJob
from batch.providers.job_pages import job_pages
from batch.storage import disk_errors, files
from batch.storage.locations import identity


class Recovered(msgspec.Struct):
    """How many jobs came from where; ``aside`` is where the old journal is, ``unreadable`` are files that are no
    results."""

    results: int = 0
    journal: int = 0
    service: int = 0
    aside: Path | None = None
    unreadable: tuple[Path, ...] = ()


async def recover(
    results: Results, now: datetime, adopt: Callable[[Journal], Awaitable[int]] | None = None
) -> Recovered:
    """Make the journal of a directory of results anew: beside the old one, with all that ``adopt`` adds to it; then,
    when everything is on disk, put the old one aside and the new one in its place. Whenever that ends, nothing is
    lost and the same command goes on. Blocks while it reads. The lock of the directory is held by the caller.

    A result is proof that its recording was collected. Jobs that the old journal still tells, and that have no result
    or were under way to a newer one, come back as they were, so that what the service has of them is collected or
    looked up, and not paid again. So does what the directory remembers of its runs, and what earlier journals tell
    that were put aside. Raises ``UnavailableError`` if the disk refuses; then the old journal is as it was.
    """
    path = results.inner / JOURNAL
    new = unfinished(path)
    with _disk_told(path):
        mend(path, now)
        salvaged = [salvage(each) for each in _left_of(path)]
    found, unreadable = _found(results)
    made = merged(salvaged, found, list(results.all_kept_jobs()))
    done = Recovered(results=len(found), unreadable=tuple(unreadable))
    done.journal = len(made.jobs) - len(found)
    try:
        with contextlib.closing(Journal(new)) as journal:
            await journal.fill(made.jobs, made.replaced, made.notes)
            done.service = await adopt(journal) if adopt else 0
        seal(new)
    except BaseException:
        _remove(new)
        raise
    with _disk_told(path):
        done.aside = put_aside(path, path, now) if path.exists() else None
        files.rename(new, path)
    return done


def known_notes(path: Path) -> dict[str, str | None]:
    """What is remembered of its runs by whatever is left of a journal; the newest that tells of it is right."""
    notes: dict[str, str | None] = {}
    for each in _left_of(path):
        notes |= salvaged_notes(each)
    return notes


def _left_of(path: Path) -> list[Path]:
    """What is left of a journal, the oldest first."""
    return [*asides(path), *([path] if path.exists() else ())]


def merged(told: Sequence[Salvaged], found: Mapping[str, Job], kept: Sequence[Job]) -> Salvaged:
    """One journal from several, the oldest first, from the results that were ``found``, by key, and those that are
    kept of the replaced ones.

    The newest fact counts: a later submission more than an earlier one, and of one submission what the later journal
    says. A paid job counts more than one that nobody has paid for, and one that is still open more than a result.
    Whatever was collected, and does not count, is remembered as replaced.
    """
    by_key: dict[str, list[Job]] = {key: [] for key in found}
    over: dict[str, set[str]] = {}
    for job in (*(job for each in told for job in (*each.jobs, *each.replaced)), *kept):
        ended = {job.transcript_id} if job.transcript_id and job.state in ENDED else set()
        over.setdefault(job.key, set()).update(job.past_ids, ended)
    for each in told:
        for job in each.jobs:
            by_key.setdefault(job.key, []).append(job)
    jobs, replaced = [], [job for each in reversed(told) for job in each.replaced]
    for key, known in by_key.items():
        counts = _counting(known, over.get(key, set()), found.get(key))
        if counts and (key in found or counts.state is not State.COLLECTED or counts.transcript_id):
            jobs.append(counts)
        proved = [job for job in (*reversed(known), found.get(key)) if job and job.state is State.COLLECTED]
        replaced += [job for job in proved if counts and job.transcript_id not in (None, counts.transcript_id)]
    notes: dict[str, str | None] = {}
    for each in told:
        notes |= each.notes
    return Salvaged(jobs, [*replaced, *kept], notes)


def _counting(known: Sequence[Job], over: Collection[str], result: Job | None) -> Job | None:
    """What counts of a recording, of which the journals ``know``, the oldest first, and there may be a result."""
    there = [job for job in known if not (job.state in WITH_SERVICE and job.transcript_id in over)]
    there = [job for at, job in enumerate(there) if not _is_answered(job, there[at + 1 :])]
    best = max(reversed(there), key=_newness, default=None)
    return best if best and (not result or best.state in _PAID) else result or best


_PAID: Final = frozenset({*WITH_SERVICE, State.COLLECTED})


def _newness(job: Job) -> tuple[bool, float]:
    return job.state in _PAID, max(job.staged_at or 0.0, job.intent_at or 0.0, job.submitted_at or 0.0)


def _is_answered(job: Job, later: Sequence[Job]) -> bool:
    """Whether a submission was lost whose end a later journal knows."""
    return job.state is State.SUBMITTING and any((each.intent_at or 0.0) >= (job.intent_at or 0.0) for each in later)


def mend(path: Path, now: datetime) -> None:
    """Go on where an earlier attempt was stopped: what belongs to a journal that was put aside follows it, and a new
    one that was not finished is put aside, too. Blocks."""
    for suffix in BESIDE:
        left = path.with_name(path.name + suffix)
        if left.exists() and not path.exists():
            files.rename(
                left, _whose(path, suffix) or path.with_name(f"{path.name}.stray-{now:%Y%m%d-%H%M%S}{suffix}")
            )
    if unfinished(path).exists():
        put_aside(unfinished(path), path, now)
    _remove(unfinished(path))


def _whose(path: Path, suffix: str) -> Path | None:
    """The name that a part of the journal that was put aside last is to have; None if that has one."""
    if not (before := asides(path)):
        return None
    there = before[-1].with_name(before[-1].name + suffix)
    return None if there.exists() and there.stat().st_size else there


def put_aside(journal: Path, path: Path, now: datetime) -> Path:
    """Give a journal, with all that belongs to it, a place among those that were put aside of ``path``; return it.

    The journal itself comes first, for good: without its write-ahead log it would tell less than was acknowledged,
    and the log must not lie where another journal comes. Blocks.
    """
    aside = _next_aside(path, now)
    for suffix in ("", *BESIDE):
        old = journal.with_name(journal.name + suffix)
        if old.exists():
            files.rename(old, aside.with_name(aside.name + suffix))
    return aside


def _next_aside(path: Path, now: datetime) -> Path:
    """A name later in order than all that are there, whatever the clock says."""
    name, before = f"{path.name}{ASIDE}{now:%Y%m%d-%H%M%S}", asides(path)
    if before and name <= before[-1].name:
        name = f"{before[-1].name}-1"
    return path.with_name(name)


def _remove(journal: Path) -> None:
    for suffix in ("", *BESIDE):
        with contextlib.suppress(OSError):
            journal.with_name(journal.name + suffix).unlink(missing_ok=True)


@contextlib.contextmanager
def _disk_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"cannot make {path} anew: {error.strerror}. {disk_errors.advice(error)}; then run the same command "
            "again: nothing is lost",
            kind=FailureKind.JOURNAL_UNWRITABLE,
        ) from error


def _found(results: Results) -> tuple[dict[str, Job], list[Path]]:
    """The jobs of all results, on disk and in the bucket, and the files that are none."""
    jobs, unreadable = {}, []
    for name, size_bytes in results.list_copies() if results.copies else ():
        if name.endswith(".json") and (job := results.stored_copy(name.removesuffix(".json"), size_bytes)[0]):
            jobs[job.key] = job
    for path in result_files(results.directory):
        try:
            job = job_of(path.read_bytes(), path.stat().st_mtime)
        except (ValueError, OSError):
            unreadable.append(path)
            continue
        jobs[job.key] = job
    return jobs, unreadable


async def adopt(
    journal: Journal, provider: Provider, connection: Connection, recordings: Sequence[Recording], now: float
) -> int:
    """Take over transcripts that the provider has of public URLs in the manifest; returns how many.

    Only of URLs: an upload's link does not tell which file it was. The newest transcript of a URL that did not fail
    and was asked for with the same options is taken, for rows that the journal does not know as ended or submitted.
    """
    known = await journal.find([recording.key for recording in recordings])
    wanted: dict[str, list[Recording]] = {}
    for row in recordings:
        if row.key not in known or known[row.key].state not in _SETTLED:
            wanted.setdefault(identity(row.source), []).append(row)
    adopted = 0
    async for page in job_pages(lambda older: connection.jobs(older=older)):
        for there in page.jobs:
            for row in wanted.get(identity(there.link or ""), ()):
                if there.phase is not Phase.FAILED and await _is_like(provider, connection, there, row):
                    wanted[identity(row.source)].remove(row)
                    adopted += 1
                    await journal.record(_adopted(row, there, provider.name, now))
                    break
        if not any(wanted.values()):
            break
    return adopted


_SETTLED = ENDED | {State.SUBMITTED}


async def _is_like(provider: Provider, connection: Connection, there: RemoteJob, row: Recording) -> bool:
    return provider.matches((await connection.fetch(there.id)).body, row.options)


def _adopted(row: Recording, there: RemoteJob, service: str, now: float) -> Job:
    facts: dict[str, Any] = {
        "audio_url": row.source,
        "staged_at": now,
        "intent_at": now,
        "submitted_at": now,
        "submissions": 1,
    }
    return Job(recording=row, service=service, state=State.SUBMITTED, transcript_id=there.id, **facts)
