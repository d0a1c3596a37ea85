"""A passing error takes no paid transcript away, and one odd thing stops nobody.

Each test is what a real service has done to a run: on the local service, with a layer that does it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

import batch
from batch.config import TimeoutSettings
from batch.jobs.planning.admission import Rerun
from batch.model import State
from batch.providers.assemblyai import protocol
from batch.providers.assemblyai.protocol import Status
from batch.providers.assemblyai.transcript import outline
from batch.telemetry.events import Event, JobMoved
from batch.telemetry.records import to_record
from tests.support.recordings import archive, check_results, settings, submitted_audio, wav
from tests.support.service import Handler, start_service

Change = Callable[[Any], None]


def changed(path: str, change: Change) -> Any:
    """A layer that lets ``change`` do something to the JSON that is answered below ``path``."""

    @web.middleware
    async def layer(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if request.method != "GET" or not request.path.startswith(path):
            return answer
        body = json.loads(bytes(getattr(answer, "body", b"{}")))
        change(body)
        return web.json_response(body, status=answer.status)

    return layer


def told(events: list[Event], part: str) -> list[str]:
    return [text for event in events if part in (text := to_record(event).message or "")]


# ── One odd thing stops nobody ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("speaker", [0, None, 1.5, "A", ["A"], True])
async def test_any_speaker_name_of_a_service_is_stored_and_counted(tmp_path: Path, speaker: Any) -> None:
    def rename(body: Any) -> None:
        for utterance in body.get("utterances") or ():
            utterance["speaker"] = speaker

    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    async with start_service(tmp_path / "service", middlewares=[changed("/v2/transcript/", rename)]) as service:
        events: list[Event] = []
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url), on_event=events.append)
        assert (summary.collected, summary.exit_code) == (3, 0)
        jobs = [event.job for event in events if isinstance(event, JobMoved) and event.job.state is State.COLLECTED]
        assert {job.speakers for job in jobs} == {int(speaker is not None)}
        again = await batch.run(str(manifest), out, settings=settings(service.base_url))
    assert (again.skipped["done"], again.exit_code, len(service.submissions)) == (3, 0, 3)


@pytest.mark.parametrize(
    ("utterances", "count"),
    [('[{"speaker": 0}, {"speaker": "0"}, {"speaker": 0}, {}, null]', 2), ('"none"', 0), ("null", 0), ("[7]", 0)],
)
def test_speakers_are_counted_whatever_they_are(utterances: str, count: int) -> None:
    assert outline(f'{{"utterances": {utterances}}}'.encode()).speakers == count


ODD_LINES: list[dict[str, Any]] = [
    {"id": "foreign", "status": "paused"},
    {"id": "foreign", "status": None},
    {"id": "foreign"},
    {"id": "foreign", "status": {"is": "new"}, "audio_url": 7, "created": []},
    {"status": "completed"},
    {"id": 7, "status": "completed"},
]


@pytest.mark.parametrize("line", ODD_LINES, ids=json.dumps)
async def test_one_odd_line_of_the_list_is_told_once_and_stops_nobody(tmp_path: Path, line: dict[str, Any]) -> None:
    def add(body: Any) -> None:
        body["transcripts"] = [line, *body["transcripts"], *[line][: len(body["transcripts"])]]

    manifest, out, events = archive(tmp_path / "audio", 5), tmp_path / "out", list[Event]()
    async with start_service(
        tmp_path / "service", seconds=0.2, middlewares=[changed("/v2/transcript", add_to_lists(add))]
    ) as service:
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url), on_event=events.append)
    assert (summary.collected, summary.exit_code) == (5, 0)
    assert len(told(events, "counts as not ended")) == 1
    check_results(tmp_path / "audio", out, 5)


def add_to_lists(add: Change) -> Change:
    return lambda body: add(body) if "transcripts" in body else None


def test_a_list_is_read_line_by_line_but_never_for_an_empty_one() -> None:
    details = {"limit": 200, "result_count": 2, "current_url": "u", "prev_url": "older"}
    lines = [{"id": "a", "status": "completed"}, {"id": "b", "status": "new", "audio_url": "u"}, {"status": "queued"}]
    page, odd = protocol.read_page(msgspec.json.encode({"page_details": details, "transcripts": lines}))
    assert [(item.id, item.status) for item in page.transcripts] == [
        ("a", Status.COMPLETED),
        ("b", Status.PROCESSING),
    ]
    assert (page.transcripts[1].audio_url, page.page_details.prev_url) == ("u", "older")
    assert odd
    for body in (
        {"transcripts": lines},
        {"page_details": details, "transcripts": [{}, {}]},
        {"page_details": details},
    ):
        with pytest.raises(msgspec.DecodeError):
            protocol.read_page(msgspec.json.encode(body))


async def test_what_is_odd_in_a_transcript_object_counts_as_not_said(tmp_path: Path) -> None:
    def spoil(body: Any) -> None:
        body |= {"error": {"code": 0}, "audio_duration": "long"}

    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    async with start_service(tmp_path / "service", middlewares=[changed("/v2/transcript/", spoil)]) as service:
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url))
    assert (summary.collected, summary.exit_code) == (2, 0)
    assert set(submitted_audio(service).values()) == {1}


class Stray:
    """A server behind a load balancer that is no service yet: of the requests on a route, it answers these."""

    def __init__(self, method: str, path: str, at: range, status: int, location: str = "") -> None:
        self.method, self.path, self.at, self.status, self.location = method, path, at, status, location
        self.seen = self.met = 0

    @web.middleware
    async def layer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method != self.method or not request.path.startswith(self.path):
            return await handler(request)
        self.seen += 1
        if self.seen not in self.at:
            return await handler(request)
        self.met += 1
        await request.read()
        headers = {"Location": self.location} if self.location else {}
        return web.Response(status=self.status, text="<html>nobody here</html>", headers=headers)


ROUTES = [("POST", "/v2/upload"), ("POST", "/v2/transcript"), ("GET", "/v2/transcript/"), ("GET", "/v2/transcript")]
QUICKLY = TimeoutSettings(doubt_seconds=1.0)


@pytest.mark.parametrize(("status", "location"), [(404, ""), (302, "https://login.example/"), (401, "")])
@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_stray_answer_in_the_middle_is_tried_again(
    tmp_path: Path, method: str, path: str, status: int, location: str
) -> None:
    manifest, out, stray = archive(tmp_path / "audio", 8), tmp_path / "out", Stray(method, path, range(3, 5), status)
    stray.location = location
    async with start_service(tmp_path / "service", seconds=0.1, middlewares=[stray.layer]) as service:
        at = settings(service.base_url, deadlines=QUICKLY, concurrency=4)
        summary = await batch.run(str(manifest), out, settings=at, environ={"ASSEMBLYAI_API_KEY": "k"})
    assert stray.met == 2
    assert (summary.collected, summary.exit_code) == (8, 0)
    assert set(submitted_audio(service).values()) == {1}


async def test_many_stray_answers_in_one_moment_are_no_repetition(tmp_path: Path) -> None:
    manifest, stray = archive(tmp_path / "audio", 8), Stray("POST", "/v2/upload", range(1, 7), 401)
    async with start_service(tmp_path / "service", middlewares=[stray.layer]) as service:
        at = settings(service.base_url, deadlines=QUICKLY, uploads=6)
        summary = await batch.run(str(manifest), tmp_path / "out", settings=at)
    assert stray.met == 6
    assert (summary.collected, summary.exit_code) == (8, 0)


@pytest.mark.parametrize(("status", "code"), [(404, 2), (302, 2), (401, 4)])
@pytest.mark.parametrize(("method", "path"), [*ROUTES[:2], ROUTES[3]])
async def test_what_repeats_ends_the_run_in_few_requests(
    tmp_path: Path, method: str, path: str, status: int, code: int
) -> None:
    manifest, out = archive(tmp_path / "audio", 100), tmp_path / "out"
    stray = Stray(method, path, range(12, 10_000), status)
    async with start_service(tmp_path / "service", seconds=0.3, middlewares=[stray.layer]) as service:
        at = settings(service.base_url, deadlines=QUICKLY, concurrency=8, uploads=4)
        summary = await batch.run(str(manifest), out, settings=at)
    assert summary.exit_code == code
    assert summary.failed == 0
    assert 4 <= stray.met < 30


async def test_service_gets_no_leniency_before_its_first_good_answer(tmp_path: Path) -> None:
    """Before its first good answer a service is not given the benefit of the doubt."""
    manifest, stray = archive(tmp_path / "audio", 2), Stray("GET", "/v2/transcript", range(1, 2), 302)
    async with start_service(tmp_path / "service", middlewares=[stray.layer]) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
        assert (summary.exit_code, len(service.answers)) == (2, 1)


async def test_transcript_that_is_always_404_fails_alone(tmp_path: Path) -> None:
    lost: list[str] = []

    @web.middleware
    async def layer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "GET" and request.path.startswith("/v2/transcript/"):
            lost.append(request.path)
            if request.path == lost[0]:
                return web.Response(status=404)
        return await handler(request)

    manifest, out = archive(tmp_path / "audio", 5), tmp_path / "out"
    async with start_service(tmp_path / "service", middlewares=[layer]) as service:
        for _ in range(2):
            summary = await batch.run(str(manifest), out, settings=settings(service.base_url))
            assert (summary.postponed, summary.failed, summary.exit_code) == (1, 0, 5)
        assert len(list(out.rglob("calls/*.json"))) == 4
    assert set(submitted_audio(service).values()) == {1}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_beyond_patience_ends_the_run_with_the_time(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    """A Retry-After beyond the patience ends the run and names the time."""
    patient: list[int] = []

    @web.middleware
    async def layer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == method and request.path.startswith(path):
            patient.append(1)
            if len(patient) in (3, 4):
                return web.Response(status=status, headers={"Retry-After": "86400"})
        return await handler(request)

    manifest, out = archive(tmp_path / "audio", 6), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.1, middlewares=[layer]) as service:
        at = settings(service.base_url)
        summary = await batch.run(str(manifest), out, settings=at)
        assert summary.exit_code == 5
        tomorrow = datetime.now().astimezone() + timedelta(days=1)
        assert f"for 86,400 s, until {tomorrow:%Y-%m-%d %H:}" in str(summary.stopped_by)
        again = await batch.run(str(manifest), out, settings=at)
        if again.exit_code:  # the first met a single refusal, and this one the other
            again = await batch.run(str(manifest), out, settings=at)
    assert (again.failed, again.exit_code) == (0, 0)
    assert set(submitted_audio(service).values()) == {1}
    check_results(tmp_path / "audio", out, 6)


# ── A paid transcript is not given up for a passing error ───────────────────────────────────────────────────────


class Replica:
    """A replica that lags: a transcript is not known to it for so many seconds after it was first asked for."""

    def __init__(self, seconds: float, *, lists: bool = True, status: int = 400) -> None:
        self.seconds, self.lists, self.status = seconds, lists, status
        self.asked: dict[str, float] = {}

    @web.middleware
    async def layer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if request.method != "GET":
            return answer
        if request.path == "/v2/transcript":
            return answer if self.lists else self._without_the_lost(answer)
        since = self.asked.setdefault(request.path, time.monotonic())
        if time.monotonic() - since < self.seconds:
            return web.json_response({"error": protocol.UNKNOWN_ID_TEXT}, status=self.status)
        return answer

    def _without_the_lost(self, answer: web.StreamResponse) -> web.StreamResponse:
        body = json.loads(bytes(getattr(answer, "body", b"")))
        body["transcripts"] = [
            line for line in body["transcripts"] if f"/v2/transcript/{line['id']}" not in self.asked
        ]
        return web.json_response(body)


async def test_id_unknown_to_a_lagging_replica_is_paid_once(tmp_path: Path) -> None:
    """An id that a lagging replica does not know is collected and paid once."""
    manifest, out, replica = archive(tmp_path / "audio", 6), tmp_path / "out", Replica(0.5)
    async with start_service(tmp_path / "service", middlewares=[replica.layer]) as service:
        at = settings(service.base_url, unknown_seconds=2.0)
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.collected, summary.failed, summary.exit_code) == (6, 0, 0)
    assert set(submitted_audio(service).values()) == {1}
    check_results(tmp_path / "audio", out, 6)


async def test_listed_id_is_never_believed_to_be_unknown(tmp_path: Path) -> None:
    manifest, out, replica = archive(tmp_path / "audio", 3), tmp_path / "out", Replica(1e9)
    async with start_service(tmp_path / "service", middlewares=[replica.layer]) as service:
        at = settings(service.base_url)
        for _ in range(2):
            summary = await batch.run(str(manifest), out, settings=at, rerun=Rerun(failed=True))
            assert (summary.failed, summary.postponed, summary.exit_code) == (0, 3, 5)
            assert "the service lists transcript" in summary.failures["unknown_id"].reason
        replica.seconds = 0.0
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.collected + summary.carried_over, summary.exit_code) == (3, 0)
    assert set(submitted_audio(service).values()) == {1}


@pytest.mark.parametrize("seconds", [0.4, 1e9])
async def test_unknown_id_is_believed_only_after_the_configured_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """An unknown id is believed only after looks over the time that a setting says."""
    monkeypatch.setattr("batch.jobs.watcher._UNSEEN_SECONDS", 1.0)
    manifest, out, replica = archive(tmp_path / "audio", 2), tmp_path / "out", Replica(seconds, lists=False)
    async with start_service(tmp_path / "service", middlewares=[replica.layer]) as service:
        began = time.monotonic()
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url, unknown_seconds=1.2))
    if seconds < 1:
        assert (summary.collected, summary.exit_code) == (2, 0)
    else:
        assert (summary.failed, list(summary.failures)) == (2, ["unknown_id"])
        assert time.monotonic() - began > 1.2


async def test_old_id_is_asked_for_once_more_before_paying_anew(tmp_path: Path) -> None:
    manifest, out, replica = archive(tmp_path / "audio", 2), tmp_path / "out", Replica(1e9, lists=False)
    events = list[Event]()
    async with start_service(tmp_path / "service", middlewares=[replica.layer]) as service:
        at = settings(service.base_url)
        assert (await batch.run(str(manifest), out, settings=at)).failed == 2
        asked = len(service.requests)
        assert (await batch.run(str(manifest), out, settings=at)).skipped["failed before"] == 2
        assert len(service.requests) == asked
        replica.seconds, replica.lists = 0.0, True
        again = {"settings": at, "rerun": Rerun(failed=True), "on_event": events.append}
        summary = await batch.run(str(manifest), out, **again)
    assert (summary.collected, summary.exit_code) == (2, 0)
    assert set(submitted_audio(service).values()) == {1}
    assert len(told(events, "nothing is paid anew")) == 2
    check_results(tmp_path / "audio", out, 2)


class Projects:
    """A service that shows each key the transcripts of its own project only."""

    def __init__(self) -> None:
        self.owners: dict[str, str] = {}

    @web.middleware
    async def layer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        key, answer = request.headers.get("Authorization", ""), await handler(request)
        body = json.loads(bytes(getattr(answer, "body", b"")))
        if request.path == "/v2/upload" or answer.status != 200:
            return answer
        if request.method == "POST":
            self.owners[body["id"]] = key
        elif request.path == "/v2/transcript":
            body["transcripts"] = [line for line in body["transcripts"] if self.owners[line["id"]] == key]
            return web.json_response(body)
        elif self.owners[body["id"]] != key:
            return web.json_response({"error": protocol.UNKNOWN_ID_TEXT}, status=400)
        return answer


async def stopped_at(state: State, manifest: Path, out: Path, **given: Any) -> None:
    """A run that is stopped when the last of three jobs has come to a state."""
    stop, seen = asyncio.Event(), set[str]()

    def watch(event: Event) -> None:
        if isinstance(event, JobMoved) and event.job.state is state:
            seen.add(event.job.key)
        if len(seen) == 3:
            stop.set()

    await batch.run(str(manifest), out, on_event=watch, stop=stop, **given)


async def test_submission_with_another_key_waits_for_that_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was submitted with another key waits for that key and is not paid again."""
    monkeypatch.setattr("batch.jobs.watcher._UNSEEN_SECONDS", 1.0)
    manifest, out, projects = archive(tmp_path / "audio", 3), tmp_path / "out", Projects()
    ours, other = {"ASSEMBLYAI_API_KEY": "the-key-of-ours"}, {"ASSEMBLYAI_API_KEY": "the-key-of-another"}
    async with start_service(tmp_path / "service", seconds=1.0, middlewares=[projects.layer]) as service:
        at = settings(service.base_url, unknown_seconds=60.0)
        await stopped_at(State.SUBMITTED, manifest, out, settings=at, environ=ours)
        with manifest.open("a") as rows:
            rows.write("new,../audio/new.wav,,\n")
        (tmp_path / "audio" / "new.wav").write_bytes(wav(b"new" * 1000))
        for collected in (1, 0):
            summary = await batch.run(str(manifest), out, settings=at, environ=other, rerun=Rerun(failed=True))
            assert (summary.collected, summary.failed, summary.exit_code) == (collected, 0, 5)
            assert "submitted with another key" in summary.failures["other_key"].reason
            assert summary.failures["other_key"].count == 3
        summary = await batch.run(str(manifest), out, settings=at, environ=ours)
    assert (summary.collected + summary.carried_over, summary.exit_code) == (3, 0)
    assert set(submitted_audio(service).values()) == {1}
    kept = b"".join(path.read_bytes() for path in (out / ".diarist").rglob("*") if path.is_file())
    assert b"the-key" not in kept
    assert hashlib.sha256(b"the-key-of-ours").hexdigest()[:12].encode() not in kept, "there is salt in it"


