"""The doctor names what is wrong, and what to do; its exit code is what a run would end with."""

from __future__ import annotations

import email.utils
import re
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batch.config import LocalServiceSettings
from batch.jobs.preflight import CheckLevel, examine
from batch.server.app import listening
from batch.storage import buckets, object_stores
from tests.support.object_store import BUCKET, named, running
from tests.support.preflight import findings
from tests.support.recordings import settings
from tests.support.service import start_service


async def test_preflight_passes_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """All is well with a service that answers, and nothing is left behind."""
    async with start_service(tmp_path / "service") as service:
        found = await findings(service.base_url, tmp_path / "out")
    assert {each.verdict for each in found.values()} == {CheckLevel.OK}, found
    assert set(found) == {
        "locale",
        "open files",
        "space",
        "disk",
        "journal",
        "service",
        "tls",
        "proxy",
        "reach",
        "clock",
    }
    assert not (tmp_path / "out").exists()
    assert not service.submissions


async def test_the_engine_that_the_settings_name_is_looked_at(tmp_path: Path) -> None:
    for local, says in (
        (LocalServiceSettings(engine="faster-whisper:/no/such/model"), "pip install|no directory /no/such/model"),
        (LocalServiceSettings(speakers="nobody"), "community-1, pyannote, sherpa-onnx"),
        (LocalServiceSettings(device="cuda"), "moonshine runs on the CPU only|pip install"),
    ):
        found = {each.what: each async for each in examine(settings("local", local=local), {}, tmp_path)}
        assert (found["engine"].verdict, found["engine"].exit_code) == (CheckLevel.BAD, 2)
        assert re.search(says, found["engine"].said)


async def test_a_wrong_key_is_told_with_the_exit_code_of_a_run(tmp_path: Path) -> None:
    async with start_service(tmp_path / "service", key="right") as service:
        wrong = await findings(service.base_url, tmp_path, ASSEMBLYAI_API_KEY="wrong")
        right = await findings(service.base_url, tmp_path, ASSEMBLYAI_API_KEY="right")
    assert (wrong["key"].verdict, wrong["key"].exit_code) == (CheckLevel.BAD, 4)
    assert "key" not in right


async def test_a_key_of_the_other_region_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with start_service(tmp_path / "us", key="us") as us, start_service(tmp_path / "eu", key="eu") as eu:
        hosts = {"assemblyai": us.base_url, "assemblyai-eu": eu.base_url}
        monkeypatch.setattr("batch.providers.assemblyai.endpoints.HOSTS", hosts)
        found = await findings("assemblyai", tmp_path, ASSEMBLYAI_API_KEY="eu")
    assert "--service assemblyai-eu" in found["key"].advice


async def test_absent_service_and_missing_key_are_reported(tmp_path: Path, unused_tcp_port: int) -> None:
    gone = await findings(f"http://127.0.0.1:{unused_tcp_port}", tmp_path)
    assert (gone["reach"].verdict, gone["reach"].exit_code) == (CheckLevel.BAD, 5)
    keyless = await findings("assemblyai", tmp_path)
    assert (keyless["service"].verdict, keyless["service"].exit_code) == (CheckLevel.BAD, 4)


@pytest.mark.parametrize(
    ("seconds", "verdict", "said"), [(0, "ok", "agrees"), (600, "warn", "behind"), (-600, "warn", "ahead of")]
)
async def test_a_clock_that_is_wrong_is_told(tmp_path: Path, seconds: int, verdict: str, said: str) -> None:
    async def page(request: web.Request) -> web.Response:
        date = email.utils.formatdate(time.time() + seconds, usegmt=True)
        details = {"limit": 1, "result_count": 0, "current_url": ""}
        return web.json_response({"page_details": details, "transcripts": []}, headers={"Date": date})

    app = web.Application()
    app.router.add_get("/v2/transcript", page)
    async with listening(app, "127.0.0.1", 0) as base_url:
        found = await findings(base_url, tmp_path)
    assert found["clock"].verdict == verdict
    assert said in found["clock"].said


