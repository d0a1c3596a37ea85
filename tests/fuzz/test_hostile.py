"""Hostile inputs and requests end as errors of their own: the service neither crashes, hangs nor leaks."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

if not importlib.util.find_spec("av"):
    pytest.skip("decodes: needs the extra [local]", allow_module_level=True)

from batch.engine import decoding
from batch.engine.interface import BadAudio
from tests.fuzz.fuzzing import Report, fuzz, shown
from tests.fuzz.hostile import hostile, silence, wave

MEGABYTE = 1 << 20


def check(report: Report) -> None:
    """What must hold whatever was fed."""
    print(shown(report))
    assert sum(report.outcomes.values()) == report.inputs
    assert report.exit_code is None
    assert "Traceback" not in report.said
    assert report.outcomes.keys() >= {("whole", "completed"), ("text", "bad_audio")}
    assert {end for kind, end in report.outcomes if kind == "whole"} == {"completed"}
    assert report.longest[0] < 120
    assert report.left == []
    assert report.before
    assert report.after
    assert report.after.service_bytes - report.before.service_bytes < 50 * MEGABYTE
    assert report.after.workers_bytes - report.before.workers_bytes < 600 * MEGABYTE
    assert report.after.files - report.before.files <= 4
    assert report.after.worker_files <= report.before.worker_files
    assert len(report.after.workers) == 2


async def test_300_hostile_inputs_end_without_a_crash_a_hang_or_a_leak(tmp_path: Path) -> None:
    check(await fuzz(tmp_path, 300, seed=2026))


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_10000_hostile_inputs_cause_no_crash_hang_or_leak(tmp_path: Path) -> None:
    check(await fuzz(tmp_path, 10_000, seed=0))


def test_an_input_is_the_same_each_time_its_seed_is_named() -> None:
    assert [hostile(seed) for seed in range(40)] == [hostile(seed) for seed in range(40)]


def test_hours_of_silence_in_kilobytes_are_ten_hours_at_most(tmp_path: Path) -> None:
    path = tmp_path / "bomb.flac"
    path.write_bytes(silence(1))
    assert path.stat().st_size < 14_000
    recording = decoding.decode(path)
    assert (round(recording.seconds / 3600, 2), recording.warnings) == (1, ())
    path.write_bytes(silence(10.1))
    with pytest.raises(BadAudio, match=r"^Audio duration is too long\.$"):
        decoding.decode(path)


def test_frame_claiming_to_last_hours_is_not_made_into_hours(tmp_path: Path) -> None:
    path = tmp_path / "slow.wav"
    path.write_bytes(wave(1, 1, declared=100_000, bits=8, sound=bytes(100_000)))
    with pytest.raises(BadAudio, match=r"^Audio duration is too long\.$"):
        decoding.decode(path)


def test_hundreds_of_channels_can_be_mixed_but_not_kept_apart(tmp_path: Path) -> None:
    """Hundreds of channels are mixed as they come, and are too many to keep apart."""
    path = tmp_path / "many.wav"
    path.write_bytes(wave(255, 16_000, declared=255 * 2 * 16_000, sound=bytes(255 * 2 * 16_000)))
    [mixed] = decoding.decode(path).channels
    assert len(mixed) == 16_000
    with pytest.raises(BadAudio, match="more than 32 channels"):
        decoding.decode(path, multichannel=True)


def test_hours_of_many_channels_do_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "many.wav"
    path.write_bytes(wave(8, 16_000, declared=8 * 2 * 16_000, sound=bytes(8 * 2 * 16_000)))
    monkeypatch.setattr(decoding, "MOST_SOUND", 100_000)
    assert len(decoding.decode(path).channels) == 1
    with pytest.raises(BadAudio, match="too long for so many channels"):
        decoding.decode(path, multichannel=True, folder=tmp_path)


def test_a_file_that_takes_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.flac"
    path.write_bytes(silence(5))
    monkeypatch.setattr(decoding, "PATIENCE", 0.05)
    with pytest.raises(BadAudio, match="takes too long to decode"):
        decoding.decode(path)


def test_sound_beginning_with_nothing_is_too_short(tmp_path: Path) -> None:
    """Sound that begins with nothing is too short, whatever its times say."""
    path = tmp_path / "odd.wav"
    path.write_bytes(hostile(7595)[1])  # a frame too short to be resampled, then one that is said to be much later
    with pytest.raises(BadAudio, match="too short"):
        decoding.decode(path)


def test_file_without_a_decoder_for_its_first_sound_is_no_audio(tmp_path: Path) -> None:
    path = tmp_path / "unknown.wav"
    known = wave(1, 16_000, declared=4000)
    path.write_bytes(known.replace(b"\x01\x00\x01\x00\x80\x3e", b"\xfe\xca\x01\x00\x80\x3e", 1))
    assert path.read_bytes() != known
    with pytest.raises(BadAudio, match="does not appear to contain audio"):
        decoding.decode(path)
