"""`diarist serve` is killed (SIGKILL) at the worst moments and started again: what was accepted is done, once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from batch.engine.interface import EngineRequest, EngineTranscript
from tests.fuzz.fuzzing import Service, serving


class Noting:
    """An engine that notes each recording in a file when it begins and when it ends: ``NOTES SECONDS NAME``.

    Recordings called ``held...`` take until there is a file NOTES.free.
    """

    name = "noting"

    def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript:
        notes, seconds, name = path.read_text().split()
        self._note(notes, f"begun {name}")
        time.sleep(float(seconds))
        while name.startswith("held") and not Path(f"{notes}.free").exists():
            time.sleep(0.01)
        self._note(notes, f"ended {name}")
        return EngineTranscript(name, (), None, 0.0, 1.0)

    def _note(self, notes: str, line: str) -> None:
        with Path(notes).open("a") as file:
            file.write(line + "\n")


NOTING = f"{__name__}:Noting"


class Recordings:
    """The recordings of a test, and what the engine has noted of them."""

    def __init__(self, folder: Path) -> None:
        self._notes = folder / "notes"
        self._notes.touch()

    def audio(self, name: str, seconds: float) -> bytes:
        return f"{self._notes} {seconds} {name}".encode()

    def free(self) -> None:
        Path(f"{self._notes}.free").touch()

    def noted(self, what: str) -> Counter[str]:
        lines = [line.split() for line in self._notes.read_text().splitlines()]
        return Counter(name for noted, name in lines if noted == what)


async def submit(service: Service, audio: bytes, **asked: Any) -> str:
    async with service.session.post("/v2/upload", data=audio) as answer:
        link = (await answer.json())["upload_url"]
    async with service.session.post("/v2/transcript", json={"audio_url": link, **asked}) as answer:
        return str((await answer.json())["id"])


async def ended(service: Service, transcript_id: str) -> dict[str, Any]:
    while True:
        async with service.session.get(f"/v2/transcript/{transcript_id}") as answer:
            said: dict[str, Any] = await answer.json()
        if answer.status != 200 or said["status"] in ("completed", "error"):
            return said
        await asyncio.sleep(0.02)


async def until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def kill(service: Service) -> None:
    service.process.kill()
    await service.process.wait()


async def test_killed_at_work_it_does_what_is_left_and_only_that(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    names = ["r0", "r1", "held2", "held3", "r4", "r5", "r6"]
    async with serving(tmp_path, "--workers", "2", engine=NOTING) as service:
        ids = {name: await submit(service, recordings.audio(name, 0.01)) for name in names}
        await until(lambda: recordings.noted("begun").keys() >= {"held2", "held3"})
        for name in ("r0", "r1"):
            assert (await ended(service, ids[name]))["status"] == "completed"
        workers = (await service.taken()).workers
        await kill(service)
    await until(lambda: not any(map(is_alive, workers)))
    recordings.free()
    async with serving(tmp_path, "--workers", "2", engine=NOTING) as service:
        said = {name: await ended(service, each) for name, each in ids.items()}
    assert {name: (each["status"], each["text"]) for name, each in said.items()} == {
        name: ("completed", name) for name in names
    }
    assert recordings.noted("ended") == Counter(dict.fromkeys(names, 1))
    assert recordings.noted("begun") == Counter(dict.fromkeys(names, 1)) + Counter(["held2", "held3"])


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("after", [1, 20])
async def test_killed_before_its_answers_it_knows_what_it_acknowledged(tmp_path: Path, after: int) -> None:
    recordings = Recordings(tmp_path)
    acknowledged: list[str] = []

    async def keep_submitting(service: Service, who: int) -> None:
        for number in range(100):
            acknowledged.append(await submit(service, recordings.audio(f"{who}-{number}", 0.0)))

    async with serving(tmp_path, engine=NOTING) as service:
        tasks = [asyncio.create_task(keep_submitting(service, who)) for who in range(8)]
        await until(lambda: len(acknowledged) >= after)
        await kill(service)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, aiohttp.ClientError)
    async with serving(tmp_path, engine=NOTING) as service:
        for each in acknowledged:
            assert (await ended(service, each))["status"] == "completed"
        async with service.session.get("/v2/transcript?limit=200") as answer:
            listed = [line["id"] for line in (await answer.json())["transcripts"]]
        for each in listed:
            assert (await ended(service, each))["status"] == "completed"
    assert set(acknowledged) <= set(listed)
    assert all(path.suffix == "" for path in (tmp_path / "data/uploads").iterdir())


async def test_service_killed_during_an_upload_keeps_nothing_of_it(tmp_path: Path) -> None:
    uploads = tmp_path / "data/uploads"
    async with serving(tmp_path, engine=NOTING) as service:
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(
            b"POST /v2/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 3_000_000
        )
        await until(lambda: sum(path.stat().st_size for path in uploads.iterdir()) > 1_000_000)
        await kill(service)
        writer.close()
    assert [*uploads.iterdir()] != []
    async with serving(tmp_path, engine=NOTING):
        assert [*uploads.iterdir()] == []


async def test_killed_while_a_webhook_is_owed_it_tells_it_afterwards(tmp_path: Path) -> None:
    recordings, told = Recordings(tmp_path), []
    listens = False

    async def receive(request: web.Request) -> web.Response:
        if not listens:
            raise web.HTTPServiceUnavailable
        told.append(await request.json())
        return web.Response()

    receiver = web.Application()
    receiver.router.add_post("/done", receive)
    async with TestServer(receiver) as server:
        async with serving(tmp_path, engine=NOTING) as service:
            made = await submit(service, recordings.audio("a", 0.0), webhook_url=str(server.make_url("/done")))
            assert (await ended(service, made))["status"] == "completed"
            await kill(service)
        listens = True
        async with serving(tmp_path, engine=NOTING) as service:
            await until(lambda: told)
            await until(lambda: owed(tmp_path) == 0)
            assert (await ended(service, made))["webhook_status_code"] == 200
        async with serving(tmp_path, engine=NOTING):
            await asyncio.sleep(0.5)
    assert told == [{"transcript_id": made, "status": "completed"}]


def owed(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "data/service.db")) as db:
        return int(db.execute("SELECT count(*) FROM notices").fetchone()[0])


async def test_killed_workers_cost_no_job_and_leave_nothing_behind(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)
    async with serving(tmp_path, "--workers", "2", engine=NOTING) as service:
        warm = [await submit(service, recordings.audio(f"warm{number}", 0.3)) for number in range(4)]
        for each in warm:
            await ended(service, each)
        before = await service.taken()
        for number in range(8):
            made = await submit(service, recordings.audio(f"r{number}", 0.4 if number % 2 else 0.0))
            await asyncio.sleep(0.2)  # at work, or idle again
            for worker in (await service.taken()).workers[: 1 + number % 2]:
                os.kill(worker, signal.SIGKILL)
            assert (await ended(service, made))["status"] == "completed"
        beside = [await submit(service, recordings.audio(f"beside{number}", 0.3)) for number in range(4)]
        for each in beside:
            assert (await ended(service, each))["status"] == "completed"
        after = await service.taken()
    assert (len(before.workers), len(after.workers)) == (2, 2)
    assert after.files <= before.files + 2
    assert set(before.workers).isdisjoint(after.workers)


async def test_what_people_said_is_for_the_owners_eyes_only(tmp_path: Path) -> None:
    async with serving(tmp_path, engine=NOTING):
        assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


async def test_two_services_never_share_their_jobs(tmp_path: Path) -> None:
    async with serving(tmp_path, engine=NOTING):
        with pytest.raises(AssertionError, match="another service has its jobs in .*data: host .*, process"):
            async with serving(tmp_path, engine=NOTING):
                pass


async def test_data_that_cannot_be_read_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/service.db").write_bytes(b"no database" * 1000)
    with pytest.raises(AssertionError) as told:
        async with serving(tmp_path, engine=NOTING):
            pass
    assert "Traceback" not in str(told.value)
    assert "file is not a database" in str(told.value)