async def test_a_damaged_journal_is_told_with_what_mends_it(tmp_path: Path, unused_tcp_port: int) -> None:
    path = tmp_path / ".diarist" / "journal.db"
    path.parent.mkdir()
    path.write_bytes(b"no database" * 1000)
    found = (await findings(f"http://127.0.0.1:{unused_tcp_port}", tmp_path))["journal"]
    assert (found.verdict, found.exit_code) == (CheckLevel.BAD, 2)
    assert "diarist recover" in found.advice


async def test_too_few_open_files_and_too_little_space_are_warned_of(
    tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(which: int) -> tuple[int, int]:
        return 64, 64

    def full(path: Any) -> Any:
        return type("Usage", (), {"free": 10**6})

    monkeypatch.setattr(resource, "getrlimit", few)
    monkeypatch.setattr("shutil.disk_usage", full)
    found = await findings(f"http://127.0.0.1:{unused_tcp_port}", tmp_path)
    assert "ulimit -n" in found["open files"].advice
    assert found["space"].verdict == CheckLevel.WARN


# ── stores ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def of_stores(out: Path, *manifests: str, copies: str = "") -> list[tuple[str, CheckLevel, int, str]]:
    asked = examine(settings("http://127.0.0.1:9"), {}, out, manifests, copies)
    found = [each async for each in asked if each.what in ("store", "manifest", "results")]
    return [(each.what, each.verdict, each.exit_code, each.said) for each in found]


async def test_stores_named_by_manifests_and_out_are_checked_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    monkeypatch.setattr(buckets, "TRIES", 1)
    root = f"s3://{BUCKET}"
    with running() as s3, named(monkeypatch, s3):
        for key in ("calls/1.wav", "calls/2.wav"):
            s3.put(key, b"RIFF")
        s3.put("m.csv", b"audio\ncalls/1.wav\nhttps://example.com/1.wav\ns3://other/1.wav\ns3://other/2.wav\n")
        (tmp_path / "m.txt").write_text(f"{root}/calls/gone.wav\n/a.wav\n")
        ok, bad = CheckLevel.OK, CheckLevel.BAD
        for asked, expected in (
            (
                [f"{root}/calls/", f"{root}/calls/*.wav", f"{root}/calls/1.wav"],
                [("store", ok, 0, f"{root} can be read")],
            ),
            (["s3://nowhere/"], [("store", bad, 2, "cannot list s3://nowhere/.*there is no bucket")]),
            ([str(tmp_path / "m.txt")], [("store", bad, 3, "calls/gone.wav is not there")]),
            ([f"{root}/m.csv"], [("store", ok, 0, root), ("store", bad, 3, "no bucket s3://other")]),
            ([f"{root}/none.csv"], [("manifest", bad, 2, "none.csv is not there")]),
            ([str(tmp_path / "none.csv")], [("manifest", bad, 2, "there is no manifest")]),
        ):
            found = await of_stores(tmp_path / "out", *asked)
            assert [each[:3] for each in found] == [each[:3] for each in expected]
            assert all(re.search(said, each[3]) for each, (*_, said) in zip(found, expected, strict=True)), found
        assert await of_stores(tmp_path / "out", copies=f"{root}/results") == [
            ("results", ok, 0, f"{root}/results can be written")
        ]
        ((what, verdict, code, _),) = await of_stores(tmp_path / "out", copies="s3://nowhere/results")
        assert (what, verdict, code) == ("results", bad, 5)
        assert s3.keys("") == ["calls/1.wav", "calls/2.wav", "m.csv"]
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")
        object_stores._store.cache_clear()
        ((what, verdict, code, said),) = await of_stores(tmp_path / "out", f"{root}/calls/")
        assert (what, verdict, code) == ("store", bad, 5)
        assert "cannot be reached" in said
