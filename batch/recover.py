"""A journal made anew: from the results, from what a damaged one still tells, and from the service's list."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from batch.client import Client
from batch.journal import Journal, remembered, salvage
from batch.locations import identity
from batch.model import ENDED, WITH_SERVICE, Job, Recording, State
from batch.options import unlike
from batch.protocol import Item, Status
from batch.reconcile import pages, right_one
from batch.results import JOURNAL, REPLACED, Results, job_of, result_files


class Recovered(msgspec.Struct):
    """How many jobs came from where; ``aside`` is where the old journal is, ``unreadable`` are files that are no
    results."""

    results: int = 0
    journal: int = 0
    service: int = 0
    aside: Path | None = None
    unreadable: tuple[Path, ...] = ()


async def recover(results: Results, now: datetime) -> tuple[Journal, Recovered]:
    """A new journal for a directory of results, opened. The old one is put aside, not deleted. Blocks while it reads.

    A result is proof that its recording was collected. Jobs that the old journal still tells, and that have no result
    or were under way to a newer one, come back as they were, so that what the service has of them is collected or
    looked up, and not paid again. So does what the directory remembers of its runs.
    """
    path = results.inner / JOURNAL
    done = Recovered()
    there, replaced = salvage(path) if path.exists() else ([], [])
    notes = remembered(path)
    salvaged = {job.key: job for job in there}
    done.aside = _put_aside(path, now)
    found, unreadable = _found(results)
    done.unreadable, done.results = tuple(unreadable), len(found)
    journal = Journal(path)
    for key, job in found.items():
        known = salvaged.get(key)
        counts = known if known and known.state in (*WITH_SERVICE, State.COLLECTED) else job
        await journal.record(counts)
        if counts.transcript_id != job.transcript_id:
            await journal.keep(job)
    for key, job in salvaged.items():
        if key not in found and (job.state is not State.COLLECTED or job.transcript_id):
            done.journal += 1
            await journal.record(job)
    for job in (*replaced, *_kept(results.inner)):
        await journal.keep(job)
    for name, value in notes.items():
        await journal.set_note(name, value)
    return journal, done


def _put_aside(path: Path, now: datetime) -> Path | None:
    aside = path.with_name(f"{path.name}.damaged-{now:%Y%m%d-%H%M%S}")
    for suffix in ("-wal", "-shm", ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(aside.with_name(aside.name + suffix))
    return aside if aside.exists() else None


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


def _kept(inner: Path) -> Iterator[Job]:
    """The jobs of results that were replaced, and are kept."""
    for path in (inner / REPLACED).rglob("*.json"):
        with contextlib.suppress(ValueError, OSError):
            yield job_of(path.read_bytes(), path.stat().st_mtime)


async def adopt(journal: Journal, api: Client, recordings: Sequence[Recording], service: str, now: float) -> int:
    """Take over transcripts that the service has of public URLs in the manifest; returns how many.

    Only of URLs: an upload's link does not tell which file it was. The newest transcript of a URL that did not fail
    and was asked for with the same options is taken, for rows that the journal does not know as ended or submitted.
    """
    known = await journal.find([recording.key for recording in recordings])
    wanted: dict[str, list[Recording]] = {}
    for row in recordings:
        if row.key not in known or known[row.key].state not in _SETTLED:
            wanted.setdefault(identity(row.source), []).append(row)
    adopted = 0
    async for page in pages(lambda before_id: api.page(before_id=before_id)):
        for item in page.transcripts:
            for row in wanted.get(identity(item.audio_url or ""), ()):
                if item.status is not Status.ERROR and await _is_like(api, item, row):
                    wanted[identity(row.source)].remove(row)
                    adopted += 1
                    await journal.record(_adopted(row, item, service, now))
                    break
        if not any(wanted.values()):
            break
    return adopted


_SETTLED = ENDED | {State.SUBMITTED}


async def _is_like(api: Client, item: Item, row: Recording) -> bool:
    _, body = await right_one(api, item.id)
    return not unlike(row.options, msgspec.json.decode(body))


def _adopted(row: Recording, item: Item, service: str, now: float) -> Job:
    facts: dict[str, Any] = {
        "audio_url": row.source,
        "staged_at": now,
        "intent_at": now,
        "submitted_at": now,
        "submissions": 1,
    }
    return Job(recording=row, service=service, state=State.SUBMITTED, transcript_id=item.id, **facts)
