"""The local service says what v2 documents, on every route: over real sockets, with a real store."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from batch.engine.interface import BadAudio
from tests.support.caller import REQUIRED, Caller, calling
from tests.support.service import start_service


async def test_recording_has_all_required_fields_at_every_step(tmp_path: Path) -> None:
    async with calling(tmp_path) as api:
        made = await api.submit(speaker_labels=True, speakers_expected=2, format_text=None)
        assert set(REQUIRED) <= made.keys()
        assert made["status"] == "queued"
        assert made["words"] is made["utterances"] is made["text"] is None
        done = await api.ended(made["id"])
    assert (done["speaker_labels"], done["speakers_expected"], done["format_text"]) == (True, 2, True)
    assert [utterance["speaker"] for utterance in done["utterances"]] == ["A", "B"]
    assert {"text", "start", "end", "confidence", "speaker", "channel"} == done["words"][0].keys()
    assert isinstance(done["audio_duration"], int)
    assert done["speech_model_used"] == "double"
    assert "error" not in done


async def test_words_have_no_speaker_without_speaker_labels(tmp_path: Path) -> None:
    """Without speaker labels there are no utterances, and a word has no speaker."""
    async with calling(tmp_path) as api:
        done = await api.ended((await api.submit())["id"])
    assert done["utterances"] is None
    assert done["words"][0]["speaker"] is None


@pytest.mark.parametrize(
    ("method", "path", "request_", "status", "says"),
    [
        ("GET", "/v2/transcript/nobody", {}, 400, "Transcript lookup error, transcript id not found"),
        ("DELETE", "/v2/transcript/nobody", {}, 400, "Transcript lookup error, transcript id not found"),
        ("GET", "/v2/transcript/", {}, 400, "Transcript lookup error, transcript id not found"),
        ("GET", "/v2/transcript?before_id=nobody", {}, 400, "Transcript lookup error"),
        ("GET", "/v2/nothing", {}, 404, "Not found"),
        ("PUT", "/v2/upload", {}, 405, "not allowed"),
        ("GET", "/v2/transcript?limit=201", {}, 400, "limit must be between 1 and 200"),
        ("GET", "/v2/transcript?limit=0", {}, 400, "limit must be between"),
        ("GET", "/v2/transcript?status=done", {}, 400, "status must be one of"),
        ("POST", "/v2/transcript", {"data": b"{"}, 400, "not valid JSON"),
        ("POST", "/v2/transcript", {"json": ["x"]}, 400, "must be a JSON object"),
        ("POST", "/v2/transcript", {"json": {}}, 400, "audio_url should start with http"),
        ("POST", "/v2/transcript", {"json": {"audio_url": "/a.wav"}}, 400, "audio_url should start with http"),
    ],
)
async def test_a_wrong_request_is_refused_in_v2s_words(
    tmp_path: Path, method: str, path: str, request_: dict[str, Any], status: int, says: str
) -> None:
    async with calling(tmp_path) as api:
        answered, said = await api.call(method, path, **request_)
    assert answered == status
    assert says in said["error"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format_text": "yes"}, "format_text must be a Boolean"),
        ({"speakers_expected": 0}, "speakers_expected"),
        ({"speakers_expected": 2}, "needs speaker_labels"),
        (
            {"speaker_labels": True, "speakers_expected": 2, "speaker_options": {"min_speakers_expected": 1}},
            "not both",
        ),
        ({"redact_pii": True, "sentiment_analysis": True}, "local service: redact_pii, sentiment_analysis"),
        ({"language_code": "fr"}, "language_code fr"),
        ({"webhook_url": "nowhere"}, "webhook_url is not valid"),
        ({"webhook_url": "http://a", "webhook_auth_header_name": "X-A"}, "go together"),
        ({"webhook_auth_header_name": "X-A", "webhook_auth_header_value": "b"}, "go together"),
        (
            {"webhook_url": "http://a", "webhook_auth_header_name": "X-A", "webhook_auth_header_value": "b\r\nX: y"},
            "webhook_auth_header_value is not valid",
        ),
    ],
)
async def test_wrong_and_cloud_only_options_are_refused_by_name(
    tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    async with calling(tmp_path) as api:
        link = await api.upload()
        status, said = await api.call("POST", "/v2/transcript", json={"audio_url": link, **options})
    assert status == 400
    assert says in said["error"]


async def test_what_is_off_or_unknown_is_accepted(tmp_path: Path) -> None:
    async with calling(tmp_path) as api:
        made = await api.submit(redact_pii=False, auto_chapters=False, language_code="en_us", a_new_key={"x": 1})
        assert "a_new_key" not in made
        assert made["redact_pii"] is False


async def test_an_empty_upload_is_refused_as_documented(tmp_path: Path) -> None:
    async with calling(tmp_path) as api:
        status, said = await api.call("POST", "/v2/upload", data=b"")
    assert status == 422
    assert said.startswith("Upload failed, please try again.")


async def test_uploads_may_be_chunked_and_of_any_type(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"some "
        yield b"audio"

    async with calling(tmp_path) as api:
        _, said = await api.call("POST", "/v2/upload", data=chunks(), headers={"Content-Type": "audio/wav"})
        assert re.fullmatch(re.escape(api.service.base_url) + r"/upload/[0-9a-f]{32}", said["upload_url"])
        assert api.service.digest_of(said["upload_url"]) == api.service.digest_of(await api.upload(b"some audio"))


async def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async with start_service(tmp_path) as service:
        host, port = service.base_url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v2/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 5000)
        await writer.drain()
        while not [*(tmp_path / "uploads").iterdir()]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        writer.close()
        for _ in range(200):
            if not [*(tmp_path / "uploads").iterdir()]:
                break
            await asyncio.sleep(0.01)
        assert [*(tmp_path / "uploads").iterdir()] == []


@pytest.mark.parametrize("name", ["..%2f..%2fservice.db", "service.db", "0" * 32, "%2e%2e/service.db"])
async def test_no_link_leads_out_of_the_uploads(tmp_path: Path, name: str) -> None:
    async with calling(tmp_path) as api:
        status, made = await api.call(
            "POST", "/v2/transcript", json={"audio_url": f"{api.service.base_url}/upload/{name}"}
        )
        assert status == 200
        assert (await api.ended(made["id"]))["error"].startswith("Download error")


@pytest.mark.parametrize("host", ["127.0.0.1:9", "localhost:9", "10.0.0.1", "[::1]:9", "169.254.169.254"])
async def test_addresses_inside_the_house_are_not_fetched(tmp_path: Path, host: str) -> None:
    async with calling(tmp_path) as api:
        made = await api.call("POST", "/v2/transcript", json={"audio_url": f"http://{host}/a.wav"})
        done = await api.ended(made[1]["id"])
    assert done["status"] == "error"
    assert done["error"].startswith(f"Download error, unable to download http://{host}/a.wav")


async def test_a_public_url_is_fetched_where_that_is_allowed(tmp_path: Path, unused_tcp_port: int) -> None:
    from aiohttp import web
    from aiohttp.test_utils import TestServer

    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=b"audio from elsewhere")

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPFound("/a.wav")

    elsewhere = web.Application()
    elsewhere.router.add_get("/a.wav", serve)
    elsewhere.router.add_get("/moved", moved)
    async with TestServer(elsewhere) as server, calling(tmp_path, private=True) as api:
        for path, status in (("/a.wav", "completed"), ("/moved", "completed"), ("/gone", "error")):
            made = await api.call("POST", "/v2/transcript", json={"audio_url": str(server.make_url(path))})
            assert (await api.ended(made[1]["id"]))["status"] == status


async def test_only_the_right_key_is_accepted_on_every_route(tmp_path: Path) -> None:
    routes = [("POST", "/v2/upload"), ("POST", "/v2/transcript"), ("GET", "/v2/transcript"), ("GET", "/v2/x")]
    for header in ({}, {"authorization": "wrong"}, {"authorization": "Bearer wrong"}):
        async with calling(tmp_path, headers=header, key="right") as api:
            for method, path in routes:
                status, said = await api.call(method, path)
                assert (status, said) == (401, {"error": "Authentication error, API token missing/invalid"})
    async with calling(tmp_path, headers={"authorization": "right"}, key="right") as api:
        assert (await api.call("GET", "/v2/transcript"))[0] == 200


async def test_a_job_that_fails_is_a_200_that_says_so(tmp_path: Path) -> None:
    text = "Transcoding failed. File does not appear to contain audio. File type is text/plain."
    async with calling(tmp_path, failing=lambda audio: BadAudio(text)) as api:
        done = await api.ended((await api.submit())["id"])
        _, listed = await api.call("GET", "/v2/transcript")
    assert (done["status"], done["error"], done["text"]) == ("error", text, None)
    assert listed["transcripts"][0]["error"] == text


async def test_an_engine_that_breaks_ends_the_job_in_the_vendors_words(tmp_path: Path) -> None:
    async with calling(tmp_path, failing=lambda audio: RuntimeError("out of memory")) as api:
        done = await api.ended((await api.submit())["id"])
    assert done["error"].startswith("Internal server error. Please retry your request.")


async def test_the_list_walks_to_older_transcripts_and_back(tmp_path: Path) -> None:
    async with calling(tmp_path, slots=1, seconds=60) as api:
        link = await api.upload()
        made = [(await api.call("POST", "/v2/transcript", json={"audio_url": link}))[1]["id"] for _ in range(450)]
        path: str | None = "/v2/transcript?limit=200&model_config=ignored"
        seen: list[str] = []
        sizes = []
        while path:
            _, page = await api.call("GET", path)
            details = page["page_details"]
            assert details["result_count"] == len(page["transcripts"])
            sizes.append(details["result_count"])
            seen += [line["id"] for line in page["transcripts"]]
            last, path = page, details["prev_url"] and details["prev_url"].removeprefix(api.service.base_url)
        assert sizes == [200, 200, 50]
        assert seen == made[::-1]
        _, newer = await api.call("GET", last["page_details"]["next_url"].removeprefix(api.service.base_url))
        assert [line["id"] for line in newer["transcripts"]] == made[50:250][::-1]
        line = newer["transcripts"][0]
        assert line.keys() == {"id", "resource_url", "status", "created", "completed", "audio_url", "error"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", line["created"])
        _, queued = await api.call("GET", "/v2/transcript?status=processing")
        assert [each["id"] for each in queued["transcripts"]] == made[:1]
        assert (await api.call("GET", f"/v2/transcript?created_on={line['created'][:10]}"))[1]["transcripts"]
        assert not (await api.call("GET", "/v2/transcript?created_on=2000-01-01"))[1]["transcripts"]


async def test_jobs_run_in_turn_and_only_so_many_at_once(tmp_path: Path) -> None:
    running, most = 0, 0
    order: list[bytes] = []

    async with start_service(tmp_path, slots=3) as service, aiohttp.ClientSession() as session:
        queue = service.queue

        async def transcribe(path: Path, request: Any) -> Any:
            nonlocal running, most
            running, most = running + 1, max(most, running + 1)
            order.append(path.read_bytes())
            await asyncio.sleep(0.02)
            running -= 1
            raise BadAudio("no matter")

        queue._transcribe = transcribe
        api = Caller(service, session)
        ids = [
            (await api.call("POST", "/v2/transcript", json={"audio_url": await api.upload(b"%d" % n)}))[1]["id"]
            for n in range(12)
        ]
        for each in ids:
            await api.ended(each)
    assert most == 3
    assert [int(audio) for audio in order] == sorted(int(audio) for audio in order)


async def test_deleted_transcript_and_its_upload_are_gone_for_good(tmp_path: Path) -> None:
    async with calling(tmp_path) as api:
        made = await api.submit()
        await api.ended(made["id"])
        for _ in range(2):
            status, said = await api.call("DELETE", f"/v2/transcript/{made['id']}")
            assert (status, said["text"], said["audio_url"]) == (200, "Deleted by user.", "http://deleted_by_user")
        assert (await api.ended(made["id"]))["text"] == "Deleted by user."
        assert (await api.call("GET", "/v2/transcript"))[1]["transcripts"][0]["audio_url"] == "http://deleted_by_user"
    assert [*(tmp_path / "uploads").iterdir()] == []


async def test_jobs_and_uploads_survive_a_restart_on_another_port(tmp_path: Path) -> None:
    async with calling(tmp_path, slots=1, seconds=60) as api:
        ids = [(await api.submit(speaker_labels=True))["id"] for _ in range(3)]
        await asyncio.sleep(0.05)
        waiting = await api.upload(b"uploaded before")
    async with calling(tmp_path) as api:
        for each in ids:
            assert (await api.ended(each))["status"] == "completed"
        status, made = await api.call("POST", "/v2/transcript", json={"audio_url": waiting})
        assert status == 200
        assert (await api.ended(made["id"]))["status"] == "completed"
