"""The processes of the engine: who does what when a recording is shared out among them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from batch.engine.interface import BadAudio, EngineMissing, EngineRequest, EngineTranscript
from batch.engine.registry import EngineChoice
from batch.server.engine_pool import EnginePool

LOADED_IN = "DIARIST_TEST_LOADED_IN"
"""Names the folder in which each process that loads the engine below leaves a file."""


class Sharer:
    """An engine whose recordings say how many parts they have. Its transcript tells which processes heard them."""

    name = "sharer"

    def __init__(self) -> None:
        if folder := os.environ.get(LOADED_IN):
            (Path(folder) / str(os.getpid())).touch()

    def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript:
        return EngineTranscript(f"whole {os.getpid()}", (), None, 0.0, 1.0)

    def prepare(self, path: Path, request: EngineRequest, folder: Path) -> EngineTranscript | int:
        count, *self.orders = path.read_text().split()
        if count == "bad":
            raise BadAudio("Audio duration is too short.")
        if count == "short":
            return self.transcribe(path, request)
        if count == "together":
            self._wait_for_another(path.parent)
            return self.transcribe(path, request)
        (folder / "orders").write_text(" ".join(self.orders))
        return int(count)

    def hear_part(self, folder: Path, number: int) -> None:
        time.sleep(0.1)
        if number == 2 and (marker := (folder / "orders").read_text()):
            died = Path(marker) / "died"
            if marker.endswith("always") or not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        (folder / f"{number}.heard").write_text(str(os.getpid()))

    @staticmethod
    def _wait_for_another(folder: Path) -> None:
        (folder / f"{os.getpid()}.began").touch()
        while len(list(folder.glob("*.began"))) < 2:
            time.sleep(0.01)

    def join(self, folder: Path) -> EngineTranscript:
        heard = sorted(folder.glob("*.heard"), key=lambda path: int(path.stem))
        return EngineTranscript(" ".join(path.read_text() for path in heard), (), None, 0.0, 1.0)


class Fatal:
    """An engine whose libraries end the process, as native ones do."""

    def __init__(self) -> None:
        os._exit(1)


def pool_of(size: int, folder: Path) -> EnginePool:
    pool = EnginePool(EngineChoice(f"{__name__}:Sharer"), size, folder=folder / "parts")
    pool.clear()
    return pool


def recording(folder: Path, says: str) -> Path:
    path = folder / f"recording {says.replace('/', '')}"
    path.write_text(says)
    return path


async def test_a_recording_that_is_alone_is_heard_by_all_processes(tmp_path: Path) -> None:
    pool = pool_of(3, tmp_path)
    await pool.warm()
    said = (await pool.transcribe(recording(tmp_path, "12"), EngineRequest())).text.split()
    assert (len(said), len(set(said))) == (12, 3)
    assert list((tmp_path / "parts").iterdir()) == []


async def test_another_recording_waits_for_one_part_at_most(tmp_path: Path) -> None:
    pool = pool_of(2, tmp_path)
    await pool.warm()
    long = asyncio.create_task(pool.transcribe(recording(tmp_path, "30"), EngineRequest()))
    await until(lambda: len(heard(tmp_path)) >= 4)
    before = len(heard(tmp_path))
    await pool.transcribe(recording(tmp_path, "short"), EngineRequest())
    assert len(heard(tmp_path)) <= before + 8  # those under way, and some while a slow machine sends for it
    said = (await long).text.split()
    assert (len(said), len(set(said))) == (30, 2)


async def test_two_long_recordings_share_the_processes_evenly(tmp_path: Path) -> None:
    pool = pool_of(2, tmp_path)
    await pool.warm()
    recordings = [recording(tmp_path, count) for count in ("20", "21")]
    long = [asyncio.create_task(pool.transcribe(path, EngineRequest())) for path in recordings]
    await asyncio.wait(long, return_when=asyncio.FIRST_COMPLETED)
    assert len(heard(tmp_path)) >= 10 or all(task.done() for task in long)
    assert [len(said.text.split()) for said in await asyncio.gather(*long)] == [20, 21]


async def test_a_part_whose_process_dies_is_heard_again(tmp_path: Path) -> None:
    pool = pool_of(2, tmp_path)
    said = await pool.transcribe(recording(tmp_path, f"8 {tmp_path}"), EngineRequest())
    assert (tmp_path / "died").exists()
    assert len(said.text.split()) == 8


async def test_part_that_kills_every_process_ends_its_recording(tmp_path: Path) -> None:
    """A part that kills every process ends the recording and leaves nothing."""
    pool = pool_of(2, tmp_path)
    (tmp_path / "always").mkdir()
    with pytest.raises(anyio.BrokenWorkerProcess):
        await pool.transcribe(recording(tmp_path, f"8 {tmp_path / 'always'}"), EngineRequest())
    assert list((tmp_path / "parts").iterdir()) == []
    with pytest.raises(BadAudio):
        await pool.transcribe(recording(tmp_path, "bad"), EngineRequest())


async def test_a_recording_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    pool = pool_of(2, tmp_path)
    long = asyncio.create_task(pool.transcribe(recording(tmp_path, "50"), EngineRequest()))
    await until(lambda: heard(tmp_path))
    long.cancel()
    await asyncio.gather(long, return_exceptions=True)
    assert list((tmp_path / "parts").iterdir()) == []
    assert (await pool.transcribe(recording(tmp_path, "4"), EngineRequest())).text


async def test_one_process_does_everything_itself(tmp_path: Path) -> None:
    said = (await pool_of(1, tmp_path).transcribe(recording(tmp_path, "6"), EngineRequest())).text.split()
    assert (len(said), len(set(said))) == (6, 1)


async def test_all_processes_are_warm_before_the_first_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LOADED_IN, str(loaded := tmp_path / "loaded"))
    loaded.mkdir()
    pool = pool_of(2, tmp_path)
    await pool.check()
    await pool.warm()
    warm = {f"whole {path.name}" for path in loaded.iterdir()}
    assert len(warm) == 2
    both = await asyncio.gather(
        *(pool.transcribe(recording(tmp_path, "together"), EngineRequest()) for _ in range(2))
    )
    assert {said.text for said in both} == warm


async def test_an_engine_that_ends_its_process_while_loading_is_told(tmp_path: Path) -> None:
    with pytest.raises(EngineMissing, match="died"):
        await EnginePool(EngineChoice(f"{__name__}:Fatal"), 2).check()


def heard(folder: Path) -> list[Path]:
    return list((folder / "parts").rglob("*.heard"))


async def until(true: Callable[[], object]) -> None:
    for _ in range(3000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError
