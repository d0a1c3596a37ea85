"""Hostile inputs, each made from its seed alone: recordings damaged in every way, bombs, lies, and what is no audio.

The damaged ones start from real recordings of half a second, in every container that PyAV writes here.
"""

from __future__ import annotations

import functools
import gzip
import io
import random
import struct
import zipfile
from collections.abc import Callable
from typing import Final

from tests.support.places import ROOT

DEMO: Final = ROOT / "configs" / "demo" / "planning-meeting.mp3"
_WRITTEN: Final = """
    wav:pcm_s16le:16000 wav:pcm_mulaw:8000 wav:pcm_f32le:16000 wav:adpcm_ima_wav:16000 wav:pcm_s24le:16000
    w64:pcm_s16le:16000 aiff:pcm_s16be:16000 au:pcm_s16be:16000 caf:pcm_s16le:16000 voc:pcm_u8:16000
    mp3:libmp3lame:16000 mp4:aac:16000 mov:alac:16000 wav:adpcm_ms:16000 adts:aac:16000 mpegts:aac:16000
    flac:flac:16000 ogg:flac:16000 ogg:libopus:48000 webm:libopus:48000 matroska:pcm_s16le:16000
    matroska:aac:16000 avi:libmp3lame:16000 avi:pcm_s16le:16000 asf:libmp3lame:16000 rm:ac3:48000 flv:aac:16000
    ac3:ac3:48000 eac3:eac3:48000 tta:tta:16000 wv:wavpack:16000 amr:libopencore_amrnb:8000 mpeg:mp2:16000
""".split()  # container, codec, rate
_EXTREMES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1)
_MAGICS: Final = (
    b"RIFF\xff\xff\xff\xffWAVE", b"OggS\0\2", b"fLaC\0\0\0\x22", b"ID3\4\0\0\x7f\x7f\x7f\x7f", b"\xff\xfb\x90\0",
    b"\0\0\0\x18ftypM4A ", b"\x1aE\xdf\xa3", b"FORM\0\0\0\0AIFF", b"#!AMR\n", b".snd", b"caff\0\1\0\0", b"\x0b\x77",
    b"0&\xb2u\x8ef\xcf\x11", b"FLV\1\5\0\0\0\x09", b"G@\0\x10", b"\0\0\1\xba", b".RMF", b"wvpk", b"TTA1", b"MAC ",
    b"\x7f\xfe\x80\1", b"Creative Voice File\x1a", b"\x06\x0e\x2b\x34", b"DSD ",
)  # fmt: skip
_TEXTS: Final = (
    "#EXTM3U\n#EXTINF:9,\n/etc/passwd\n",
    "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n",
    "ffconcat version 1.0\nfile '/etc/passwd'\n",
    "[playlist]\nFile1=/etc/passwd\nNumberOfEntries=1\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
    '<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>',
    '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><a>&a;</a>',
    ";FFMETADATA1\ntitle=x\n",
    "{" * 5000,
    "<html><body>404",
    "../../../../etc/passwd",
    "concat:/etc/passwd|/etc/hostname",
    "",
)


def hostile(seed: int) -> tuple[str, bytes]:
    """What kind of input it is, and its bytes. Always the same for a seed, and a version of PyAV."""
    rng = random.Random(seed)
    [(kind, make)] = rng.choices([*_KINDS.items()], [weight for _, weight in _KINDS.values()])[:1]
    return kind, make[0](rng)


@functools.cache
def recordings() -> tuple[bytes, ...]:
    """Real recordings of half a second, one for each container and codec that can be written here."""
    made = (_written(*each.split(":")) for each in _WRITTEN)
    return (*(each for each in made if each), _with_video())


def _written(container: str, codec: str, rate: str) -> bytes:
    """Half a second of the demo recording; nothing if this PyAV cannot write it."""
    import av
    import av.error

    target = io.BytesIO()
    try:
        with av.open(str(DEMO)) as source, av.open(target, "w", format=container) as written:
            stream = written.add_stream(codec, rate=int(rate))
            assert isinstance(stream, av.AudioStream)
            stream.layout = "mono"
            resampler = av.AudioResampler(stream.format.name, "mono", int(rate), frame_size=stream.frame_size or 1024)
            for frame in source.decode(source.streams.audio[0]):
                if frame.time is None or frame.time > 0.5:
                    break
                for part in resampler.resample(frame):
                    written.mux(stream.encode(part))
            written.mux(stream.encode(None))
    except (av.error.FFmpegError, ValueError):
        return b""
    return target.getvalue()


