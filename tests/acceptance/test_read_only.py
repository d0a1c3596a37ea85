"""An archive on a read-only disk can be looked at, a machine whose root is read-only can run, and what a disk refuses
is told as what it is."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from batch import errors
from batch.archive.journal import Journal
from batch.archive.results import Results
from batch.archive.search import database
from batch.jobs.planning.planner import _Seen
from batch.model import Job, Recording, State
from batch.server.main import ServeOptions, main
from batch.storage import lock, sqlite
from tests.support.command_line import diarist as asked
from tests.support.processes import diarist
from tests.support.recordings import archive
from tests.support.service import start_service

COUNT = 120
"""More than are looked at before processes are started."""
READ_ONLY_ROOT = 'mount --make-rprivate / && mount -o remount,bind,ro / && ! touch /tmp/x 2>&- && exec "$@"'
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("ASSEMBLYAI_", "DIARIST_"))}


def on_a_read_only_root(*arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """A child for which nothing can be written but what is mounted apart: as in a hardened container."""
    command = [sys.executable, "-W", "error", "-m", "batch", *map(str, arguments)]
    shell = ["unshare", "--mount", "sh", "-c", READ_ONLY_ROOT, "sh", *command]
    done = subprocess.run(
        shell, env=CLEAN | {"TMPDIR": "/nowhere"} | environ, capture_output=True, text=True, check=False, timeout=120
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("needs a mount namespace of its own")
    return done


@contextlib.contextmanager
def read_only(disk: Path) -> Iterator[None]:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)


@pytest.fixture
async def done(tmp_path: Path) -> Path:
    """A finished archive, and its manifest beside it."""
    manifest = archive(tmp_path / "audio", COUNT)
    async with start_service(tmp_path / "service") as service:
        ended = await diarist("run", manifest, "--out", tmp_path / "out", "--service", service.base_url)
    assert ended.code == 0, ended.said
    return tmp_path / "out"


def service_of(out: Path) -> str:
    told = json.loads((out / ".diarist" / "summary.json").read_bytes())
    service: str = told["stage"]["service"]
    return service


def left_open(out: Path, copy: Path, *, without_shm: bool) -> None:
    """A copy made while the journal and the index had facts in their write-ahead logs only."""
    with contextlib.ExitStack() as stack:
        for name, change in (("journal.db", "UPDATE jobs SET speakers = 7"), ("search.db", "DELETE FROM labels")):
            db = stack.enter_context(
                contextlib.closing(sqlite3.connect(out / ".diarist" / name, isolation_level=None))
            )
            db.execute(change)
        shutil.copytree(out, copy)
    for shm in copy.glob(".diarist/*-shm"):
        if without_shm:
            shm.unlink()
    assert (copy / ".diarist" / "journal.db-wal").stat().st_size


@pytest.mark.parametrize("state", ["closed", "left open", "left open, without its shared memory"])
def test_whoever_only_looks_works_on_a_read_only_copy(
    tmp_path: Path, small_disk: Path, done: Path, state: str
) -> None:
    copy, service = small_disk / "out", service_of(done)
    if state == "closed":
        shutil.copytree(done, copy)
    else:
        left_open(done, copy, without_shm="without" in state)
    manifest = tmp_path / "audio" / "manifest.csv"
    with read_only(small_disk):
        status = asked("status", str(copy), "--json")
        assert status.returncode == 0, status.stderr
        assert json.loads(status.stdout)["journal"] == {"collected": COUNT}
        plan = asked("plan", str(manifest), "--out", str(copy), "--service", service, "--json")
        assert plan.returncode == 0, plan.stderr
        assert json.loads(plan.stdout)["verdicts"] == {"done: done before": COUNT}
        found = asked("search", str(copy), "sha256")
        assert (found.returncode, f"{COUNT} utterances in {COUNT} recordings" in found.stderr) == (0, True)
        page = tmp_path / "elsewhere" / "report.html"
        report = asked("report", str(copy), "-o", str(page))
        assert (report.returncode, f"{COUNT} recordings" in report.stderr) == (0, True), report.stderr
        assert page.is_file()
        exported = asked("export", str(copy), "--to", "srt,csv", "-o", str(tmp_path / "elsewhere"))
        assert (exported.returncode, f"{COUNT + 1} files written" in exported.stderr) == (0, True), exported.stderr
        doctor = asked("doctor", "--out", str(copy), "--service", service)
        assert f"{COUNT} transcribed" in doctor.stdout
        assert "mount it for writing" in doctor.stdout


def test_a_page_that_cannot_be_written_is_told_with_what_to_do(small_disk: Path, done: Path) -> None:
    shutil.copytree(done, small_disk / "out")
    with read_only(small_disk):
        for arguments in (["report", "out"], ["export", "out", "--to", "srt"]):
            said = asked(*arguments, cwd=small_disk)
            assert said.returncode == 5, said.stderr
            assert "Read-only file system. This file system is read-only: mount it for writing" in said.stderr


def test_facts_in_a_log_that_was_not_folded_in_are_read_too(small_disk: Path, done: Path) -> None:
    left_open(done, small_disk / "out", without_shm=True)
    path = small_disk / "out" / ".diarist" / "journal.db"
    with read_only(small_disk), contextlib.closing(sqlite.open_to_read(path)) as db:
        assert db.execute("SELECT DISTINCT speakers FROM jobs").fetchall() == [(7,)]


def test_no_room_for_the_copy_that_is_needed_is_told(small_disk: Path, done: Path) -> None:
    left_open(done, small_disk / "out", without_shm=True)
    with read_only(small_disk):
        said = on_a_read_only_root("status", small_disk / "out")
    assert said.returncode == 5
    assert "was not closed and nothing can be written beside it" in said.stderr
    assert "Set TMPDIR to a folder with" in said.stderr


async def test_with_a_read_only_root_and_a_writable_out_all_is_as_ever(tmp_path: Path, small_disk: Path) -> None:
    manifest, out = archive(tmp_path / "audio", COUNT), small_disk / "out"

    async def does(*arguments: object) -> subprocess.CompletedProcess[str]:
        said = await asyncio.to_thread(on_a_read_only_root, *arguments)
        assert said.returncode == 0, said.stderr
        return said

    async with start_service(tmp_path / "service") as service:
        running = ("--out", out, "--service", service.base_url)
        await does("run", manifest, *running, "--format", "srt")
        assert len(service.submissions) == COUNT
        assert f"{COUNT} done before" in (await does("run", manifest, *running)).stderr
        assert f"{COUNT}  done: done before" in (await does("plan", manifest, *running)).stdout
        assert "disk" in (await does("doctor", *running)).stdout
    assert "exit code 0" in (await does("status", out)).stdout
    assert f"{COUNT} recordings" in (await does("report", out)).stderr
    assert f"{COUNT} utterances" in (await does("search", out, "sha256")).stderr
    assert f"{COUNT + 1} files written" in (await does("export", out, "--to", "vtt,csv")).stderr


@pytest.mark.parametrize("out", ["out", "nowhere"])
def test_temporary_tables_fit_beside_the_journal_or_in_memory(
    tmp_path: Path, small_disk: Path, done: Path, out: str
) -> None:
    """60,000 rows are more than SQLite keeps in memory by itself."""
    manifest = tmp_path / "many.txt"
    manifest.write_text("".join(f"https://example.com/{n:0100}.wav\n" for n in range(60_000)))
    shutil.copytree(done, small_disk / "out")
    said = on_a_read_only_root("plan", manifest, "--out", small_disk / out, "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["recordings"] == 60_000
    assert not (small_disk / "nowhere").exists()


SPILLING = """
import os, sqlite3, sys
from pathlib import Path
from batch.storage import sqlite
db = sqlite3.connect(":memory:", isolation_level=None)
sqlite.keep_temporaries(db, Path(sys.argv[1]))
db.execute("CREATE TEMP TABLE claimed (row TEXT)")
db.execute("BEGIN")
db.executemany("INSERT INTO claimed VALUES (?)", (("x" * 1000,) for _ in range(20_000)))
for name in os.listdir("/proc/self/fd"):
    if os.path.islink(f"/proc/self/fd/{name}") and "etilqs" in os.readlink(f"/proc/self/fd/{name}"):
        print(os.readlink(f"/proc/self/fd/{name}"))
