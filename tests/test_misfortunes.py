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

import pytest

import batch
from batch import client, errors
from batch.admission import Wish
from batch.client import Deadlines
from batch.protocol import NO_FUNDS_TEXT, Route
from batch.service.engine import BadAudio
from batch.service.faults import Fault, Faults, What, read
from batch.throttle import Patience
from tests.service.double import Double, start_service
from tests.test_run import archive, check_results, settings, submitted_audio

COUNT = 10
ROUTES = (Route.UPLOAD, Route.SUBMIT, Route.FETCH, Route.LIST)
SOME = (2, 3, 6)
MISFORTUNES = [
    Fault(What.REFUSE, at=SOME),
    Fault(What.STALL, at=SOME, seconds=1.5),
    Fault(What.DROP_BEFORE, at=SOME),
    Fault(What.DROP_AFTER, at=SOME),
    Fault(What.HALF_BODY, at=SOME),
    Fault(What.GARBLED, at=SOME),
    *(Fault(What.HTML, at=SOME, status=status) for status in (500, 502, 503, 504)),
    Fault(What.HTML_AFTER, at=SOME, status=502),
    Fault(What.STATUS, at=SOME, status=500),
    Fault(What.THROTTLE, at=(2,), seconds=1),
    Fault(What.THROTTLE, at=SOME),
    Fault(What.FORBID, at=SOME),
    Fault(What.REFUSE_LINK, at=SOME),
    Fault(What.STATUS, at=SOME, status=422, error="Upload failed, please try again."),
    Fault(What.STATUS, at=SOME, status=400, error="something that will not get better"),
]


def name(fault: Fault) -> str:
    return f"{fault.what}-{fault.status}" if fault.what in (What.HTML, What.STATUS) else str(fault.what)


def befallen(fault: Fault, route: Route) -> Faults:
    facts = {field: getattr(fault, field) for field in fault.__struct_fields__}
    return Faults([Fault(**facts | {"route": route})], random.Random(1))


def quick(service: Double, **given: Any) -> Any:
    return settings(
        service.base_url, deadlines=Deadlines(answer_seconds=0.7, stall_seconds=0.7, doubt_seconds=0.6), **given
    )


@pytest.mark.parametrize("fault", MISFORTUNES, ids=name)
@pytest.mark.parametrize("route", ROUTES)
async def test_every_recording_ends_and_nothing_is_submitted_twice(
    tmp_path: Path, route: Route, fault: Fault
) -> None:
    manifest, out, faults = archive(tmp_path / "audio", COUNT), tmp_path / "out", befallen(fault, route)
    async with start_service(tmp_path / "service", seconds=0.02, faults=faults) as service:
        summary = await batch.run(str(manifest), out, settings=quick(service, concurrency=4))
        assert faults.met.total() > 0
        assert summary.collected + summary.failed + summary.postponed == COUNT
        assert all(failure.reason for failure in summary.failures.values())
        assert max(submitted_audio(service).values()) == 1
        if fault.status not in (400, 422):
            assert (summary.collected, summary.exit_code) == (COUNT, 0)
        again = await batch.run(str(manifest), out, settings=quick(service), wish=Wish(failed=True))
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
async def test_a_job_that_ends_in_error_is_dealt_with_by_what_the_error_says(
    tmp_path: Path, error: str, end: str, submissions: int
) -> None:
    manifest, faults = (
        archive(tmp_path / "audio", 1),
        befallen(Fault(What.JOB_ERROR, at=(1,), error=error), Route.SUBMIT),
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


async def test_a_service_that_fails_a_job_again_and_again_is_given_up_after_three_submissions(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 2)
    bad = (tmp_path / "audio" / "1.wav").read_bytes()
    failing = lambda audio: RuntimeError() if audio == bad else None  # noqa: E731
    async with start_service(tmp_path / "service", failing=failing) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service))
    assert (summary.collected, list(summary.failures)) == (1, ["server_error"])
    assert sorted(submitted_audio(service).values()) == [1, 3]


async def test_a_negative_balance_stops_everything_once(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 60)
    faults = befallen(Fault(What.STATUS, probability=1.0, status=400, error=NO_FUNDS_TEXT), Route.SUBMIT)
    async with start_service(tmp_path / "service", faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service, concurrency=4))
        assert isinstance(summary.stopped_by, errors.NoFunds)
        assert summary.exit_code == 6
        assert faults.met.total() < 10
        faults._faults = ()
        assert (await batch.run(str(manifest), tmp_path / "out", settings=quick(service))).collected == 60


async def test_a_wrong_key_with_300_recordings_is_told_once_in_fewer_than_60_requests(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 300)
    async with start_service(tmp_path / "service", key="right") as service:
        environ = {"ASSEMBLYAI_API_KEY": "wrong"}
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service), environ=environ)
        assert summary.exit_code == 4
        assert len(service.answers) == 1


