"""Every misfortune on every route, and the same two questions each time: has every recording ended, collected or
failed with its reason, and was anything submitted twice?"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import batch
from batch import errors
from batch.config import PriceTable, RetrySettings, TimeoutSettings
from batch.engine.interface import BadAudio
from batch.jobs.planning.admission import Rerun
from batch.jobs.preflight import CheckLevel, examine
from batch.providers.assemblyai import client
from batch.providers.assemblyai.protocol import NO_FUNDS_TEXT
from batch.providers.interface import Operation
from batch.server.faults import Fault, FaultKind, Faults, read
from batch.telemetry.events import Event, JobPostponed, Notice
from tests.support.recordings import archive, check_results, settings, submitted_audio, wav
from tests.support.service import FOUR_PERCENT, Double, start_service

COUNT = 10
ROUTES = (Operation.UPLOAD, Operation.SUBMIT, Operation.FETCH, Operation.LIST)
SOME = (2, 3, 6)
MISFORTUNES = [
    Fault(FaultKind.REFUSE, at=SOME),
    Fault(FaultKind.STALL, at=SOME, seconds=1.5),
    Fault(FaultKind.DROP_BEFORE, at=SOME),
    Fault(FaultKind.DROP_AFTER, at=SOME),
    Fault(FaultKind.HALF_BODY, at=SOME),
    Fault(FaultKind.GARBLED, at=SOME),
    *(Fault(FaultKind.HTML, at=SOME, status=status) for status in (500, 502, 503, 504)),
    Fault(FaultKind.HTML_AFTER, at=SOME, status=502),
    Fault(FaultKind.STATUS, at=SOME, status=500),
    Fault(FaultKind.THROTTLE, at=(2,), seconds=1),
    Fault(FaultKind.THROTTLE, at=SOME),
    Fault(FaultKind.FORBID, at=SOME),
    Fault(FaultKind.REFUSE_LINK, at=SOME),
    Fault(FaultKind.STATUS, at=SOME, status=422, error="Upload failed, please try again."),
    Fault(FaultKind.STATUS, at=SOME, status=400, error="something that will not get better"),
]


def name(fault: Fault) -> str:
    return f"{fault.what}-{fault.status}" if fault.what in (FaultKind.HTML, FaultKind.STATUS) else str(fault.what)


def befallen(fault: Fault, operation: Operation) -> Faults:
    facts = {field: getattr(fault, field) for field in fault.__struct_fields__}
    return Faults([Fault(**facts | {"route": operation})], random.Random(1))


def quick(service: Double, **given: Any) -> Any:
    return settings(
        service.base_url, deadlines=TimeoutSettings(answer_seconds=0.7, stall_seconds=0.7, doubt_seconds=0.6), **given
    )


@pytest.mark.parametrize("fault", MISFORTUNES, ids=name)
@pytest.mark.parametrize("operation", ROUTES)
async def test_every_recording_ends_and_nothing_is_submitted_twice(
    tmp_path: Path, operation: Operation, fault: Fault
) -> None:
    manifest, out, faults = archive(tmp_path / "audio", COUNT), tmp_path / "out", befallen(fault, operation)
    async with start_service(tmp_path / "service", seconds=0.02, faults=faults) as service:
        summary = await batch.run(str(manifest), out, settings=quick(service, concurrency=4))
        assert faults.met.total() > 0
        assert summary.collected + summary.failed + summary.postponed == COUNT
        assert all(failure.reason for failure in summary.failures.values())
        assert max(submitted_audio(service).values()) == 1
        if fault.status not in (400, 422):
            assert (summary.collected, summary.exit_code) == (COUNT, 0)
        again = await batch.run(str(manifest), out, settings=quick(service), rerun=Rerun(failed=True))
        assert (again.exit_code, again.collected) == (0, COUNT - summary.collected)
        assert max(submitted_audio(service).values()) == 1
    check_results(tmp_path / "audio", out, COUNT)


JOB_ERRORS = [
    ("Server error, developers have been alerted", "collected", 2),
    ("Internal server error. Please retry your request.", "collected", 2),
    ("Download error, unable to download the file. Please make sure the file exists", "collected", 2),
    ("Transcoding failed. File does not appear to contain audio. File type is text/html (HTML).", "bad_audio", 1),
    ("Audio duration is too short.", "too_short", 1),
    ("Audio duration is too long.", "too_long", 1),
    ("Audio speech threshold 0.1 is below the requested speech threshold value 0.5", "speech_threshold", 1),
    ("language_detection cannot be performed on files with no spoken audio.", "collected", 1),
    ("something that nobody has seen before", "job_error", 1),
]


@pytest.mark.parametrize(("error", "end", "submissions"), JOB_ERRORS)
async def test_job_in_error_is_handled_by_what_the_error_says(
    tmp_path: Path, error: str, end: str, submissions: int
) -> None:
    manifest, faults = (
        archive(tmp_path / "audio", 1),
        befallen(Fault(FaultKind.JOB_ERROR, at=(1,), error=error), Operation.SUBMIT),
    )
    async with start_service(tmp_path / "service", faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service))
    assert len(service.submissions) == submissions
    if end == "collected":
        assert (summary.collected, summary.exit_code) == (1, 0)
    else:
        assert list(summary.failures) == [end]
        assert error in summary.failures[end].reason
        assert summary.exit_code == 3


async def test_no_spoken_audio_is_an_empty_result_and_not_a_failure(tmp_path: Path) -> None:
    text = "language_detection cannot be performed on files with no spoken audio."
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    async with start_service(tmp_path / "service", failing=lambda audio: BadAudio(text)) as service:
        first = await batch.run(str(manifest), out, settings=quick(service))
        again = await batch.run(str(manifest), out, settings=quick(service))
    assert (first.collected, again.skipped["done"], len(service.submissions)) == (1, 1, 1)
    assert (out / "calls" / "0.json").is_file()


async def test_job_that_keeps_failing_is_given_up_after_three_tries(tmp_path: Path) -> None:
    """A service that fails a job again and again is given up after three submissions."""
    manifest = archive(tmp_path / "audio", 2)
    bad = (tmp_path / "audio" / "1.wav").read_bytes()
    failing = lambda audio: RuntimeError() if audio == bad else None  # noqa: E731
    async with start_service(tmp_path / "service", failing=failing) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service))
    assert (summary.collected, list(summary.failures)) == (1, ["server_error"])
    assert sorted(submitted_audio(service).values()) == [1, 3]


async def test_a_negative_balance_stops_everything_once(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 60)
    faults = befallen(Fault(FaultKind.STATUS, probability=1.0, status=400, error=NO_FUNDS_TEXT), Operation.SUBMIT)
    async with start_service(tmp_path / "service", faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service, concurrency=4))
        assert summary.stopped_kind == "no_funds"
        assert summary.exit_code == 6
        assert faults.met.total() < 10
        faults._faults = ()
        assert (await batch.run(str(manifest), tmp_path / "out", settings=quick(service))).collected == 60


async def test_wrong_key_with_300_recordings_is_reported_once(tmp_path: Path) -> None:
    """A wrong key with 300 recordings is reported once, in fewer than 60 requests."""
    manifest = archive(tmp_path / "audio", 300)
    async with start_service(tmp_path / "service", key="right") as service:
        environ = {"ASSEMBLYAI_API_KEY": "wrong"}
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service), environ=environ)
        assert summary.exit_code == 4
        assert len(service.answers) == 1


async def test_key_withdrawn_in_the_middle_stops_everything_once(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 300)
    refused = [Fault(FaultKind.STATUS, route=route, probability=1.0, status=401, error="no") for route in ROUTES[:2]]
    faults = Faults(refused, random.Random(1))
    async with start_service(tmp_path / "service", faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service))
        assert summary.exit_code == 4
        assert len(service.answers) < 60


def throttled(service: Double) -> Iterator[tuple[float, float]]:
    """The times, from and to, during which a Retry-After of a second asked for silence."""
    yield from ((answered, answered + 1.0) for _, answered, status in service.answers if status == 429)


async def test_300_recordings_with_4_percent_of_each_fault_end_right(tmp_path: Path) -> None:
    manifest, out, took = archive(tmp_path / "audio", 300), tmp_path / "out", {}
    for label, faults in (("without", None), ("with", Faults(FOUR_PERCENT, random.Random(3)))):
        began = time.monotonic()
        async with start_service(tmp_path / label, seconds=0.1, faults=faults) as service:
            summary = await batch.run(str(manifest), out / label, settings=quick(service, concurrency=50))
        took[label] = time.monotonic() - began
        assert (summary.collected, summary.exit_code) == (300, 0)
        check_results(tmp_path / "audio", out / label, 300)
        assert set(submitted_audio(service).values()) == {1}
    assert faults
    assert faults.met.keys() == {fault.what for fault in FOUR_PERCENT}
    travel = 0.25  # what was sent before the 429 had arrived, on a busy machine
    for since, until in throttled(service):
        early = [came for came, _, _ in service.answers if since + travel < came < until]
        assert not early, f"{len(early)} requests before the Retry-After had passed"
    print(
        f"\n300 recordings: {took['without']:.1f} s without misfortunes, {took['with']:.1f} s with {dict(faults.met)}"
    )


async def test_an_upload_link_past_its_life_is_staged_again(tmp_path: Path) -> None:
    from batch.archive.journal import Journal
    from batch.model import State

    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    stop_submissions = befallen(
        Fault(FaultKind.STATUS, probability=1.0, status=400, error=NO_FUNDS_TEXT), Operation.SUBMIT
    )
    async with start_service(tmp_path / "service", faults=stop_submissions) as service:
        await batch.run(str(manifest), out, settings=quick(service))
        stop_submissions._faults = ()
        journal = Journal(out / ".diarist" / "journal.db")
        (job,) = await journal.in_states([State.STAGED])
        await journal.record(_older(job))
        journal.close()
        assert (await batch.run(str(manifest), out, settings=quick(service))).collected == 1
        uploads = [path for method, path in service.requests if path == "/v2/upload"]
    assert len(uploads) == 2
    assert len(service.submissions) == 1


def _older(job: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(job, staged_at=job.staged_at - 23 * 3600)


async def test_unknown_id_is_reported_and_not_paid_again_unasked(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=quick(service))
    (out / "calls" / "0.json").unlink()
    port = int(service.base_url.rpartition(":")[2])
    async with start_service(tmp_path / "another", port=port) as other:
        for collected, rerun in ((0, Rerun()), (0, Rerun()), (1, Rerun(failed=True))):
            summary = await batch.run(str(manifest), out, settings=quick(other), rerun=rerun)
            assert summary.collected == collected
            assert collected or list(summary.failures) == ["unknown_id"]
        assert len(other.submissions) == 1


async def test_a_deleted_transcript_is_told(tmp_path: Path) -> None:
    import aiohttp

    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    async with start_service(tmp_path / "service") as service, aiohttp.ClientSession(service.base_url) as session:
        await batch.run(str(manifest), out, settings=quick(service))
        (out / "calls" / "0.json").unlink()
        async with session.get("/v2/transcript") as answer:
            transcript_id = (await answer.json())["transcripts"][0]["id"]
        await (await session.delete(f"/v2/transcript/{transcript_id}")).release()
        summary = await batch.run(str(manifest), out, settings=quick(service))
    assert list(summary.failures) == ["deleted"]


@pytest.mark.parametrize("operation", [Operation.UPLOAD, Operation.SUBMIT])
async def test_route_down_for_everybody_stops_the_run_to_be_continued(tmp_path: Path, operation: Operation) -> None:
    manifest, out = archive(tmp_path / "audio", 20), tmp_path / "out"
    faults = befallen(Fault(FaultKind.HTML, probability=1.0, status=503), operation)
    patience = RetrySettings(attempts=3, base_seconds=0.02, cap_seconds=0.1, outage_seconds=1.0)
    async with start_service(tmp_path / "service", faults=faults) as service:
        at = quick(service, patience=patience, reconcile_grace_seconds=0.05)
        summary = await batch.run(str(manifest), out, settings=at)
        assert summary.exit_code == 5
        assert summary.failed == 0
        assert f"no {operation} has gone well" in str(summary.stopped_by)
        faults._faults = ()
        assert (await batch.run(str(manifest), out, settings=at)).collected == 20
        assert set(submitted_audio(service).values()) == {1}


async def test_without_a_list_jobs_are_asked_for_by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.jobs.watcher._UNSEEN_SECONDS", 0.2)
    manifest = archive(tmp_path / "audio", 5)
    faults = befallen(Fault(FaultKind.HTML, at=tuple(range(2, 10_000)), status=503), Operation.LIST)
    async with start_service(tmp_path / "service", seconds=0.3, faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service))
    assert (summary.collected, summary.exit_code) == (5, 0)


def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nroute = "submit"\nwhat = "drop_after"\nprobability = 0.5\n')
    assert read(path) == (Fault(FaultKind.DROP_AFTER, route="submit", probability=0.5),)
    path.write_text('[[fault]]\nwhat = "drop_afer"\n')
    with pytest.raises(errors.UsageError, match="drop_afer"):
        read(path)


def test_probabilities_are_kept() -> None:
    faults = Faults([Fault(FaultKind.REFUSE, probability=0.1)], random.Random(0))
    assert 900 < Counter(bool(faults._due(Operation.LIST)) for _ in range(10_000))[True] < 1100


async def test_list_faults_delay_shuffle_and_repeat_items(
    tmp_path: Path,
) -> None:
    """A list that lags shows the newest items later, and its pages may be shuffled and repeat items."""
    wrong = [Fault(FaultKind.LIST_LAG, probability=1, seconds=0.3), Fault(FaultKind.LIST_SHUFFLED, probability=1)]
    wrong.append(Fault(FaultKind.LIST_REPEATED, probability=1))
    async with (
        start_service(tmp_path / "service", faults=Faults(wrong, random.Random(1))) as service,
        client.connect(service.base_url, None, connections=2) as api,
    ):
        first = [(await api.submit(f"http://example.invalid/{n}", {})).id for n in range(5)]
        assert (await api.page()).transcripts == ()
        await asyncio.sleep(0.4)
        late = (await api.submit("http://example.invalid/late", {})).id
        shown = [item.id for item in (await api.page()).transcripts]
        assert late not in shown
        assert set(shown) == set(first)
        assert len(shown) == 8
        assert shown[:5] != first[::-1]
        assert len((await api.page(limit=2)).transcripts) == 4, "a full page of what it shows, and two items again"


@pytest.mark.parametrize(("what", "status"), [(FaultKind.ACCEPT_LATE, 504), (FaultKind.HOLD, None)])
async def test_submission_can_be_accepted_after_the_client_gave_it_up(
    tmp_path: Path, what: FaultKind, status: int | None
) -> None:
    faults = Faults([Fault(what, route="submit", at=(1,), status=504, seconds=0.3)], random.Random(1))
    async with (
        start_service(tmp_path / "service", faults=faults) as service,
        client.connect(service.base_url, None, connections=2, deadlines=TimeoutSettings(answer_seconds=0.2)) as api,
    ):
        with pytest.raises(errors.UnknownOutcomeError, match=str(status or "in time")):
            await api.submit("http://example.invalid/a", {})
        assert not service.submissions
        await asyncio.sleep(0.8)
        assert len(service.submissions) == 1


LATE = [
    [Fault(FaultKind.HTML_AFTER, route="submit", at=SOME, status=504)],
    [Fault(FaultKind.ACCEPT_LATE, route="submit", at=SOME, status=504, seconds=0.6)],
    [Fault(FaultKind.HOLD, route="submit", at=SOME, seconds=1.2)],
    [
        Fault(FaultKind.ACCEPT_LATE, route="submit", probability=0.3, seconds=0.6),
        Fault(FaultKind.DROP_BEFORE, route="submit", at=SOME),
    ],
]
A_REPLICA = [
    Fault(FaultKind.LIST_LAG, probability=1.0, seconds=1.0),
    Fault(FaultKind.LIST_SHUFFLED, probability=1.0),
    Fault(FaultKind.LIST_REPEATED, probability=1.0),
]


async def until_done(manifest: Path, out: Path, at: Any, runs: int = 6) -> int:
    """The same command until there is nothing left to do; how often it was run."""
    for number in range(1, runs + 1):
        summary = await batch.run(str(manifest), out, settings=at)
        assert summary.exit_code in (0, 5)
        if summary.exit_code == 0:
            return number
    raise AssertionError(f"not done after {runs} runs")


@pytest.mark.parametrize("late", LATE, ids=["lost", "late", "held", "late and lost"])
async def test_late_acceptance_on_a_lagging_list_is_paid_once(tmp_path: Path, late: list[Fault]) -> None:
    """What is accepted late by a service whose list lags is paid once."""
    manifest, out = archive(tmp_path / "audio", COUNT), tmp_path / "out"
    faults = Faults([*late, *A_REPLICA], random.Random(1))
    async with start_service(tmp_path / "service", seconds=0.02, faults=faults) as service:
        at = quick(service, concurrency=4, reconcile_grace_seconds=2.0, reconcile_lag_seconds=4.0)
        await until_done(manifest, out, at)
        assert set(submitted_audio(service).values()) == {1}
    check_results(tmp_path / "audio", out, COUNT)


async def test_recording_without_a_witness_waits_with_its_twin(tmp_path: Path) -> None:
    """Without a witness a recording is left to the next run, and so is its twin."""
    manifest, out, told = archive(tmp_path / "audio", 1), tmp_path / "out", list[Event]()
    manifest.write_text(manifest.read_text() + "twin,0.wav,,\n")
    faults = Faults([Fault(FaultKind.DROP_BEFORE, route="submit", at=(1,))], random.Random(1))
    async with start_service(tmp_path / "service", faults=faults) as service:
        at = quick(service, reconcile_patience_seconds=0.5, reconcile_lag_seconds=3.0)
        first = await batch.run(str(manifest), out, settings=at, on_event=told.append)
        assert (first.exit_code, first.postponed, len(service.submissions)) == (5, 2, 0)
        assert any("not sent again" in event.reason for event in told if isinstance(event, JobPostponed))
        again = await batch.run(str(manifest), out, settings=at)
        assert (again.exit_code, len(service.submissions)) == (5, 0)
        await asyncio.sleep(3)
        last = await batch.run(str(manifest), out, settings=at)
    assert (last.exit_code, last.collected, len(service.submissions)) == (0, 2, 1)


async def test_uncertain_submission_is_repeated_only_if_a_row_asks(
    tmp_path: Path,
) -> None:
    """What an earlier run may have submitted is submitted again only if a row still asks for it."""
    manifest, out = archive(tmp_path / "audio", 6), tmp_path / "out"
    rows = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(rows[:3]))
    faults = Faults([Fault(FaultKind.DROP_BEFORE, route="submit", at=(1, 2))], random.Random(1))
    async with start_service(tmp_path / "service", faults=faults) as service:
        at = quick(service, reconcile_grace_seconds=0.3, reconcile_patience_seconds=0.2, reconcile_lag_seconds=6)
        assert (await batch.run(str(manifest), out, settings=at)).postponed == 2
        manifest.write_text("".join([rows[0], rows[2], *rows[3:]]))
        faults._faults = (Fault(FaultKind.STALL, route="submit", at=(4,), seconds=0.6),)
        later = settings(service.base_url, **LONG | {"reconcile_lag_seconds": 6})
        summary = await batch.run(str(manifest), out, settings=later)
    assert (summary.collected, summary.exit_code) == (5, 0)
    assert set(submitted_audio(service).values()) == {1}
    assert not (out / "calls" / "0.json").exists()


async def test_unowned_transcript_is_reported_by_run_and_doctor(
    tmp_path: Path,
) -> None:
    """A transcript of ours that no job owns is reported at the end of a run and by the doctor."""
    manifest, out, told = archive(tmp_path / "audio", 3), tmp_path / "out", list[Event]()
    async with (
        start_service(tmp_path / "service", seconds=0.05) as service,
        client.connect(service.base_url, None, connections=2) as api,
    ):
        at = quick(service, prices=PriceTable(apply="always", models={"universal-3-5-pro": 1000.0}))
        await batch.run(str(manifest), out, settings=at, on_event=told.append)
        assert not any("belong to no recording" in event.message for event in told if isinstance(event, Notice))
        stray = (await api.submit(service.submissions[0]["audio_url"], {})).id
        manifest.write_text(manifest.read_text().replace("customer 2", "customer 2\nmore,0.wav,3,c"))
        summary = await batch.run(str(manifest), out, settings=at, on_event=told.append)
        assert (summary.collected, summary.exit_code) == (1, 0)
        (said,) = [
            event.message for event in told if isinstance(event, Notice) and "belong to no recording" in event.message
        ]
        assert (
            f"1 transcripts of our uploads belong to no recording, and may have been paid for: {stray}, of " in said
        )
        assert "about $0.56" in said, "2 s of audio"
        found = {each.what: each async for each in examine(at, {}, out)}
    assert (found["orphans"].verdict, stray in found["orphans"].said) == (CheckLevel.WARN, True)


LONG = {"concurrency": 1, "reconcile_grace_seconds": 0.3, "reconcile_lag_seconds": 60, "deadlines": TimeoutSettings()}


@pytest.mark.parametrize("wrong", ["another id", "other audio", "in error", "not ended"])
async def test_answer_to_another_request_counts_as_none(tmp_path: Path, wrong: str) -> None:
    """An answer that is not the one that was asked for counts as none, and the request is repeated."""
    manifest, out, met = archive(tmp_path / "audio", 4), tmp_path / "out", list[str]()
    others = {"another id": {"id": "another"}, "other audio": {"audio_url": "http://127.0.0.1/upload/another"}}
    others |= {"in error": {"status": "error", "error": "oops"}, "not ended": {"status": "processing"}}

    @web.middleware
    async def mistaken(request: web.Request, handler: Any) -> web.StreamResponse:
        answer = await handler(request)
        if request.method == "GET" and len(request.path) > len("/v2/transcript/") and len(met) < 3:
            met.append(request.path)
            return web.json_response(msgspec.json.decode(answer.body) | others[wrong])
        return answer  # type: ignore[no-any-return]

    async with start_service(tmp_path / "service", middlewares=[mistaken]) as service:
        summary = await batch.run(str(manifest), out, settings=quick(service))
    assert (summary.collected, summary.exit_code, len(met)) == (4, 0, 3)
    assert summary.retries["bad_answer"] == 3
    check_results(tmp_path / "audio", out, 4)


async def test_transcript_of_wrong_length_is_reported_once_and_kept(tmp_path: Path) -> None:
    """A transcript that is not as long as its audio is reported once and kept."""
    manifest, told = archive(tmp_path / "audio", 3), list[Event]()
    for number, name in enumerate(sorted((tmp_path / "audio").glob("*.wav"))):
        name.write_bytes(wav(bytes([number + 1]) * 8000 * 20))
    lengths = iter((7, 20, 20))

    @web.middleware
    async def shortened(request: web.Request, handler: Any) -> web.StreamResponse:
        answer = await handler(request)
        if request.method == "GET" and len(request.path) > len("/v2/transcript/"):
            return web.json_response(msgspec.json.decode(answer.body) | {"audio_duration": next(lengths)})
        return answer  # type: ignore[no-any-return]

    async with start_service(tmp_path / "service", middlewares=[shortened]) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service), on_event=told.append)
    assert (summary.collected, summary.exit_code) == (3, 0)
    (said,) = [event.message for event in told if isinstance(event, Notice) and "s of audio" in event.message]
    assert said.endswith("is of 7 s of audio, and the file holds 20 s: look at both")


async def test_whole_public_url_never_gets_transcript_of_an_excerpt(tmp_path: Path) -> None:
    async def talk(request: web.Request) -> web.Response:
        return web.Response(body=wav(b"talk" * 500))

    elsewhere = web.Application()
    elsewhere.router.add_get("/talk.wav", talk)
    faults = Faults([Fault(FaultKind.DROP_AFTER, route="submit", at=(1, 2))], random.Random(1))
    service_at = start_service(tmp_path / "service", private=True, faults=faults)
    async with TestServer(elsewhere) as server, service_at as service:
        url = server.make_url("/talk.wav")
        (tmp_path / "m.csv").write_text(f"id,audio,audio_end_at\nwhole,{url},\nexcerpt,{url},100\n")
        summary = await batch.run(str(tmp_path / "m.csv"), tmp_path / "out", settings=quick(service))
        assert (summary.collected, len(service.submissions)) == (2, 2)
    ends = {
        name: msgspec.json.decode((tmp_path / "out" / f"{name}.json").read_bytes()).get("audio_end_at")
        for name in ("whole", "excerpt")
    }
    assert ends == {"whole": None, "excerpt": 100}
