"""What runs, what is skipped, and why: decided as a table."""

from __future__ import annotations

import pytest

from batch.jobs.planning.decision import Action, Rerun, decide
from batch.jobs.planning.selection import Selection
from batch.model import Job, Recording, State

ROW = Recording(key="a", source="/a.wav", manifest="m.csv", line=2, options={"speaker_labels": True})
OTHER_OPTION = Recording(key="a", source="/a.wav", manifest="m.csv", line=2, options={"speaker_labels": False})
NOTHING = Rerun()


def job(state: State, kind: str | None = None, service: str = "local") -> Job:
    return Job(recording=ROW, service=service, state=state, kind=kind, transcript_id="t")


@pytest.mark.parametrize(
    ("row", "known", "rerun", "changed", "stored", "verdict", "why"),
    [
        (ROW, None, NOTHING, False, False, Action.RUN, "new"),
        (ROW, job(State.COLLECTED), NOTHING, False, True, Action.DONE, "done before"),
        (ROW, job(State.COLLECTED), NOTHING, True, True, Action.RUN, "audio changed"),
        (OTHER_OPTION, job(State.COLLECTED), NOTHING, False, True, Action.RUN, "option changed: speaker_labels"),
        (ROW, job(State.COLLECTED), Rerun(force=True), False, True, Action.RUN, "forced"),
        (ROW, job(State.COLLECTED), NOTHING, False, False, Action.REFETCH, "result missing"),
        (ROW, job(State.COLLECTED, "no_speech"), Rerun(failed=True, empty=True), False, True, Action.RUN, "empty"),
        (ROW, job(State.FAILED, "bad_audio"), NOTHING, False, False, Action.FAILED_BEFORE, "bad_audio"),
        (ROW, job(State.FAILED, "bad_audio"), Rerun(failed=True), False, False, Action.RUN, "failed before"),
        (ROW, job(State.FAILED, "bad_audio"), NOTHING, True, False, Action.RUN, "audio changed"),
        (ROW, job(State.FAILED, "missing"), NOTHING, False, False, Action.RUN, "missing"),
        (ROW, job(State.FAILED, "forbidden"), NOTHING, False, False, Action.RUN, "forbidden"),
        (ROW, job(State.FAILED, "download_error"), NOTHING, False, False, Action.RUN, "download_error"),
        (ROW, job(State.LISTED), NOTHING, False, False, Action.RUN, "begun before"),
        (ROW, job(State.STAGED), NOTHING, False, False, Action.RUN, "begun before"),
        (ROW, job(State.SUBMITTED), NOTHING, False, False, Action.UNDER_WAY, "submitted before"),
        (ROW, job(State.SUBMITTED), Rerun(force=True), False, False, Action.UNDER_WAY, "submitted before"),
        (ROW, job(State.SUBMITTED, service="assemblyai"), NOTHING, False, False, Action.ELSEWHERE, "assemblyai"),
        (ROW, job(State.COLLECTED, service="assemblyai"), NOTHING, False, True, Action.RUN, "service changed"),
    ],
)
def test_a_row_runs_only_if_there_is_a_reason(
    row: Recording, known: Job | None, rerun: Rerun, changed: bool, stored: bool, verdict: Action, why: str
) -> None:
    decision = decide(row, known, "local", rerun, changed=changed, stored=stored)
    assert decision.verdict is verdict
    assert why in decision.why


def test_shards_share_out_every_key_once_and_always_alike() -> None:
    keys = [f"calls/{n}.wav" for n in range(1000)]
    shards = [{key for key in keys if Selection(shard=n, shards=4).in_shard(key)} for n in (1, 2, 3, 4)]
    assert sum(map(len, shards)) == len(keys)
    assert set().union(*shards) == set(keys)
    assert min(map(len, shards)) > 150
