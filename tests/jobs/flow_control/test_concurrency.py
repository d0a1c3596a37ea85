"""Who gets a slot, and how much is uploaded ahead of one."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

import batch
from batch.jobs.flow_control import concurrency
from batch.jobs.flow_control.concurrency import ConcurrencyLimiter, UploadAheadLimiter
from tests.support.recordings import settings
from tests.support.service import start_service


async def order_of(waits: dict[str, float], limit: ConcurrencyLimiter) -> list[str]:
    """The order in which slots are given to these keys, by weight, one after the other."""
    served: list[str] = []

    async def work(key: str, weight: float) -> None:
        await limit.acquire(key, weight)
        served.append(key)
        await asyncio.sleep(0)
        limit.release(key)

    await limit.acquire("first")
    async with asyncio.TaskGroup() as group:
        for key, weight in waits.items():
            group.create_task(work(key, weight))
        await asyncio.sleep(0)
        limit.release("first")
    return served


async def test_heaviest_waiter_is_next_and_equal_weights_go_in_order() -> None:
    assert await order_of({"a": 1, "b": 3, "c": 2, "d": 3}, ConcurrencyLimiter(1)) == ["b", "d", "c", "a"]
    assert await order_of({"a": 0, "b": 0, "c": 0}, ConcurrencyLimiter(1)) == ["a", "b", "c"]


async def test_who_has_waited_for_too_long_is_next_however_light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "_OLD_SECONDS", -1.0)
    assert await order_of({"a": 1, "b": 3, "c": 2}, ConcurrencyLimiter(1)) == ["a", "b", "c"]


async def test_who_gives_up_waiting_takes_no_slot() -> None:
    limit = ConcurrencyLimiter(1)
    await limit.acquire("a")
    waiting = asyncio.create_task(limit.acquire("b", 9))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    limit.release("a")
    async with asyncio.timeout(1):
        await limit.acquire("c")


async def test_uploads_ahead_are_bounded_in_bytes_but_one_always_goes() -> None:
    ahead = UploadAheadLimiter(100)
    await ahead.acquire("large", 500)
    small = [asyncio.create_task(ahead.acquire(key, 60)) for key in "ab"]
    await asyncio.sleep(0)
    assert not any(task.done() for task in small)
    ahead.release("large")
    await small[0]
    await asyncio.sleep(0)
    assert not small[1].done()
    await ahead.acquire("a", 60)
    ahead.release("a")
    ahead.release("a")
    await small[1]
    await ahead.acquire("c", 40)


async def test_longest_staged_recordings_are_submitted_first(tmp_path: Path) -> None:
    sizes = random.Random(1).sample(range(1000, 9000), 24)
    for number, size in enumerate(sizes):
        (tmp_path / f"{number:02}.wav").write_bytes(b"x" * size)
    (tmp_path / "manifest.txt").write_text("".join(f"{number:02}.wav\n" for number in range(24)))
    async with start_service(tmp_path / "service", seconds=2) as service:
        asked = settings(service.base_url, concurrency=12)
        summary = await batch.run(str(tmp_path / "manifest.txt"), tmp_path / "out", settings=asked)
        submitted = [size_of(service, body["audio_url"]) for body in service.submissions]
    assert summary.exit_code == 0
    assert submitted[12:] == sorted(submitted[12:], reverse=True), "the first twelve find free slots"


def size_of(service: object, audio_url: str) -> int:
    path = service._store.upload(audio_url.rpartition("/")[2])  # type: ignore[attr-defined]
    return int(path.stat().st_size)


async def test_recording_beyond_the_ahead_limit_is_uploaded_anyway(tmp_path: Path) -> None:
    """A recording larger than all that may go ahead is uploaded all the same."""
    for number in range(10):
        (tmp_path / f"{number}.wav").write_bytes(b"%d" % number * 5000)
    (tmp_path / "manifest.txt").write_text("".join(f"{number}.wav\n" for number in range(10)))
    async with start_service(tmp_path / "service") as service:
        asked = settings(service.base_url, concurrency=1, ahead_bytes=1)
        async with asyncio.timeout(20):
            summary = await batch.run(str(tmp_path / "manifest.txt"), tmp_path / "out", settings=asked)
    assert summary.collected == 10


async def test_slots_are_held_back_while_the_service_has_its_own_queue() -> None:
    concurrency = ConcurrencyLimiter(8)
    concurrency.pause(True)
    waiting = asyncio.create_task(concurrency.acquire("a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    concurrency.pause(False)
    await waiting


async def test_slots_return_gradually_once_the_service_queue_is_gone() -> None:
    concurrency = ConcurrencyLimiter(100)
    for number in range(10):
        concurrency.count_in(str(number))
    concurrency.pause(True)
    waiting = [asyncio.create_task(concurrency.acquire(f"more {number}")) for number in range(80)]
    await asyncio.sleep(0)
    concurrency.pause(False)
    await asyncio.sleep(0)
    assert sum(task.done() for task in waiting) == 5, "half as many again"
    for number in range(10):
        concurrency.release(str(number))
    await asyncio.sleep(0)
    assert sum(task.done() for task in waiting) == 25, "two for each job that has ended"
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
