"""What to do about a row of a manifest, and why: pure, a table of what is known of its key.

A key whose recording was paid for belongs to it for good. ``RowDecision`` is a row with its decision, and what
follows.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from batch.errors import GIVEN_UP, RETRIED_UNASKED, FailureKind
from batch.model import WITH_SERVICE, Job, Recording, Stamp, State
from batch.providers import registry
from batch.storage.locations import identity

"""Failures of what was paid: the service is asked for it once more before anything is paid anew."""

_TAKEN: Final = WITH_SERVICE | {State.COLLECTED}
"""A key whose job is in one of these belongs to its recording for good: it was paid for, or may have been."""


class Action(StrEnum):
    RUN = "run"
    REFETCH = "refetch"
    DONE = "done"
    FAILED_BEFORE = "failed before"
    UNDER_WAY = "under way"
    ELSEWHERE = "elsewhere"
    HELD = "held"
    KEPT = "kept"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


class Decision(NamedTuple):
    """``pays_again``: the recording is done and its audio has not changed, and it would be paid for once more."""

    verdict: Action
    why: str
    pays_again: bool = False


class Rerun(msgspec.Struct, frozen=True):
    """What the user asks to be done again: everything (``force``), or what ``failed`` or also came out ``empty``.

    ``kinds``: what failed with one of these kinds; of ``no_speech`` also what came out empty.
    ``forced_since`` is when the forced pass began: what was submitted since then is part of it, and done.
    ``keep_done``: what is done stays as it is, whatever its row asks for now.
    """

    force: bool = False
    failed: bool = False
    empty: bool = False
    forced_since: float = math.inf
    keep_done: bool = False
    kinds: frozenset[str] = frozenset()


def decide(
    recording: Recording, job: Job | None, service: str, rerun: Rerun, *, changed: bool, stored: bool
) -> Decision:
    """What to do about a row.

    ``changed``: its audio is not what was staged before; ``stored``: its result is in place, and whole.
    """
    if job is None:
        return Decision(Action.RUN, "new")
    if changed and job.state in _TAKEN and identity(recording.source) != identity(job.recording.source):
        return Decision(Action.REFUSED, _collision(recording, job))
    pays_again = job.state is State.COLLECTED and not changed
    if job.service != service:
        if job.state in WITH_SERVICE:
            return Decision(Action.ELSEWHERE, f"still with {job.service}: run with --service {job.service} first")
        return Decision(Action.RUN, f"service changed from {job.service}", pays_again)
    if changed:
        return Decision(Action.RUN, "audio changed")
    if names := registry.named(service).options.differing(recording.options, job.recording.options):
        return Decision(Action.RUN, f"option changed: {', '.join(names)}", pays_again)
    return _decide_same(job, rerun, stored)


def _decide_same(job: Job, rerun: Rerun, stored: bool) -> Decision:
    """For a row whose audio and options are those of its job."""
    if job.state in WITH_SERVICE:
        return Decision(Action.UNDER_WAY, "submitted before")
    if rerun.force and not _is_of_the_pass(job, rerun):
        return Decision(Action.RUN, "forced", pays_again=job.state is State.COLLECTED)
    if job.state is State.FAILED:
        again = rerun.failed or job.kind in rerun.kinds or job.kind in RETRIED_UNASKED
        return Decision(Action.RUN if again else Action.FAILED_BEFORE, f"failed before: {job.kind}")
    if job.state is not State.COLLECTED:
        return Decision(Action.RUN, "begun before")
    if job.kind == FailureKind.NO_SPEECH and (rerun.empty or FailureKind.NO_SPEECH in rerun.kinds):
        return Decision(Action.RUN, "came out empty before")
    return Decision(Action.DONE, "done before") if stored else Decision(Action.REFETCH, "result missing")


def _is_of_the_pass(job: Job, rerun: Rerun) -> bool:
    """Whether the job has had its turn in the forced pass, however it ended."""
    since = job.submitted_at if job.state is State.COLLECTED else job.ended_at
    return (since or 0.0) >= rerun.forced_since


def _collision(recording: Recording, job: Job) -> str:
    owner, other = identity(job.recording.source), identity(recording.source)
    return (
        f"the key {recording.key!r} belongs to {owner} ({job.recording.where}), and {other} is another recording: "
        "nothing was paid, and what was paid for stays. Give the row another id, "
        "put the keys of this run under a --prefix, or choose another --out"
    )


class Upkeep(StrEnum):
    """What is done, for free, to a result that is there."""

    NONE = "none"
    REWRITE = "rewrite"
    PUT_COPIES = "put copies"


class RowDecision(NamedTuple):
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
        job, row = self.journals, self.recording
        if job is None:
            return False
        return self.changed or bool(registry.named(job.service).options.differing(row.options, job.recording.options))

    @property
    def refreshed(self) -> Job | None:
        """The job of a row that is done, with what has changed of the row and the stamps, if anything has: the next
        run need not read the files."""
        if not self.job or self.decision.verdict is not Action.DONE:
            return None
        job = msgspec.structs.replace(self.job, **(self.stamp._asdict() if self.stamp else {}))
        moved = job.recording.source != self.recording.source or job.recording.labels != self.recording.labels
        return msgspec.structs.replace(job, recording=self.recording) if moved else job

    def _was_given_up(self, job: Job, service: str) -> bool:
        """Whether the transcript that answers the row was paid, and given up since the service did not know it."""
        is_lost = job.state is State.FAILED and job.kind in GIVEN_UP and job.transcript_id is not None
        return is_lost and job.service == service and not self.asks_for_something_else

    def job_to_carry(self, service: str) -> Job | None:
        """A new job, which keeps what was already staged of the same audio for the same service; or a collected one
        whose result is to be fetched again; or one whose transcript is asked for once more; or None."""
        job = self.job
        if self.decision.verdict is Action.REFETCH and job:
            return msgspec.structs.replace(job.move(State.SUBMITTED), recording=self.recording)
        if self.decision.verdict is not Action.RUN:
            return None
        if job is None:
            return Job(recording=self.recording, service=service)
        if job.state is State.STAGED and job.service == service and not self.changed:
            return msgspec.structs.replace(job, recording=self.recording)
        if self._was_given_up(job, service):
            return msgspec.structs.replace(job, recording=self.recording, state=State.SUBMITTED, ended_at=None)
        past_ids = (*job.past_ids, job.transcript_id) if job.transcript_id else job.past_ids
        return Job(recording=self.recording, service=service, past_ids=past_ids)
