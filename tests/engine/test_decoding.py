"""Any file becomes sound, or a message in v2's words. On real files."""

from __future__ import annotations

import wave

import av
import numpy as np
import pytest

from batch.engine.decoding import decode
from batch.engine.interface import BadAudio
from batch.engine.spans import RATE

NO_AUDIO = "Transcoding failed. File does not appear to contain audio. File type is "


def tone(seconds: float, hertz: float = 300.0):
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.wav", "pcm_s16le"),
        ("phone.wav", "pcm_mulaw"),
        ("a.mp3", "libmp3lame"),
        ("a.m4a", "aac"),
        ("a.flac", "flac"),
        ("a.mka", "pcm_s16le"),
    ],
)
def test_every_format_gives_the_same_sound(record, name: str, codec: str) -> None:
    recording = decode(record(name, tone(3), codec))
    (sound,) = recording.channels
    assert recording.seconds == pytest.approx(3, abs=0.15)
    assert recording.warnings == ()
    spectrum = np.abs(np.fft.rfft(sound[RATE : 2 * RATE].astype(float)))
    assert spectrum.argmax() == 300


def test_another_rate_is_brought_to_16_khz(record) -> None:
    assert decode(record("a.opus", tone(3), "libopus", rate=48_000)).seconds == pytest.approx(1, abs=0.05)


def test_two_channels_are_mixed_or_kept_apart(record) -> None:
    path = record("a.wav", np.stack([tone(1), np.zeros(RATE)]))
    (mixed,) = decode(path).channels
    left, right = decode(path, multichannel=True).channels
    assert np.abs(right).max() == 0
    assert np.abs(mixed).max() == pytest.approx(np.abs(left).max() / 2, rel=0.05)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 8, 9, 16, 32])
def test_any_number_of_channels_is_mixed_or_kept_apart(tmp_path, count: int) -> None:
    path = tmp_path / "a.wav"
    levels = np.arange(1, count + 1) * 500
    with wave.open(str(path), "wb") as file:
        file.setparams((count, 2, RATE, 0, "NONE", ""))
        file.writeframes(np.tile(levels, RATE).astype(np.int16).tobytes())
    kept = [channel[RATE // 2] for channel in decode(path, multichannel=True).channels]
    assert kept == pytest.approx(levels, abs=1)
    (mixed,) = decode(path).channels
    assert levels[0] <= mixed[RATE // 2] <= levels[-1]


def test_a_mono_file_has_one_channel(record) -> None:
    assert len(decode(record("a.wav", tone(1)), multichannel=True).channels) == 1


@pytest.mark.parametrize(
    ("name", "contents", "kind"),
    [
        ("empty.wav", b"", "inode/x-empty (empty)."),
        ("text.wav", b"hello", "text/plain (ASCII text, with no line terminators)."),
        ("page.mp3", b"<html><body>404</body></html>", "text/html (HTML document, ASCII text, with no line "),
        ("error.mp3", b'{"error": "gone"}', "application/json (JSON text data)."),
        ("random.wav", bytes(range(256)) * 64, "application/octet-stream (data)."),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:9,\n/etc/hostname\n", "text/plain (ASCII text)."),
        ("list.wav", b"ffconcat version 1.0\nfile /etc/hostname\n", "text/plain (ASCII text)."),
    ],
)
def test_what_is_not_audio_is_refused_with_its_type(tmp_path, name: str, contents: bytes, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(contents)
    with pytest.raises(BadAudio) as refusal:
        decode(path)
    assert str(refusal.value).startswith(NO_AUDIO + kind)


def test_a_playlist_cannot_name_other_files_to_be_read(record, tmp_path) -> None:
    record("secret.wav", tone(1))
    playlist = tmp_path / "list.wav"
    playlist.write_text("ffconcat version 1.0\nfile secret.wav\n")
    with pytest.raises(BadAudio):
        decode(playlist)


def test_a_video_without_sound_is_refused(tmp_path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadAudio, match=r"File type is video/mp4 \(ISO Media"):
        decode(path)


def test_an_m4a_cut_before_its_index_is_refused(record) -> None:
    path = record("cut.m4a", tone(5), "aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadAudio, match=r"File does not appear to contain audio\. File type is audio/x-m4a"):
        decode(path)


@pytest.mark.parametrize("samples", [0, 1, 2000])
def test_too_little_sound_is_refused(tmp_path, samples: int) -> None:
    path = tmp_path / "short.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(2 * samples))
    with pytest.raises(BadAudio, match=r"^Audio duration is too short\.$"):
        decode(path)


def test_too_much_sound_is_refused(record, monkeypatch) -> None:
    monkeypatch.setattr("batch.engine.decoding.LONGEST", RATE)
    with pytest.raises(BadAudio, match=r"^Audio duration is too long\.$"):
        decode(record("long.wav", tone(2)))


def test_a_truncated_mp3_gives_what_is_there_and_a_warning(record) -> None:
    path = record("cut.mp3", tone(10), "libmp3lame")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    recording = decode(path)
    assert recording.seconds == pytest.approx(5, abs=0.2)
    assert "The file ends early: it declares 10.0 seconds and holds" in recording.warnings[-1]


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.m4a", "aac"), ("a.flac", "flac")])
def test_damage_in_the_middle_costs_only_the_damaged_part(record, name: str, codec: str) -> None:
    path = record(name, tone(20), codec)
    contents = bytearray(path.read_bytes())
    middle = len(contents) // 2
    contents[middle : middle + 2000] = np.random.default_rng(1).bytes(2000)
    path.write_bytes(contents)
    assert decode(path).seconds == pytest.approx(20, abs=0.8)


def test_what_follows_a_hole_keeps_its_time(record) -> None:
    sound = np.concatenate([np.random.default_rng(1).uniform(-0.3, 0.3, 15 * RATE), np.zeros(RATE), tone(4)])
    path = record("a.flac", sound, "flac")
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 3 : len(contents) // 3 + 30_000] = bytes(30_000)
    path.write_bytes(contents)
    (heard,) = decode(path).channels
    loud = np.flatnonzero(np.abs(heard[14 * RATE :]) < 3)
    assert len(heard) == len(sound)
    assert 14 * RATE + loud[len(loud) // 2] == pytest.approx(15.5 * RATE, abs=0.3 * RATE)


@pytest.mark.parametrize("multichannel", [True, False])
def test_sound_in_files_is_the_sound_in_memory(record, tmp_path, multichannel: bool) -> None:
    path = record("call.wav", np.stack([tone(2), 0.5 * tone(2)]))
    folder = tmp_path / "sound"
    folder.mkdir()
    mapped = decode(path, multichannel=multichannel, folder=folder).channels
    held = decode(path, multichannel=multichannel).channels
    assert len(mapped) == len(held) == len(list(folder.iterdir())) == 1 + multichannel
    assert all(np.array_equal(one, other) for one, other in zip(mapped, held, strict=True))
