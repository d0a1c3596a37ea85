"""One number everywhere: rows = collected + failed + rejected + skipped + left, wherever a run speaks of itself."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import batch
from batch.archive.results import Results
from batch.engine.interface import BadAudio
from batch.jobs.planning.selection import Selection
from batch.model import Reject, State
from batch.telemetry.events import Event, JobMoved
from tests.support import processes as running
from tests.support.command_line import diarist
from tests.support.processes import end, start
from tests.support.recordings import archive, settings
from tests.support.service import Handler, start_service
from tests.support.waiting import until

PARTS = ("collected", "failed", "rejected", "skipped", "left")


def counted(text: str, pattern: str) -> dict[str, int]:
    """The parts of all rows in a text; one that is not told is none."""
    found = {match["what"]: int(match["count"]) for match in re.finditer(pattern, text)}
    found |= {"collected": found.pop("transcribed", found.get("collected", 0))}
    return dict.fromkeys(PARTS, 0) | {what: count for what, count in found.items() if what in PARTS}


def in_line(line: str) -> dict[str, int]:
    return counted(re.sub(r"\([^)]*\)", "", line), r"(?P<count>\d+) (?P<what>\w+)")


def in_status(text: str) -> dict[str, int]:
    return counted(
        text.partition("transcribed ")[1] + text.partition("transcribed ")[2], r"(?P<what>\w+) (?P<count>\d+)"
    )


def in_report(page: str) -> dict[str, int]:
    return counted(page, r"<span>(?P<what>\w+) (?P<count>\d+)</span>")


def summary_in(out: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads((out / ".diarist" / "summary.json").read_bytes())
    return said


def failed_in(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "failed.jsonl").read_text("utf-8").splitlines()]


def rows_of(folder: Path, name: str, *rows: str) -> Path:
    manifest = folder / name
    manifest.write_text("id,audio,speakers_expected\n" + "".join(f"{row}\n" for row in rows))
    return manifest


async def test_all_kinds_of_rows_at_once_add_up_in_all_five_places(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    archive(folder, 10)
    bad = {(folder / f"{n}.wav").read_bytes() for n in (2, 4, 8)}
    endless = hashlib.sha256((folder / "5.wav").read_bytes()).hexdigest()

    @web.middleware
    async def hangs(request: web.Request, handler: Handler) -> web.StreamResponse:
        submitted = (request.method, request.path) == ("POST", "/v2/transcript")
        if submitted and service.digest_of(json.loads(await request.read())["audio_url"]) == endless:
            await asyncio.sleep(60)
        return await handler(request)

    def stop_at_submission(event: Event) -> None:
        if isinstance(event, JobMoved) and event.job.state is State.SUBMITTED:
            stop.set()

    async with start_service(
        tmp_path / "service", seconds=0.2, middlewares=[hangs],
        failing=lambda audio: BadAudio("no audio in it") if audio in bad else None,
    ) as service:  # fmt: skip
        at, stop = settings(service.base_url), asyncio.Event()
        first = rows_of(folder, "first.csv", "0,0.wav,", "1,1.wav,", "2,2.wav,")
        await batch.run(str(first), out, settings=at)
        await batch.run(str(rows_of(folder, "other.csv", "other,8.wav,")), out, settings=at)
        await batch.run(
            str(rows_of(folder, "gone.csv", "gone,9.wav,")), out, settings=at, stop=stop,
            on_event=stop_at_submission,
        )  # fmt: skip
        (out / "blocked").touch()
        manifest = rows_of(
            folder, "all.csv", "0,0.wav,", "1,1.wav,", "2,2.wav,", "3,3.wav,", "4,4.wav,", "x,0.wav,many", "0,0.wav,",
            "1,3.wav,", "blocked/1,7.wav,", "5,5.wav,", "6,6.wav,", "7,7.wav,",
        )  # fmt: skip
        child = await start(
            "run", manifest, "--out", out, "--service", service.base_url, "--limit", 4, "--set", "drain_seconds=0.2"
        )
        await until(
            lambda: (
                summary_in(out)["process"] == child.pid
                and [summary_in(out)[what] for what in ("collected", "failed", "carried_over")] == [2, 1, 1]
                and summary_in(out)["in_flight"]
            )
        )
        child.send_signal(signal.SIGINT)
        ended = await end(child)
    assert ended.code == 130, ended.said

    said = summary_in(out)
    expected = {"collected": 2, "failed": 1, "rejected": 3, "skipped": 4, "left": 2}
    assert {part: sum(said[part].values()) if part == "skipped" else said[part] for part in PARTS} == expected
    assert said["rows"] == said["total"] == sum(expected.values()) == 12
    assert said["skipped"] == {"done": 2, "failed before": 1, "duplicate": 1}
    assert said["carried_over"] == 1

    last = ended.said.splitlines()[-1]
    assert last.startswith("12 rows: ")
    assert "1 more, of earlier runs, that no row names" in last
    assert in_line(last) == expected
    assert in_status(diarist("status", str(out)).stdout) == expected
    assert diarist("report", str(out)).returncode == 0
    page = (out / "report.html").read_text("utf-8")
    assert in_report(page) == expected
    assert "<span>rows 12</span>" in page

    listed = failed_in(out)
    assert len(listed) == said["failed_list"]["lines"]
    assert len(listed) == expected["failed"] + expected["rejected"] + said["skipped"]["failed before"] + 1
    assert said["failed_list"]["earlier"] == 1
    assert [(row["id"], row["_failed"]["kind"]) for row in listed] == [
        *(("4", "job_error"), ("2", "job_error"), ("other", "job_error")),
        *(("x", "bad_row"), ("1", "bad_row"), ("blocked/1", "bad_row")),
    ]
    assert (listed[-1]["_failed"]["manifest"], listed[-1]["_failed"]["line"]) == (str(manifest), 10)


async def test_job_of_an_earlier_run_counts_for_the_row_naming_it(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.5) as service:
        at, stop = settings(service.base_url), asyncio.Event()

        def watch(event: Event) -> None:
            if len(service.submissions) == 3:
                stop.set()

        first = await batch.run(str(manifest), out, settings=at, on_event=watch, stop=stop)
        second = await batch.run(str(manifest), out, settings=at)
    assert (first.rows, first.collected, first.left) == (3, 0, 3)
    assert (second.rows, second.collected, second.left, second.carried_over) == (3, 3, 0, 0)


async def test_row_asking_for_something_else_counts_on_its_own(tmp_path: Path) -> None:
    """A job whose row asks for something else now is carried over, and the row counts on its own."""
    manifest, out = archive(tmp_path / "audio", 1), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.5) as service:
        at, stop = settings(service.base_url), asyncio.Event()

        def watch(event: Event) -> None:
            if service.submissions:
                stop.set()

        await batch.run(str(manifest), out, settings=at, on_event=watch, stop=stop)
        manifest.write_text(manifest.read_text().replace("0.wav,,", "0.wav,3,"))
        summary = await batch.run(str(manifest), out, settings=at)
    assert len(service.submissions) == 2
    assert (summary.rows, summary.collected, summary.left, summary.carried_over) == (1, 1, 0, 1)


async def test_rows_that_were_not_counted_are_told_as_read_so_far(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 6), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        with manifest.open("rb") as stdin:
            cut = await batch.run("-", out, settings=at, select=Selection(limit=2), stdin=stdin)
        said = summary_in(out)
        with manifest.open("rb") as stdin:
            whole = await batch.run("-", out, settings=at, stdin=stdin)
    assert (cut.total, cut.rows, cut.failed, cut.left) == (None, 2, 2, 0)
    assert (said["total"], said["rows"]) == (None, 2)
    assert (whole.total, whole.rows) == (6, 6)


async def test_run_with_nothing_to_do_still_lists_rejected_rows(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    archive(folder, 1)
    manifest = rows_of(folder, "bad.csv", "a,0.wav,many")
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        summary = await batch.run(str(manifest), out, settings=at)
        assert (summary.rows, summary.rejected, summary.exit_code) == (1, 1, 3)
        assert [(row["id"], row["_failed"]["line"]) for row in failed_in(out)] == [("a", 2)]
        fed_back = await batch.run(str(out / "failed.jsonl"), out, settings=at)
        assert (fed_back.rejected, fed_back.exit_code) == (1, 3)
        good = await batch.run(str(rows_of(folder, "bad.csv", "a,0.wav,2")), out, settings=at)
    assert (good.exit_code, (out / "failed.jsonl").exists()) == (0, False)


async def test_a_list_of_the_users_own_stays_and_ours_is_elsewhere(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    archive(folder, 1)
    out.mkdir()
    own = out / "failed.jsonl"
    own.write_text('{"id": "mine"}\n')
    manifest = rows_of(folder, "m.csv", "a,gone.wav,")
    async with start_service(tmp_path / "service") as service:
        for _ in range(2):
            ended = await running.diarist("run", manifest, "--out", out, "--service", service.base_url)
            assert ended.code == 3
            assert f"{own} is not ours and stays as it is" in ended.said
            assert own.read_text() == '{"id": "mine"}\n'
            assert json.loads((out / ".diarist" / "failed.jsonl").read_text())["id"] == "a"
        assert summary_in(out)["failed_list"]["path"] == str(out / ".diarist" / "failed.jsonl")
        own.unlink()
        await running.diarist("run", manifest, "--out", out, "--service", service.base_url)
    assert failed_in(out)[0]["id"] == "a"
    assert not (out / ".diarist" / "failed.jsonl").exists()


def test_a_list_of_any_length_is_written_bit_by_bit(tmp_path: Path) -> None:
    def rejected() -> Iterator[Reject]:
        return (Reject("m.csv", line, "no audio", f"key {line}") for line in range(50_000))

    results = Results(tmp_path)
    tracemalloc.start()
    path, lines = results.write_failed(rejected())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (path, lines) == (tmp_path / "failed.jsonl", 50_000)
    assert most < 1_000_000 < path.stat().st_size


@pytest.mark.parametrize("count", [0, 3])
def test_status_and_report_count_replaced_results_that_are_kept(tmp_path: Path, count: int) -> None:
    from tests.support.archives import collected, reported

    directory = collected(tmp_path)
    for number in range(count):
        kept = directory / ".diarist" / "replaced" / f"calls/{number}" / "2026.json"
        kept.parent.mkdir(parents=True)
        kept.write_bytes(b"x" * 1000)
    said = json.loads(diarist("status", str(directory), "--json").stdout)
    assert said["replaced"] == {"count": count, "bytes": 1000 * count}
    told = f"older results that were replaced and are kept: {count} ({count}.0 kB)"
    assert (told in diarist("status", str(directory)).stdout) == bool(count)
    assert ("older results" in reported(directory)[1]) == bool(count)
