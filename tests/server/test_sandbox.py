"""What a job may take of its worker process, and what becomes of one that takes more. Real processes, signals."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from batch.engine.interface import BadAudio, EngineMissing, EngineRequest, EngineTranscript
from batch.engine.registry import EngineChoice
from batch.providers.local import local_service
from batch.server import sandbox
from batch.server.engine_pool import EnginePool
from batch.server.queue import Transcriber
from tests.support.caller import outcome

MEGABYTE = 1 << 20


class Greedy:
    """An engine that does what the recording's bytes say."""

    name = "greedy"

    def __init__(self) -> None:
        self._held: list[Any] = []

    def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript:
        what, _, number = path.read_text().partition(" ")
        said: object = None
        match what:
            case "memory":
                said = len(bytearray(int(number) * MEGABYTE))
            case "map":
                self._held.append(mmap.mmap(-1, int(number) * MEGABYTE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
            case "hang":
                self._hang(float(number))
            case "segfault":
                ctypes.string_at(0)
            case "refused":
                raise RuntimeError("BFCArena: Failed to allocate memory for requested buffer of size 3206144")
            case "raise":
                raise Unpicklable(lambda: None)
            case "exit":
                raise SystemExit(7)
            case "limits":
                said = (
                    resource.getrlimit(resource.RLIMIT_CORE),
                    Path("/proc/self/oom_score_adj").read_text().strip(),
                )
            case "pid":
                said = os.getpid()
        return EngineTranscript(str(said), (), None, 0.0, 1.0)

    def _hang(self, seconds: float) -> None:
        """As in a decoder's code, where no Python runs: no handler and no thread of Python's could end it. The alarm
        that the service has set is brought forward."""
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 200
        signal.setitimer(signal.ITIMER_REAL, seconds)
        ctypes.PyDLL(None).sleep(3600)


class Unpicklable(Exception):
    pass


class Heavy(Greedy):
    """An engine with large models."""

    def __init__(self) -> None:
        super().__init__()
        self._held.append(bytearray(200 * MEGABYTE))


GREEDY = f"{__name__}:Greedy"


async def said(transcribe: Transcriber, folder: Path, what: str) -> str:
    path = folder / what.replace(" ", "-")
    path.write_text(what)
    return (await transcribe(path, EngineRequest())).text


async def test_job_beyond_its_memory_ends_as_an_error_of_its_own(tmp_path: Path) -> None:
    transcribe = EnginePool(EngineChoice(GREEDY), 1, memory_bytes=500 * MEGABYTE).transcribe
    before = await said(transcribe, tmp_path, "pid")
    assert await said(transcribe, tmp_path, "memory 200") == str(200 * MEGABYTE)
    for what in ("memory 600", "memory 600000", "refused"):
        with pytest.raises(BadAudio, match="needs more memory than a job may use"):
            await said(transcribe, tmp_path, what)
    assert await said(transcribe, tmp_path, "pid") == before


async def test_worker_hanging_outside_python_is_killed_in_time(tmp_path: Path) -> None:
    transcribe = EnginePool(EngineChoice(GREEDY), 1).transcribe
    began = time.monotonic()
    with pytest.raises(anyio.BrokenWorkerProcess):
        await said(transcribe, tmp_path, "hang 0.5")
    assert time.monotonic() - began < 20
    assert await said(transcribe, tmp_path, "pid")


async def test_an_alarm_is_for_one_job_only(tmp_path: Path) -> None:
    with sandbox.within(0.2):
        pass
    await asyncio.sleep(0.3)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("what", ["hang 0.3", "segfault"])
async def test_job_whose_worker_always_dies_is_a_server_error(tmp_path: Path, what: str) -> None:
    """A job whose worker dies every time is a server error, and the next one goes well."""
    async with local_service(tmp_path / "data", engine=GREEDY, workers=2) as base_url:
        done, beside = await asyncio.gather(outcome(base_url, what.encode()), outcome(base_url, b"pid"))
        assert done["error"].startswith("Internal server error")
        assert beside["status"] == "completed"
        assert (await outcome(base_url, b"pid"))["status"] == "completed"


@pytest.mark.parametrize("what", ["raise", "exit"])
async def test_whatever_an_engine_raises_reaches_the_service_as_text(tmp_path: Path, what: str) -> None:
    with pytest.raises(sandbox.EngineFailed, match="Unpicklable|SystemExit: 7"):
        await said(EnginePool(EngineChoice(GREEDY), 1).transcribe, tmp_path, what)


async def test_a_worker_leaves_no_core_file_and_is_the_first_to_go(tmp_path: Path) -> None:
    core, score = (await said(EnginePool(EngineChoice(GREEDY), 1).transcribe, tmp_path, "limits")).split("), ")
    assert core == "((0, 0"
    assert "500" in score


async def test_an_engine_that_does_not_fit_is_told_before_any_job() -> None:
    with pytest.raises(EngineMissing, match="died while it was loaded. It may use 105 MB, see --worker-memory"):
        await EnginePool(EngineChoice(f"{__name__}:Heavy"), 1, memory_bytes=100 * MEGABYTE).check()


async def test_1500_callers_who_send_nothing_keep_nobody_else_out(tmp_path: Path) -> None:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files[1] < 4000:
        pytest.skip("this system does not allow so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (files[1], files[1]))
    try:
        async with local_service(tmp_path / "data", engine=GREEDY, workers=1) as base_url:
            port = int(base_url.rpartition(":")[2])
            idle = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(1500)]
            assert (await outcome(base_url, b"pid"))["status"] == "completed"
            for writer in idle:
                writer.transport.abort()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)


PARENT = """
import asyncio, sys
from pathlib import Path
from batch.server.engine_pool import EnginePool
from batch.server.queue import Transcriber
from batch.engine.interface import EngineRequest
from batch.engine.registry import EngineChoice

async def main():
    transcribe = EnginePool(EngineChoice(sys.argv[1]), 1).transcribe
    print((await transcribe(Path(sys.argv[2]), EngineRequest())).text, flush=True)
    await transcribe(Path(sys.argv[3]), EngineRequest())

asyncio.run(main())
"""


def test_a_worker_at_work_dies_with_its_service(tmp_path: Path) -> None:
    (tmp_path / "pid").write_text("pid")
    (tmp_path / "hang").write_text("hang 3000")
    command = [sys.executable, "-c", PARENT, GREEDY, str(tmp_path / "pid"), str(tmp_path / "hang")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    worker = int(parent.stdout.readline())
    time.sleep(0.5)
    assert Path(f"/proc/{worker}").exists()
    parent.kill()
    parent.communicate()
    until = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and "\nState:\tZ" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("size_bytes", "at_least", "at_most"),
    [(0, 300, 300), (16_000, 300, 600), (480_000, 3000, 4000), (10**9, 100_000, 120_000)],
)
def test_time_is_allowed_by_what_the_file_may_hold(size_bytes: int, at_least: float, at_most: float) -> None:
    assert at_least <= sandbox.seconds(size_bytes) <= at_most


def test_workers_share_the_memory_and_each_has_enough() -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert sandbox.memory(1) <= machine
    assert sandbox.memory(1000) == 2_000_000_000
