"""Judges rows of a manifest by all that is known of their keys.

A row is paid for only if no transcript of the same audio with the same options by the same service is found: not in
the journal, not among what was replaced, not on disk, not in the bucket.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from batch import errors
from batch.archive.results import Placed, Results
from batch.jobs.planning.decision import Action, Decision, Rerun, RowDecision, Upkeep, decide
from batch.model import WITH_SERVICE, Job, Recording, Reject, State
from batch.providers import registry
from batch.storage import audio
from batch.storage.locations import identity, is_stored
from batch.storage.same_audio import compared

_LOOKS_AT_ONCE: Final = 32
_BEFORE: Final = Decision(Action.REFETCH, "transcribed before")


class Known(NamedTuple):
    """What is known of a key before anything is looked at: its job, those whose place it took, and the objects in the
    bucket that are named after it, with their sizes in bytes."""

    job: Job | None = None
    replaced: Sequence[Job] = ()
    copies: dict[str, int] = {}  # noqa: RUF012 (never written to)


class Judge:
    """Knows the results in place, the service of the run, and what the user wishes to be done again."""

    def __init__(self, results: Results, service: str, rerun: Rerun) -> None:
        self._results, self._service, self._rerun = results, service, rerun

    def judge(self, recordings: Sequence[Recording], known: Sequence[Known]) -> list[RowDecision | Reject]:
        """Each row judged, or why it cannot run. Blocks: looks at the files."""
        recordings = _looked_up(recordings, known)
        return [self._judged(recording, each) for recording, each in zip(recordings, known, strict=True)]

    def _judged(self, recording: Recording, known: Known) -> RowDecision | Reject:
        """A row judged, or why it cannot run: whatever goes wrong with one is told of that one."""
        try:
            judged = self._judge(recording, known)
        except errors.DiaristError:
            raise
        except Exception as error:
            why = f"an unexpected internal error ({error!r}): please report it"
            return Reject(recording.manifest, recording.line, why, recording.key, recording)
        if judged.decision.pays_again and self._rerun.keep_done:
            return judged._replace(decision=Decision(Action.KEPT, judged.decision.why))
        if judged.decision.verdict is not Action.REFUSED:
            return judged
        return Reject(recording.manifest, recording.line, judged.decision.why, recording.key, recording)

    def _judge(self, recording: Recording, known: Known) -> RowDecision:
        """Blocks: looks at the files."""
        job, placed = known.job, self._results.look(recording.key)
        if placed and placed.in_the_way:
            return RowDecision(
                recording, job, Decision(Action.REFUSED, f"no result can be written: {placed.in_the_way}")
            )
        changed, stamp = compared(recording, job) if job else (False, None)
        whole = self._whole(job, placed, known) if job and job.state is State.COLLECTED else None
        decision = decide(recording, job, self._service, self._rerun, changed=changed, stored=whole is not None)
        judged = RowDecision(recording, whole or job, decision, changed, stamp, journals=job)
        if decision.verdict is Action.DONE:
            return judged._replace(upkeep=self._upkeep(judged, placed, known))
        return self._paid_before(judged, placed, known) if decision.verdict is Action.RUN else judged

    def _whole(self, job: Job, placed: Placed | None, known: Known) -> Job | None:
        """The job, with the stamp and the labels of its result, if the result is in place and whole: on disk, or
        where there is a bucket, at least there."""
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

    def _upkeep(self, judged: RowDecision, placed: Placed | None, known: Known) -> Upkeep:
        job, names = judged.job, self._results.names(judged.recording.key)
        if job is None:
            return Upkeep.NONE
        lacking = [name for name in names[1:] if name not in known.copies and not self._results.has(name)]
        if lacking or judged.recording.labels != job.recording.labels:
            return Upkeep.REWRITE
        cut = placed and known.copies.get(names[0], placed.size_bytes) != placed.size_bytes
        if placed and self._results.copies and (cut or any(name not in known.copies for name in names)):
            return Upkeep.PUT_COPIES
        return Upkeep.NONE

    def _paid_before(self, judged: RowDecision, placed: Placed | None, known: Known) -> RowDecision:
        """A row that would be paid for, unless a transcript that answers it is found."""
        if not self._results.can_hold(judged.recording.key):
            return self._refused(judged, "this disk cannot hold a file of that name")
        there, whole = self._proof(judged.recording.key, placed, known)
        if there is None and (foreign := self._foreign(judged.recording.key, placed, known)):
            return self._refused(judged, f"{foreign} is not diarist's, and stays as it is: move it")
        if there and self._answers(there, judged.recording):
            decision = decide(judged.recording, there, self._service, self._rerun, changed=False, stored=whole)
            if decision.verdict is Action.DONE and judged.journals and judged.journals.state in WITH_SERVICE:
                return judged._replace(job=there, decision=_BEFORE)  # what is under way will have replaced it
            adopted = judged._replace(job=there, decision=decision, adopted=True)
            upkeep = self._upkeep(adopted, placed, known) if decision.verdict is Action.DONE else Upkeep.NONE
            return adopted._replace(upkeep=upkeep)
        if not self._rerun.force:
            for old in itertools.chain(known.replaced, self._results.kept_jobs(judged.recording.key)):
                if self._answers(old, judged.recording):
                    return judged._replace(job=old, decision=_BEFORE)
        if there is None or there.transcript_id in _ids(known):
            return self._paid_anew(judged, there)
        if there.key != judged.recording.key:
            return self._refused(judged, f"on this disk its result would be that of {there.key!r}: rename it")
        source = identity(there.recording.source)
        return self._refused(
            judged,
            f"{self._results.path(there.key)} holds a transcript of {source} that the journal does not "
            f"know, and that does not answer this row: let `diarist recover` make the journal know it",
        )

    def _paid_anew(self, judged: RowDecision, there: Job | None) -> RowDecision:
        """A row that is paid for: once more, if a result of the same audio stands in its place, whatever the journal
        says of the key."""
        of_this = there is not None and there.key == judged.recording.key and not compared(judged.recording, there)[0]
        return judged._replace(decision=judged.decision._replace(pays_again=judged.decision.pays_again or of_this))

    def _proof(self, key: str, placed: Placed | None, known: Known) -> tuple[Job | None, bool]:
        """The job of the result that stands at the place of the key, on disk or in the bucket, and whether that is
        whole."""
        if placed is None:
            size = known.copies.get(f"{key}.json")
            return self._results.stored_copy(key, size) if size is not None else (None, False)
        if stored := self._results.stored(key):
            return stored, True
        return self._results.beginning(key), False

    def _foreign(self, key: str, placed: Placed | None, known: Known) -> str:
        """What stands in the place of the result, on disk or in the bucket, and is none of ours; empty: nothing."""
        if placed and not self._results.may_be_ours(key):
            return str(self._results.path(key))
        name = f"{key}.json"
        is_foreign = name in known.copies and self._results.is_foreign_copy(name)
        return self._results.copy(name) if is_foreign else ""

    def _refused(self, judged: RowDecision, why: str) -> RowDecision:
        advice = "give the row another id, put the keys of this run under a --prefix, or choose another --out"
        return judged._replace(decision=Decision(Action.REFUSED, f"{why}, {advice}"))

    def _answers(self, job: Job, recording: Recording) -> bool:
        """Whether a transcript is one of the recording's audio, by this service, with these options."""
        options = registry.named(self._service).options
        if job.service != self._service or options.differing(job.recording.options, recording.options):
            return False
        return job.key == recording.key and not compared(recording, job)[0]


def _ids(known: Known) -> set[str | None]:
    """The transcripts that the journal knows under a key."""
    jobs = [known.job, *known.replaced] if known.job else [*known.replaced]
    return {transcript_id for job in jobs for transcript_id in (job.transcript_id, *job.past_ids)}


def _looked_up(recordings: Sequence[Recording], known: Sequence[Known]) -> Sequence[Recording]:
    """The recordings, with stamps of stored ones that may have changed: a store answers many questions at once."""
    asked = [
        row.source for row, each in zip(recordings, known, strict=True)
        if (each.job or each.copies) and is_stored(row.source) and not row.stamp
    ]  # fmt: skip
    if not asked:
        return recordings
    with ThreadPoolExecutor(_LOOKS_AT_ONCE, "look") as pool:
        stamps = dict(zip(asked, pool.map(audio.stamp, asked), strict=True))
    return [msgspec.structs.replace(row, stamp=stamps.get(row.source, row.stamp)) for row in recordings]
