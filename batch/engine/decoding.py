"""Any audio or video file to 16 kHz, 16-bit sound, by FFmpeg's libraries (PyAV).

It goes packet by packet: what is damaged is left out, counted and told, and what can be heard is kept. Only the
sound itself is held in memory, 115 MB for an hour of one channel, or not even that where it may lie in files. A file
that is made to take for ever is given up.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from batch.engine.file_type import HEAD, sniff
from batch.engine.interface import BadAudio
from batch.engine.spans import RATE, Audio, seconds

SHORTEST = seconds(0.160)
LONGEST = seconds(10 * 3600)
WIDTH = 2  # bytes of a sample
GAP = seconds(0.1)  # timestamps that jump further than this over missing sound are believed
MOST_CHANNELS = 32
MOST_SOUND = 4 * LONGEST  # samples of all channels together: 4.6 GB
PATIENCE = 120.0  # seconds for decoding; real recordings take a few, the longest of them a minute
PATIENCE_FOR_BYTE = 1e-6
SHORT_OF = 0.98  # less than this share of the length that the file declares is worth a warning

# The kinds of file that v2 lists, by FFmpeg's names. Others stay shut: a playlist names further files to be read.
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dss,dts,eac3,flac,flv,iff,loas,m4v,matroska,mov,mp3,mpeg,mpegts,"
    "mpegvideo,mxf,ogg,qcp,rm,tta,voc,w64,wav,wv"
)
OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}


class Facts(NamedTuple):
    """What a recording is besides its sound."""

    channels: int
    seconds: float
    warnings: tuple[str, ...]


class Recording(NamedTuple):
    """The sound of a file: one array for each channel asked for, all of one length, and what was wrong with it."""

    channels: list[Audio]
    warnings: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return len(self.channels[0]) / RATE

    @property
    def facts(self) -> Facts:
        return Facts(len(self.channels), self.seconds, self.warnings)


def decode(path: Path, *, multichannel: bool = False, folder: Path | None = None) -> Recording:
    """The file's first audio stream that has a decoder, its channels mixed into one unless ``multichannel``.

    With a ``folder`` the channels are files in it, ``0.pcm`` and so on, and mapped. Raises BadAudio.
    """
    patience = PATIENCE + PATIENCE_FOR_BYTE * path.stat().st_size
    deadline = time.monotonic() + patience
    try:
        with (
            contextlib.ExitStack() as files,
            av.open(f"file:{path}", options=OPTIONS, metadata_errors="ignore", timeout=patience) as container,
        ):
            stream = next((each for each in container.streams.audio if each.codec_context), None)  # None: no decoder
            if stream is None:
                raise BadAudio(not_audio(path))
            sink = partial(_sink, folder, files)
            return _Decoding(container, stream, sink, multichannel=multichannel, deadline=deadline).recording()
    except av.error.FFmpegError as error:
        raise BadAudio(not_audio(path)) from error


def not_audio(path: Path) -> str:
    """v2's text for a file without sound in it."""
    with path.open("rb") as file:
        kind = sniff(file.read(HEAD))
    return f"Transcoding failed. File does not appear to contain audio. File type is {kind}."


def _declared(container: InputContainer, stream: AudioStream) -> float:
    """How long the file says that its sound is, in seconds; 0 if it does not say."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _sink(folder: Path | None, files: contextlib.ExitStack, number: int) -> BinaryIO:
    """Where a channel's sound goes; a file is closed with ``files``."""
    return files.enter_context((folder / f"{number}.pcm").open("w+b")) if folder else io.BytesIO()


def _ended(sound: BinaryIO) -> Audio:
    """The samples that were written. They outlive the closing of their file."""
    if isinstance(sound, io.BytesIO):
        return np.frombuffer(sound.getbuffer(), np.int16)
    sound.flush()
    return np.memmap(sound, np.int16, "r")


