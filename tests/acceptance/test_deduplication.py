"""Identical audio with identical options is paid for once, and every row gets its result."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import batch
from batch.engine.interface import BadAudio
from batch.jobs.planning.admission import Rerun
from batch.server.faults import Fault, FaultKind, Faults
from tests.support.recordings import agree, settings, sha256
from tests.support.service import start_service


def laden(folder: Path, rows: int, distinct: int, extra: Callable[[int], str] = lambda n: "") -> Path:
    """A manifest of so many rows, each with a file of its own, of which so many differ."""
    folder.mkdir(exist_ok=True)
    lines = ["id,audio,speakers_expected"]
    for n in range(rows):
        (folder / f"{n}.wav").write_bytes(b"RIFF" + random.Random(n % distinct).randbytes(2000))
        lines.append(f"calls/{n},{n}.wav,{extra(n)}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def check(folder: Path, out: Path, rows: int) -> None:
    for n in range(rows):
        result = json.loads((out / "calls" / f"{n}.json").read_bytes())
        assert sha256(folder / f"{n}.wav") in result["text"]
        assert result["recording"]["key"] == f"calls/{n}"
        assert result["recording"]["source"].endswith(f"/{n}.wav")


async def test_1000_rows_of_100_recordings_make_100_submissions(tmp_path: Path) -> None:
    """1000 rows of 100 different recordings make 100 submissions and 1000 results."""
    manifest = laden(tmp_path / "in", 1000, 100)
    async with start_service(tmp_path / "service", seconds=0.05) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
        assert summary.exit_code == 0
        assert len(service.submissions) == 100
        assert summary.shared == 900
        uploads = sum(request == ("POST", "/v2/upload") for request in service.requests)
        assert uploads < 400, "a file whose size is known is read before it is uploaded"
        check(tmp_path / "in", tmp_path / "out", 1000)
        again = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
        assert (again.exit_code, again.skipped["done"], len(service.submissions)) == (0, 1000, 100)


async def test_other_options_are_paid_for_apart(tmp_path: Path) -> None:
    manifest = laden(tmp_path / "in", 30, 1, lambda n: str(n % 3 + 1))
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    assert sorted(body["speakers_expected"] for body in service.submissions) == [1, 2, 3]


async def test_earlier_paid_transcript_is_shared_without_an_upload(tmp_path: Path) -> None:
    """What an earlier run has paid for is shared without an upload, unless it is forced."""
    (tmp_path / "in").mkdir()
    first, second = tmp_path / "in" / "a.wav", tmp_path / "in" / "b.wav"
    first.write_bytes(b"RIFF once")
    async with start_service(tmp_path / "service") as service:
        asked = settings(service.base_url)
        await batch.run(str(first), tmp_path / "out", settings=asked)
        second.write_bytes(b"RIFF once")
        await batch.run(str(second), tmp_path / "out", settings=asked)
        assert (len(service.submissions), service.requests.count(("POST", "/v2/upload"))) == (1, 1)
        recording = json.loads((tmp_path / "out" / "b.wav.json").read_bytes())["recording"]
        assert recording["shared_with"] == "a.wav"
        await batch.run(
            str(tmp_path / "in"), tmp_path / "out", settings=asked, rerun=Rerun(force=True), confirm=agree
        )
        assert len(service.submissions) == 2, "forced: paid once more, and shared"


async def test_one_url_in_many_rows_is_paid_for_once_a_run(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("id,url\n" + "".join(f"{n},https://example.com/{n % 2}.mp3\n" for n in range(8)))
    async with start_service(tmp_path / "service", failing=lambda audio: None) as service:
        service.queue._locate = lambda url: asyncio.to_thread(_file_of, tmp_path, url)
        asked = settings(service.base_url)
        summary = await batch.run(str(manifest), tmp_path / "out", settings=asked)
        assert (summary.exit_code, summary.collected, len(service.submissions)) == (0, 8, 2)
        manifest.write_text("id,url\nlater,https://example.com/0.mp3\n")
        await batch.run(str(manifest), tmp_path / "out", settings=asked)
        assert len(service.submissions) == 3, "what is behind a URL may have changed since"


def _file_of(folder: Path, url: str) -> Path:
    path = folder / url.rpartition("/")[2]
    path.write_bytes(url.encode())
    return path


@pytest.mark.parametrize(
    ("error", "submissions", "failed"),
    [("Audio duration is too short.", 1, 6), ("Server error, developers have been alerted", 3, 6)],
)
async def test_copies_fail_for_the_same_reason_as_the_paid_recording(
    tmp_path: Path, error: str, submissions: int, failed: int
) -> None:
    """When the one that is paid for fails, all its copies fail for the same reason."""
    manifest = laden(tmp_path / "in", 6, 1)
    async with start_service(tmp_path / "service", failing=lambda audio: BadAudio(error)) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    assert summary.failed == failed
    assert len(service.submissions) == submissions


async def test_when_the_first_cannot_be_submitted_the_next_is(tmp_path: Path) -> None:
    manifest = laden(tmp_path / "in", 6, 1)
    faults = Faults((Fault(FaultKind.STATUS, "submit", at=(1,), status=400, error="no"),), random.Random(1))
    async with start_service(tmp_path / "service", faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    assert (summary.failed, summary.collected, len(service.submissions)) == (1, 5, 1)


async def test_lost_answer_is_looked_up_before_a_copy_is_paid_for(tmp_path: Path) -> None:
    manifest = laden(tmp_path / "in", 6, 1)
    faults = Faults((Fault(FaultKind.DROP_AFTER, "submit", at=(1,)),), random.Random(1))
    async with start_service(tmp_path / "service", faults=faults) as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    assert (summary.exit_code, len(service.submissions)) == (0, 1)


async def test_a_shared_transcript_that_is_gone_is_paid_for_anew(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    first, second = tmp_path / "in" / "a.wav", tmp_path / "in" / "b.wav"
    first.write_bytes(b"RIFF once")
    async with start_service(tmp_path / "service") as service:
        asked = settings(service.base_url)
        await batch.run(str(first), tmp_path / "out", settings=asked)
        await _delete_all(service)
        (tmp_path / "out" / "a.wav.json").unlink()
        second.write_bytes(b"RIFF once")
        summary = await batch.run(str(second), tmp_path / "out", settings=asked)
    assert (summary.exit_code, len(service.submissions)) == (0, 2)
    assert json.loads((tmp_path / "out" / "b.wav.json").read_bytes())["status"] == "completed"


async def test_a_shared_transcript_on_disk_is_not_fetched_again(tmp_path: Path) -> None:
    """What an identical recording has on disk is neither fetched nor paid again, even if the service has forgotten
    it."""
    (tmp_path / "in").mkdir()
    first, second = tmp_path / "in" / "a.wav", tmp_path / "in" / "b.wav"
    first.write_bytes(b"RIFF once")
    async with start_service(tmp_path / "service") as service:
        asked = settings(service.base_url)
        await batch.run(str(first), tmp_path / "out", settings=asked)
        await _delete_all(service)
        second.write_bytes(b"RIFF once")
        summary = await batch.run(str(second), tmp_path / "out", settings=asked)
    assert (summary.exit_code, summary.requests_by_route.get("fetch", 0), len(service.submissions)) == (0, 0, 1)
    one, other = (json.loads((tmp_path / "out" / f"{name}.wav.json").read_bytes()) for name in "ab")
    assert one.pop("recording") != other.pop("recording")
    assert one == other


async def _delete_all(service: Any) -> None:
    async with aiohttp.ClientSession(service.base_url) as session:
        async with session.get("/v2/transcript") as answer:
            lines = (await answer.json())["transcripts"]
        for line in lines:
            (await session.delete(f"/v2/transcript/{line['id']}")).release()
