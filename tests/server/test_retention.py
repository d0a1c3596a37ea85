"""What the service keeps, for how long, and within how much disk: a real store, real files, a real small disk."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import batch
from batch import errors
from batch.config import read_size
from batch.providers.assemblyai.protocol import Status, refusal
from batch.providers.interface import Operation
from batch.server.retention import RetentionPolicy, read_rules
from batch.server.store import Store
from batch.server.uploads import Full
from tests.support.caller import Caller, calling
from tests.support.recordings import archive, settings
from tests.support.service import start_service

HOUR = 3600.0
DAY = 24 * HOUR


@contextlib.contextmanager
def opened(folder: Path, budget: int | None = None) -> Iterator[Store]:
    with contextlib.closing(Store(folder, budget)) as store:
        yield store


async def put(store: Store, size: int = 1000, *, hours: float = 0.0) -> Path:
    """An upload of so many bytes, made so many hours ago."""
    async with store.receive(size) as arrival:
        await arrival.add(b"x" * size)
        path = await arrival.keep()
    os.utime(path, (time.time() - hours * HOUR,) * 2)
    return path


async def job(store: Store, path: Path, *, ended: float | None = None) -> str:
    """A job that names the upload, and that waits unless it has ended so many hours ago."""
    transcript_id = os.urandom(8).hex()
    await store.add(transcript_id, {"audio_url": f"http://localhost:1/upload/{path.name}"}, b"{}")
    if ended is not None:
        await store.change(transcript_id, Status.COMPLETED, b"{}")
        query = "UPDATE transcripts SET completed = strftime('%Y-%m-%dT%H:%M:%f000', 'now', ?) WHERE id = ?"
        await store._do(lambda db: db.execute(query, (f"-{ended * HOUR} seconds", transcript_id)))
    return transcript_id


def test_rule_is_read_as_written_and_any_other_text_is_refused() -> None:
    assert read_rules([]) == RetentionPolicy(DAY, None)
    assert read_rules(["uploads=0s", "transcripts=30d"]) == RetentionPolicy(0.0, 30 * DAY)
    for wrong in ("", "uploads", "uploads=", "audio=1h", "uploads=1", "uploads=-1h", "transcripts=for ever"):
        with pytest.raises(errors.UsageError, match="write it as"):
            read_rules([wrong])


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("500 MB", 5 * 10**8), ("2GiB", 2 << 30), ("1.5tb", 15 * 10**11), ("7", 7), ("3k", 3000)],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1e9", "20 gigs", "1,5GB"])
def test_what_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(errors.UsageError, match="is not a size"):
        read_size(text)


async def test_an_upload_lives_a_day_and_as_long_as_a_job_waits_for_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        fresh, old, awaited = [await put(store, hours=hours) for hours in (23, 25, 1000)]
        await job(store, awaited)
        await job(store, awaited, ended=500)
        lately, long_ago = await put(store, hours=1000), await put(store, hours=1000)
        await job(store, lately, ended=23)
        await job(store, long_ago, ended=25)
        await store.expire(RetentionPolicy())
        assert {path.name for path in store.uploads.all()} == {fresh.name, awaited.name, lately.name}
        assert not old.exists()
        assert not long_ago.exists()


async def test_rule_removes_an_upload_sooner_but_never_before_its_job(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        staged, waiting, done = await put(store, hours=20), await put(store, hours=20), await put(store)
        await job(store, waiting)
        await job(store, done, ended=0.1)
        await store.expire(RetentionPolicy(uploads=HOUR))
        assert done.exists()
        await store.expire(RetentionPolicy(uploads=0))
        assert (staged.exists(), waiting.exists(), done.exists()) == (True, True, False)


async def test_transcripts_are_kept_for_ever_without_a_rule(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        path = await put(store)
        old = [await job(store, path, ended=31 * 24) for _ in range(250)]
        new, waiting = await job(store, path, ended=29 * 24), await job(store, path)
        await store.expire(RetentionPolicy())
        assert await store.body(old[0])
        await store.expire(RetentionPolicy(transcripts=30 * DAY))
        assert [await store.body(each) for each in (*old, new, waiting)] == [None] * 250 + [b"{}"] * 2


async def test_a_transcript_whose_webhook_is_still_owed_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        await store.add("owed", {"audio_url": "http://a/b.wav", "webhook_url": "http://a"}, b"{}")
        await store.change("owed", Status.COMPLETED, b"{}")
        await asyncio.sleep(0.01)
        await store.expire(RetentionPolicy(transcripts=0))
        assert await store.body("owed")
        await store.delivered("owed", 200)
        await store.expire(RetentionPolicy(transcripts=0))
        assert await store.body("owed") is None


async def test_the_running_service_removes_what_is_over(tmp_path: Path) -> None:
    async with calling(tmp_path, keep=RetentionPolicy(uploads=0)) as api:
        made = await api.submit()
        await api.ended(made["id"])
        kept = await api.upload(b"not submitted yet")
        until = time.monotonic() + 20
        while len([*(tmp_path / "uploads").iterdir()]) > 1:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        assert api.service.digest_of(kept)


async def test_deleting_a_transcript_takes_its_upload_along(tmp_path: Path) -> None:
    """Deleting a transcript takes its upload along, unless another job waits for it."""
    async with calling(tmp_path, slots=1, seconds=0.3) as api:
        link = await api.upload()
        first, second = [(await api.call("POST", "/v2/transcript", json={"audio_url": link}))[1]["id"] for _ in "12"]
        await api.call("DELETE", f"/v2/transcript/{first}")
        assert (await api.ended(second))["status"] == "completed"
        await api.call("DELETE", f"/v2/transcript/{second}")
    assert [*(tmp_path / "uploads").iterdir()] == []


async def test_audio_that_was_fetched_goes_with_its_job(tmp_path: Path) -> None:
    from aiohttp import web
    from aiohttp.test_utils import TestServer

    async def serve(request: web.Request) -> web.Response:
        return web.Response(body=b"audio from elsewhere")

    elsewhere = web.Application()
    elsewhere.router.add_get("/a.wav", serve)
    async with TestServer(elsewhere) as server, calling(tmp_path, private=True) as api:
        _, made = await api.call("POST", "/v2/transcript", json={"audio_url": str(server.make_url("/a.wav"))})
        assert (await api.ended(made["id"]))["status"] == "completed"
        assert [*(tmp_path / "uploads").iterdir()] == []


# ── Room ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_upload_beyond_the_budget_is_refused_as_transient(tmp_path: Path) -> None:
    async with calling(tmp_path, budget=10_000) as api:
        await api.upload(b"x" * 6000)
        for body in (b"x" * 6000, slowly(6)):
            status, said = await api.call("POST", "/v2/upload", data=body)
            assert status == 507
            assert "no room" in said["error"]
        assert issubclass(refusal(Operation.UPLOAD, status, said["error"]).reach, errors.TransientError)
        assert [path.stat().st_size for path in (tmp_path / "uploads").iterdir()] == [6000]
        await api.upload(b"x" * 4000)


async def slowly(parts: int) -> Any:
    for _ in range(parts):
        yield b"x" * 1000
        await asyncio.sleep(0.01)


async def test_what_broke_off_or_was_refused_takes_no_room(tmp_path: Path) -> None:
    async with calling(tmp_path, budget=10_000) as api:
        for _ in range(5):
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await api.call("POST", "/v2/upload", data=broken(), headers={"Content-Length": "9000"})
        await asyncio.sleep(0.1)
        await api.upload(b"x" * 10_000)


async def broken() -> Any:
    yield b"x" * 5000
    raise TimeoutError


async def test_new_upload_displaces_only_those_whose_jobs_have_ended(tmp_path: Path) -> None:
    async with calling(tmp_path, budget=3_500, slots=1) as api:
        staged = await api.upload(b"s" * 1000)
        done = [await api.submit() for _ in range(2)]
        for each in done:
            await api.ended(each["id"])
        await api.upload(b"y" * 1000)
        await api.upload(b"z" * 1495)  # makes room: two uploads of ten bytes
        assert api.service.digest_of(staged) != staged
        assert {path.stat().st_size for path in (tmp_path / "uploads").iterdir()} == {1000, 1495}


async def test_what_can_never_have_room_is_too_large_at_once(tmp_path: Path) -> None:
    async with calling(tmp_path, budget=10_000) as api:
        for body in (b"x" * 10_001, slowly(11)):
            status, said = await api.call("POST", "/v2/upload", data=body)
            assert (status, said["error"]) == (413, "An upload may have 10000 bytes at most")


async def test_run_larger_than_the_room_goes_through_to_its_end(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 40), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.3, slots=2, budget=7_000) as service:
        at = settings(service.base_url, concurrency=2, uploads=8)
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.collected, summary.failed, summary.exit_code) == (40, 0, 0)
    assert summary.retries["no_room"] > 0
    assert len(service.submissions) == 40


async def test_several_uploads_at_once_share_the_room_that_is_left(tmp_path: Path) -> None:
    async with calling(tmp_path, budget=10_000) as api:
        answers = await asyncio.gather(*(api.call("POST", "/v2/upload", data=b"x" * 3000) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] * 3 + [507] * 5


def fill(disk: Path, leave: int) -> Path:
    """Somebody else's file takes all but so many bytes."""
    filling = disk / "filling"
    space = os.statvfs(disk)
    filling.write_bytes(bytes(max(0, space.f_bavail * space.f_bsize - leave)))
    return filling


