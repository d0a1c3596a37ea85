"""Results appear whole or not at all, and say again exactly what the service said."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from batch import errors
from batch.archive.results import Results
from batch.model import Job, Recording
from batch.providers.assemblyai.transcript import outline

TRANSCRIPT = (
    b' {"id":"t1","text":"hi","new_key":1.50,"utterances":[{"speaker":"A"},{"speaker":"B"},{"speaker":"A"}]}\n'
)


def job(key: str = "calls/a.wav") -> Job:
    recording = Recording(
        key=key, source="/calls/a.wav", manifest="m.csv", line=7, options={"speaker_labels": True}, labels={"x": "é"}
    )
    return Job(recording=recording, service="local", sha256="ab")


def test_result_keeps_the_service_object_byte_for_byte(tmp_path: Path) -> None:
    """A result holds the recording and the service's object byte for byte."""
    results = Results(tmp_path)
    stored = results.write(job(), TRANSCRIPT)
    written = (tmp_path / "calls" / "a.wav.json").read_bytes()
    assert TRANSCRIPT.strip()[1:] in written
    loaded = json.loads(written)
    assert loaded["recording"]["labels"] == {"x": "é"}
    assert loaded["recording"]["sha256"] == "ab"
    assert loaded["recording"]["line"] == 7
    assert loaded["text"] == "hi"
    assert [*tmp_path.rglob("*.tmp")] == []
    assert (stored.speakers, stored.result_bytes) == (2, len(written))


def test_a_result_is_replaced_whole(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.write(job(), TRANSCRIPT)
    results.write(job(), b'{"id":"t2","utterances":null}')
    assert json.loads(results.path("calls/a.wav").read_bytes())["id"] == "t2"


def test_full_disk_stops_the_run_and_keeps_the_old_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk stops the run, and leaves the old result and no litter."""
    results = Results(tmp_path)
    results.write(job(), TRANSCRIPT)
    sync = os.fsync

    def full(number: int) -> None:
        if stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(28, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.UnavailableError, match="No space left.*fetched again, not paid again"):
        results.write(job(), b'{"id":"t2"}')
    assert json.loads(results.path("calls/a.wav").read_bytes())["id"] == "t1"
    assert [*tmp_path.rglob("*.tmp")] == []


def test_impossible_directory_is_reported_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.UsageError, match="cannot write to .*file"):
        Results(tmp_path / "file")


@pytest.mark.parametrize(
    ("transcript", "count"), [(b'{"utterances":null}', 0), (b"{}", 0), (b'{"utterances":[{"speaker":null}]}', 0)]
)
def test_a_transcript_without_speakers_has_none(transcript: bytes, count: int) -> None:
    assert outline(transcript).speakers == count
