"""A watchdog hears of the start and the end of each run, and what becomes of its pings is no matter to the run."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.processes import diarist, end, start
from tests.support.recordings import archive
from tests.support.service import start_service
from tests.support.waiting import until
from tests.support.watchdog import SECRET, watchdog


async def test_successful_run_pings_its_start_and_its_end(tmp_path: Path) -> None:
    """A run that went well reports its start, and its end with a sentence."""
    manifest = archive(tmp_path / "audio", 3)
    async with start_service(tmp_path / "service") as service, watchdog() as (url, heard):
        ended = await diarist(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, DIARIST_PING__URL=url
        )
    assert ended.code == 0, ended.said
    assert [(ping.method, ping.what) for ping in heard] == [("POST", "/start"), ("POST", "")]
    assert heard[0].rid == heard[1].rid == str(uuid.UUID(heard[0].rid))
    assert heard[1].body.startswith("3 rows: 3 transcribed · ")
    assert SECRET not in ended.said


async def test_every_other_end_is_told_by_its_exit_code(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    (tmp_path / "audio" / "1.wav").write_bytes(b"")
    async with start_service(tmp_path / "service", key="k") as service, watchdog() as (url, heard):
        to = ["--out", out, "--service", service.base_url]
        for arguments, key, code, says in (
            (["run", manifest, *to], "k", 3, "2 transcribed, 1 failed"),
            (["run", manifest, *to, "--force", "--yes"], "wrong", 4, "ASSEMBLYAI_API_KEY"),
            (["run", tmp_path / "absent.csv", *to], "k", 2, "absent.csv"),
            (["run", manifest, *to, "--force", "--yes", "--max-hours", "0.0000001"], "k", 8, "0 transcribed"),
        ):
            ended = await diarist(*arguments, DIARIST_PING__URL=f"{url}/", ASSEMBLYAI_API_KEY=key)
            assert ended.code == code, ended.said
            assert [ping.what for ping in heard[-2:]] == ["/start", f"/{code}"]
            assert says in heard[-1].body
    assert len({ping.rid for ping in heard}) == 4


async def test_exit_codes_that_are_meant_to_happen_are_a_success(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 2)
    (tmp_path / "mine.toml").write_text("[ping]\nsuccess = [0, 8]\n")
    async with start_service(tmp_path / "service") as service, watchdog() as (url, heard):
        ended = await diarist(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--config",
            tmp_path / "mine.toml", "--max-hours", "0.0000001", DIARIST_PING__URL=f"{url}?tag=night",
        )  # fmt: skip
    assert ended.code == 8
    assert [ping.what for ping in heard] == ["/start", ""]


async def test_a_run_that_is_stopped_says_so(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 3)
    async with start_service(tmp_path / "service", seconds=60) as service, watchdog() as (url, heard):
        child = await start(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, DIARIST_PING__URL=url
        )
        await until(lambda: len(service.submissions) == 3)
        child.send_signal(signal.SIGTERM)
        assert (await end(child)).code == 143
    assert [ping.what for ping in heard] == ["/start", "/143"]


async def hang(request: web.Request) -> web.Response:
    await asyncio.sleep(60)
    return web.Response()


async def fall(request: web.Request) -> web.Response:
    return web.Response(status=500, text="down")


async def refuse(request: web.Request) -> web.Response:
    return web.Response(status=404, text="no such check")


@pytest.mark.parametrize(
    ("answer", "tries", "said"),
    [(hang, 3, "did not answer in time"), (fall, 3, "it answered 500"), (refuse, 1, "it answered 404")],
)
async def test_a_watchdog_that_fails_is_told_once_and_harms_nothing(
    tmp_path: Path, answer: Callable[[web.Request], Awaitable[web.Response]], tries: int, said: str
) -> None:
    """What a later try may mend is tried three times; a start that is not told by then is given up at the end."""
    manifest = archive(tmp_path / "audio", 3)
    async with start_service(tmp_path / "service") as service, watchdog(answer) as (url, heard):
        ended = await diarist(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--set",
            "ping.timeout_seconds=1.7", DIARIST_PING__URL=url,
        )  # fmt: skip
        assert len(service.submissions) == 3
    assert ended.code == 0, ended.said
    assert ended.said.count("the ping to 127.0.0.1 failed") == 1
    assert said in ended.said
    assert SECRET not in ended.said
    whats = [ping.what for ping in heard]
    assert whats == ["/start"] * whats.count("/start") + [""] * tries
    assert 1 <= whats.count("/start") <= tries
    assert "3 transcribed" in ended.said


@pytest.mark.parametrize("url", [f"hc-ping.com/{SECRET}", f"http://[{SECRET}", f"ftp://host/{SECRET}"])
async def test_a_url_that_is_none_is_told_without_telling_it(tmp_path: Path, url: str) -> None:
    manifest = archive(tmp_path / "audio", 1)
    ended = await diarist("run", manifest, "--out", tmp_path / "out", DIARIST_PING__URL=url)
    assert ended.code == 2
    assert "ping.url is no http(s) URL" in ended.said
    assert SECRET not in ended.said
    assert not (tmp_path / "out").exists()
