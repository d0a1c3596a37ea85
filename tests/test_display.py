"""What a person sees: on a terminal, in a log, and at the end."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batch import errors
from batch.display import closing, display, pulse
from batch.model import Event, Job, Recording, Reject, State
from batch.summary import Summary


def job(number: int, state: State, **facts: object) -> Job:
    recording = Recording(key=f"calls/{number}.wav", source="/a", manifest="m.csv", line=number + 2)
    return Job(recording=recording, service="local", state=state, **facts)  # type: ignore[arg-type]


def collected(number: int) -> Event:
    return Event("moved", job=job(number, State.COLLECTED, audio_seconds=60.0, speakers=2))


def failed(number: int) -> Event:
    return Event("moved", job=job(number, State.FAILED, kind="bad_audio", reason="no audio in it"))


def said(mode: str, *events: Event) -> str:
    stream, summary = io.StringIO(), Summary()
    with display(mode, summary, stream, 64) as shown:
        for event in events:
            summary.take(event)
            shown.show(event)
    return stream.getvalue()


def test_a_log_names_the_first_recordings_every_failure_and_no_more() -> None:
    lines = said("plain", *map(collected, range(100)), failed(100), failed(101)).splitlines()
    assert lines[0] == "✓ calls/0.wav: 2 speakers, 1:00"
    assert len([line for line in lines if line.startswith("✓")]) == 20
    assert lines[-1] == "✗ m.csv:103: calls/101.wav: no audio in it [bad_audio]"


def test_retries_of_one_kind_are_told_once_in_a_while() -> None:
    retry = Event("retrying", message="fetch of a: reset", kind="broken_connection", seconds=2.0)
    other = Event("retrying", message="fetch of b: busy", kind="throttled", seconds=1.0)
    assert said("plain", *[retry] * 50, other).splitlines() == [
        "↻ fetch of a: reset; trying again in 2.0 s",
        "↻ fetch of b: busy; trying again in 1.0 s",
    ]


def test_off_still_says_what_must_be_known_and_json_says_everything() -> None:
    notice = Event("notice", message="service: local")
    assert said("off", notice, collected(1)) == "service: local\n"
    assert len(said("json", notice, collected(1)).splitlines()) == 2


def test_a_stream_that_is_no_terminal_gets_plain_lines() -> None:
    assert said("auto", collected(1)) == "✓ calls/1.wav: 2 speakers, 1:00\n"


def ending(*events: Event, **facts: object) -> str:
    stream, summary = io.StringIO(), Summary()
    for event in events:
        summary.take(event)
    for name, value in facts.items():
        setattr(summary, name, value)
    closing(summary, Path("out"), 12.3, stream)
    return stream.getvalue()


def test_the_end_lists_twenty_recordings_counts_the_rest_and_groups_the_failures() -> None:
    reject = Event("rejected", reject=Reject("m.csv", 9, "no audio"), message="no audio")
    text = ending(*map(collected, range(30)), *map(failed, range(30, 33)), reject)
    assert len(re.findall(r"out/calls/\d+\.wav\.json", text)) == 20
    assert "… and 13 more" in text
    assert "3 x bad_audio, for example m.csv:32: calls/30.wav: no audio in it" in text
    assert "1 x bad_row, for example m.csv:9: (no key): no audio" in text
    assert text.splitlines()[-1] == "30 collected, 4 failed · 30:00 of audio in 12.3 s · results in out"


def test_the_end_says_what_stopped_the_run() -> None:
    assert "stopped: the key is wrong" in ending(stopped_by=errors.KeyRefused("the key is wrong"))
    submitted = Event("moved", job=job(1, State.SUBMITTED))
    assert "1 submitted recordings are left to the service" in ending(submitted, signal_number=2)


def test_time_left_follows_what_is_left() -> None:
    summary = Summary()
    for event in (Event("total", count=100), *map(collected, range(25))):
        summary.take(event)
    assert pulse(summary, 50.0) == "25 of 100 done · 0.42 h of audio · 30.0x real time · 2:30 left · 0:50 so far"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_on_a_terminal_the_view_is_live_and_a_run_ends_with_its_table(tmp_path: Path, columns: int) -> None:
    """A child with a terminal of its own: a manifest of missing files ends without any service."""
    (tmp_path / "m.txt").write_text("".join(f"{n}.wav\n" for n in range(30)))
    code = (
        "import sys, pathlib\n"
        "from batch.display import closing, display\n"
        "from batch.summary import Summary\n"
        "from tests.test_display import collected, failed\n"
        "from batch.model import Event\n"
        "summary = Summary()\n"
        "with display('auto', summary, sys.stderr, 64) as shown:\n"
        "    for event in [Event('total', count=30), *map(collected, range(25)), failed(26)]:\n"
        "        summary.take(event); shown.show(event)\n"
        "    import time; time.sleep(0.5)\n"
        "closing(summary, pathlib.Path('out'), 1.0, sys.stderr)\n"
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
    assert "collected" in shown