async def test_a_key_that_is_withdrawn_in_the_middle_stops_everything_once(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 300)
    refused = [Fault(What.STATUS, route=route, probability=1.0, status=401, error="no") for route in ROUTES[:2]]
    faults = Faults(refused, random.Random(1))
    async with start_service(tmp_path / "service", faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service))
        assert summary.exit_code == 4
        assert len(service.answers) < 60


FOUR_PERCENT = [
    Fault(What.REFUSE, probability=0.04),
    Fault(What.STATUS, probability=0.04, status=500),
    Fault(What.HTML, probability=0.04, status=503),
    Fault(What.THROTTLE, probability=0.04, seconds=1),
    Fault(What.DROP_BEFORE, route=Route.UPLOAD, probability=0.04),
    Fault(What.DROP_AFTER, route=Route.UPLOAD, probability=0.04),
    Fault(What.DROP_AFTER, route=Route.SUBMIT, probability=0.04),
    Fault(What.HALF_BODY, route=Route.FETCH, probability=0.04),
]


def throttled(service: Double) -> Iterator[tuple[float, float]]:
    """The times, from and to, during which a Retry-After of a second asked for silence."""
    yield from ((answered, answered + 1.0) for _, answered, status in service.answers if status == 429)


async def test_300_recordings_with_4_percent_of_each_misfortune_all_end_right(tmp_path: Path) -> None:
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
    from batch.journal import Journal
    from batch.model import State

    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    stop_submissions = befallen(Fault(What.STATUS, probability=1.0, status=400, error=NO_FUNDS_TEXT), Route.SUBMIT)
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


async def test_an_id_that_the_service_does_not_know_is_told_and_not_paid_again_unasked(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=quick(service))
    (out / "calls" / "0.json").unlink()
    port = int(service.base_url.rpartition(":")[2])
    async with start_service(tmp_path / "another", port=port) as other:
        for collected, wish in ((0, Wish()), (0, Wish()), (1, Wish(failed=True))):
            summary = await batch.run(str(manifest), out, settings=quick(other), wish=wish)
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


async def test_one_route_that_is_down_for_everybody_stops_the_run_to_be_continued(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 20), tmp_path / "out"
    faults = befallen(Fault(What.HTML, probability=1.0, status=503), Route.SUBMIT)
    patience = Patience(base_seconds=0.02, cap_seconds=0.1, outage_seconds=1.0)
    async with start_service(tmp_path / "service", faults=faults) as service:
        at = quick(service, patience=patience, reconcile_grace_seconds=0.05)
        summary = await batch.run(str(manifest), out, settings=at)
        assert summary.exit_code == 5
        assert summary.failed == 0
        assert "no submit has gone well" in str(summary.stopped_by)
        faults._faults = ()
        assert (await batch.run(str(manifest), out, settings=at)).collected == 20
        assert set(submitted_audio(service).values()) == {1}


async def test_without_a_list_jobs_are_asked_for_by_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.watch._UNSEEN_SECONDS", 0.2)
    manifest = archive(tmp_path / "audio", 5)
    faults = befallen(Fault(What.HTML, at=tuple(range(2, 10_000)), status=503), Route.LIST)
    async with start_service(tmp_path / "service", seconds=0.3, faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=quick(service))
    assert (summary.collected, summary.exit_code) == (5, 0)


def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nroute = "submit"\nwhat = "drop_after"\nprobability = 0.5\n')
    assert read(path) == (Fault(What.DROP_AFTER, route="submit", probability=0.5),)
    path.write_text('[[fault]]\nwhat = "drop_afer"\n')
    with pytest.raises(errors.Usage, match="drop_afer"):
        read(path)


def test_probabilities_are_kept() -> None:
    faults = Faults([Fault(What.REFUSE, probability=0.1)], random.Random(0))
    assert 900 < Counter(bool(faults._due(Route.LIST)) for _ in range(10_000))[True] < 1100


async def test_a_list_that_lags_shows_the_newest_later_and_its_pages_may_be_shuffled_and_repeat_items(
    tmp_path: Path,
) -> None:
    wrong = [Fault(What.LIST_LAG, probability=1, seconds=0.3), Fault(What.LIST_SHUFFLED, probability=1)]
    wrong.append(Fault(What.LIST_REPEATED, probability=1))
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


@pytest.mark.parametrize(("what", "status"), [(What.ACCEPT_LATE, 504), (What.HOLD, None)])
async def test_a_submission_may_be_accepted_after_the_client_has_given_it_up(
    tmp_path: Path, what: What, status: int | None
) -> None:
    faults = Faults([Fault(what, route="submit", at=(1,), status=504, seconds=0.3)], random.Random(1))
    async with (
        start_service(tmp_path / "service", faults=faults) as service,
        client.connect(service.base_url, None, connections=2, deadlines=Deadlines(answer_seconds=0.2)) as api,
    ):
        with pytest.raises(errors.Unanswered, match=str(status or "in time")):
            await api.submit("http://example.invalid/a", {})
        assert not service.submissions
        await asyncio.sleep(0.8)
        assert len(service.submissions) == 1