def _with_video() -> bytes:
    """A video with sound."""
    import av
    import numpy as np

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as written:
        video, audio = written.add_stream("mpeg4", rate=10), written.add_stream("aac", rate=16000)
        assert isinstance(video, av.VideoStream)
        assert isinstance(audio, av.AudioStream)
        video.width = video.height = 32
        video.pix_fmt, audio.layout = "yuv420p", av.AudioLayout("mono")
        for number in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 50 * number, np.uint8), format="rgb24")
            written.mux(video.encode(picture))
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 16000
            written.mux(audio.encode(sound))
        written.mux(video.encode(None))
        written.mux(audio.encode(None))
    return target.getvalue()


# ── Damage ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _place(rng: random.Random, data: bytearray) -> int:
    """Headers are where the lies are believed: every other place is in the first 256 bytes."""
    return rng.randrange(min(len(data), rng.choice((256, len(data)))) or 1)


def _flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 4, 32))):
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _extreme(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 3))):
        at, width = _place(rng, data), rng.choice((1, 2, 4, 8))
        number = rng.choice(_EXTREMES) & ((1 << 8 * width) - 1)
        data[at : at + width] = number.to_bytes(width, rng.choice(("big", "little")))


def _truncate(rng: random.Random, data: bytearray) -> None:
    del data[_place(rng, data) :]


