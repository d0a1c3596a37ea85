"""What runs, what is skipped, and why: decided as a table."""

from __future__ import annotations

import pytest

from batch.jobs.planning.decision import Verdict, Wish, decide
from batch.jobs.planning.selection import Window
from batch.model import Job, Recording, State

ROW = Recording(key="a", source="/a.wav", manifest="m.csv", line=2, options={"speaker_labels": True})
OTHER_OPTION = Recording(key="a", source="/a.wav", manifest="m.csv", line=2, options={"speaker_labels": False})
NOTHING = Wish()


def job(state: State, kind: str | None = None, service: str = "local") -> Job:
    return Job(recording=ROW, service=service, state=state, kind=kind, transcript_id="t")


@pytest.mark.parametrize(
    ("row", "known", "wish", "changed", "stored", "verdict", "why"),
    [
        (ROW, None, NOTHING, False, False, Verdict.RUN, "new"),
        (ROW, job(State.COLLECTED), NOTHING, False, True, Verdict.DONE, "done before"),
        (ROW, job(State.COLLECTED), NOTHING, True, True, Verdict.RUN, "audio changed"),
        (OTHER_OPTION, job(State.COLLECTED), NOTHING, False, True, Verdict.RUN, "option changed: speaker_labels"),
        (ROW, job(State.COLLECTED), Wish(force=True), False, True, Verdict.RUN, "forced"),
        (ROW, job(State.COLLECTED), NOTHING, False, False, Verdict.REFETCH, "result missing"),
        (ROW, job(State.COLLECTED, "no_speech"), Wish(failed=True, empty=True), False, True, Verdict.RUN, "empty"),
        (ROW, job(State.FAILED, "bad_audio"), NOTHING, False, False, Verdict.FAILED_BEFORE, "bad_audio"),
        (ROW, job(State.FAILED, "bad_audio"), Wish(failed=True), False, False, Verdict.RUN, "failed before"),
        (ROW, job(State.FAILED, "bad_audio"), NOTHING, True, False, Verdict.RUN, "audio changed"),
        (ROW, job(State.FAILED, "missing"), NOTHING, False, False, Verdict.RUN, "missing"),
        (ROW, job(State.FAILED, "forbidden"), NOTHING, False, False, Verdict.RUN, "forbidden"),
        (ROW, job(State.FAILED, "download_error"), NOTHING, False, False, Verdict.RUN, "download_error"),
        (ROW, job(State.LISTED), NOTHING, False, False, Verdict.RUN, "begun before"),
        (ROW, job(State.STAGED), NOTHING, False, False, Verdict.RUN, "begun before"),
        (ROW, job(State.SUBMITTED), NOTHING, False, False, Verdict.UNDER_WAY, "submitted before"),
        (ROW, job(State.SUBMITTED), Wish(force=True), False, False, Verdict.UNDER_WAY, "submitted before"),
        (ROW, job(State.SUBMITTED, service="assemblyai"), NOTHING, False, False, Verdict.ELSEWHERE, "assemblyai"),
        (ROW, job(State.COLLECTED, service="assemblyai"), NOTHING, False, True, Verdict.RUN, "service changed"),
    ],
)
def test_a_row_runs_only_if_there_is_a_reason(
    row: Recording, known: Job | None, wish: Wish, changed: bool, stored: bool, verdict: Verdict, why: str
) -> None:
    decision = decide(row, known, "local", wish, changed=changed, stored=stored)
    assert decision.verdict is verdict
    assert why in decision.why


def test_shards_share_out_every_key_once_and_always_alike() -> None:
    keys = [f"calls/{n}.wav" for n in range(1000)]
    shards = [{key for key in keys if Window(shard=n, shards=4).of_shard(key)} for n in (1, 2, 3, 4)]
    assert sum(map(len, shards)) == len(keys)
    assert set().union(*shards) == set(keys)
    assert min(map(len, shards)) > 150
