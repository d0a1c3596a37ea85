"""Disks: results that are removed, read-only or full places, journals that are damaged, failures to feed back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

import batch
from batch import errors, jobs
from batch.archive import journal_files, salvage
from batch.archive.journal import Journal
from batch.archive.journal_schema import COLUMNS
from batch.archive.layout import journal_of
from batch.jobs.planning.admission import Rerun
from batch.jobs.planning.planner import PlanRow
from batch.jobs.planning.selection import Selection
from batch.model import WITH_SERVICE, State
from batch.storage import audio as stored_audio
from batch.storage import sqlite
from batch.telemetry.events import Event, JobMoved
from tests.support import rebuilding
from tests.support.places import ROOT
from tests.support.recordings import archive, check_results, settings, submitted_audio, wav
from tests.support.service import Double, start_service

NOTHING: dict[str, Any] = {"rerun": Rerun(), "select": Selection(), "environ": {}, "stdin": None}


async def planned(manifest: Path, out: Path, service: Double) -> list[PlanRow]:
    async with jobs.open_planner([str(manifest)], out, settings=settings(service.base_url), **NOTHING) as planner:
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


async def test_touched_file_is_read_once_and_then_known_by_its_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    digest, read = stored_audio.digest, []
    monkeypatch.setattr(stored_audio, "digest", lambda path: read.append(path) or digest(path))
    async with start_service(tmp_path / "service") as service:
        for _ in range(3):
            await batch.run(str(manifest), out, settings=settings(service.base_url))
            os.utime(tmp_path / "audio" / "0.wav") if not read else None
    assert len(read) == 1


async def test_damaged_journal_is_refused_and_recovered_without_paying(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 300), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at)
        damage(out)
        with pytest.raises(errors.UsageError, match="damaged.*diarist recover"):
            await batch.run(str(manifest), out, settings=at)
        done = await jobs.recover(out, [], settings=at, environ={}, adopt=False)
        assert done.results == 300
        assert done.aside
        assert done.aside.exists()
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.skipped["done"], summary.exit_code) == (300, 0)
    assert set(submitted_audio(service).values()) == {1}


async def test_submitted_jobs_are_salvaged_from_a_damaged_journal(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 20), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=1.0) as service:
        stop, at = asyncio.Event(), settings(service.base_url)

        def watch(event: Event) -> None:
            if isinstance(event, JobMoved) and event.job.state is State.SUBMITTED:
                stop.set()

        await batch.run(str(manifest), out, settings=at, on_event=watch, stop=stop)
        done = await jobs.recover(out, [], settings=at, environ={}, adopt=False)
        assert (done.results, done.journal) == (0, len(service.submissions) + _staged(out))
        assert (await batch.run(str(manifest), out, settings=at)).collected == 20
    assert set(submitted_audio(service).values()) == {1}


def _staged(out: Path) -> int:
    with contextlib.closing(sqlite3.connect(out / ".diarist" / "journal.db")) as db:
        return int(db.execute("SELECT count(*) FROM jobs WHERE transcript_id IS NULL").fetchone()[0])


async def test_public_url_transcripts_are_adopted_from_the_list(tmp_path: Path) -> None:
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
        done = await jobs.recover(out, [str(manifest)], settings=at, environ={}, adopt=True)
        assert done.service == 6
        assert (await batch.run(str(manifest), out, settings=at)).collected == 6
        assert len(service.submissions) == 6
    assert json.loads((out / "excerpt.json").read_bytes())["audio_end_at"] == 500
    assert json.loads((out / "1.json").read_bytes()).get("audio_end_at") is None


async def test_failures_are_rows_that_can_be_fed_back(tmp_path: Path) -> None:
    from batch.engine.interface import BadAudio

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
        summary = await batch.run(str(out / "failed.jsonl"), out, settings=at, rerun=Rerun(failed=True))
    assert (summary.collected, summary.exit_code) == (2, 0)
    assert not (out / "failed.jsonl").exists()
    check_results(folder, out, 5)


async def test_full_disk_stops_the_run_once_until_there_is_space(tmp_path: Path, small_disk: Path) -> None:
    """A full disk stops the run once, and with space the same command continues."""
    manifest, out = archive(tmp_path / "audio", 60), small_disk / "out"
    out.mkdir()
    filling = out / "filling"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at, select=Selection(limit=2))
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


async def test_read_only_results_stop_the_run_and_nothing_is_repaid(
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
    done = await jobs.recover(tmp_path, [], settings=settings("http://x"), environ={}, adopt=False)
    assert done.unreadable == (tmp_path / "other.json",)


# ── killed, and on full disks ───────────────────────────────────────────────────────────────────────────────────────


def told(out: Path) -> dict[str, tuple[str, str | None]]:
    """State and transcript of each recording of ``every_state``, as the journal says."""
    return {row[0]: (row[STATE], row[ID]) for row in rebuilding.contents(out)["jobs"]}


STATE, ID = COLUMNS.index("state"), COLUMNS.index("transcript_id")


def due(count: int) -> dict[str, tuple[str, str | None]]:
    wanted = {f"calls/{n}": rebuilding.due(n) for n in range(count)}
    return {key: (str(state), transcript_id) for key, (state, transcript_id) in wanted.items()}


def test_newest_fact_counts_for_recordings_in_every_state(tmp_path: Path) -> None:
    """Of recordings in every state, the newest fact of all journals and results counts."""
    out = tmp_path / "out"
    rebuilding.every_state(out, 300)
    rebuilding.recover(out)
    assert told(out) == due(300)
    notes = dict(rebuilding.contents(out)["notes"])
    assert notes["service"] == "http://service"
    assert notes["forced: x"] is None, "what was forgotten on purpose does not come back from an older journal"
    replaced = {(row[0], row[ID]) for row in rebuilding.contents(out)["replaced"]}
    assert replaced == {(f"calls/{n}", f"old-{n}") for n in range(300) if n % 14 in (2, 3, 6, 13)}


def all_killed(tmp_path: Path, count: int, *files: str) -> list[str]:
    """What ``tests.support.rebuilding all`` says, in memory if there is a disk there: nobody cuts the power."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        template, copies = Path(folder) / "template", Path(folder) / "copies"
        copies.mkdir()
        rebuilding.every_state(template, count)
        child = subprocess.run(
            [sys.executable, "-m", "tests.support.rebuilding", "all", str(template), str(copies), *files],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return child.stdout.splitlines()


def test_recovery_killed_at_any_line_remakes_the_same_journal(
    tmp_path: Path,
) -> None:
    """Killed before any line, a run refuses or goes on, and the same command makes the same journal."""
    lines, *wrong = all_killed(tmp_path, 28, *rebuilding.FILES[:3])
    assert int(lines.split()[0]) > 80
    assert not wrong


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_recovery_of_300_recordings_can_be_killed_at_any_line(tmp_path: Path) -> None:
    """Recovery can be killed before any line with 300 recordings in every state."""
    lines, *wrong = all_killed(tmp_path, 300, *rebuilding.FILES)
    assert int(lines.split()[0]) > 150
    assert not wrong


@pytest.mark.parametrize("is_damaged", [True, False])
async def test_recovery_killed_ten_times_pays_for_nothing_again(tmp_path: Path, is_damaged: bool) -> None:
    """Among them are changed recordings that are paid and under way over older results, and some of which nobody
    knows whether the service took them."""
    folder, out, rng = tmp_path / "audio", tmp_path / "out", random.Random(5)
    manifest = archive(folder, 300)
    async with start_service(tmp_path / "service", seconds=1.0, slots=100) as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at, select=Selection(limit=150))
        for n in range(50):
            (folder / f"{n}.wav").write_bytes(wav(random.Random(1000 + n).randbytes(3000 + n)))
        stop = asyncio.Event()
        submitted = set()

        def watch(event: Event) -> None:
            if isinstance(event, JobMoved) and event.job.state is State.SUBMITTED:
                submitted.add(event.job.key)
                if len(submitted) > 90:
                    stop.set()

        await batch.run(str(manifest), out, settings=at, on_event=watch, stop=stop)
        await forget_answers(out, 10)
        assert len(list(out.glob("calls/[0-9]*.json"))) == 150
        assert await under_way_over_results(out) > 10
        if is_damaged:
            make_unusable(out)
        for _ in range(10):
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.support.rebuilding",
                "somewhere",
                str(out),
                str(int(10 ** rng.uniform(1, 4.3))),
                cwd=ROOT,
            )
            if not await child.wait():
                break
            if is_damaged or not (out / ".diarist" / "journal.db").exists():
                with pytest.raises(errors.UsageError, match="diarist recover"):
                    await batch.run(str(manifest), out, settings=at)
                with pytest.raises(errors.UsageError, match="diarist recover"):
                    await planned(manifest, out, service)
        await jobs.recover(out, [], settings=at, environ={}, adopt=False)
        summary = await batch.run(str(manifest), out, settings=at)
        assert summary.exit_code == 0, summary.stopped_by
    check_results(folder, out, 300)
    assert set(submitted_audio(service).values()) == {1}
    assert len(submitted_audio(service)) == 350


