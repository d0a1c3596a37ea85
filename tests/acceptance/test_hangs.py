"""Nothing holds a run for ever: not a silent pipe, not a large file, not its own recordings, not a stranger."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import resource
import shutil
import signal
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

import batch
from batch import errors
from batch.config import RetrySettings
from batch.model import Job, Recording
from batch.storage import audio, lock
from batch.storage.same_audio import compared
from tests.support.processes import ended, running, started
from tests.support.recordings import archive, check_results, settings, submitted_audio, wav
from tests.support.service import Double, Handler, start_service

QUICK_SECONDS = 10.0
HUGE_BYTES = 2_000_000_000
HUGE_COUNT = 40


@contextlib.contextmanager
def timely() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < QUICK_SECONDS


async def interrupted(child: subprocess.Popen[bytes], number: signal.Signals = signal.SIGINT) -> int:
    """Its exit code, which comes soon."""
    assert child.poll() is None, "it is still at work"
    with timely():
        child.send_signal(number)
        return await ended(child)


def reads_a_huge_file(child: subprocess.Popen[bytes]) -> bool:
    for link in Path(f"/proc/{child.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if link.stat().st_size == HUGE_BYTES:
                return True
    return False


def waits_for_a_pipe(child: subprocess.Popen[bytes]) -> bool:
    for thread in Path(f"/proc/{child.pid}/task").iterdir():
        with contextlib.suppress(OSError):
            if "pipe" in (thread / "wchan").read_text():
                return True
    return False


async def until_it(child: subprocess.Popen[bytes], does: Callable[[subprocess.Popen[bytes]], bool]) -> None:
    deadline = time.monotonic() + 60
    while not does(child):
        assert child.poll() is None
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def grown(folder: Path, out: Path, count: int) -> Path:
    """The manifest of recordings that are large by now, were as large when they were done, and have been touched."""
    for number in range(count):
        os.truncate(folder / f"{number}.wav", HUGE_BYTES)
    with contextlib.closing(sqlite3.connect(out / ".diarist" / "journal.db")) as db, db:
        db.execute("UPDATE jobs SET size_bytes = ?", (HUGE_BYTES,))
    return folder / "manifest.csv"


@pytest.mark.parametrize("rows", [b"", b"audio\n", b"audio\n0.wav\n"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_run_whose_standard_input_is_silent_can_be_stopped(
    tmp_path: Path, rows: bytes, number: signal.Signals
) -> None:
    archive(tmp_path / "audio", 1)
    async with start_service(tmp_path / "service") as service:
        arguments = running(Path("-"), tmp_path / "out", service)
        child = started(*arguments, stdin=subprocess.PIPE, cwd=tmp_path / "audio")
        assert child.stdin
        child.stdin.write(rows)
        child.stdin.flush()
        await until_it(child, waits_for_a_pipe)
        assert await interrupted(child, number) == 128 + number
        child.stdin.close()
    assert not service.submissions


async def test_run_with_all_it_may_admit_does_not_wait_for_more_rows(tmp_path: Path) -> None:
    archive(tmp_path / "audio", 600)
    rows = (tmp_path / "audio" / "manifest.csv").read_bytes().splitlines(keepends=True)
    async with start_service(tmp_path / "service") as service:
        arguments = running(Path("-"), tmp_path / "out", service, "--limit", 3)
        child = started(*arguments, stdin=subprocess.PIPE, cwd=tmp_path / "audio")
        assert child.stdin
        child.stdin.write(b"".join(rows))
        child.stdin.flush()
        with timely():
            assert await ended(child) == 0
        child.stdin.close()
    assert len(service.submissions) == 3


async def done(folder: Path, out: Path, service: Double, count: int) -> None:
    archive(folder, count)
    assert await ended(started(*running(folder / "manifest.csv", out, service, "--set", "concurrency=100"))) == 0


@pytest.mark.parametrize("where", ["before it asks", "in its rows"])
async def test_a_run_that_reads_large_files_again_can_be_stopped(tmp_path: Path, where: str) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await done(folder, out, service, HUGE_COUNT)
        manifest = grown(folder, out, HUGE_COUNT)
        with manifest.open("rb") as rows:
            named = Path("-") if where == "in its rows" else manifest
            child = started(*running(named, out, service), stdin=rows, cwd=folder)
            await until_it(child, reads_a_huge_file)
            assert await interrupted(child) == 130


async def test_run_looking_for_identical_recordings_can_be_stopped(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await done(folder, out, service, HUGE_COUNT)
        grown(folder, out, HUGE_COUNT)
        rows = [f"other-{number}.wav" for number in range(HUGE_COUNT)]
        for row in rows:
            (folder / row).touch()
            os.truncate(folder / row, HUGE_BYTES)
        (folder / "others.txt").write_text("\n".join(rows))
        child = started(*running(folder / "others.txt", out, service, "--set", "drain_seconds=2"))
        await until_it(child, reads_a_huge_file)
        assert await interrupted(child) == 130


async def test_copies_uploaded_ahead_do_not_wait_for_one_without_room(
    tmp_path: Path,
) -> None:
    """The first of them are uploaded before anything is known; one that comes later is compared, and is to pay."""
    folder, out = tmp_path / "audio", tmp_path / "out"
    folder.mkdir()
    one, other = (wav(random.Random(seed).randbytes(50_000)) for seed in range(2))
    for number in range(30):
        (folder / f"{number:02}.wav").write_bytes(other if number else one)

    @web.middleware
    async def slow(request: web.Request, handler: Handler) -> web.StreamResponse:
        await asyncio.sleep(0.5 if request.path == "/v2/upload" else 0.0)
        return await handler(request)

    narrow = {"concurrency": 1, "uploads": 1, "ahead_bytes": 1}
    async with start_service(tmp_path / "service", middlewares=[slow]) as service, asyncio.timeout(20):
        summary = await batch.run(str(folder), out, settings=settings(service.base_url, **narrow))
    assert (summary.exit_code, summary.collected) == (0, 30)
    assert set(submitted_audio(service).values()) == {1}


@pytest.mark.parametrize("lists_it_as_ended", [True, False])
async def test_transcript_being_made_again_is_awaited_with_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lists_it_as_ended: bool
) -> None:
    monkeypatch.setattr("batch.jobs.watcher._UNSEEN_SECONDS", 2.0)
    manifest, out = archive(tmp_path / "audio", 5), tmp_path / "out"
    until = 0.0

    @web.middleware
    async def early(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if request.method == "GET" and time.monotonic() < until and isinstance(answer, web.Response):
            is_page = request.path == "/v2/transcript"
            if not (is_page and lists_it_as_ended):
                body = bytes(answer.body or b"").replace(b'"completed"', b'"processing"')  # type: ignore[arg-type]
                return web.Response(body=body, content_type="application/json")
        return answer

    async with start_service(tmp_path / "service", middlewares=[early]) as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        for path in out.glob("calls/*.json"):
            path.unlink()
        until = time.monotonic() + 4
        service.requests.clear()
        patience = RetrySettings(base_seconds=0.5, outage_seconds=60)
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url, patience=patience))
        assert time.monotonic() > until
    assert (summary.exit_code, summary.collected) == (0, 5)
    fetches = [path for method, path in service.requests if path.startswith("/v2/transcript/")]
    assert len(fetches) <= 5 * 8
    check_results(tmp_path / "audio", out, 5)
    assert set(submitted_audio(service).values()) == {1}


def test_whoever_looks_at_a_lock_is_never_in_the_way(tmp_path: Path) -> None:
    path, over, started = tmp_path / "lock", threading.Event(), datetime.now()
    with lock.held(path, started):
        pass
    looking = [threading.Thread(target=look_until, args=(path, over)) for _ in range(4)]
    for thread in looking:
        thread.start()
    try:
        for _ in range(100):
            with lock.held(path, started):
                assert "process" in (lock.holder(path) or "")
    finally:
        over.set()
        for thread in looking:
            thread.join()
    assert lock.holder(path) is None


def look_until(path: Path, over: threading.Event) -> None:
    while not over.is_set():
        lock.holder(path)


def test_two_runs_beginning_at_once_learn_of_each_other_at_once(tmp_path: Path) -> None:
    path, started = tmp_path / "out" / "lock", datetime.now()
    told = pytest.raises(errors.UnavailableError, match="another run is at work")
    with lock.held(path, started), timely(), told, lock.held(path, started):
        pass


def test_a_lock_whose_disk_is_gone_is_left_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.held(path, datetime.now()):
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError):
                if link.samefile(path):
                    os.close(int(link.name))


@pytest.mark.parametrize("files", [20, 48])
async def test_too_few_open_files_end_the_run_and_fail_no_recording(tmp_path: Path, files: int) -> None:
    """Too few open files end the run with a sentence and are no recording's failure."""
    manifest, out = archive(tmp_path / "audio", 150), tmp_path / "out"
    few = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (files, files))
    async with start_service(tmp_path / "service", seconds=0.3, slots=100) as service:
        arguments = running(manifest, out, service, "--set", "concurrency=100")
        child = started(*arguments, stderr=subprocess.PIPE, preexec_fn=few)
        _, said = await asyncio.to_thread(child.communicate, timeout=60)
        assert child.returncode == 5
        assert said.count(b"ulimit -n") == 1
        assert b"another id" not in said
        assert b"Traceback" not in said
        assert not (out / "failed.jsonl").exists()
        assert await ended(started(*arguments)) == 0
    check_results(tmp_path / "audio", out, 150)
    assert set(submitted_audio(service).values()) == {1}


