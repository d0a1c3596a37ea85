"""Whoever watches a run or reads an answer cannot harm it: by leaving, by a full disk, or by being nobody at all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import sqlite3
import subprocess
from functools import partial
from pathlib import Path

import pytest

from tests.support.processes import ended, running, started
from tests.support.recordings import archive, check_results, submitted_audio
from tests.support.service import Double, start_service
from tests.support.waiting import until

COUNT = 30


def closing(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def check(tmp_path: Path, service: Double, count: int = COUNT) -> None:
    check_results(tmp_path / "audio", tmp_path / "out", count)
    assert set(submitted_audio(service).values()) == {1}
    with contextlib.closing(sqlite3.connect(tmp_path / "out" / ".diarist" / "journal.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert json.loads((tmp_path / "out" / ".diarist" / "summary.json").read_bytes())["exit_code"] == 0


@pytest.mark.parametrize("progress", ["plain", "json", "live", "off"])
async def test_a_log_reader_that_leaves_changes_nothing(tmp_path: Path, progress: str) -> None:
    manifest = archive(tmp_path / "audio", COUNT)
    reads, writes = os.pipe()
    async with start_service(tmp_path / "service", seconds=0.1, slots=4) as service:
        arguments = running(manifest, tmp_path / "out", service, "--progress", progress)
        child = started(*arguments, stdout=writes, stderr=writes)
        os.close(writes)
        if progress in ("plain", "json"):
            assert await asyncio.to_thread(os.read, reads, 10)
        os.close(reads)
        assert await ended(child) == 0
        check(tmp_path, service)


async def test_a_run_that_nobody_hears_ends_with_its_own_exit_code(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 3)
    with manifest.open("a") as file:
        file.write("calls/bad,,,\n")
    reads, writes = os.pipe()
    os.close(reads)
    async with start_service(tmp_path / "service") as service:
        child = started(*running(manifest, tmp_path / "out", service), stdout=writes, stderr=writes)
        os.close(writes)
        assert await ended(child) == 3
    check_results(tmp_path / "audio", tmp_path / "out", 3)


async def test_a_full_disk_under_all_that_is_told_changes_nothing(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", COUNT)
    async with start_service(tmp_path / "service") as service:
        with Path("/dev/full").open("wb") as full:
            arguments = running(manifest, tmp_path / "out", service, "--log-file", "/dev/full")
            assert await ended(started(*arguments, stdout=full, stderr=full)) == 0
        check(tmp_path, service)


@pytest.mark.parametrize("closed", [(0, 1, 2), (0,), (1,), (2,), (1, 2)])
async def test_closed_streams_change_nothing_and_no_file_replaces_them(
    tmp_path: Path, closed: tuple[int, ...]
) -> None:
    manifest = archive(tmp_path / "audio", COUNT)
    async with start_service(tmp_path / "service") as service:
        arguments = running(manifest, tmp_path / "out", service)
        child = started(*arguments, preexec_fn=partial(closing, *closed))
        assert await ended(child) == 0
        check(tmp_path, service)


async def test_stream_made_non_blocking_by_others_is_written_whole(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", COUNT)
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    async with start_service(tmp_path / "service") as service:
        arguments = running(manifest, tmp_path / "out", service, "--progress", "json")
        child = started(*arguments, stderr=writes)
        await until(lambda: len(service.fetched) >= 1)
        os.close(writes)
        said = bytearray()
        while part := await asyncio.to_thread(os.read, reads, 500):
            said += part
        os.close(reads)
        assert await ended(child) == 0
        check(tmp_path, service)
    assert [json.loads(line) for line in said.splitlines()][-1]["event"] == "ended"


NAME = "naïve-日本.wav"
LOCALES = [
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:strict"},
]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("progress", ["plain", "live", "json"])
async def test_in_no_locale_is_a_name_beyond_it_or_another_recording(
    tmp_path: Path, locale: dict[str, str], progress: str
) -> None:
    audio, out = tmp_path / "audio", tmp_path / "out"
    archive(audio, 1)
    (audio / "0.wav").rename(audio / NAME)
    async with start_service(tmp_path / "service") as service:
        arguments = running(audio, out, service, "--progress", progress)
        child = started(*arguments, environ=locale, stderr=subprocess.PIPE)
        _, said = await asyncio.to_thread(child.communicate)
        assert child.returncode == 0, said
        assert (out / f"{NAME}.json").is_file()
        assert await ended(started(*running(audio, out, service), environ={"LC_ALL": "C.UTF-8"})) == 0
        assert len(service.submissions) == 1
    assert b"1 transcribed" in said or progress == "json"


async def test_closed_terminal_does_not_end_a_run_started_elsewhere(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", COUNT)
    ours, theirs = pty.openpty()
    async with start_service(tmp_path / "service", seconds=0.1, slots=4) as service:
        arguments = running(manifest, tmp_path / "out", service, "--progress", "live")
        child = started(*arguments, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        await until(lambda: len(service.fetched) >= 2)
        os.close(ours)
        assert await ended(child) == 0
        check(tmp_path, service)


async def test_closed_terminal_stops_the_run_like_ctrl_c_unless_nohup(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", COUNT)
    async with start_service(tmp_path / "service", seconds=0.1, slots=4) as service:
        child = started(  # which may have been told by nohup, as we may
            *running(manifest, tmp_path / "out", service),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )
        await until(lambda: len(service.fetched) >= 2)
        child.send_signal(signal.SIGHUP)
        assert await ended(child) == 128 + signal.SIGHUP
        summary = json.loads((tmp_path / "out" / ".diarist" / "summary.json").read_bytes())
        assert summary["exit_code"] == 128 + signal.SIGHUP
        ignoring = started(
            *running(manifest, tmp_path / "out", service),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
        )
        ignoring.send_signal(signal.SIGHUP)
        assert await ended(ignoring) == 0
        check(tmp_path, service)


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """Results in which ``word`` was said 20,000 times."""
    results = tmp_path / "results"
    results.mkdir()
    words = [{"text": "word", "start": n, "end": n + 1, "confidence": 0.9, "speaker": "A"} for n in range(20_000)]
    said = [
        {"speaker": "AB"[n % 2], "start": n, "end": n + 1, "text": "word", "words": [words[n]]} for n in range(20_000)
    ]
    about = {"key": "long", "source": "long.wav", "labels": {}, "options": {}}
    result = {"recording": about, "id": "t", "status": "completed", "text": "", "words": words, "utterances": said}
    (results / "long.json").write_text(json.dumps(result, separators=(",", ":")))
    return results


def answers(tmp_path: Path, searched: Path) -> list[tuple[object, ...]]:
    manifest = tmp_path / "many.txt"
    manifest.write_text("".join(f"https://example.com/{n}.wav\n" for n in range(20_000)))
    return [
        ("search", searched, "word", "--limit", 20_000),
        ("search", searched, "word", "--limit", 20_000, "--json"),
        ("plan", manifest, "--out", tmp_path / "out", "--explain"),
        ("plan", manifest, "--out", tmp_path / "out", "--explain", "--json"),
    ]


@pytest.mark.parametrize("which", range(4))
def test_long_output_ends_quietly_when_its_reader_leaves(tmp_path: Path, searched: Path, which: int) -> None:
    """A long answer whose reader leaves ends quietly, as by SIGPIPE."""
    child = started(*answers(tmp_path, searched)[which], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout and child.stderr
    assert child.stdout.readline()
    child.stdout.close()
    said = child.stderr.read().decode()
    assert (child.wait(60), said) == (141, "")
    child.stderr.close()


@pytest.mark.parametrize("which", range(4))
def test_an_answer_that_a_full_disk_refuses_is_told(tmp_path: Path, searched: Path, which: int) -> None:
    with Path("/dev/full").open("wb") as full:
        child = started(*answers(tmp_path, searched)[which], stdout=full, stderr=subprocess.PIPE)
        _, said = child.communicate(timeout=60)
    assert child.returncode == 5
    assert said.decode().endswith("diarist: cannot write to standard output: No space left on device\n")
    assert b"Traceback" not in said


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["doctor"], ["--help"], ["plan"]])
async def test_short_answers_to_nobody_are_no_trouble(tmp_path: Path, arguments: list[str]) -> None:
    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        assert await ended(started(*running(manifest, out, service))) == 0
        given: dict[str, list[object]] = {
            "status": [out],
            "doctor": ["--out", out, "--service", service.base_url],
            "plan": [manifest, "--out", out, "--service", service.base_url],
        }
        of = given.get(arguments[0], [])
        for closed in ((0, 1, 2), (1,)):
            child = started(*arguments, *of, preexec_fn=partial(closing, *closed))
            assert await ended(child) == 0
        reads, writes = os.pipe()
        os.close(reads)
        child = started(*arguments, *of, stdout=writes, stderr=subprocess.PIPE)
        os.close(writes)
        _, said = await asyncio.to_thread(child.communicate)
    assert child.returncode == 141
    assert b"Traceback" not in said
    assert b"Error" not in said


def test_without_standard_input_a_manifest_from_it_is_refused(tmp_path: Path) -> None:
    child = started("plan", "-", stderr=subprocess.PIPE, cwd=tmp_path, preexec_fn=lambda: os.close(0))
    _, said = child.communicate(timeout=60)
    assert (child.returncode, said) == (2, b"diarist: - means standard input, and there is none\n")