async def under_way_over_results(out: Path) -> int:
    with contextlib.closing(Journal(out / ".diarist" / "journal.db", read_only=True)) as journal:
        jobs = await journal.in_states(WITH_SERVICE)
    return sum((out / f"{job.key}.json").exists() for job in jobs)


async def forget_answers(out: Path, count: int) -> None:
    """Make submissions that were answered such whose answer never came."""
    with contextlib.closing(Journal(out / ".diarist" / "journal.db")) as journal:
        for job in (await journal.in_states([State.SUBMITTED]))[:count]:
            await journal.record(msgspec.structs.replace(job, state=State.SUBMITTING, transcript_id=None))


def make_unusable(out: Path) -> None:
    """Damage the journal so that no run takes it, and every row can still be read."""
    with contextlib.closing(sqlite3.connect(out / ".diarist" / "journal.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA user_version = 2")
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET rootpage = 999999 WHERE type = 'index' AND name NOT LIKE 'sqlite_%'")
        db.commit()


@pytest.mark.parametrize("free", [0, 20_000, 60_000, 120_000, 250_000, 500_000, 1_000_000, 2_000_000, 4_000_000])
def test_recovery_on_a_full_disk_changes_nothing(small_disk: Path, free: int) -> None:
    """On a full disk nothing changes, and with space the same command makes the journal."""
    out = small_disk / "out"
    rebuilding.every_state(out, 300)
    path = out / ".diarist" / "journal.db"
    before, filling = path.read_bytes(), small_disk / "filling"
    with filling.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        space = os.statvfs(small_disk)
        wanted = max(0, space.f_bavail * space.f_bsize - free)
        while wanted > 0:
            wanted -= file.write(bytes(min(wanted, 1 << 20)))
    try:
        rebuilding.recover(out)
    except errors.UnavailableError as error:
        assert "run the same command again" in str(error) or "Free some space" in str(error)
        assert path.read_bytes() == before
        assert not (out / ".diarist" / "journal.db.new").exists()
    else:
        assert free >= 500_000
    filling.unlink()
    rebuilding.recover(out)
    assert told(out) == due(300)


def test_removed_journal_is_not_new_while_one_put_aside_is_left(tmp_path: Path) -> None:
    """A journal that was removed is no new directory while one that was put aside is left."""
    rebuilding.every_state(tmp_path, 14)
    rebuilding.recover(tmp_path)
    (tmp_path / ".diarist" / "journal.db").unlink()
    for look in (Journal, partial(Journal, read_only=True)):
        with pytest.raises(errors.UsageError, match="is gone.*diarist recover") as refused:
            look(tmp_path / ".diarist" / "journal.db")
        assert refused.value.kind == "journal_vanished"
    with pytest.raises(errors.UsageError, match="is gone.*diarist recover"):
        journal_of(tmp_path)
    rebuilding.recover(tmp_path)
    assert told(tmp_path) == due(14)


def test_attempts_in_one_second_keep_every_journal_put_aside(tmp_path: Path) -> None:
    rebuilding.every_state(tmp_path, 14)
    inner = tmp_path / ".diarist"
    asides = [rebuilding.recover(tmp_path).aside for _ in range(4)]
    assert len(set(asides)) == 4
    assert asides == journal_files.asides(inner / "journal.db")[1:]
    assert told(tmp_path) == due(14)


def test_log_of_a_journal_put_aside_follows_it(tmp_path: Path) -> None:
    """The log of a journal that was put aside follows it, and is never that of the new one."""
    rebuilding.every_state(tmp_path, 28)
    inner = tmp_path / ".diarist"
    assert (inner / "journal.db-wal").stat().st_size
    (inner / "journal.db").rename(inner / "journal.db.damaged-20270101-000000")
    rebuilding.recover(tmp_path)
    assert told(tmp_path) == due(28)
    assert (inner / "journal.db.damaged-20270101-000000-wal").stat().st_size
    assert not (inner / "journal.db-wal").exists()


def test_rows_between_damaged_pages_are_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with contextlib.closing(Journal(path)) as whole:
        jobs = [rebuilding.job(n, State.SUBMITTED, f"new-{n}", 200.0) for n in range(1000)]
        asyncio.run(whole.fill(jobs, [], {}))
    with contextlib.closing(sqlite3.connect(path)) as db:
        root = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'jobs'").fetchone()[0]
    content = bytearray(path.read_bytes())
    pages = [at for at in range(0, len(content), 4096) if content[at] == 13 and b"/audio/" in content[at : at + 4096]]
    assert root and len(pages) > 30
    spoiled = (pages[0], pages[10], pages[20], pages[-1])
    for at in spoiled:
        content[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(content)
    found = {job.key for job in salvage.salvage(path).jobs}
    assert len(found) > 1000 - 4 * 30
    readable = b"".join(bytes(content[at : at + 4096]) for at in pages)
    assert found == {job.key for job in jobs if f"/audio/{job.recording.line - 2}.wav".encode() in readable}


def test_what_the_system_refuses_is_not_taken_for_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rebuilding.every_state(tmp_path, 14)
    before = (tmp_path / ".diarist" / "journal.db").read_bytes()

    def refused(path: Path) -> sqlite3.Connection:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite, "open_to_read", refused)
    with pytest.raises(errors.UnavailableError, match="cannot be read.*nothing has been changed"):
        rebuilding.recover(tmp_path)
    assert (tmp_path / ".diarist" / "journal.db").read_bytes() == before