"""


def test_temporary_tables_use_a_nameless_file_beside_the_journal(tmp_path: Path) -> None:
    beside = tmp_path / "it's here"
    beside.mkdir()
    said = subprocess.run([sys.executable, "-c", SPILLING, beside], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{beside}/etilqs_")
    assert said.endswith("(deleted)\n")
    assert list(beside.iterdir()) == []


async def test_what_does_not_fit_into_memory_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_MEMORY_PAGES", 20)
    monkeypatch.setattr(sqlite, "_can_hold", lambda folder: False)
    rows = [Recording(f"{n}" * 50, "/a", "m.csv", n, {}) for n in range(2000)]
    with contextlib.closing(Journal(tmp_path / "journal.db")) as journal:
        with pytest.raises(errors.UnavailableError, match="full"):
            await journal.claim(rows, [row.key for row in rows])
        await journal.record(Job(rows[0], "local", State.LISTED))
        assert await journal.counts() == {State.LISTED: 1}
    audio = tmp_path / "a.wav"
    audio.write_bytes(b"RIFF")
    rows = [Recording(f"{n}", str(audio), "m.csv", n, {"prompt": f"{n}" * 50}) for n in range(2000)]
    with (
        contextlib.closing(_Seen(tmp_path)) as seen,
        pytest.raises(errors.UnavailableError, match="Set SQLITE_TMPDIR"),
    ):
        seen.before(rows, {row.key: 4 for row in rows})


def test_a_disk_without_locks_is_no_other_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    holding = lock.held(tmp_path / "lock", datetime.now())
    with pytest.raises(errors.UnavailableError, match="No locks available. This file system cannot") as told, holding:
        pass
    assert told.value.kind == "unlockable"
    assert lock.holder(tmp_path / "lock") is None
    (tmp_path / ".diarist").mkdir()
    with pytest.raises(database.Unwritable, match="No locks"), database.opened(tmp_path, print):
        pass
    with pytest.raises(errors.UsageError, match="cannot lock files"):
        main(ServeOptions(host="127.0.0.1", port=0, data=str(tmp_path / "service")))


def test_a_lock_on_a_read_only_disk_is_told_and_held_by_nobody(small_disk: Path) -> None:
    with lock.held(small_disk / "lock", datetime.now()):
        assert "process" in (lock.holder(small_disk / "lock") or "")
    with read_only(small_disk):
        assert lock.holder(small_disk / "lock") is None
        with (
            pytest.raises(errors.UnavailableError, match="Read-only file system"),
            lock.held(small_disk / "lock", datetime.now()),
        ):
            pass


@contextlib.contextmanager
def no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def job(key: str) -> Job:
    return Job(Recording(key, "/audio/a.wav", "m.csv", 2, {}), "local", State.SUBMITTED, transcript_id="t1")


def test_too_many_open_files_error_concerns_every_recording(tmp_path: Path) -> None:
    results = Results(tmp_path)
    with pytest.raises(errors.UnavailableError, match="Too many open files.*ulimit -n") as told, no_more_files():
        results.write(job("a"), b"{}")
    assert told.value.kind == "open_files"
    for read in (False, True):
        (tmp_path / "journal.db").touch()
        with pytest.raises(errors.UnavailableError, match="Too many open files.*ulimit -n"), no_more_files():
            Journal(tmp_path / "journal.db", read_only=read)
    holding = lock.held(tmp_path / "lock", datetime.now())
    with pytest.raises(errors.UnavailableError, match="Too many open files.*ulimit -n"), no_more_files(), holding:
        pass


def test_a_name_that_is_too_long_concerns_its_recording(tmp_path: Path) -> None:
    with pytest.raises(errors.PostponedError, match="File name too long. Give the recording a shorter id"):
        Results(tmp_path).write(job("a" * 300), b"{}")


def test_a_journal_on_a_read_only_disk_is_told_as_such(small_disk: Path) -> None:
    Journal(small_disk / ".diarist" / "journal.db").close()
    with read_only(small_disk):
        with pytest.raises(errors.UnavailableError, match="Read-only file system"):
            Journal(small_disk / ".diarist" / "journal.db")
        Journal(small_disk / ".diarist" / "journal.db", read_only=True).close()
