"""Webhooks: notices ring the watcher's bells, whatever happens to them on the way."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

import batch
from batch import errors
from batch.config import SweepSettings, WebhookSettings
from batch.engine.interface import BadAudio
from batch.jobs.webhooks import receiving, stored_secret
from batch.network.http_listener import MOST_CONNECTIONS
from batch.providers.interface import RemoteJob
from batch.providers.registry import named
from batch.server.app import listening
from batch.server.queue import Notify
from batch.server.webhooks import WebhookRetry
from tests.support.recordings import archive, check_results, settings
from tests.support.service import start_service

SECRET = "correct horse"
SELDOM = SweepSettings(least_seconds=0.05, most_seconds=0.2, noticed_seconds=600)


@asynccontextmanager
async def listener(told: list[RemoteJob]) -> AsyncIterator[str]:
    webhook = WebhookSettings("http://127.0.0.1/said?run=1", port=0)
    async with receiving(webhook, SECRET, named("local"), told.append) as port:
        yield f"http://127.0.0.1:{port}"


NOTICE = b'{"transcript_id":"t1","status":"completed"}'


@pytest.mark.parametrize(
    ("method", "path", "secret", "body", "status", "told"),
    [
        ("POST", "/said", SECRET, NOTICE, 204, 1),
        ("POST", "/said?run=2", SECRET, NOTICE, 204, 1),
        ("POST", "/said", SECRET, b'{"transcript_id":"t1","status":"error"}', 204, 1),
        ("POST", "/said", SECRET, b'{"transcript_id":"t1","status":"queued"}', 204, 0),
        ("POST", "/said", SECRET, b'{"redacted_audio_url":"u","status":"redacted_audio_ready"}', 204, 0),
        ("POST", "/said", SECRET, b"{", 204, 0),
        ("POST", "/said", SECRET, b"\xff", 204, 0),
        ("POST", "/said", "correct hors", NOTICE, 401, 0),
        ("POST", "/said", "", NOTICE, 401, 0),
        ("POST", "/said", "ö", NOTICE, 401, 0),
        ("POST", "/said", SECRET, b" " * 100_000, 413, 0),
        ("POST", "/other", SECRET, NOTICE, 404, 0),
        ("GET", "/said", SECRET, b"", 405, 0),
    ],
)
async def test_only_a_notice_with_the_secret_rings(
    method: str, path: str, secret: str, body: bytes, status: int, told: int
) -> None:
    rung: list[RemoteJob] = []
    async with listener(rung) as url, aiohttp.ClientSession() as session:
        header = {"X-Diarist-Secret": secret}
        async with session.request(method, url + path, data=body, headers=header) as answer:
            assert answer.status == status
    assert len(rung) == told


async def test_a_port_that_is_taken_and_a_url_that_is_none_are_told() -> None:
    async with receiving(WebhookSettings("http://a/", port=0), SECRET, named("local"), print) as port:
        with pytest.raises(errors.UsageError, match=f"127.0.0.1:{port}.*webhook.port"):
            async with receiving(WebhookSettings("http://a/", port=port), SECRET, named("local"), print):
                pass
    with pytest.raises(errors.UsageError, match="--webhook-url here"):
        async with receiving(WebhookSettings("here"), SECRET, named("local"), print):
            pass


def test_the_secret_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "webhook-secret"
    assert stored_secret(path) == stored_secret(path)
    assert len(stored_secret(path)) >= 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("left", [b"", b"\n", b"\0\0\0\0", b"\xff\xfe"])
def test_a_secret_that_was_only_begun_is_made_anew(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "webhook-secret"
    path.write_bytes(left)
    assert len(stored_secret(path)) >= 40
    assert stored_secret(path) == path.read_text()
    assert [stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()] == [0o600]


def test_next_run_has_a_secret_after_a_kill_while_it_was_made(tmp_path: Path) -> None:
    """Killed at any line while the secret is made, the next run has one."""
    ended = []
    for line in range(1, 60):
        path = tmp_path / str(line) / "webhook-secret"
        path.parent.mkdir()
        ended.append(subprocess.run([sys.executable, "-c", DYING, str(path), str(line)], check=False).returncode)
        assert len(stored_secret(path)) >= 40
        if not ended[-1]:
            break
    assert ended == [-signal.SIGKILL] * (len(ended) - 1) + [0]


DYING = """
import os, signal, sys
from pathlib import Path
from batch.jobs.webhooks import stored_secret
left = int(sys.argv[2])