async def test_uploads_leave_room_on_the_disk_for_what_was_accepted(tmp_path: Path, small_disk: Path) -> None:
    async with calling(small_disk) as api:
        statuses = []
        while 507 not in statuses:
            statuses.append((await api.call("POST", "/v2/upload", data=io.BytesIO(bytes(5_000_000))))[0])
        assert statuses[:-1] == [200] * (len(statuses) - 1)
        space = os.statvfs(small_disk)
        assert space.f_bavail * space.f_bsize > 10_000_000
        link = f"{api.service.base_url}/upload/{next((small_disk / 'uploads').iterdir()).name}"
        for _ in range(20):
            status, made = await api.call("POST", "/v2/transcript", json={"audio_url": link})
            assert status == 200
            assert (await api.ended(made["id"]))["status"] == "completed"


async def test_disk_filled_by_others_stops_the_service_until_freed(tmp_path: Path, small_disk: Path) -> None:
    """A disk that others fill stops the service only until there is space."""
    async with start_service(small_disk, seconds=0.5, slots=4) as service, aiohttp.ClientSession() as session:
        api = Caller(service, session)
        accepted = [(await api.submit())["id"] for _ in range(4)]
        link = await api.upload()
        await asyncio.sleep(0.2)
        filling = fill(small_disk, leave=0)
        refused: list[Any] = []
        while len(refused) < 3:  # what the log has allotted already may take the first ones
            status, said = await api.call("POST", "/v2/transcript", json={"audio_url": link})
            accepted += [said["id"]] if status == 200 else []
            refused += [said["error"]] if status == 507 else []
        assert set(refused) == {"The disk of the service is full: try again later"}
        assert (await api.call("POST", "/v2/upload", data=b"x" * 100_000))[0] == 507
        assert (await api.call("GET", "/v2/transcript"))[0] == 200
        await asyncio.sleep(1)
        filling.unlink()
        for each in accepted:
            assert (await api.ended(each))["status"] == "completed"
        _, listed = await api.call("GET", "/v2/transcript?limit=200")
        assert sorted(line["id"] for line in listed["transcripts"]) == sorted(accepted)


async def test_an_upload_that_meets_a_full_disk_leaves_nothing(tmp_path: Path, small_disk: Path) -> None:
    with opened(small_disk) as store:
        with pytest.raises(Full):
            async with store.receive(0) as arrival:
                store.uploads._reserve_bytes = -(10**9)  # as if the disk had said that there is room
                for _ in range(100):
                    await arrival.add(bytes(1 << 20))
        assert [*(small_disk / "uploads").iterdir()] == []
        store.uploads._reserve_bytes = 0
        await put(store, 50_000_000)
