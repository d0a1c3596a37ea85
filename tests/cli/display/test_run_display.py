"""What a person sees: on a terminal, in a log, and at the end."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from batch import errors
from batch.cli.display.progress_view import pulse, view
from batch.cli.display.run_display import closing, display
from batch.errors import FailureKind
from batch.model import Reject, State
from batch.telemetry.events import (
    BytesSent,
    Event,
    JobMoved,
    Notice,
    ProviderStatus,
    RequestRetried,
    RequestStarted,
    RowRejected,
    RowsCounted,
)
from batch.telemetry.progress import Progress, snapshot
from batch.telemetry.summary import RunContext, Summary
from tests.support.demo_results import ARCHIVE
from tests.support.jobs import collected, failed, numbered_job


def said(mode: str, *events: Event) -> str:
    stream, summary = io.StringIO(), Summary()
    with display(mode, summary, stream) as shown:
        for event in events:
            summary.apply(event)
            shown.show(event)
    return stream.getvalue()


def test_log_names_the_first_recordings_and_every_failure() -> None:
    """A log names the first recordings, every failure, and no more."""
    lines = said("plain", *map(collected, range(100)), failed(100), failed(101)).splitlines()
    assert lines[0] == "✓ calls/0.wav: 2 speakers, 1:00"
    assert len([line for line in lines if line.startswith("✓")]) == 20
    assert lines[-1] == "✗ m.csv:103: calls/101.wav: no audio in it [bad_audio]"


def test_retries_of_one_kind_are_told_once_in_a_while() -> None:
    retry = RequestRetried("fetch of a: reset", FailureKind.BROKEN_CONNECTION, 2.0)
    other = RequestRetried("fetch of b: busy", FailureKind.THROTTLED, 1.0)
    assert said("plain", *[retry] * 50, other).splitlines() == [
        "↻ fetch of a: reset; trying again in 2.0 s",
        "↻ fetch of b: busy; trying again in 1.0 s",
    ]


def test_off_still_says_what_must_be_known() -> None:
    assert said("off", Notice("service: local"), collected(1)) == "service: local\n"


def test_json_omits_only_bare_traffic_and_ends_with_whole_state() -> None:
    traffic = [BytesSent(65536), RequestStarted("list")] * 50
    lines = [json.loads(line) for line in said("json", *traffic, collected(1), failed(2)).splitlines()]
    assert [line["event"] for line in lines] == ["moved", "moved", "ended"]
    good, bad, end = lines
    assert (good["key"], good["state"], good["audio_seconds"], good["where"]) == (
        "calls/1.wav",
        "collected",
        60.0,
        "m.csv:3",
    )
    assert (bad["kind"], bad["message"]) == ("bad_audio", "no audio in it")
    assert (end["collected"], end["failed"], end["requests"], end["exit_code"]) == (1, 1, 50, 3)


def test_the_schema_of_progress_json_is_what_it_was() -> None:
    """Programs read it: a field may come, none may go or change its name without a new ``schema``."""
    *_, end = said("json", collected(1)).splitlines()
    names = set(json.loads(end))
    assert names >= set(
        """event schema stage host process began told ended exit_code elapsed_seconds total handled listed staged
        in_flight collected shared failed rejected postponed skipped audio_seconds audio_rate uploaded_bytes
        upload_bytes_per_second requests requests_lately retries usd left_seconds failures last_failures
        budget_reached stopped_by""".split()
    )
    assert msgspec.json.decode(end, type=Progress).schema == 1


def test_a_stream_that_is_no_terminal_gets_plain_lines() -> None:
    assert said("auto", collected(1)) == "✓ calls/1.wav: 2 speakers, 1:00\n"


def ending(*events: Event, out: Path = Path("out"), **facts: object) -> str:
    stream, summary = io.StringIO(), Summary()
    for event in events:
        summary.apply(event)
    for name, value in facts.items():
        setattr(summary, name, value)
    summary.clock = lambda: summary.began_at + 12.3
    closing(summary, out, stream)
    return stream.getvalue()


def test_the_end_of_many_groups_failures_and_lists_nobody() -> None:
    reject = RowRejected(Reject("m.csv", 9, "no audio"))
    text = ending(*map(collected, range(30)), *map(failed, range(30, 33)), reject)
    assert "calls/7.wav" not in text
    assert "3 x bad_audio, for example m.csv:32: calls/30.wav: no audio in it" in text
    assert "1 x bad_row, for example m.csv:9: (no key): no audio" in text
    assert text.splitlines()[-1] == (
        "34 rows read so far: 30 transcribed, 3 failed, 1 rejected · 30:00 of audio in 12.3 s, 146.3 x real time · "
        "results in out"
    )


def test_the_end_of_a_handful_tells_what_they_begin_with(tmp_path: Path) -> None:
    for number in range(2):
        path = tmp_path / f"calls/{number}.wav.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((ARCHIVE / "planning-meeting.json").read_bytes())
    text = ending(*map(collected, range(3)), failed(3), out=tmp_path)
    assert re.findall(r"^(.*): “(.*)”$", text, re.MULTILINE) == [
        (f"calls/{number}.wav", "Let us begin. We have to decide what to do with the …") for number in range(2)
    ]
    assert "calls/2.wav" not in text, "its result has been moved away"


def test_the_end_says_what_stopped_the_run() -> None:
    assert "stopped: the key is wrong" in ending(stopped_by=errors.AuthenticationError("the key is wrong"))
    submitted = JobMoved(numbered_job(1, State.SUBMITTED))
    assert "1 submitted recordings are left to the service" in ending(submitted, signal_number=2)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def at_work(rows: int = 100) -> tuple[Summary, Clock]:
    """A run of ``rows`` that began just now."""
    clock = Clock()
    summary = Summary(clock)
    summary.stage = RunContext(("calls.csv",), "results", "assemblyai", 200, 18_000, "2026-10-07")
    summary.apply(RowsCounted(rows))
    return summary, clock


def test_a_heartbeat_tells_how_far_how_fast_and_for_how_long() -> None:
    summary, clock = at_work()
    for number in range(25):
        clock.seconds += 2
        summary.apply(collected(number))
    assert pulse(snapshot(summary)) == "25 of 100 done · 0.42 h of audio · 31.2 x real time · 2:24 left · 0:50 so far"


def big_run() -> Summary:
    """A run of a million rows, seen after an hour: long numbers, a long key, retries, failures and a price."""
    summary, clock = at_work(1_000_000)
    summary.usd = 12_345.678
    for number in range(3000):
        clock.seconds += 1
        submitted = numbered_job(number, State.SUBMITTED, submitted_at=1.0, size_bytes=1_000_000)
        for event in (JobMoved(submitted), RequestStarted("list"), BytesSent(50_000_000)):
            summary.apply(event)
        summary.apply(collected(number) if number % 100 else failed(number))
        summary.apply(RequestRetried("", FailureKind.THROTTLED if number % 3 else FailureKind.BROKEN_CONNECTION))
    summary.skipped["done"] = 600_000
    summary.apply(JobMoved(numbered_job(10**60, State.FAILED, kind="bad_audio", reason="no audio in it " * 9)))
    return summary


def drawn(summary: Summary, columns: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=columns, height=24, force_terminal=False).print(view(snapshot(summary)))
    return stream.getvalue()


@pytest.mark.parametrize("columns", [40, 80, 160])
def test_the_view_of_a_million_rows_keeps_to_its_columns(columns: int) -> None:
    lines = drawn(big_run(), columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert len(lines) == 10
    assert lines[0].startswith("50:00 · assemblyai · calls.csv → results"[:columns])


def test_the_view_says_all_that_a_person_at_night_wants_to_know() -> None:
    text = drawn(big_run(), 160)
    for part in (
        "60%  603,001 of 1,000,000 done", "in flight 0/200",
        "transcribed 2,970   failed 31   rejected 0   skipped 600,000   left 396,999",
        "49.50 h of audio", "59.4 x real time", "about $12,345.68", "left", "uploaded 150.0 GB at 50.0 MB/s",
        "3,000 requests (2% of what five minutes allow)", "3,000 retries: throttled 2,000, broken_connection 1,000",
        "✗ calls/2900.wav: no audio in it [bad_audio]",
    ):  # fmt: skip
        assert part in text, text


def test_an_engine_that_loads_is_told_where_the_bar_will_be() -> None:
    summary, _ = at_work()
    summary.apply(ProviderStatus("loading the engine: 1 of 2 processes are ready", is_starting=True))
    assert "… loading the engine: 1 of 2 processes are ready" in drawn(summary, 80)
    assert "0 of 100 done" not in drawn(summary, 80)
    summary.apply(ProviderStatus("the engine is ready, in 2 processes"))
    assert "loading" not in drawn(summary, 80)
    assert "0 of 100 done" in drawn(summary, 80)


def test_in_flight_are_as_many_as_there_are_workers() -> None:
    summary, _ = at_work()
    summary.stage = RunContext(concurrency=2)
    for number in range(5):
        summary.apply(JobMoved(numbered_job(number, State.SUBMITTED)))
    assert "in flight 2/2   next at the service 3" in drawn(summary, 80)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_terminal_view_is_live_and_a_run_ends_with_its_table(tmp_path: Path, columns: int) -> None:
    """A child with a terminal of its own: a manifest of missing files ends without any service."""
    (tmp_path / "m.txt").write_text("".join(f"{n}.wav\n" for n in range(30)))
    code = (
        "import sys, pathlib\n"
        "from batch.cli.display.run_display import closing, display\n"
        "from batch.telemetry.summary import RunContext, Summary\n"
        "from tests.support.jobs import collected, failed\n"
        "from batch.telemetry.events import RowsCounted\n"
        "summary = Summary()\n"
        "summary.stage = RunContext(concurrency=64)\n"
        "with display('auto', summary, sys.stderr) as shown:\n"
        "    for event in [RowsCounted(30), *map(collected, range(25)), failed(26)]:\n"
        "        summary.apply(event); shown.show(event)\n"
        "    import time; time.sleep(0.5)\n"
        "closing(summary, pathlib.Path('out'), sys.stderr)\n"
    )
    ours, theirs = pty.openpty()
    environ = {**os.environ, "COLUMNS": str(columns), "LINES": "24", "TERM": "xterm-256color"}
    child = subprocess.Popen([sys.executable, "-W", "error", "-c", code], stderr=theirs, env=environ)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert child.wait(30) == 0, text.decode()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode())
    assert "in flight 0/64"[:columns] in shown
    assert "26 of 30 done" in shown
    assert "bad_audio" in shown
    assert "transcribed" in shown
