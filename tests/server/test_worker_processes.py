"""The service as processes: its workers, its child life under ``diarist run``, and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import anyio
import pytest

from batch import errors
from batch.engine.interface import BadAudio, EngineRequest, EngineTranscript
from batch.engine.registry import EngineChoice
from batch.providers.local import local_service
from batch.server.engine_pool import EnginePool
from tests.support.caller import outcome


class Plugin:
    """An engine of somebody else's: it does what the recording's bytes say."""

    name = "plugin"

    def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript:
        text = path.read_text()
        if text == "bad":
            raise BadAudio("Audio duration is too short.")
        if text.startswith("die"):
            died = Path(text.removeprefix("die ").strip())
            if not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if text == "always die":
            os.kill(os.getpid(), signal.SIGKILL)
        return EngineTranscript(text, (), None, 0.0, 1.0)


PLUGIN = f"{__name__}:Plugin"


async def test_a_worker_process_that_is_killed_costs_no_job(tmp_path: Path) -> None:
    async with local_service(tmp_path / "data", engine=PLUGIN, workers=2) as base_url:
        recordings = [f"die {tmp_path / 'died'}".encode(), b"beside", b"bad"]
        said = await asyncio.gather(*(outcome(base_url, audio) for audio in recordings))
        assert [each["status"] for each in said] == ["completed", "completed", "error"]
        assert said[2]["error"] == "Audio duration is too short."
        assert said[0]["speech_model_used"] == PLUGIN


async def test_a_job_that_kills_every_worker_ends_as_a_server_error(tmp_path: Path) -> None:
    async with local_service(tmp_path / "data", engine=PLUGIN, workers=1) as base_url:
        assert (await outcome(base_url, b"always die"))["error"].startswith("Internal server error")
        assert (await outcome(base_url, b"fine"))["status"] == "completed"


async def test_workers_run_beside_each_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    transcribe = EnginePool(EngineChoice(PLUGIN), 2).transcribe
    said = await asyncio.gather(*(transcribe(tmp_path / "a", EngineRequest()) for _ in range(4)))
    assert [each.text for each in said] == ["a"] * 4
    (tmp_path / "dead").write_text("always die")
    with pytest.raises(anyio.BrokenWorkerProcess):
        await transcribe(tmp_path / "dead", EngineRequest())


@pytest.mark.parametrize(
    ("engine", "says"),
    [("nonsense", "no engine called 'nonsense'"), ("absent.module:Engine", "absent"), ("json:Engine", "no 'Engine'")],
)
async def test_an_engine_that_is_missing_is_told_before_any_job(tmp_path: Path, engine: str, says: str) -> None:
    with pytest.raises(errors.UsageError, match=says):
        async with local_service(tmp_path, engine=engine, workers=1):
            raise AssertionError("it started")


PARENT = """
import asyncio, sys
from pathlib import Path
from batch.providers.local import local_service

async def main():
    async with local_service(Path(sys.argv[1]), engine=sys.argv[2], workers=1) as base_url:
        print(base_url, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def is_up(base_url: str) -> bool:
    try:
        async with aiohttp.ClientSession(base_url) as session, session.get("/v2/transcript") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_a_killed_parent_leaves_no_service_behind(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), PLUGIN], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    base_url = parent.stdout.readline().strip()
    assert await is_up(base_url)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 15
    while await is_up(base_url):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def serve(tmp_path: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "batch", "serve", "--engine", PLUGIN, "--data", str(tmp_path), *arguments]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ})


def test_an_address_that_others_can_reach_needs_a_key(tmp_path: Path) -> None:
    refused = serve(tmp_path, "--host", "0.0.0.0", "--port", "0", DIARIST_SERVICE_KEY="")
    _, said = refused.communicate(timeout=30)
    assert refused.returncode == 2
    assert "DIARIST_SERVICE_KEY" in said


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        (("--keep", "uploads=soon"), "write it as uploads=1h or transcripts=30d"),
        (("--disk-budget", "20 gigs"), "'20 gigs' is not a size"),
        (("--worker-memory", "much"), "'much' is not a size"),
        (("--worker-memory", "1MB"), "died while it was loaded. It may use 1 MB"),
    ],
)
def test_a_bound_that_cannot_be_kept_is_told_at_once(tmp_path: Path, flag: tuple[str, str], says: str) -> None:
    refused = serve(tmp_path, "--port", "0", *flag)
    _, said = refused.communicate(timeout=30)
    assert (refused.returncode, says in said, "Traceback" in said) == (2, True, False), said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_service_quietly(tmp_path: Path, number: signal.Signals) -> None:
    service = serve(tmp_path, "--port", "0")
    assert service.stderr
    assert "serving AssemblyAI v2 at http://127.0.0.1:" in service.stderr.readline()
    service.send_signal(number)
    _, said = service.communicate(timeout=30)
    assert (service.returncode, said) == (0, "")


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    first = serve(tmp_path / "a", "--port", "0")
    assert first.stderr
    port = first.stderr.readline().split(":")[2].split()[0]
    second = serve(tmp_path / "b", "--port", port)
    _, said = second.communicate(timeout=30)
    first.terminate()
    first.communicate()
    assert second.returncode == 2
    assert "Traceback" not in said
    assert "address already in use" in said
