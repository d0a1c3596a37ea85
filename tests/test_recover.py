"""Disks: results that are removed, read-only or full places, journals that are damaged, failures to feed back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import batch
from batch import errors, sources, wiring
from batch.admission import Wish
from batch.model import Event, State
from batch.plan import Row
from batch.window import Window
from tests.service.double import Double, start_service
from tests.test_run import archive, check_results, settings, submitted_audio, wav

NOTHING: dict[str, Any] = {"wish": Wish(), "window": Window(), "environ": {}, "stdin": None}


async def planned(manifest: Path, out: Path, service: Double) -> list[Row]:
    async with wiring.planning([str(manifest)], out, settings=settings(service.base_url), **NOTHING) as planner:
        return [row async for row in planner.rows()]


def damage(out: Path) -> None:
    """Overwrite the middle of the journal, as a bad disk would."""
    path = out / ".diarist" / "journal.db"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size // 4))


async def test_plan_says_why_and_touches_nothing(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    manifest = archive(folder, 6)
    async with start_service(tmp_path / "service") as service:
        assert {each.why for each in await planned(manifest, out, service)} == {"new"}
        assert not out.exists()
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        (out / "calls" / "1.json").unlink()
        (folder / "2.wav").write_bytes(wav(b"other" * 1000))
        manifest.write_text(manifest.read_text().replace("calls/3,3.wav,2", "calls/3,3.wav,3"))
        asked = len(service.requests)
        whys = [each.why for each in await planned(manifest, out, service)]
        assert len(service.requests) == asked
    assert whys == [
        "done before", "result missing", "audio changed", "option changed: speakers_expected", "done before",
        "done before",
    ]  # fmt: skip


async def test_a_touched_file_is_read_once_and_then_known_again_by_its_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    digest, read = sources.digest, []
    monkeypatch.setattr(sources, "digest", lambda path: read.append(path) or digest(path))
    async with start_service(tmp_path / "service") as service:
        for _ in range(3):
            await batch.run(str(manifest), out, settings=settings(service.base_url))
            os.utime(tmp_path / "audio" / "0.wav") if not read else None
    assert len(read) == 1


async def test_a_damaged_journal_is_refused_and_recovered_without_paying_again(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 300), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at)
        damage(out)
        with pytest.raises(errors.Usage, match="damaged.*diarist recover"):
            await batch.run(str(manifest), out, settings=at)
        done = await wiring.recover(out, [], settings=at, environ={}, adopt=False)
        assert done.results == 300
        assert done.aside
        assert done.aside.exists()
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.skipped["done"], summary.exit_code) == (300, 0)
    assert set(submitted_audio(service).values()) == {1}


async def test_what_was_with_the_service_is_salvaged_from_a_damaged_journal(tmp_path: Path) -> None:
    import asyncio

    manifest, out = archive(tmp_path / "audio", 20), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=1.0) as service:
        stop, at = asyncio.Event(), settings(service.base_url)

        def watch(event: Event) -> None:
            if event.job and event.job.state is State.SUBMITTED:
                stop.set()

        await batch.run(str(manifest), out, settings=at, notify=watch, stop=stop)
        done = await wiring.recover(out, [], settings=at, environ={}, adopt=False)
        assert (done.results, done.journal) == (0, len(service.submissions) + _staged(out))
        assert (await batch.run(str(manifest), out, settings=at)).collected == 20
    assert set(submitted_audio(service).values()) == {1}


def _staged(out: Path) -> int:
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(out / ".diarist" / "journal.db")) as db:
        return int(db.execute("SELECT count(*) FROM jobs WHERE transcript_id IS NULL").fetchone()[0])


async def test_transcripts_of_public_urls_are_taken_over_from_the_services_list(tmp_path: Path) -> None:
    from aiohttp import web
    from aiohttp.test_utils import TestServer

    async def audio(request: web.Request) -> web.Response:
        return web.Response(body=request.path.encode())

    elsewhere = web.Application()
    elsewhere.router.add_get("/{name}", audio)
    out = tmp_path / "out"
    async with TestServer(elsewhere) as server, start_service(tmp_path / "service", private=True) as service:
        manifest, at = tmp_path / "urls.csv", settings(service.base_url)
        rows = [f"{n},{server.make_url(f'/{n}.mp3')},\n" for n in range(5)]
        rows.append(f"excerpt,{server.make_url('/1.mp3')},500\n")
        manifest.write_text("".join(["id,audio,audio_end_at\n", *rows]))
        assert (await batch.run(str(manifest), out, settings=at)).collected == 6
        shutil.rmtree(out)
        (out / ".diarist").mkdir(parents=True)
        done = await wiring.recover(out, [str(manifest)], settings=at, environ={}, adopt=True)
        assert done.service == 6
        assert (await batch.run(str(manifest), out, settings=at)).collected == 6
        assert len(service.submissions) == 6
    assert json.loads((out / "excerpt.json").read_bytes())["audio_end_at"] == 500
    assert json.loads((out / "1.json").read_bytes()).get("audio_end_at") is None


async def test_failures_are_rows_that_can_be_fed_back(tmp_path: Path) -> None:
    from batch.service.engine import BadAudio

    folder, out = tmp_path / "audio", tmp_path / "out"
    manifest = archive(folder, 5)
    bad = [(folder / f"{n}.wav").read_bytes() for n in (1, 3)]
    text = "Audio duration is too short."
    async with start_service(
        tmp_path / "service", failing=lambda audio: BadAudio(text) if audio in bad else None
    ) as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at)
        rows = [json.loads(line) for line in (out / "failed.jsonl").read_text().splitlines()]
        assert [row["id"] for row in rows] == ["calls/1", "calls/3"]
        assert rows[0]["_failed"]["kind"] == "too_short"
        assert text in rows[0]["_failed"]["reason"]
        bad.clear()
        unasked = await batch.run(str(out / "failed.jsonl"), out, settings=at)
        assert (unasked.exit_code, len(service.submissions)) == (3, 5)
        summary = await batch.run(str(out / "failed.jsonl"), out, settings=at, wish=Wish(failed=True))
    assert (summary.collected, summary.exit_code) == (2, 0)
    assert not (out / "failed.jsonl").exists()
    check_results(folder, out, 5)


async def test_a_full_disk_stops_the_run_once_and_with_space_the_same_command_continues(
    tmp_path: Path, small_disk: Path
) -> None:
    manifest, out = archive(tmp_path / "audio", 60), small_disk / "out"
    out.mkdir()
    filling = out / "filling"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at, window=Window(limit=2))
        with filling.open("wb") as file:
            space = os.statvfs(out)
            file.write(bytes(max(0, space.f_bavail * space.f_bsize - 120_000)))
        summary = await batch.run(str(manifest), out, settings=at)
        assert summary.exit_code == 5
        assert "No space left" in str(summary.stopped_by) or "full" in str(summary.stopped_by)
        filling.unlink()
        summary = await batch.run(str(manifest), out, settings=at)
        assert summary.exit_code == 0, summary.stopped_by
    check_results(tmp_path / "audio", out, 60)
    assert set(submitted_audio(service).values()) == {1}


async def test_results_that_become_read_only_stop_the_run_and_nothing_is_paid_again(
    tmp_path: Path,
) -> None:
    manifest, out = archive(tmp_path / "audio", 10), tmp_path / "out"
    (out / "calls").mkdir(parents=True)
    made = subprocess.run(["chattr", "+i", str(out / "calls")], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("needs a file system with immutable folders")
    try:
        async with start_service(tmp_path / "service") as service:
            at = settings(service.base_url)
            summary = await batch.run(str(manifest), out, settings=at)
            assert summary.exit_code == 5
            assert "fetched again, not paid again" in str(summary.stopped_by)
            subprocess.run(["chattr", "-i", str(out / "calls")], check=True)
            assert (await batch.run(str(manifest), out, settings=at)).exit_code == 0
            assert set(submitted_audio(service).values()) == {1}
    finally:
        subprocess.run(["chattr", "-i", str(out / "calls")], check=False)


async def test_what_is_not_a_result_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a": 1}')
    done = await wiring.recover(tmp_path, [], settings=settings("http://x"), environ={}, adopt=False)
    assert done.unreadable == (tmp_path / "other.json",)
