"""Power cuts: at every moment, whatever is left of what was not synced, nothing that was paid or promised is gone."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from batch import errors
from batch.archive.results import transcript_in
from tests.support import power, rebuilding
from tests.support.power import Disk
from tests.support.recordings import archive, wav
from tests.support.service import start_service

pytestmark = pytest.mark.skipif(not power.can_record(), reason="needs strace")
SENT_URL = re.compile(rb'"audio_url": ?"([^"]+)"')
FETCHED_ID = re.compile(rb"GET /v2/transcript/([0-9a-f-]{36}) ")
GIVEN_URL = re.compile(rb'"upload_url": ?"[^"]+/upload/([0-9a-f]{32})"')
GIVEN_ID = re.compile(rb'"id": ?"([0-9a-f-]{36})"')


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """Where disks are made as a cut may leave them: there are thousands."""
    there = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=there if there.is_dir() else tmp_path) as folder:
        yield Path(folder)


def wrong_after_cuts(
    disk: Disk, log: Path, memory: Path, check: Callable[[Path, list[bytes]], str], writes: int = 1
) -> Iterator[str]:
    """What ``check`` says of all that may be left, as it is found."""
    seen = 0
    for at, sent in enumerate(power.cuts(disk, log, writes)):
        for name, keep, torn in power.outcomes(at):
            left = memory / "left"
            disk.leave(left, keep, torn)
            seen += 1
            try:
                said = check(left, sent)
            except sqlite3.DatabaseError as error:
                said = str(error)
            shutil.rmtree(left)
            if said:
                yield f"cut {at}, {name}: {said}"
    assert seen > 100


def rows(path: Path, query: str) -> list[tuple[str, ...]]:
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(path)) as db, contextlib.suppress(sqlite3.OperationalError):
        return db.execute(query).fetchall()
    return []


# ── a run ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def run_and_cut(tmp_path: Path, memory: Path) -> Iterator[str]:
    """Into a directory whose parents are new, too."""
    root, log = tmp_path / "disk", tmp_path / "log"
    root.mkdir()
    manifest = archive(tmp_path / "audio", 8)
    disk = Disk(root)

    async def run() -> int | None:
        async with start_service(tmp_path / "service") as service:
            out = root / "new" / "deep" / "out"
            child = await power.recording(log, "run", str(manifest), str(out), service.base_url)
            return await child.wait()

    assert asyncio.run(run()) == 0
    return wrong_after_cuts(disk, log, memory, wrong_with_run)


def wrong_with_run(left: Path, sent: list[bytes]) -> str:
    """What was paid is known, and what counts as collected is there."""
    out = left / "new" / "deep" / "out"
    jobs = rows(out / ".diarist" / "journal.db", "SELECT key, state, audio_url, transcript_id FROM jobs")
    paid = {url for _, state, url, _ in jobs if state in ("submitting", "submitted", "collected")}
    ids = {transcript_id for _, _, _, transcript_id in jobs}
    for payload in sent:
        for url in SENT_URL.findall(payload):
            if url.decode() not in paid:
                return f"{url.decode()} was submitted, and the journal does not know"
        for transcript_id in FETCHED_ID.findall(payload):
            if transcript_id.decode() not in ids:
                return f"{transcript_id.decode()} was fetched, and the journal does not know"
    for key, state, _, transcript_id in jobs:
        if state == "collected" and not is_whole(out / f"{key}.json", transcript_id):
            return f"{key} is collected, and its result is not whole"
    return ""


def is_whole(path: Path, transcript_id: str) -> bool:
    try:
        return transcript_id.encode() in transcript_in(path.read_bytes()).split(b",")[0]
    except (OSError, ValueError):
        return False


def test_run_after_a_power_cut_knows_what_it_paid_and_collected(tmp_path: Path, memory: Path) -> None:
    assert not list(run_and_cut(tmp_path, memory))


# ── the local service ───────────────────────────────────────────────────────────────────────────────────────────────


def serve_and_cut(tmp_path: Path, memory: Path) -> Iterator[str]:
    root, log = tmp_path / "disk", tmp_path / "log"
    root.mkdir()
    disk = Disk(root)
    given: dict[str, bytes] = {}

    async def serve() -> None:
        child = await power.recording(log, "serve", str(root / "new" / "service"))
        assert child.stdin is not None
        assert child.stdout is not None
        base_url = (await child.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession(base_url) as http:
            for n in range(5):
                audio = wav(bytes(3000 + n))
                async with http.post("/v2/upload", data=audio) as answer:
                    url = (await answer.json())["upload_url"]
                given[url.rpartition("/")[2]] = audio
                async with http.post("/v2/transcript", json={"audio_url": url}) as answer:
                    assert answer.status == 200
        child.stdin.close()
        assert await child.wait() == 0

    asyncio.run(serve())

    def wrong(left: Path, sent: list[bytes]) -> str:
        folder = left / "new" / "service"
        known = {row[0] for row in rows(folder / "service.db", "SELECT id FROM transcripts")}
        for payload in sent:
            for name in map(bytes.decode, GIVEN_URL.findall(payload)):
                path = folder / "uploads" / name
                if not path.exists() or path.read_bytes() != given[name]:
                    return f"upload {name} was acknowledged, and is gone"
            for transcript_id in map(bytes.decode, GIVEN_ID.findall(payload)):
                if transcript_id not in known:
                    return f"{transcript_id} was acknowledged, and is gone"
        return ""

    return wrong_after_cuts(disk, log, memory, wrong)


def test_after_a_power_cut_the_service_has_what_it_acknowledged(tmp_path: Path, memory: Path) -> None:
    assert not list(serve_and_cut(tmp_path, memory))


# ── recover ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def told(out: Path) -> list[tuple[str, ...]]:
    return sorted(rows(out / ".diarist" / "journal.db", "SELECT key, state, transcript_id FROM jobs"))


def recover_and_cut(tmp_path: Path, memory: Path) -> Iterator[str]:
    root, log = tmp_path / "disk", tmp_path / "log"
    rebuilding.every_state(root, 14)
    disk = Disk(root)
    shutil.copytree(root, tmp_path / "before")
    before = told(tmp_path / "before")

    async def recover() -> int | None:
        return await (await power.recording(log, "recover", str(root))).wait()

    assert asyncio.run(recover()) == 0
    after = told(root)
    assert len(after) == 14

    def wrong(left: Path, sent: list[bytes]) -> str:
        try:
            if rebuilding.left_alone(left) == "a journal" and told(left) not in (before, after):
                return "a run would find something else"
            rebuilding.recover(left)
        except errors.DiaristError as error:
            return str(error)
        return "" if told(left) == after else "the second attempt tells something else"

    return wrong_after_cuts(disk, log, memory, wrong, writes=200)


@pytest.mark.slow
def test_after_a_power_cut_recover_goes_on_and_tells_the_same(tmp_path: Path, memory: Path) -> None:
    assert not list(recover_and_cut(tmp_path, memory))
