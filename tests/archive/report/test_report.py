"""``diarist report`` tells what happened, from real journals and results, in statistics, charts and commands."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import batch
from batch.archive.report import build, rows
from batch.archive.report.recording_details import RecordingDetails
from batch.archive.report.statistics import Statistics
from batch.archive.results import result_files
from batch.config import PriceTable
from batch.engine.interface import BadAudio
from batch.model import Job, Recording, State
from batch.storage import lock
from tests.support.archives import collected, failed, files, recorded, reported, unpacked
from tests.support.command_line import diarist
from tests.support.demo_results import ARCHIVE, KEYS
from tests.support.recordings import archive, settings
from tests.support.service import start_service


def main_of(page: str) -> str:
    """The overview, without style sheet and program."""
    return page.partition("<main")[2].partition("</main>")[0]


async def test_run_with_failures_is_reported_with_the_mending_command(tmp_path: Path) -> None:
    folder, out = tmp_path / "my audio", tmp_path / "out"
    manifest = archive(folder, 6)
    bad = {(folder / "2.wav").read_bytes(), (folder / "4.wav").read_bytes()}
    broken = BadAudio("there is no <audio> in it")
    async with start_service(tmp_path / "service", failing=lambda audio: broken if audio in bad else None) as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        said = await asyncio.to_thread(diarist, "report", str(out))
        assert said.returncode == 0, said.stderr
        assert f"6 recordings: {out}/report.html" in said.stderr
        page = (out / "report.html").read_text("utf-8")
        assert "4 of 6 recordings transcribed, 2 failed" in page
        assert "there is no &lt;audio&gt; in it" in page
        words = [
            "diarist",
            "run",
            str(manifest),
            "--out",
            str(out),
            "--service",
            service.base_url,
            "--retry",
            "failed",
        ]
        assert escape(shlex.join(words)).replace("&#x27;", "&#39;") in page
        bad.clear()
        again = await asyncio.to_thread(diarist, *words[1:])
        assert again.returncode == 0, again.stderr
    done, page, _ = await asyncio.to_thread(reported, out)
    assert "All 6 recordings transcribed" in page
    assert done.recordings == 6


async def test_a_report_is_no_result_and_disturbs_no_later_run(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        before = [*result_files(out)]
        await asyncio.to_thread(reported, out)
        assert [*result_files(out)] == before
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url))
    assert (summary.exit_code, summary.skipped["done"]) == (0, 3)


def test_report_shows_how_far_a_run_at_work_is(tmp_path: Path) -> None:
    collected(tmp_path)
    recorded(tmp_path, [Job(Recording("open", "/o.wav", "/m.csv", 9), "local", State.SUBMITTED, submitted_at=1.8e9)])
    with lock.held(tmp_path / ".diarist" / "lock", datetime.now()):
        page = reported(tmp_path)[1]
    assert "A run is at work here (host " in page
    assert "4 of 5 recordings transcribed, 1 still open" in page


@pytest.mark.parametrize(
    "facts",
    [
        [],
        [{"audio_seconds": 0.0, "submitted_at": 5.0, "ended_at": 5.0}],
        [{"audio_seconds": 3.0, "ended_at": 5.0, "speakers": 40}],
        [{"audio_seconds": 1e6, "submitted_at": 5.0, "ended_at": 4.0, "speakers": 0}],
        [{"submitted_at": 1.0, "ended_at": 9e8, "audio_seconds": 0.01}, {"ended_at": 9.1e8}],
        [{"submitted_at": float(n), "ended_at": n + 1e-3, "audio_seconds": 9.0 * n} for n in range(600)],
    ],
    ids=["nothing", "no time at all", "never submitted", "clock set back", "thirty years", "many"],
)
def test_odd_times_make_charts_all_the_same(tmp_path: Path, facts: list[dict[str, float]]) -> None:
    jobs = [
        Job(Recording(str(number), "/a.wav", "/m.csv", number), "local", State.COLLECTED, **one)  # type: ignore[arg-type]
        for number, one in enumerate(facts)
    ]
    recorded(tmp_path, jobs)
    page = reported(tmp_path)[1]
    for drawn in re.findall(r'<svg class="chart".*?</svg>(?=\n)', page):
        places = re.findall(r'(?:x|y|cx|cy|x1|y1|width|height)="(-?[\d.]+)%?"', drawn)
        assert all(-1 <= float(place) <= 1000 for place in places), drawn
        assert "nan" not in drawn
        ElementTree.fromstring(drawn)


async def test_rejected_rows_are_reported_though_no_journal_has_them(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    with manifest.open("a", encoding="utf-8") as file:
        file.write("<b>,0.wav,many,\n")
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url))
    assert summary.rejected == 1
    _, page, _ = await asyncio.to_thread(reported, out)
    assert "bad_row" in main_of(page)
    assert f"&lt;b&gt;, {manifest}:4" in main_of(page)


def test_a_page_never_replaces_a_result(tmp_path: Path) -> None:
    directory = collected(tmp_path)
    said = diarist("report", str(directory), "-o", str(directory / "kitchen-talk.json"))
    assert said.returncode == 2
    assert "is a result, which nothing may replace" in said.stderr
    assert (directory / "kitchen-talk.json").read_bytes() == (ARCHIVE / "kitchen-talk.json").read_bytes()


def test_where_nothing_has_run_it_says_so(tmp_path: Path) -> None:
    said = diarist("report", str(tmp_path))
    assert (said.returncode, [*tmp_path.iterdir()]) == (2, [])
    assert "nothing has run there" in said.stderr


def test_damaged_or_missing_result_is_reported_beside_the_others(tmp_path: Path) -> None:
    directory = collected(tmp_path)
    (directory / "kitchen-talk.json").write_bytes(b'{"recording":{},"words":[{')
    (directory / "support-call.json").unlink()
    said = diarist("report", str(directory))
    assert said.returncode == 3
    assert "kitchen-talk.json cannot be read" in said.stderr
    assert "support-call.json is not there: the next run fetches it again, not paid again" in said.stderr
    _, details = unpacked(directory / "report.html")
    assert [len(detail.get("turns", [])) > 0 for detail in details] == [False, True, True, False]


def test_a_report_holds_who_said_what_when_and_how_much(tmp_path: Path) -> None:
    directory = collected(tmp_path)
    reported(directory)
    facts, details = unpacked(directory / "report.html")
    assert facts["columns"]["key"] == list(KEYS)
    for key, detail, confidence in zip(KEYS, details, facts["columns"]["confidence"], strict=True):
        result = json.loads((ARCHIVE / f"{key}.json").read_bytes())
        words = [word for said in result["utterances"] for word in said["words"]]
        told = sorted(" ".join(turn[2] for turn in detail["turns"]).split())
        assert told == sorted(word["text"] for word in words)
        assert confidence == pytest.approx(1000 * sum(word["confidence"] for word in words) / len(words), abs=1)
        assert sum(speaker[2] for speaker in detail["speakers"]) == pytest.approx(1, abs=0.001)
        assert {span[0] for span in detail["spans"]} == set(range(len(detail["speakers"])))


def test_report_command_names_the_service_and_is_shell_quoted(tmp_path: Path) -> None:
    directory = tmp_path / "it's out"
    recorded(directory, [failed("k", kind="bad_audio", service="assemblyai-eu")])
    page = reported(directory)[1]
    words = ["diarist", "run", f"{directory}/failed.jsonl", "--out", str(directory), "--service", "assemblyai-eu"]
    command = shlex.join([*words, "--retry", "failed"])
    assert command.replace("'", "&#39;").replace('"', "&#34;") in page


def test_failures_that_a_run_retries_by_itself_need_no_flag(tmp_path: Path) -> None:
    recorded(tmp_path, [failed("k", kind="missing")])
    told = main_of(reported(tmp_path)[1])
    assert "tries these without being asked" in told
    assert "diarist run" in told
    assert "--retry" not in told


def test_cost_is_reported_by_model_and_extra_and_sharing_is_free() -> None:
    def job(key: str, shared: str | None, service: str = "assemblyai", **options: Any) -> Job:
        recording = Recording(key, "/a.wav", "/m.csv", 2, {"speaker_labels": True, **options})
        return Job(recording, service, State.COLLECTED, audio_seconds=7200.0, shared_with=shared)

    statistics = Statistics(PriceTable())
    heard = RecordingDetails(b"{}", 0.9, 10)
    statistics.note(job("a", None), heard)
    statistics.note(job("b", None, speech_models=["universal-2"], summarization=True), heard)
    statistics.note(job("c", "a"), heard)
    statistics.note(job("d", None, "local"), heard)
    told = {charge.what: (charge.hours, round(charge.usd, 4)) for charge in statistics.charges}
    assert told == {"universal-3-5-pro": (2, 0.42), "universal-2": (2, 0.3), "speaker_labels": (4, 0.08)}
    assert statistics.usd == pytest.approx(0.8)
    assert statistics.shared_usd == pytest.approx(0.46)
    assert statistics.unknown == {"summarization"}


def test_what_costs_nothing_is_not_priced(tmp_path: Path) -> None:
    told = main_of(reported(collected(tmp_path))[1])
    assert "Nothing was charged: local is free" in told
    assert "$" not in told


def test_figures_over_time_add_up() -> None:
    """A hundred recordings of a minute, one begun each ten seconds, each taking forty."""
    statistics = Statistics(PriceTable())
    for number in range(100):
        sent, recording = 1_000_000 + 10.0 * number, Recording(str(number), "/a.wav", "/m.csv", number)
        job = Job(recording, "local", State.COLLECTED, submitted_at=sent, ended_at=sent + 40, audio_seconds=60)
        statistics.note(job, RecordingDetails(b"{}", 0.9, 10))
    throughput, in_flight = statistics.throughput(), statistics.in_flight()
    assert throughput and in_flight
    assert sum(throughput.values) * throughput.step_seconds == pytest.approx(6000)
    assert sum(in_flight.values) * in_flight.step_seconds == pytest.approx(4000)
    assert (max(in_flight.values), statistics.most_in_flight()) == (pytest.approx(4), 4)
    assert statistics.turnaround == (40, 40)
    assert [(one.count, one.median) for one in statistics.took_by_length()] == [(100, 40)]


def test_only_what_ended_since_is_told_and_what_has_not_ended(tmp_path: Path) -> None:
    under_way = Job(Recording("open", "/c.wav", "/m.csv", 4), "local", State.SUBMITTED, submitted_at=900.0)
    recorded(tmp_path, [failed("old", ended_at=1000.0), failed("new", ended_at=2000.0), under_way])
    done, page, _ = reported(tmp_path, since=1500.0)
    assert done.recordings == 2
    assert unpacked(tmp_path / "report.html")[0]["columns"]["key"] == ["new", "open"]
    assert "0 of 2 recordings transcribed, 1 failed, 1 still open" in page


def test_many_transcripts_lie_beside_page_replacing_older_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "INLINE_BYTES", 2000)
    monkeypatch.setattr(rows, "PART_BYTES", 1)
    directory = collected(tmp_path)
    parts = directory / "report.parts"
    done, page, _ = reported(directory)
    first = sorted(parts.iterdir())
    assert (done.parts, len(first)) == (4, 4)
    assert 'id="part-' not in page
    (parts / "somebody-else.js").write_text("x")
    reported(directory)
    assert not {*first} & {*parts.iterdir()}
    assert len([*parts.iterdir()]) == 5
    monkeypatch.undo()
    (parts / "somebody-else.js").unlink()
    assert reported(directory)[0].parts == 0
    assert not parts.exists()
    assert [*directory.rglob("*.tmp")] == []


def test_full_disk_leaves_the_older_report_and_no_litter(tmp_path: Path) -> None:
    directory = collected(tmp_path)
    reported(directory)
    before = files(directory)
    small = f"ulimit -f 8; exec {shlex.quote(sys.executable)} -m batch report {shlex.quote(str(directory))}"
    said = subprocess.run(["bash", "-c", small], capture_output=True, text=True, check=False)
    assert said.returncode == 5, said.stderr
    assert "cannot write" in said.stderr
    assert files(directory) == before
