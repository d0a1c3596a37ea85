"""What headers tell, on real files."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from batch.providers.registry import named
from batch.storage import audio_headers as probing
from batch.storage.audio_headers import Probe, channels_are_identical, exact_seconds, probe
from tests.support.places import DEMO
from tests.support.recordings import wav

LIMITS = named("local").capabilities.audio


@pytest.mark.parametrize(
    ("name", "seconds", "channels"),
    [
        ("support-call.ogg", 42.18, 2),
        ("planning-meeting.mp3", 44.78, 1),
        ("radio-interview.flac", 29.10, 1),
        ("kitchen-talk.m4a", 31.52, 2),
    ],
)
@pytest.mark.parametrize("with_av", [True, False])
def test_length_and_channels_are_read_with_and_without_pyav(
    name: str, seconds: float, channels: int, with_av: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_av:
        pytest.importorskip("av")
    else:
        monkeypatch.setattr(probing, "_av", lambda: None)
    found = probe(str(DEMO / name))
    assert found.seconds == pytest.approx(seconds, abs=0.02)
    assert (found.channels, found.problem) == (channels, None)
    assert found.size_bytes == (DEMO / name).stat().st_size


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "a.wav is empty (0 bytes)"), (wav(b"x" * 1000), "too short: 0.12 s"), (wav(b"x" * 2000), None)],
)
def test_what_the_service_would_refuse_is_told(tmp_path: Path, content: bytes, problem: str | None) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    found = probe(str(tmp_path / "a.wav"), limits=LIMITS).problem
    assert (found or "").removeprefix(f"{tmp_path}/") == (problem or "")


@pytest.mark.skipif(not importlib.util.find_spec("av"), reason="only PyAV can tell")
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.xyz"])
def test_what_is_no_audio_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>no audio</html>" * 100)
    assert probe(str(tmp_path / name)).problem == "no audio in it"


def test_what_nobody_can_tell_is_unknown_and_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_av", lambda: None)
    (tmp_path / "a.amr").write_bytes(b"#!AMR\n" + b"\x3c" * 200)
    assert probe(str(tmp_path / "a.amr")) == Probe(206)


def test_a_file_that_is_too_long_or_too_large_or_missing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    path.write_bytes(wav(b"x" * 2000))
    header = bytearray(path.read_bytes()[:44])
    size = 8000 * 36_001
    header[4:8], header[40:44] = (size + 36).to_bytes(4, "little"), size.to_bytes(4, "little")
    with path.open("r+b") as file:
        file.write(header)
        file.truncate(44 + size)  # a hole: no disk is used
    assert probe(str(path), limits=LIMITS).problem == "too long: 10.0 h"
    with path.open("r+b") as file:
        file.truncate(2_200_000_001)
    assert "an upload may have 2.2" in (probe(str(path), limits=LIMITS).problem or "")
    missing = probe(str(tmp_path / "none.wav"))
    assert missing.problem == f"{tmp_path}/none.wav is not there: correct the path or restore the file"
    assert (probe(str(path), limits=LIMITS).kind, missing.kind) == ("too_large", "missing")


def test_only_a_header_that_counts_samples_gives_an_exact_length(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(b"x" * 20_000))
    assert exact_seconds(str(path)) == 2.5
    path.write_bytes(path.read_bytes()[:10_000])  # cut off, or a count that a stream could not know
    assert exact_seconds(str(path)) is None
    assert exact_seconds(str(DEMO / "support-call.ogg")) is None
    assert exact_seconds(str(DEMO / "radio-interview.flac")) == pytest.approx(29.10, abs=0.01)
    assert exact_seconds(str(tmp_path / "none.flac")) is None


def test_identical_channels_are_seen_at_start_middle_and_end(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(bytes(n // 2 % 251 for n in range(100_000)), channels=2))
    assert channels_are_identical(str(path)) is True
    path.write_bytes(wav(bytes(n // 2 % 251 for n in range(99_998)) + b"\x01\x02", channels=2))
    assert channels_are_identical(str(path)) is False
    path.write_bytes(wav(b"x" * 2000))
    assert channels_are_identical(str(path)) is None
    assert channels_are_identical(str(DEMO / "support-call.ogg")) is None
