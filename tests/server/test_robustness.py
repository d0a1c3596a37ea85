"""Requests that are malformed, oversized, hostile or simultaneous are answered, and harm nothing."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import pytest

from batch.engine.interface import BadAudio, EngineTranscript
from batch.providers.assemblyai.protocol import refusal
from batch.providers.interface import Operation
from tests.support.caller import Caller, calling
from tests.support.stored_jobs import put

UNKNOWN = "Transcript lookup error, transcript id not found"
ODD = ["%ED%A0%80", "%FF%FE", "%00", "a%2Fb", "..%2f..%2fservice.db", "'%20OR%201=1--", "%F0%9F%98%80", "x" * 4000]


@pytest.mark.parametrize("odd", ODD)
async def test_an_odd_id_is_an_unknown_id_on_every_route(tmp_path: Path, odd: str) -> None:
    async with calling(tmp_path) as api:
        for method, path in (
            ("GET", odd),
            ("DELETE", odd),
            ("GET", f"{odd}/sentences"),
            ("GET", f"{odd}/srt"),
            ("GET", f"?before_id={odd}"),
            ("GET", f"?after_id={odd}"),
        ):
            answer = await raw(api, method, "/v2/transcript" + ("" if path[0] == "?" else "/") + path)
            assert (b" 400 " in answer, UNKNOWN.encode() in answer) == (True, True), (method, path, answer)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("limit=%C2%B2", "limit must be between 1 and 200"),
        ("limit=" + "9" * 5000, "limit must be between"),
        ("limit=-1", "limit must be between"),
        ("limit=1.5", "limit must be between"),
        ("status=Queued", "status must be one of"),
        ("created_on=20260101", "created_on must be a day"),
        ("created_on=2026-02-30", "created_on must be a day"),
        ("created_on=%ED%A0%80", "created_on must be a day"),
        ("throttled_only=perhaps", "throttled_only must be a Boolean"),
    ],
)
async def test_a_query_out_of_bounds_is_refused(tmp_path: Path, query: str, says: str) -> None:
    async with calling(tmp_path) as api:
        status, said = await api.call("GET", f"/v2/transcript?{query}")
    assert (status, says in said["error"]) == (400, True)


async def test_the_filters_of_the_list_work_together(tmp_path: Path) -> None:
    outcomes = [EngineTranscript("", (), None, 0.0, 1.0), "Audio duration is too short."] * 5
    ids = await put(tmp_path, *outcomes)
    async with calling(tmp_path) as api:

        async def listed(query: str) -> list[int]:
            status, said = await api.call("GET", f"/v2/transcript?{query}")
            assert status == 200
            return [ids.index(line["id"]) for line in said["transcripts"]]

        _, first = await api.call("GET", "/v2/transcript?limit=1")
        today = first["transcripts"][0]["created"][:10]
        between = f"after_id={ids[1]}&before_id={ids[8]}"
        assert await listed(between) == [7, 6, 5, 4, 3, 2]
        assert await listed(f"{between}&status=error") == [7, 5, 3]
        assert await listed(f"{between}&status=error&created_on={today}&limit=2") == [5, 3]
        assert await listed(f"{between}&created_on=2001-01-01") == []
        assert await listed(f"after_id={ids[8]}&before_id={ids[1]}") == []
        assert await listed(f"after_id={ids[9]}") == []
        assert await listed("status=&limit=&before_id=&after_id=&created_on=&throttled_only=") == [*range(9, -1, -1)]
        assert await listed("throttled_only=true&status=completed") == []
        _, page = await api.call("GET", f"/v2/transcript?status=error&created_on={today}&limit=2&after_id={ids[1]}")
        older = page["page_details"]["prev_url"].partition("?")[2]
        assert {"status=error", f"created_on={today}", "limit=2", f"before_id={ids[3]}"} == set(older.split("&"))
        assert await listed(older) == [1]


BODIES: dict[str, tuple[bytes, int, str]] = {
    "deeply nested": (b"[" * 100_000, 400, "not valid JSON"),
    "half a surrogate": (b'{"audio_url":"http://a/\\ud800"}', 400, "not valid JSON"),
    "not UTF-8": (b'{"audio_url":"\xff"}', 400, "not valid JSON"),
    "not a number": (b'{"audio_url":"http://a","temperature":NaN}', 400, "not valid JSON"),
    "nothing": (b"", 400, "not valid JSON"),
    "a megabyte": (b'{"audio_url":"http://a","x":"' + b"x" * (1 << 20) + b'"}', 413, "1048576 bytes at most"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_no_submission_has_is_refused_in_json(tmp_path: Path, name: str) -> None:
    body, status, says = BODIES[name]
    async with calling(tmp_path) as api:
        answered, said = await api.call("POST", "/v2/transcript", data=io.BytesIO(body))
        assert (answered, says in said["error"]) == (status, True)
        assert (await api.call("GET", "/v2/transcript"))[1]["transcripts"] == []


@pytest.mark.parametrize("path", ["/v2/upload", "/v2/transcript"])
async def test_a_body_that_stands_still_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("batch.server.app._STALL_SECONDS", 0.2)
    async with calling(tmp_path) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.service.base_url.rpartition(":")[2]))
        writer.write(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n".encode())
        answer = await reader.readuntil(b"seconds")
        assert answer.startswith(b"HTTP/1.1 408 "), answer
        writer.close()
    assert [*(tmp_path / "uploads").iterdir()] == []


async def test_a_connection_without_a_request_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.server.app._STALL_SECONDS", 0.2)
    async with calling(tmp_path) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.service.base_url.rpartition(":")[2]))
        writer.write(b"GET /v2/transcript HTTP/1.1\r\nHost: lo")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_a_link_that_is_no_address_is_a_download_error(tmp_path: Path) -> None:
    async with calling(tmp_path) as api:
        for link in ("http://[", "http://a b", "httpx://a", "http://", "https:///x"):
            status, made = await api.call("POST", "/v2/transcript", json={"audio_url": link})
            assert status == 200
            assert (await api.ended(made["id"]))["error"].startswith("Download error")


async def test_other_methods_are_told_what_is_allowed(tmp_path: Path) -> None:
    [made] = await put(tmp_path, EngineTranscript("", (), None, 0.0, 1.0))
    async with calling(tmp_path) as api:
        for path in ("/v2/transcript", f"/v2/transcript/{made}", f"/v2/transcript/{made}/srt"):
            async with api.session.head(api.service.base_url + path) as answer:
                assert (answer.status, await answer.read()) == (200, b"")
        async with api.session.options(f"{api.service.base_url}/v2/transcript") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_simultaneous_deletes_agree(tmp_path: Path) -> None:
    async with calling(tmp_path) as api:
        ids = [(await api.submit())["id"] for _ in range(5)]
        answers = await asyncio.gather(*(api.call("DELETE", f"/v2/transcript/{each}") for each in ids * 10))
        assert {(status, said["text"]) for status, said in answers} == {(200, "Deleted by user.")}
        _, page = await api.call("GET", "/v2/transcript")
        assert {line["audio_url"] for line in page["transcripts"]} == {"http://deleted_by_user"}
    assert [*(tmp_path / "uploads").iterdir()] == []


async def test_nobody_waits_for_a_job_that_was_deleted_before_it_ended(tmp_path: Path) -> None:
    async with calling(tmp_path, slots=1, seconds=0.2) as api:
        running, waiting = (await api.submit())["id"], (await api.submit())["id"]
        for each in (running, waiting):
            await api.call("DELETE", f"/v2/transcript/{each}")
            done = await api.ended(each)
            assert (done["status"], done["error"], done["text"]) == ("error", "Deleted by user.", "Deleted by user.")
        later = await api.submit()
        assert (await api.ended(later["id"]))["status"] == "completed"
        assert (await api.ended(running))["text"] == "Deleted by user."
        _, page = await api.call("GET", "/v2/transcript?status=error")
        assert [line["error"] for line in page["transcripts"]] == ["Deleted by user."] * 2


async def test_deleted_failed_job_still_says_that_it_has_no_words(tmp_path: Path) -> None:
    async with calling(tmp_path, failing=lambda audio: BadAudio("Audio duration is too short.")) as api:
        made = (await api.submit())["id"]
        await api.ended(made)
        await api.call("DELETE", f"/v2/transcript/{made}")
        done = await api.ended(made)
    assert (done["status"], done["error"], done["words"]) == ("error", "Deleted by user.", None)


# ── Who may ask ─────────────────────────────────────────────────────────────────────────────────────────────────


async def raw(api: Caller, method: str, target: str, host: str = "localhost", *headers: str) -> bytes:
    """Sends exactly this, which a client library would not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.service.base_url.rpartition(":")[2]))
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    try:
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8517", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:1", 200),
        ("127.8.8.8", 200),
        ("[::1]:8517", 200),
        ("evil.example", 421),
        ("evil.example:8517", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
        ("0.0.0.0", 421),
        ("192.168.0.1", 421),
        ("2130706433", 421),
        ("[::1", 400),
        ("a:b:c", 400),
    ],
)
async def test_without_a_key_only_names_of_this_machine_are_served(tmp_path: Path, host: str, status: int) -> None:
    async with calling(tmp_path) as api:
        answer = await raw(api, "GET", "/v2/transcript", host)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        absolute = await raw(api, "GET", "http://localhost/v2/transcript", host)
        assert absolute.startswith(f"HTTP/1.1 {status} ".encode()), absolute
        for method, path in (("POST", "/v2/upload"), ("DELETE", "/v2/transcript/x"), ("GET", "/v2/transcript/x/srt")):
            assert (f" {status} ".encode() in (await raw(api, method, path, host))[:20]) == (status != 200)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1", 200),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
async def test_without_a_key_the_pages_of_websites_are_not_served(tmp_path: Path, origin: str, status: int) -> None:
    async with calling(tmp_path) as api:
        answer = await raw(api, "GET", "/v2/transcript", "localhost", f"Origin: {origin}")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def test_with_a_key_any_name_is_served_and_its_uploads_are_found(tmp_path: Path) -> None:
    headers: dict[str, Any] = {"Authorization": "right", "Host": "transcripts.example:8517"}
    async with calling(tmp_path, headers=headers, key="right") as api:
        link = await api.upload()
        assert link.startswith("http://transcripts.example:8517/upload/")
        _, made = await api.call("POST", "/v2/transcript", json={"audio_url": link})
        assert (await api.ended(made["id"]))["status"] == "completed"
        answer = await raw(api, "GET", "/v2/transcript", "evil.example", "Authorization: \u00f6")
        assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_run_with_a_name_that_is_not_served_stops_at_once() -> None:
    assert refusal(Operation.LIST, 421, "").kind == "wrong_address"
