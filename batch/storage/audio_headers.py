"""What a recording's header tells before anybody pays: its length, codec, channels and size.

tinytag reads the usual containers in microseconds; PyAV, if the extra ``[local]`` is installed, the rest. A length is
an estimate for prices and limits; the service's own ``audio_duration`` is the truth.
"""

from __future__ import annotations

import contextlib
import functools
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.errors import FailureKind, RecordingError
from batch.storage import audio, object_stores
from batch.storage.audio import ANY_AUDIO, AudioLimits
from batch.storage.locations import is_stored

_SLOW: Final = frozenset({".aac", ".ogg", ".oga", ".opus"})
"""Containers whose length tinytag finds only by reading them to the end."""
_COMPARED_FRAMES: Final = 4096
_NO_AUDIO: Final = "no audio in it"
_HEADER_BYTES: Final = 1 << 14
"""Read at once of a stored object: more costs egress, less costs requests."""


class Probe(msgspec.Struct, frozen=True):
    """``seconds``, ``codec`` and ``channels`` are None where the header does not tell them; ``problem`` is why the
    recording would fail, if it would: with a ``kind``, in the words and with the kind of the run that cannot send it,
    else as the service would refuse it."""

    size_bytes: int = 0
    seconds: float | None = None
    codec: str | None = None
    channels: int | None = None
    problem: str | None = None
    kind: FailureKind | None = None


def probe(path: str, size_bytes: int | None = None, *, limits: AudioLimits = ANY_AUDIO, sent: bool = True) -> Probe:
    """Look at the header of a file, or of an object in a store, whose size may be known of a listing. Blocks. What
    cannot be read, or is beyond ``limits``, is a problem, and nothing is raised but ``UnavailableError`` for a store
    that refuses everybody. Not ``sent`` through us, a recording may be of any size."""
    try:
        size = _size(path, size_bytes, limits, sent)
        if size == 0:
            return Probe(problem="empty")
        found = _header(path, size)
    except OSError as error:
        return Probe(problem=f"{path} cannot be read: {error.strerror}", kind=FailureKind.UNREADABLE)
    except RecordingError as error:
        return Probe(problem=str(error), kind=error.kind)
    if found.problem or found.seconds is None:
        return found
    if found.seconds < limits.shortest_seconds:
        return msgspec.structs.replace(found, problem=f"too short: {found.seconds:.2f} s")
    if found.seconds > limits.longest_seconds:
        return msgspec.structs.replace(found, problem=f"too long: {found.seconds / 3600:.1f} h")
    return found


def _size(path: str, size_bytes: int | None, limits: AudioLimits, sent: bool) -> int:
    if not sent and is_stored(path):
        return object_stores.look(path).size_bytes if size_bytes is None else size_bytes
    stamp = audio.check(path, size_bytes, limits)
    return stamp.size_bytes if stamp else size_bytes or 0


def exact_seconds(path: str) -> float | None:
    """The length of a WAV or FLAC file whose header counts its samples, and no more than there are bytes for; None
    for anything else. Blocks for a small read."""
    with (
        contextlib.suppress(OSError, wave.Error, EOFError, ArithmeticError),
        contextlib.closing(wave.open(path)) as file,
    ):
        said_bytes = file.getnframes() * file.getnchannels() * file.getsampwidth()
        return file.getnframes() / file.getframerate() if said_bytes <= Path(path).stat().st_size else None
    if Path(path).suffix.lower() != ".flac":
        return None
    found = _by_tinytag(path, 0)
    return found.seconds if found else None


def channels_are_identical(path: str) -> bool | None:
    """Whether both channels of a stereo WAV hold the same sound, as at its start, middle and end; None for anything
    else. Blocks for three small reads."""
    try:
        with contextlib.closing(wave.open(path, "rb")) as file:
            if file.getnchannels() != 2:
                return None
            return all(_same(piece, file.getsampwidth()) for piece in _pieces(file))
    except (OSError, wave.Error, EOFError):
        return None


def _pieces(file: wave.Wave_read) -> Iterator[bytes]:
    last = max(0, file.getnframes() - _COMPARED_FRAMES)
    for position in sorted({0, last // 2, last}):
        file.setpos(position)
        yield file.readframes(_COMPARED_FRAMES)


def _same(frames: bytes, width: int) -> bool:
    samples = memoryview(frames)
    if width == 2:
        samples = samples.cast("h")
        return samples[::2].tolist() == samples[1::2].tolist()
    pairs = range(0, len(samples), 2 * width)
    return all(samples[n : n + width] == samples[n + width : n + 2 * width] for n in pairs)


def _header(path: str, size: int) -> Probe:
    suffix = Path(path).suffix.lower()
    found = None if suffix in _SLOW and _av() else _by_tinytag(path, size)
    if found and found.seconds and found.channels:
        return found
    return _by_av(path, size) if _av() else found or Probe(size)


def _by_tinytag(path: str, size: int) -> Probe | None:
    """None for a container that it does not know; no seconds where they are not to be had."""
    import tinytag

    try:
        with _ranged(path, size) as file:
            tag = tinytag.TinyTag.get(path, file, tags=False)
    except tinytag.UnsupportedFormatError:
        return None
    except (tinytag.TinyTagException, OSError, ValueError, ArithmeticError, LookupError):
        return Probe(size)
    return Probe(size, tag.duration or None, Path(path).suffix.lower().lstrip(".") or None, tag.channels)


def _by_av(path: str, size: int) -> Probe:
    av = _av()
    try:
        with _ranged(path, size) as file, av.open(file or path, metadata_errors="ignore") as container:
            if not container.streams.audio:
                return Probe(size, problem=_NO_AUDIO)
            stream = container.streams.audio[0]
            length = container.duration / 1_000_000 if container.duration else None
            if container.format.name == "aac":
                length = None  # guessed from the bit rate of its first frames
            return Probe(size, length, stream.codec_context.name, stream.codec_context.channels)
    except (av.FFmpegError, ValueError, OSError):
        return Probe(size, problem=_NO_AUDIO)


def _ranged(path: str, size: int) -> contextlib.AbstractContextManager[Any]:
    """A stored object, read only where it is looked at; None for a file, which the library opens itself."""
    return object_stores.reader(path, size, _HEADER_BYTES) if is_stored(path) else contextlib.nullcontext()


@functools.cache
def _av() -> Any:
    """PyAV, or None where it is not installed."""
    with contextlib.suppress(ImportError):
        import av
        import av.logging

        av.logging.set_level(av.logging.PANIC)
        return av
    return None