async def test_unanswered_submission_is_not_sought_in_other_keys_list(tmp_path: Path) -> None:
    manifest, out, projects = archive(tmp_path / "audio", 3), tmp_path / "out", Projects()
    ours, other = {"ASSEMBLYAI_API_KEY": "ours"}, {"ASSEMBLYAI_API_KEY": "another"}
    async with start_service(tmp_path / "service", seconds=1.0, middlewares=[projects.layer]) as service:
        at = settings(service.base_url)
        await stopped_at(State.SUBMITTED, manifest, out, settings=at, environ=ours)
        with closing(sqlite3.connect(out / ".diarist" / "journal.db")) as db, db:
            assert len({row[0] for row in db.execute("SELECT key_print FROM jobs")} - {None}) == 1
            db.execute("UPDATE jobs SET state = 'submitting', transcript_id = NULL, submitted_at = NULL")
        summary = await batch.run(str(manifest), out, settings=at, environ=other)
        assert (summary.failures["other_key"].count, summary.exit_code) == (3, 5)
        summary = await batch.run(str(manifest), out, settings=at, environ=ours)
    assert (summary.collected + summary.carried_over, summary.exit_code) == (3, 0)
    assert set(submitted_audio(service).values()) == {1}


async def test_copy_of_what_another_key_paid_for_is_submitted_again(tmp_path: Path) -> None:
    """A copy of what another key has paid for is submitted by itself."""
    manifest, out, projects = archive(tmp_path / "audio", 1), tmp_path / "out", Projects()
    ours, other = {"ASSEMBLYAI_API_KEY": "ours"}, {"ASSEMBLYAI_API_KEY": "another"}
    async with start_service(tmp_path / "service", middlewares=[projects.layer]) as service:
        at = settings(service.base_url, unknown_seconds=60.0)
        await batch.run(str(manifest), out, settings=at, environ=ours)
        with manifest.open("a") as rows:
            rows.write("copy,0.wav,,\n")
        (out / "calls" / "0.json").rename(tmp_path / "0.json")
        manifest.write_text("".join(line for line in manifest.read_text().splitlines(True) if "calls/0" not in line))
        summary = await batch.run(str(manifest), out, settings=at, environ=other)
    assert (summary.collected, summary.exit_code, len(service.submissions)) == (1, 0, 2)