async def test_digest_unread_for_want_of_files_is_not_changed_audio(tmp_path: Path) -> None:
    folder = tmp_path / "audio"
    archive(folder, 1)
    path = str(folder / "0.wav")
    row, stamp = Recording("0", path, "m", 1, {}, {}), audio.stamp(path)
    assert stamp
    job = Job(row, "s", sha256=audio.digest(path), size_bytes=stamp.size_bytes, mtime_ns=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(errors.UnavailableError, match="ulimit -n"):
            compared(row, job)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert compared(row, job) == (False, stamp)


_SHUT_DOWN = 0x8004587D
_LOSING_THE_LOG = struct.pack("I", 2)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system that can be taken away."""
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(1 << 26)
    made = shutil.which("mkfs.ext4") and subprocess.run(["mkfs.ext4", "-q", "-F", image], check=False).returncode == 0
    if not made or not mounted(image, disk):
        pytest.skip("needs ext4, and the right to mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def mounted(image: Path, disk: Path) -> bool:
    command = ["mount", "-o", "loop", image, disk]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def take_away(disk: Path) -> None:
    """From now on it fails whatever is asked of it, and what was not yet on it is lost."""
    folder = os.open(disk, os.O_RDONLY)
    fcntl.ioctl(folder, _SHUT_DOWN, _LOSING_THE_LOG)
    os.close(folder)


async def test_vanished_disk_ends_the_run_and_the_next_run_continues(tmp_path: Path, disk: Path) -> None:
    """A disk that goes away ends the run with a message, and the next run goes on."""
    manifest, out = archive(tmp_path / "audio", 150), disk / "out"
    async with start_service(tmp_path / "service", seconds=0.2, slots=100) as service:
        quick = (
            "concurrency=50",
            "reconcile_grace_seconds=2",
        )  # a submission that the disk's end kept back is found lost
        arguments = running(manifest, out, service, *(part for setting in quick for part in ("--set", setting)))
        child = started(*arguments, stderr=subprocess.PIPE)
        while len(service.submissions) < 80:
            assert child.poll() is None
            await asyncio.sleep(0.01)
        take_away(disk)
        for running_on_it in (child, started(*arguments, stderr=subprocess.PIPE)):
            _, said = await asyncio.to_thread(running_on_it.communicate, timeout=60)
            assert running_on_it.returncode == 5, said
            assert b"The disk fails" in said
            assert b"Traceback" not in said
        subprocess.run(["umount", disk], check=True)
        assert mounted(tmp_path / "image", disk)
        child = started(*arguments, stderr=subprocess.PIPE)
        _, said = await asyncio.to_thread(child.communicate, timeout=60)
        assert child.returncode == 0, said
    check_results(tmp_path / "audio", out, 150)
    assert set(submitted_audio(service).values()) == {1}