def count(frame, event, argument):
    global left
    if frame.f_code.co_filename == stored_secret.__code__.co_filename:
        left -= event == "line"
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return count

sys.settrace(count)
stored_secret(Path(sys.argv[1]))
"""


async def test_a_secret_that_is_no_text_is_refused() -> None:
    rung: list[RemoteJob] = []
    async with listener(rung) as url:
        port = URL(url).port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = b"POST /said HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Diarist-Secret: \xff\xfe\r\n\r\n{}"
        writer.write(head)
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()


async def test_300_idle_connections_are_bounded_and_let_notices_in() -> None:
    rung: list[RemoteJob] = []
    async with listener(rung) as url, aiohttp.ClientSession() as session:
        idle = [await asyncio.open_connection("127.0.0.1", URL(url).port) for _ in range(300)]
        header = {"X-Diarist-Secret": SECRET}
        async with session.post(url + "/said", data=NOTICE, headers=header) as answer:
            assert answer.status == 204
        await asyncio.gather(*(reader.read() for reader, _ in idle[: 301 - MOST_CONNECTIONS]))  # they were closed
        assert not any(reader.at_eof() for reader, _ in idle[302 - MOST_CONNECTIONS :])
        for _, writer in idle:
            writer.close()
    assert [(job.id, job.phase) for job in rung] == [("t1", "completed")]


def lost(send: Notify) -> Notify:
    """Two of three notices never arrive."""
    numbers = iter(range(10**6))

    async def sometimes(*notice: Any) -> int | None:
        return await send(*notice) if next(numbers) % 3 == 0 else None

    return sometimes


def doubled(send: Notify) -> Notify:
    async def twice(*notice: Any) -> int | None:
        await asyncio.gather(send(*notice), send(*notice))
        return await send(*notice)

    return twice


def late(send: Notify) -> Notify:
    rng = random.Random(1)

    async def later(*notice: Any) -> int | None:
        await asyncio.sleep(rng.uniform(0, 1))
        return await send(*notice)

    return later


def straight(send: Notify) -> Notify:
    return send


@pytest.mark.parametrize("on_the_way", [straight, lost, doubled, late])
async def test_a_run_ends_right_whatever_happens_to_notices(
    tmp_path: Path, unused_tcp_port: int, on_the_way: Callable[[Notify], Notify]
) -> None:
    manifest = archive(tmp_path / "in", 60)
    webhook = WebhookSettings(f"http://127.0.0.1:{unused_tcp_port}/done", port=unused_tcp_port)
    async with start_service(tmp_path / "service", seconds=0.3, slots=20, on_the_way=on_the_way) as service:
        asked = settings(service.base_url, webhook=webhook, concurrency=20, sweep=SweepSettings(0.05, 0.2, 0.5))
        async with asyncio.timeout(30):
            summary = await batch.run(str(manifest), tmp_path / "out", settings=asked)
    assert summary.exit_code == 0
    assert len(service.submissions) == 60
    check_results(tmp_path / "in", tmp_path / "out", 60)


async def test_while_notices_come_sweeps_are_seldom(tmp_path: Path, unused_tcp_port: int) -> None:
    manifest = archive(tmp_path / "in", 60)
    webhook = WebhookSettings(f"http://127.0.0.1:{unused_tcp_port}/done", port=unused_tcp_port)
    async with start_service(tmp_path / "service", seconds=0.5, slots=20) as service:
        asked = settings(service.base_url, webhook=webhook, concurrency=20, sweep=SELDOM)
        async with asyncio.timeout(120):  # a notice that a busy machine is late for is sent again after ten seconds
            summary = await batch.run(str(manifest), tmp_path / "out", settings=asked)
    lists = [request for request in service.requests if request == ("GET", "/v2/transcript")]
    assert summary.exit_code == 0
    assert len(lists) < 20, "1.5 s of sweeps every 0.05 s would be 30"


async def test_reason_is_asked_for_when_a_notice_says_a_job_failed(tmp_path: Path, unused_tcp_port: int) -> None:
    manifest = archive(tmp_path / "in", 3)
    webhook = WebhookSettings(f"http://127.0.0.1:{unused_tcp_port}/done", port=unused_tcp_port)

    def failing(audio: bytes) -> Exception | None:
        return BadAudio("Audio duration is too short.") if len(audio) == 2001 + 44 else None

    pace = SweepSettings(least_seconds=5, most_seconds=5)
    async with start_service(tmp_path / "service", failing=failing) as service:
        asked = settings(service.base_url, webhook=webhook, sweep=pace)
        async with asyncio.timeout(4):
            summary = await batch.run(str(manifest), tmp_path / "out", settings=asked)
    assert summary.collected == 2
    assert list(summary.failures) == ["too_short"]


# ── the sender ──────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def answering(*statuses: int) -> AsyncIterator[tuple[str, list[tuple[dict[str, Any], str | None]]]]:
    """A receiver that answers with these statuses in turn (0: not in time), and what it was told."""
    left, told = list(statuses), list[tuple[dict[str, Any], str | None]]()

    async def receive(request: web.Request) -> web.Response:
        told.append((await request.json(), request.headers.get("X-Mine")))
        status = left.pop(0) if len(left) > 1 else left[0]
        if not status:
            await asyncio.sleep(60)
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/hook", receive)
    async with listening(app, "127.0.0.1", 0) as url:
        yield f"{url}/hook", told


async def transcribed(service: str, hook: str, **more: str) -> str:
    async with aiohttp.ClientSession(service) as session:
        async with session.post("/v2/upload", data=b"RIFF") as answer:
            link = (await answer.json())["upload_url"]
        asked = {"audio_url": link, "webhook_url": hook, **more}
        async with session.post("/v2/transcript", json=asked) as answer:
            said = await answer.json()
            assert answer.status == 200, said
            assert "b secret" not in str(said)
            return str(said["id"])


async def when_told(service: str, transcript_id: str, done: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(10), aiohttp.ClientSession(service) as session:
        while True:
            async with session.get(f"/v2/transcript/{transcript_id}") as answer:
                said: dict[str, Any] = await answer.json()
            if done(said):
                return said
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("answers", "tries", "code"),
    [
        ((200,), 1, 200),
        ((503, 500, 204), 3, 204),
        ((0, 200), 2, 200),
        ((404,), 1, 404),
        ((500,), 10, 500),
    ],
)
async def test_service_notifies_until_heard_or_refused_or_ten_times(
    tmp_path: Path, answers: tuple[int, ...], tries: int, code: int
) -> None:
    """The service sends a notice until it is heard or refused, and ten times at most."""
    manner = WebhookRetry(answer_seconds=0.2, pause_seconds=0.01)
    async with answering(*answers) as (hook, told), start_service(tmp_path, manner=manner) as service:
        named = {"webhook_auth_header_name": "X-Mine", "webhook_auth_header_value": "b secret"}
        transcript_id = await transcribed(service.base_url, hook, **named)
        said = await when_told(service.base_url, transcript_id, lambda said: said["webhook_status_code"] is not None)
    assert told == [({"transcript_id": transcript_id, "status": "completed"}, "b secret")] * tries
    assert (said["webhook_status_code"], said["webhook_auth"], said["webhook_url"]) == (code, True, hook)
    assert "webhook_auth_header_value" not in said


def test_the_manner_is_the_documented_one() -> None:
    assert WebhookRetry() == WebhookRetry(tries=10, answer_seconds=10.0, pause_seconds=10.0)


async def test_unsent_notice_is_sent_after_a_restart(tmp_path: Path) -> None:
    def never(send: Notify) -> Notify:
        async def nothing(*notice: Any) -> int | None:
            await asyncio.Event().wait()
            return None

        return nothing

    async with answering(200) as (hook, told):
        async with start_service(tmp_path, on_the_way=never) as service:
            transcript_id = await transcribed(service.base_url, hook)
            await when_told(service.base_url, transcript_id, lambda said: said["status"] == "completed")
        assert not told
        async with start_service(tmp_path) as service:
            await when_told(service.base_url, transcript_id, lambda said: said["webhook_status_code"] == 200)
    assert [said for said, _ in told] == [{"transcript_id": transcript_id, "status": "completed"}]
    with closing(sqlite3.connect(tmp_path / "service.db")) as db:
        assert db.execute("SELECT count(*) FROM notices").fetchone() == (0,)
