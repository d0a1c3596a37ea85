"""Results on disk: one JSON file a recording, and what is made of it, there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from batch import stores
from batch.errors import DiaristError, Postponed, Unavailable, Usage
from batch.formats import FORMATS
from batch.formats.names import Names, named
from batch.formats.spoken import read
from batch.model import Job

FAILED: Final = "failed.jsonl"
INNER: Final = ".diarist"
SUMMARY: Final = "summary.json"
_HEAD: Final = b'{"recording":'
_OWN: Final = tuple(f".{form.suffix}" for form in FORMATS.values() if form.suffix.endswith(".json"))
_DISK_TROUBLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})


class _Spoken(msgspec.Struct):
    speaker: str | None = None


class _Said(msgspec.Struct):
    utterances: list[_Spoken] | None = None


class Results:
    """The result files under ``directory``, made at once unless it is only looked at, with ``copies`` under a prefix
    of an object store and, beside each, its other ``formats``. ``arrived`` is told each key whose result is in place.

    Every method blocks: call it off the event loop. Raises ``Usage`` at the start if the directory cannot be written,
    ``Unavailable`` when the disk refuses later.
    """

    def __init__(
        self,
        directory: Path,
        *,
        copies: str = "",
        formats: Sequence[str] = (),
        notify: Callable[[str], None] = lambda message: None,
        arrived: Callable[[str], None] = lambda key: None,
        make: bool = True,
    ) -> None:
        self.directory, self._copies = directory, copies.rstrip("/")
        self._formats, self._notify, self._arrived = formats, notify, arrived
        if not make:
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            probe = directory / INNER / "writable"
            probe.parent.mkdir(exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise Usage(f"cannot write to {directory}: {error.strerror}. Choose another --out") from error

    def path(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def exists(self, key: str) -> bool:
        return os.path.isfile(f"{self.directory}/{key}.json")  # noqa: PTH113 (a hot path)

    def write(self, job: Job, transcript: bytes) -> int:
        """Put the result in place: what we know of the recording, then the service's object, byte for byte.

        On return the file and its name are on disk. Returns the number of different speakers.
        """
        speakers = count_speakers(transcript)
        head = msgspec.json.encode(_about(job))
        body = transcript.strip()
        whole = _HEAD + head + (b"," if body != b"{}" else b"") + body[1:] + b"\n"
        try:
            _replace(self.path(job.key), whole)
        except OSError as error:
            raise _unwritable(self.path(job.key), error) from error
        if self._copies:
            stores.put(f"{self._copies}/{job.key}.json", whole)
        self._write_formats(job.key, whole)
        self._arrived(job.key)
        return speakers

    def _write_formats(self, key: str, result: bytes) -> None:
        """What cannot be written in another format is told, and stays collected: it can be exported at any time."""
        for name in self._formats:
            form = FORMATS[name]
            try:
                content = form.content(named(read(key, result), Names()))
                self.write_beside(key, form.suffix, content)
                if self._copies:
                    stores.put(f"{self._copies}/{key}.{form.suffix}", content)
            except (Postponed, ValueError) as error:
                self._notify(f"{key}: no {name} was written: {error}")

    def write_beside(self, key: str, suffix: str, content: bytes) -> bool:
        """Put another format of a result beside it, never over a result: that of another recording, by its name.
        Whether it was written: one that is as it should be is left alone.

        Raises ``Postponed`` if this file cannot be written, ``Unavailable`` if the disk refuses everything.
        """
        path = self.directory / f"{key}.{suffix}"
        try:
            if is_result(path):
                raise Postponed(f"{path} is a result, which nothing may replace: export to another --out")
            if _holds(path, content):
                return False
            _replace(path, content, durable=False)
        except OSError as error:
            raise _unwritable(path, error) from error
        return True

    @contextlib.contextmanager
    def table(self, name: str, *, durable: bool = True) -> Iterator[IO[bytes]]:
        """A file of the directory, to be written bit by bit: in place once the context ends well.

        Raises ``Unavailable`` or ``Postponed`` as ``write_beside``.
        """
        path = self.directory / name
        try:
            with _whole(path, durable) as file:
                yield file
        except OSError as error:
            raise _unwritable(path, error) from error

    def write_summary(self, content: bytes) -> None:
        """``.diarist/summary.json``. Raises as ``write_beside``."""
        path = self.directory / INNER / SUMMARY
        try:
            _replace(path, content, durable=False)
        except OSError as error:
            raise _unwritable(path, error) from error

    def write_failed(self, jobs: Iterable[Job]) -> None:
        """``failed.jsonl``: the failed jobs as rows of a manifest, with the reason in ``_failed``; none, no file."""
        path = self.directory / FAILED
        rows = [msgspec.json.encode(_as_row(job)) + b"\n" for job in jobs]
        try:
            if rows:
                _replace(path, b"".join(rows))
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _unwritable(path, error) from error


def _as_row(job: Job) -> dict[str, Any]:
    recording = job.recording
    failed = {"kind": job.kind, "reason": job.reason, "manifest": recording.manifest, "line": recording.line}
    return {"id": job.key, "audio": recording.source, **recording.options, **recording.labels, "_failed": failed}


def _unwritable(path: Path, error: OSError) -> DiaristError:
    """A disk that refuses everybody ends the run; a name that this disk cannot hold is one recording's trouble."""
    if error.errno in _DISK_TROUBLE:
        return Unavailable(
            f"cannot write {path}: {error.strerror}. Free some space or make it writable, then run the same command "
            "again: the transcript is fetched again, not paid again",
            kind="disk",
        )
    return Postponed(f"cannot write {path}: {error.strerror}. Give the recording another id", kind="unwritable")


def count_speakers(transcript: bytes) -> int:
    """How many different speakers a transcript object names in its utterances."""
    said = msgspec.json.decode(transcript, type=_Said)
    return len({utterance.speaker for utterance in said.utterances or ()} - {None})


def _about(job: Job) -> dict[str, Any]:
    recording = job.recording
    return {
        "key": job.key,
        "source": recording.source,
        "manifest": recording.manifest,
        "line": recording.line,
        "labels": recording.labels,
        "options": recording.options,
        "service": job.service,
        "sha256": job.sha256,
        "size_bytes": job.size_bytes,
        "mtime_ns": job.mtime_ns,
        "shared_with": job.shared_with,
    }


def is_result(path: Path) -> bool:
    """Whether a result stands there, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HEAD)) == _HEAD
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False


def result_files(directory: Path) -> Iterator[Path]:
    """The JSON files below ``directory``, by name: results, and what somebody else has put there; none of our own
    other formats, unless a recording of that name has its result there."""
    return map(Path, result_paths(directory))


def result_paths(directory: Path) -> Iterator[str]:
    """The same as text, for whoever looks at all of a great many."""
    for parent, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".json") and name[0] != ".":
                path = f"{parent}/{name}"
                if not name.endswith(_OWN) or is_result(Path(path)):
                    yield path


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


def _replace(path: Path, content: bytes, *, durable: bool = True) -> None:
    with _whole(path, durable) as file:
        file.write(content)


@contextlib.contextmanager
def _whole(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """Temporary file, fsync, rename, fsync of the directory; what can be made anew need not be ``durable``.

    The name is the key's own, so that a leftover of a killed run is overwritten by the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if not durable:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