class _Decoding:
    """One pass over one file."""

    def __init__(
        self,
        container: InputContainer,
        stream: AudioStream,
        sink: Callable[[int], BinaryIO],
        *,
        multichannel: bool,
        deadline: float,
    ) -> None:
        self._container, self._stream, self._sink, self._deadline = container, stream, sink, deadline
        self._stream.codec_context.thread_count = 1
        self._multichannel = multichannel
        self._sound: list[BinaryIO] = []
        self._resampler: AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None
        self._layout = ""
        self._damaged = 0
        self._declared = seconds(_declared(container, self._stream))
        self._zero: float | None = None

    def recording(self) -> Recording:
        for frame in self._frames():
            self._hear(frame)
        self._flush()
        if self._heard < SHORTEST:
            raise BadAudio("Audio duration is too short.")
        channels = [_ended(sound) for sound in self._sound]
        return Recording(channels, tuple(self._warnings()))

    def _frames(self) -> Iterator[AudioFrame]:
        for packet in self._packets():
            if time.monotonic() > self._deadline:
                raise BadAudio("Transcoding failed. The file takes too long to decode.")
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                self._damaged += 1

    def _packets(self) -> Iterator[Packet[AudioStream]]:
        try:
            yield from self._container.demux(self._stream)
        except av.error.FFmpegError:  # the container is broken from here on: what came before is kept
            self._damaged += 1

    def _hear(self, frame: AudioFrame) -> None:
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._multichannel and frame.layout.nb_channels > MOST_CHANNELS:
            raise BadAudio(f"Transcoding failed. The file has more than {MOST_CHANNELS} channels.")
        if shape != self._shape:  # the first frame, or a stream that changes midway
            self._flush()
            mixable = " channels" not in frame.layout.name  # FFmpeg mixes only channels whose place it knows
            self._layout = self._layout or ("mono" if mixable and not self._multichannel else frame.layout.name)
            self._resampler = AudioResampler("s16", self._layout, RATE)  # planar crashes PyAV from 8 channels on
            self._shape = shape
        self._fill(frame)
        if frame.samples * RATE > (LONGEST - self._heard) * frame.sample_rate:  # before one frame becomes hours
            raise BadAudio("Audio duration is too long.")
        self._keep(frame)

    def _fill(self, frame: AudioFrame) -> None:
        """Silence in place of what is missing before the frame, so that the times of the rest stay right."""
        if frame.time is None:
            return
        self._zero = frame.time if self._zero is None else self._zero
        place = seconds(frame.time - self._zero)
        missing = place - self._heard
        if missing > GAP and place <= min(self._declared, LONGEST):
            for sound in self._sound:
                sound.write(bytes(missing * WIDTH))

    @property
    def _heard(self) -> int:
        """Samples so far."""
        return self._sound[0].tell() // WIDTH if self._sound else 0

    def _flush(self) -> None:
        if self._resampler is not None:
            self._keep(None)

    def _keep(self, frame: AudioFrame | None) -> None:
        assert self._resampler is not None
        for resampled in self._resampler.resample(frame):
            interleaved = resampled.to_ndarray().reshape(-1, resampled.layout.nb_channels)
            if not self._multichannel:  # FFmpeg has not mixed those whose places it does not know
                interleaved = interleaved.mean(axis=1, dtype=np.float32, keepdims=True).astype(np.int16)
            self._sound = self._sound or [self._sink(number) for number in range(interleaved.shape[1])]
            for number, sound in enumerate(self._sound):
                sound.write(interleaved[:, number].tobytes())
        if self._heard * len(self._sound) > MOST_SOUND:
            raise BadAudio("Audio duration is too long for so many channels.")

    def _warnings(self) -> Iterator[str]:
        if self._damaged:
            yield f"Damaged parts of the file could not be decoded and were left out: {self._damaged}."
        if self._heard < self._declared * SHORT_OF and self._declared - self._heard > RATE:
            declared, heard = self._declared / RATE, self._heard / RATE
            yield f"The file ends early: it declares {declared:.1f} seconds and holds {heard:.1f}."
