"""The client understands every answer: aioresponses says what a real service will not say on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, tzinfo

import aiohttp
import aioresponses
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batch import errors
from batch.config import TimeoutSettings
from batch.providers.assemblyai import client
from batch.providers.assemblyai.client import Client
from batch.providers.assemblyai.protocol import REFUSALS, Status, job_error, refusal
from batch.providers.interface import Operation

BASE = "http://service.test/v2"
HTML = "<html><body>Bad gateway</body></html>"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


CALLS: dict[Operation, tuple[str, str, Callable[[Client], Awaitable[object]]]] = {
    Operation.UPLOAD: ("POST", f"{BASE}/upload", lambda api: api.upload(chunks(b"audio"), 5)),
    Operation.SUBMIT: ("POST", f"{BASE}/transcript", lambda api: api.submit("http://a/b", {})),
    Operation.FETCH: ("GET", f"{BASE}/transcript/t1", lambda api: api.fetch("t1")),
    Operation.LIST: ("GET", f"{BASE}/transcript?limit=200", lambda api: api.page()),
}

ANSWERS = [
    (401, '{"error":"Authentication error, API token missing/invalid."}', errors.AuthenticationError, "key_refused"),
    (
        400,
        '{"error":"Your current account balance is negative. Please top up"}',
        errors.InsufficientFundsError,
        "no_funds",
    ),
    (403, "", errors.NoEffectError, "throttled"),
    (429, '{"error":"Too Many Requests"}', errors.ThrottledError, "throttled"),
    (400, '{"error":"format_text must be a Boolean"}', errors.RecordingError, "request_rejected"),
    (
        400,
        '{"error":"Transcript lookup error, transcript id not found"}',
        errors.TranscriptNotFoundError,
        "unknown_id",
    ),
    (404, '{"error":"Not found"}', errors.WrongServiceError, "wrong_address"),
    (500, HTML, errors.UnknownOutcomeError, "server_error"),
    (502, HTML, errors.UnknownOutcomeError, "server_error"),
    (503, "", errors.UnknownOutcomeError, "server_error"),
    (504, HTML, errors.UnknownOutcomeError, "server_error"),
    (507, '{"error": "The disk of the service is full: try again later"}', errors.NoEffectError, "no_room"),
    (200, '{"id": "t1", "sta', errors.UnknownOutcomeError, "bad_answer"),
    (200, "[]", errors.UnknownOutcomeError, "bad_answer"),
    (202, "{}", errors.UnknownOutcomeError, "bad_answer"),
]


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(("status", "body", "error", "kind"), ANSWERS)
async def test_every_refusal_on_every_route_becomes_its_table_error(
    operation: Operation,
    status: int,
    body: str,
    error: type[errors.DiaristError],
    kind: str,
    api: Client,
    mocked: aioresponses.aioresponses,
) -> None:
    method, url, call = CALLS[operation]
    mocked.add(url, method, status=status, body=body)
    with pytest.raises(error) as caught:
        await call(api)
    assert caught.value.kind == kind


def test_refused_link_is_staged_again_only_where_one_was_sent() -> None:
    kinds = {operation: refusal(operation, 403, "Cannot access uploaded file").kind for operation in Operation}
    assert kinds.pop(Operation.SUBMIT) == "link_refused"
    assert kinds.pop(Operation.UPLOAD) == "upload_failed"
    assert set(kinds.values()) == {"throttled"}


async def test_status_422_means_a_failed_upload_or_a_wrong_request() -> None:
    """A 422 means that the upload failed, but elsewhere that the request is wrong."""
    assert refusal(Operation.UPLOAD, 422, "Upload failed").reach is errors.NoEffectError
    assert refusal(Operation.SUBMIT, 422, "").reach is errors.RecordingError


def test_refusal_table_covers_every_status_that_is_not_a_success() -> None:
    assert all(refusal(operation, status, "") in REFUSALS for operation in Operation for status in range(300, 600))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Audio duration is too short.", "too_short"),
        ("Transcoding failed. File does not appear to contain audio. File type is text/html", "bad_audio"),
        ("Download error, unable to download http://x. Please make sure the file exists", "download_error"),
        ("Download error to http://x, 403 Client Error: Forbidden for url: http://x", "download_error"),
        ("language_detection cannot be performed on files with no spoken audio.", "no_speech"),
        ("Audio speech threshold 0.1 is below the requested speech threshold value 0.5", "speech_threshold"),
        ("detected language 'fr', confidence 0.2, is below the requested confidence threshold value of '0.7'",
         "language_confidence"),
        ("Server error, developers have been alerted", "server_error"),
        ("Internal server error. Please retry your request.", "server_error"),
        ("something new", "job_error"),
        (None, "job_error"),
    ],
)  # fmt: skip
def test_the_error_of_a_failed_job_is_classed_by_what_it_says(text: str | None, kind: str) -> None:
    assert job_error(text).kind == kind


YEAR = 366 * 86_400.0
SERVICES_CLOCK = "Tue, 24 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("7", SERVICES_CLOCK, 7.0),
        (" 7 ", None, 7.0),
        ("0", None, 0.0),
        ("1.5", None, 1.5),
        ("1.", None, 1.0),
        ("Tue, 24 Nov 2026 10:00:30 GMT", SERVICES_CLOCK, 30.0),
        ("Tue, 24 Nov 2026 10:00:30 -0000", SERVICES_CLOCK, 30.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", SERVICES_CLOCK, 0.0),
        ("Tue, 24 Nov 2026 10:00:30 GMT", "soon", 7230.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None, 0.0),
        ("3600", None, 3600.0),
        ("86400", None, 86400.0),
        ("1e300", None, YEAR),
        ("9" * 400, None, YEAR),
        ("Fri, 13 Nov 2099 00:00:00 GMT", None, YEAR),
        ("Fri, 13 Nov 2099 00:00:00 GMT", SERVICES_CLOCK, YEAR),
        ("-5", None, None),
        ("nan", None, None),
        ("inf", None, None),
        ("-inf", None, None),
        ("1e-5", None, None),
        ("1_000", None, None),
        ("²", None, None),
        ("soon", SERVICES_CLOCK, None),
        ("Fri, 13 Nov 99999 00:00:00 GMT", None, None),
        ("", SERVICES_CLOCK, None),
    ],
)
async def test_retry_after_is_read_as_seconds_or_as_a_date_and_bounded(
    header: str, date: str | None, seconds: float | None, api: Client, mocked: aioresponses.aioresponses,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls(2026, 11, 24, 8, tzinfo=tz)

    monkeypatch.setattr(client, "datetime", Clock)
    headers = {"Retry-After": header} | ({"Date": date} if date else {})
    mocked.get(f"{BASE}/transcript/t1", status=429, headers=headers)
    with pytest.raises(errors.NoEffectError) as caught:
        await api.fetch("t1")
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "target", "moved"),
    [
        ("https://new.example/v2/transcript/t1?sign=s3cret#x", "https://new.example/v2/transcript/t1", "https://new.example"),
        ("https://somebody:s3cret@new.example/a/v2/transcript/t1", "https://new.example/a/v2/transcript/t1",
         "https://new.example/a"),
        ("//new.example/login?s3cret", "http://new.example/login", None),
        ("/sign-in", "http://service.test/sign-in", None),
    ],
)  # fmt: skip
async def test_a_redirect_names_its_target_and_what_to_do(
    status: int, location: str, target: str, moved: str | None, api: Client, mocked: aioresponses.aioresponses
) -> None:
    mocked.get(f"{BASE}/transcript/t1", status=status, headers={"Location": location})
    with pytest.raises(errors.WrongServiceError) as caught:
        await api.fetch("t1")
    assert f"answered {status} to fetch: a redirect to {target}. " in str(caught.value)
    assert str(caught.value).endswith(f"give --service {moved}" if moved else "Check --service")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("location", [None, "", "http://[no", "http://new.example:99999/"])
async def test_a_redirect_that_leads_nowhere_is_a_wrong_address(
    location: str | None, api: Client, mocked: aioresponses.aioresponses
) -> None:
    mocked.get(f"{BASE}/transcript/t1", status=302, headers={"Location": location} if location is not None else {})
    with pytest.raises(errors.WrongServiceError, match="Check --service"):
        await api.fetch("t1")


@pytest.mark.parametrize(
    ("misfortune", "error"),
    [
        (aiohttp.ServerDisconnectedError(), errors.UnknownOutcomeError),
        (aiohttp.ClientPayloadError("half a body"), errors.UnknownOutcomeError),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), errors.UnknownOutcomeError),
        (aiohttp.SocketTimeoutError("too slow"), errors.UnknownOutcomeError),
        (aiohttp.ConnectionTimeoutError("no connection"), errors.NoEffectError),
    ],
)
@pytest.mark.parametrize("operation", CALLS)
async def test_broken_connection_is_unanswered_unless_nothing_arrived(
    operation: Operation,
    misfortune: Exception,
    error: type[errors.TransientError],
    api: Client,
    mocked: aioresponses.aioresponses,
) -> None:
    """A broken connection counts as unanswered, unless nothing can have arrived."""
    method, url, call = CALLS[operation]
    mocked.add(url, method, exception=misfortune)
    with pytest.raises(error):
        await call(api)


async def test_a_refused_connection_certainly_had_no_effect(unused_tcp_port: int) -> None:
    async with client.connect(f"http://127.0.0.1:{unused_tcp_port}", None, connections=1) as api:
        with pytest.raises(errors.NoEffectError, match="no connection"):
            await api.submit("http://a/b", {})


async def test_an_answer_may_carry_unknown_fields_and_nulls(api: Client, mocked: aioresponses.aioresponses) -> None:
    body = '{"id":"t1","status":"queued","error":null,"audio_duration":null,"is_deleted":null,"new":{"a":[1]}}'
    mocked.get(f"{BASE}/transcript/t1", body=body)
    head, raw = await api.fetch("t1")
    assert (head.id, head.status, raw) == ("t1", Status.QUEUED, body.encode())


async def test_an_id_that_is_not_an_id_never_becomes_a_path(api: Client) -> None:
    with pytest.raises(errors.TranscriptNotFoundError):
        await api.fetch("../upload")


class Upstream:
    """A real server on loopback that does with uploads what it is told."""

    def __init__(self, behaviour: Callable[[web.Request], Awaitable[web.Response]]) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v2/upload", behaviour)
        self.server = TestServer(app)

    async def __aenter__(self) -> str:
        await self.server.start_server()
        return str(self.server.make_url(""))

    async def __aexit__(self, *exc: object) -> None:
        await self.server.close()


async def slow_chunks(pause_seconds: float, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        await asyncio.sleep(pause_seconds)
        yield bytes(1000)


async def count_bytes(request: web.Request) -> web.Response:
    body = await request.read()
    assert request.content_length == len(body)
    return web.json_response({"upload_url": f"http://x/{len(body)}"})


async def test_an_upload_states_its_length_and_sends_every_byte() -> None:
    async with Upstream(count_bytes) as url, client.connect(url, None, connections=1) as api:
        assert await api.upload(chunks(b"x" * 100_000, b"y" * 50_000), 150_000) == "http://x/150000"


async def test_a_slow_upload_that_still_moves_is_healthy() -> None:
    deadlines = TimeoutSettings(stall_seconds=0.4)
    async with Upstream(count_bytes) as url, client.connect(url, None, connections=1, deadlines=deadlines) as api:
        assert await api.upload(slow_chunks(0.1, 8), 8000) == "http://x/8000"


async def test_an_upload_that_stands_still_is_given_up() -> None:
    deadlines = TimeoutSettings(stall_seconds=0.2)
    async with Upstream(count_bytes) as url, client.connect(url, None, connections=1, deadlines=deadlines) as api:
        with pytest.raises(errors.UnknownOutcomeError, match="stands still"):
            await api.upload(slow_chunks(5.0, 2), 2000)


async def test_file_error_is_not_called_a_broken_connection() -> None:
    async def bad_file() -> AsyncIterator[bytes]:
        yield b"x"
        raise errors.RecordingError("the disk is gone", kind="unreadable")

    async with Upstream(count_bytes) as url, client.connect(url, None, connections=1) as api:
        with pytest.raises(errors.RecordingError, match="the disk is gone"):
            await api.upload(bad_file(), 100)


async def test_an_early_refusal_of_a_large_upload_is_heard() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.json_response({"error": "Authentication error, API token missing/invalid"}, status=401)

    async with Upstream(refuse) as url, client.connect(url, None, connections=1) as api:
        with pytest.raises(errors.AuthenticationError):
            await api.upload(slow_chunks(0.001, 5000), 5_000_000)
