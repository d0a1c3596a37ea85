"""The demo, as the README has it: the command line, the local service, the real engine, the real recordings."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batch.model import Word
from tests.support.places import DEMO

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("onnxruntime", "av", "pocketsphinx", "moonshine_voice"))),
    reason="needs the extra [local]",
)


def command(out: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "batch", "run", str(DEMO / "manifest.csv"), "--out", str(out), *more]


def environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ASSEMBLYAI_", "DIARIST_"))}


def run(out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(out, *more), env=environ(), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo's results, and what was said while they were made."""
    out = tmp_path_factory.mktemp("demo")
    return out, run(out).stderr


def result(out: Path, key: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((out / f"{key}.json").read_bytes())
    return loaded


@pytest.mark.parametrize(
    ("key", "speakers"),
    [("kitchen-talk", "ABC"), ("planning-meeting", "ABC"), ("radio-interview", "AB"), ("support-call", "1A2A")],
)
def test_demo_recordings_have_the_right_words_and_speakers(
    finished: tuple[Path, str], key: str, speakers: str
) -> None:
    accuracy = pytest.importorskip("tests.bench.accuracy")
    said = result(finished[0], key)
    words = msgspec.convert(said["words"], list[Word])
    recording = next(path for path in DEMO.glob(f"{key}.*") if path.suffix in (".ogg", ".mp3", ".flac", ".m4a"))
    reference = (DEMO / f"{key}.txt").read_text("utf-8")
    assert accuracy.word_error_rate(reference, said["text"]) < 0.15
    assert accuracy.diarization(recording, words)["diarization error rate"] < 0.1
    assert "".join(dict.fromkeys(utterance["speaker"] for utterance in said["utterances"])) == speakers


def test_demo_results_have_labels_and_options_and_ordered_words(finished: tuple[Path, str]) -> None:
    said = result(finished[0], "planning-meeting")
    assert said["recording"]["labels"] == {"topic": "library building"}
    assert said["recording"]["options"] == {"speaker_labels": True, "speakers_expected": 3}
    starts = [word["start"] for word in said["words"]]
    assert starts == sorted(starts)
    assert all(word["start"] < word["end"] <= 1000 * said["audio_duration"] for word in said["words"])


def test_the_end_says_what_there_is_and_where(finished: tuple[Path, str]) -> None:
    out, said = finished
    assert "service: local" in said
    assert "as no ASSEMBLYAI_API_KEY is set" in said
    assert "no audio leaves it; it understands English" in said
    assert re.search(r"planning-meeting: “Let us begin\. We have to decide", said)
    assert re.search(r"4 transcribed · 2:2\d of audio in [\d.]+ s, [\d.]+ x real time · results in ", said)
    assert f"for the report: diarist report {out}" in said


def test_no_copy_of_the_audio_is_left_behind(finished: tuple[Path, str]) -> None:
    out, _ = finished
    audio = [path.read_bytes() for path in DEMO.iterdir() if path.suffix in (".m4a", ".mp3", ".flac", ".ogg")]
    left = [path.read_bytes() for path in out.rglob("*") if path.is_file()]
    assert len(audio) == 4 and len(left) > 6
    assert not any(whole[len(whole) // 2 :][:1000] in content for whole in audio for content in left)


def test_a_second_run_does_not_even_start_the_engine(finished: tuple[Path, str]) -> None:
    began = time.monotonic()
    assert "4 done before" in run(finished[0]).stderr
    assert time.monotonic() - began < 10


def service_processes(out: Path) -> list[str]:
    """The command lines of the running services whose data is below ``out``."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(out / ".diarist" / "service") in line and " serve " in line:
            found.append(line)
    return found


def test_killed_demo_leaves_no_orphan_and_the_next_run_continues(tmp_path: Path) -> None:
    """A run that is killed leaves no orphan of its local service, and the next run continues."""
    child = subprocess.Popen(command(tmp_path), env=environ(), stderr=subprocess.PIPE, text=True)
    assert child.stderr
    deadline = time.monotonic() + 120
    while not (tmp_path / "kitchen-talk.json").exists() and not [*tmp_path.glob("*.json")]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    deadline = time.monotonic() + 20
    while service_processes(tmp_path):
        assert time.monotonic() < deadline, "the local service outlived the run"
        time.sleep(0.1)
    run(tmp_path)
    assert len([*tmp_path.glob("*.json")]) == 4