def _cut(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    del data[at : at + rng.choice((1, 4, 100, 2000))]


def _repeat(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    data[at:at] = data[at : at + rng.choice((4, 64, 1000))] * rng.choice((1, 3, 200))


def _noise(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    data[at : at + rng.choice((1, 16, 400))] = rng.randbytes(rng.choice((0, 16, 400)))


def _join(rng: random.Random, data: bytearray) -> None:
    at = _place(rng, data)
    data[at:at] = rng.choice(recordings())


_DAMAGE: Final = (_flip, _flip, _extreme, _extreme, _extreme, _truncate, _cut, _repeat, _noise, _join)


def _damaged(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(recordings()))
    for _ in range(rng.choice((1, 1, 2, 4))):
        if data:
            rng.choice(_DAMAGE)(rng, data)
    return bytes(data)


def _whole(rng: random.Random) -> bytes:
    return rng.choice(recordings())


def _header_only(rng: random.Random) -> bytes:
    return rng.choice(recordings())[: rng.choice((4, 12, 44, 100, 500))]


def _random(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((1, 10, 1000, 50_000)))


def _behind_magic(rng: random.Random) -> bytes:
    return rng.choice(_MAGICS) + rng.randbytes(rng.choice((0, 20, 3000)))


def _text(rng: random.Random) -> bytes:
    return rng.choice(_TEXTS).encode()


# ── Bombs and lies ──────────────────────────────────────────────────────────────────────────────────────────────


def _bomb(rng: random.Random) -> bytes:
    hours = rng.choices((0.2, 1.0, 3.0, 11.0), (70, 20, 7, 3))[0]
    return silence(hours, rng.choice((1, 1, 1, 8)))


def silence(hours: float, channels: int = 1) -> bytes:
    """A FLAC file of so much silence: 13 kB an hour, as each frame of 4 s says no more than that all of it is 0."""
    rate, block = 16000, 65535
    frames = int(hours * 3600 * rate / block)
    info = struct.pack(">HH6xQ16x", block, block, rate << 44 | (channels - 1) << 41 | 15 << 36 | frames * block)
    return b"fLaC\x80\0\0\x22" + info + b"".join(_frame(number, block, channels) for number in range(frames))


def _frame(number: int, block: int, channels: int) -> bytes:
    head = b"\xff\xf8" + bytes((0x75, (channels - 1) << 4 | 8)) + _coded(number) + struct.pack(">H", block - 1)
    frame = head + bytes((_crc(head, 8, 0x07),)) + b"\0\0\0" * channels
    return frame + struct.pack(">H", _crc(frame, 16, 0x8005))


def _coded(number: int) -> bytes:
    return chr(number).encode("utf-8", "surrogatepass")


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    crc, top = 0, 1 << bits - 1
    for byte in data:
        crc ^= byte << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial if crc & top else crc << 1) & (1 << bits) - 1
    return crc


def wave(channels: int, rate: int, *, declared: int, bits: int = 16, sound: bytes = bytes(4000)) -> bytes:
    """A WAV file whose header says whatever it is told to."""
    block = channels * bits // 8 & 0xFFFF
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
    return (
        b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", declared) + sound
    )


def _odd_wave(rng: random.Random) -> bytes:
    channels = rng.choice((0, 1, 2, 33, 255, 512, 513, 4096, 65535))
    rate = rng.choice((0, 1, 7, 8000, 768_000, 0x7FFFFFFF, 0xFFFFFFFF))
    bits = rng.choice((0, 1, 8, 16, 24, 32, 64, 65535))
    return wave(channels, rate, declared=rng.choice((0, 4000, 0xFFFFFFFF)), bits=bits, sound=bytes(100_000))


def _atom(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content) + 8) + name + content


def _odd_mp4(rng: random.Random) -> bytes:
    """Thousands of tracks, tables of four billion rows, boxes in boxes in boxes, or sound that lies elsewhere."""
    track = _atom(b"trak", _atom(b"tkhd", bytes(84)) + _atom(b"mdia", _atom(b"mdhd", bytes(24))))
    table = _atom(b"stts", struct.pack(">III", 0, 0xFFFFFFFF, 1)) + _atom(
        b"stsz", struct.pack(">III", 0, 1, 0xFFFFFFFF)
    )
    nested = b""
    for _ in range(300):
        nested = _atom(b"moov", nested)
    elsewhere = _atom(b"dref", struct.pack(">II", 0, 1) + _atom(b"alis", bytes(4) + b"/etc/passwd"))
    inner = rng.choice((track * 3000, _wrapped(table), nested, _wrapped(_atom(b"dinf", elsewhere))))
    return _atom(b"ftyp", b"M4A \0\0\0\0M4A ") + _atom(b"moov", _atom(b"mvhd", bytes(100)) + inner)


def _wrapped(table: bytes) -> bytes:
    sound = _atom(b"mp4a", bytes(28))
    stsd = _atom(b"stsd", struct.pack(">II", 0, 1) + sound)
    handler = _atom(b"hdlr", bytes(8) + b"soun" + bytes(13))
    media = _atom(b"mdhd", bytes(24)) + handler + _atom(b"minf", _atom(b"stbl", stsd + table))
    return _atom(b"trak", _atom(b"tkhd", bytes(84)) + _atom(b"mdia", media))


def _odd_matroska(rng: random.Random) -> bytes:
    """Elements of unknown size in one another, or that say that they are larger than the disk."""
    head = rng.choice([each for each in recordings() if each.startswith(b"\x1aE\xdf\xa3")])[:200]
    return head + rng.choice((b"\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" * 500, b"\xec\x01" + b"\x7f" * 7))


def _picture(rng: random.Random) -> bytes:
    """An MP3 with a megabyte of tags before it."""
    size = 1_000_000
    coded = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    frame = b"APIC" + coded + b"\0\0\0image/png\0\3\0"
    return b"ID3\4\0\0" + coded + frame + bytes(size - len(frame)) + _written("mp3", "libmp3lame", "16000")


def _archive(rng: random.Random) -> bytes:
    """A megabyte of zeros, packed, packed again."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../a.wav", bytes(1_000_000))
        archive.writestr("b.zip", target.getvalue())
    return rng.choice((target.getvalue(), gzip.compress(gzip.compress(bytes(1_000_000), mtime=0), mtime=0)))


_Make = Callable[[random.Random], bytes]
_KINDS: Final[dict[str, tuple[_Make, float]]] = {
    "damaged": (_damaged, 70),
    "whole": (_whole, 2),
    "header only": (_header_only, 5),
    "random": (_random, 4),
    "behind a magic number": (_behind_magic, 8),
    "text": (_text, 3),
    "odd wave": (_odd_wave, 3),
    "odd mp4": (_odd_mp4, 2),
    "odd matroska": (_odd_matroska, 1),
    "large tags": (_picture, 0.5),
    "archive": (_archive, 0.5),
    "bomb": (_bomb, 1),
}
