"""Results on disk: one JSON file a recording, and what is made of it, there whole or not at all."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import stat
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from batch.archive.layout import FAILED_LIST, INNER, POINTER, REPLACED, SUMMARY, inner_of
from batch.archive.written_files import Written
from batch.errors import DiaristError, FailureKind, PostponedError, RecordingError, UnavailableError, UsageError
from batch.model import Job, Recording, Reject, State
from batch.providers import registry
from batch.providers.interface import Outline
from batch.storage import disk_errors, files, object_stores, private_files
from batch.storage.audio import stamp_of
from batch.telemetry.redaction import redact
from batch.transcripts.formats.registry import FORMATS
from batch.transcripts.speakers import Names, with_names

_STAGED: Final = ("sha256", "size_bytes", "mtime_ns", "etag", "shared_with")
_COPY_BYTES: Final = 1 << 20
_HEAD: Final = b'{"recording":'
_FIRST_ID: Final = re.compile(r'\s*,\s*"id"\s*:\s*"([^"\\]+)"')
"""Behind the head, where services put it."""
_BOM: Final = b"\xef\xbb\xbf"
_MARK: Final = b'"recording"'
_FIRST_BYTES: Final = 4096
PAGE_MARK: Final = b'<meta name="generator" content="diarist">'
"""In the first lines of a report."""
_ODD: Final = frozenset(':?*"<>|')
_TAIL: Final = b"}\n"
_LONG_LINE: Final = 1 << 20
_OWN: Final = tuple(f".{form.suffix}" for form in FORMATS.values() if form.suffix.endswith(".json"))


class _Head(msgspec.Struct):
    recording: msgspec.Raw


class _About(msgspec.Struct):
    recording: dict[str, Any]


class Placed(NamedTuple):
    """What stands where a result belongs: a file of so many bytes, modified then; or, with ``in_the_way``, something
    that is not a result of ours, or cannot be looked at, and that stays as it is."""

    size_bytes: int = 0
    mtime_ns: int = 0
    in_the_way: str = ""


Proof = tuple[Job | None, bool]
"""The job that a result is the proof of, and whether the result is whole."""
Proofs = dict[tuple[str, int], Proof]
"""Of copies in a store, by key and size in bytes."""


class Results:
    """The result files under ``directory``, made at once unless it is only looked at, with ``copies`` under a prefix
    of an object store and, beside each, its other ``formats``. ``on_written`` is told each key whose result is in
    place. ``inner`` is where the journal and all else lie that diarist keeps for itself: ``.diarist`` in the
    directory, unless a setting says otherwise. ``read_copies`` is shared by those who look at the same copies in
    turn.

    Every method blocks: call it off the event loop. Raises ``UsageError`` at the start if the directory cannot be
    written, ``UnavailableError`` when the disk refuses later.
    """

    def __init__(
        self,
        directory: Path,
        *,
        copies: str = "",
        formats: Sequence[str] = (),
        on_warning: Callable[[str], None] = lambda message: None,
        on_written: Callable[[str], None] = lambda key: None,
        make: bool = True,
        inner: Path | None = None,
        read_copies: Proofs | None = None,
    ) -> None:
        self.directory, self._copies = directory, copies.rstrip("/")
        self.inner = inner or inner_of(directory)
        self._formats, self._on_warning, self._on_written = formats, on_warning, on_written
        self._holds_odd: dict[str, bool] = {}
        self._read_copies: Proofs = {} if read_copies is None else read_copies
        self.written = Written(self.directory, self.inner)
        if make:
            self._make()
        self._folds = _folds_case(self.directory / INNER)

    def _make(self) -> None:
        try:
            files.make(self.directory)
            files.make(self.inner, private_files.FOLDER)
            private_files.make_folder(self.inner)
            for folder in (self.directory, self.inner):
                probe = folder / ".writable"
                probe.touch()
                probe.unlink()
            if self.inner != self.directory / INNER:
                pointer = self.directory / INNER / POINTER
                where = f"{self.inner.absolute()}\n{self.directory.absolute()}\n".encode()
                private_files.make_folder(pointer.parent)
                if not _holds(pointer, where):
                    _replace(pointer, where)
        except OSError as error:
            place = error.filename or self.directory
            raise UsageError(f"cannot write to {place}: {error.strerror}. Choose another --out") from error

    @property
    def copies(self) -> str:
        """The prefix in an object store where each result is put, too; empty if there is none."""
        return self._copies

    def path(self, key: str) -> Path:
        return self.directory / f"{key}.json"

    def copy(self, name: str) -> str:
        """The object beside the results in the store, by the name of the file."""
        return f"{self._copies}/{name}"

    def place(self, key: str) -> str:
        """The key as this disk compares names: two keys with one place would share a result."""
        return unicodedata.normalize("NFC", key).casefold() if self._folds else key

    def look(self, key: str) -> Placed | None:
        """What stands at the place of a result, as far as one look at it tells; None: nothing does."""
        try:
            facts = os.stat(f"{self.directory}/{key}.json")  # noqa: PTH116 (a hot path)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            return Placed(in_the_way=f"a part of {self.path(key)} is a file, not a directory")
        except OSError as error:
            return Placed(in_the_way=f"{self.path(key)}: {error.strerror}")
        if not stat.S_ISREG(facts.st_mode):
            return Placed(in_the_way=f"{self.path(key)} is not a file")
        return Placed(facts.st_size, stamp_of(facts).mtime_ns)

    def can_hold(self, key: str) -> bool:
        """Whether this disk can hold the name of a result: some disks take no colons and the like. Asked of the disk
        once for each sort of name. Blocks."""
        odd = "".join(sorted(set(key) & _ODD)) + key[-1:] * (key[-1:] in ". ")
        if not odd or not self.inner.exists():
            return True
        if odd not in self._holds_odd:
            probe = self.directory / INNER / f".name{odd}"
            try:
                probe.parent.mkdir(exist_ok=True)
                probe.touch()
                probe.unlink()
                self._holds_odd[odd] = True
            except OSError as error:
                self._holds_odd[odd] = disk_errors.meets_all(error)
        return self._holds_odd[odd]

    def stored(self, key: str) -> Job | None:
        """The job that a result on disk is the proof of; None if what stands there is not a whole result. Blocks
        while the file is read."""
        try:
            content = self.path(key).read_bytes()
            transcript_in(content)
            return job_of(content, self.path(key).stat().st_mtime)
        except (OSError, ValueError) as error:
            disk_errors.check_limits(error)
            return None

    def beginning(self, key: str) -> Job | None:
        """The same of a result of which only the first part is left: it is enough to fetch the rest again."""
        try:
            return job_of(self.path(key).read_bytes(), self.path(key).stat().st_mtime)
        except (OSError, ValueError) as error:
            disk_errors.check_limits(error)
            return None

    def stored_copy(self, key: str, size_bytes: int) -> Proof:
        """The same of the copy in the store, which has so many bytes, and whether it is whole. No more than the first
        part and the end are read, once."""
        if (key, size_bytes) not in self._read_copies:
            self._read_copies[key, size_bytes] = self._read_copy(self.copy(f"{key}.json"), size_bytes)
        return self._read_copies[key, size_bytes]

    def _read_copy(self, url: str, size_bytes: int) -> Proof:
        with contextlib.suppress(RecordingError, ValueError):
            content = object_stores.head(url, _COPY_BYTES)
            job = msgspec.structs.replace(job_of(content, time.time()), result_bytes=size_bytes)
            if size_bytes > _COPY_BYTES:
                return job, _end_of(url, size_bytes) == _TAIL
            return job, _is_whole(content)
        return None, False

    def is_foreign_copy(self, name: str) -> bool:
        """Whether an object lies in the store where ours would, and is none of ours."""
        try:
            content = object_stores.head(self.copy(name), len(_HEAD))
            if name.endswith(".json") and _HEAD.startswith(content):
                return False
            return (
                is_foreign(object_stores.get(self.copy(name)))
                if name.endswith(".json")
                else not self.written.is_noted(name)
            )
        except RecordingError:
            return False

    def names(self, key: str) -> list[str]:
        """The files of a recording: its result, then each format that is asked for."""
        return [f"{key}.{suffix}" for suffix in ("json", *(FORMATS[name].suffix for name in self._formats))]

    def has(self, name: str) -> bool:
        return os.path.lexists(f"{self.directory}/{name}")

    def list_copies(self) -> Iterator[tuple[str, int]]:
        """All objects beside the results in the store, with their sizes in bytes. Blocks while it is listed."""
        for found in object_stores.listed_all(f"{self._copies}/"):
            if isinstance(found, object_stores.Found):
                yield found.url.removeprefix(f"{self._copies}/"), found.size_bytes

    def may_be_ours(self, key: str) -> bool:
        """Whether what stands at the place of a result is one, or what is left of one: nothing, or its beginning."""
        try:
            return not is_foreign(self.path(key).read_bytes())
        except OSError:
            return False

    def write(self, job: Job, transcript: bytes) -> Job:
        """Put the result in place: what we know of the recording, then the service's object, byte for byte. A result
        of another transcript that stood there is kept beside the journal.

        On return the file and its name are on disk. Returns the job with the number of different speakers, and with
        the stamp of the result.
        """
        path = self.path(job.key)
        try:
            kept = self._keep_aside(job, path)
            whole = encoded(job, transcript)
            _replace(path, whole)
            if kept:
                os.utime(kept)  # kept from now on
            self._kept_path(job.key, job.transcript_id or "unknown").unlink(missing_ok=True)
            facts = path.stat()
        except OSError as error:
            raise _unwritable(path, error) from error
        self._publish(job.key, whole)
        stamp = {"result_bytes": facts.st_size, "result_mtime_ns": stamp_of(facts).mtime_ns}
        speakers = registry.named(job.service).outline(transcript).speakers
        return msgspec.structs.replace(job, speakers=speakers, **stamp)

    def rewrite(self, job: Job) -> Job:
        """Write the result of a job that is done once more, with what its row says now and in all formats; as
        ``write``. Raises ``ValueError`` if the result is not whole."""
        path = self.path(job.key)
        content = path.read_bytes() if path.exists() else object_stores.get(self.copy(f"{job.key}.json"))
        return self.write(job, transcript_in(content))

    def put_copies(self, key: str) -> None:
        """Put what lies on disk of a recording into the store, too."""
        for name in self.names(key):
            with contextlib.suppress(FileNotFoundError):
                self._put_copy(name, (self.directory / name).read_bytes())

    def _put_copy(self, name: str, content: bytes) -> None:
        if self.is_foreign_copy(name):
            raise PostponedError(f"{self.copy(name)} is not diarist's, and stays as it is: move it away")
        object_stores.put(self.copy(name), content)

    def kept(self, key: str, transcript_id: str) -> bytes | None:
        """The service's object of a transcript whose result was replaced, if it is still kept."""
        return _transcript_at(self._kept_path(key, transcript_id), transcript_id)

    def transcript(self, key: str, transcript_id: str) -> bytes | None:
        """The service's object in the result of a recording, if it is this transcript's and whole."""
        return _transcript_at(self.path(key), transcript_id)

    def kept_jobs(self, key: str) -> Iterator[Job]:
        """The jobs of the replaced results of a recording that are still kept, also those that no journal knows."""
        return _proved_by((self.inner / REPLACED / key).glob("*.json"))

    def all_kept_jobs(self) -> Iterator[Job]:
        """The same of all recordings."""
        return _proved_by((self.inner / REPLACED).rglob("*.json"))

    def forget_kept(self, days: float, now: float) -> None:
        """Remove the replaced results that were kept for longer."""
        for path in (self.inner / REPLACED).rglob("*.json"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < now - days * 86_400:
                    path.unlink()

    def _kept_path(self, key: str, transcript_id: str) -> Path:
        return self.inner / REPLACED / key / f"{transcript_id}.json"

    def _keep_aside(self, job: Job, path: Path) -> Path | None:
        """Keep the paid transcript that a new one is about to replace; return where. What is no result of ours is
        not replaced at all."""
        old = _known_result(path)
        if old is None and self._copies and job.past_ids:
            return self._keep_copy_aside(job)
        if old is None or old.transcript_id == job.transcript_id:
            return None
        kept = self._kept_path(old.key, old.transcript_id or "unknown")
        private_files.make_folder(self.inner / REPLACED)
        files.make(kept.parent)
        if not kept.exists():
            try:
                kept.hardlink_to(path)
            except OSError:  # another disk, or one without links
                _replace(kept, path.read_bytes())
        files.sync(kept.parent)
        return kept

    def _keep_copy_aside(self, job: Job) -> Path | None:
        """The same where the only result is that in the store."""
        with contextlib.suppress(RecordingError, ValueError):
            content = object_stores.get(self.copy(f"{job.key}.json"))
            there = job_of(content, 0.0)
            if there.transcript_id != job.transcript_id:
                kept = self._kept_path(there.key, there.transcript_id or "unknown")
                _replace(kept, content)
                return kept
        return None

    def _publish(self, key: str, whole: bytes) -> None:
        if self._copies:
            object_stores.put(self.copy(f"{key}.json"), whole)
        self._write_formats(key, whole)
        self._on_written(key)

    def _write_formats(self, key: str, result: bytes) -> None:
        """What cannot be written in another format is told, and stays collected: it can be exported at any time."""
        for name in self._formats:
            form = FORMATS[name]
            try:
                content = form.content(with_names(registry.read(key, result), Names()))
                self.write_format(key, form.suffix, content)
                if self._copies:
                    self._put_copy(f"{key}.{form.suffix}", content)
            except (PostponedError, ValueError) as error:
                self._on_warning(f"{key}: no {name} was written: {error}")
        if self.written.pending:
            self.written.keep()

    def write_format(self, key: str, suffix: str, content: bytes) -> bool:
        """Put another format of a result beside it, never over what we did not write, nor over a result: that of
        another recording, by its name. Whether it was written: one that is as it should be is left alone.

        Raises ``PostponedError`` if this file cannot be written, ``UnavailableError`` if the disk refuses everything.
        """
        name = f"{key}.{suffix}"
        path = self.directory / name
        try:
            if _holds(path, content):
                return False
            self._check_ours(name)
            _replace(path, content, durable=False)
            self.written.note(name)
        except OSError as error:
            raise _unwritable(path, error) from error
        return True

    @contextlib.contextmanager
    def open_table(self, name: str, *, durable: bool = True, is_marked: bool = False) -> Iterator[IO[bytes]]:
        """A file of the directory, to be written bit by bit: in place once the context ends well. ``is_marked``: it
        says itself that it is ours.

        Raises ``UnavailableError`` or ``PostponedError`` as ``write_format``.
        """
        path = self.directory / name
        try:
            self._check_ours(name)
            with files.whole(path, durable) as file:
                yield file
            if not is_marked:
                self.written.note(name)
                self.written.keep()
        except OSError as error:
            raise _unwritable(path, error) from error

    def _check_ours(self, name: str) -> None:
        path = self.directory / name
        if is_result(path):
            raise PostponedError(f"{path} is a result, which nothing may replace: export to another --out")
        if not _is_marked(path) and not self.written.is_ours(name):
            raise PostponedError(f"{path} is not diarist's, and stays as it is: move it away, or give another --out")

    def write_summary(self, content: bytes) -> None:
        """``.diarist/summary.json``. Raises as ``write_format``."""
        path = self.inner / SUMMARY
        try:
            _replace(path, content, durable=False, private=True)
        except OSError as error:
            raise _unwritable(path, error) from error

    def write_failed(self, failed: Iterable[Job | Reject]) -> tuple[Path, int]:
        """``failed.jsonl``: what failed as rows of a manifest, with the reason in ``_failed``; none, no file. It is
        for its owner only: to be run again, links are signed in it as they were in the rows. Returns where it lies
        (in ``.diarist`` if a file of that name is here that no run has written) and its lines."""
        path, other = self.directory / FAILED_LIST, self.inner / FAILED_LIST
        rows, lines = iter(failed), 0
        try:
            if os.path.lexists(path) and not _is_failed_list(path):
                path, other = other, path
            else:
                other.unlink(missing_ok=True)
            if (first := next(rows, None)) is None:
                path.unlink(missing_ok=True)
                return path, 0
            with files.whole(path, private=True) as file:
                for row in itertools.chain([first], rows):
                    file.write(msgspec.json.encode(_as_row(row)) + b"\n")
                    lines += 1
        except OSError as error:
            raise _unwritable(path, error) from error
        return path, lines


def _as_row(failed: Job | Reject) -> dict[str, Any]:
    row = failed.recording
    kind, where = ("bad_row", failed) if isinstance(failed, Reject) else (failed.kind, failed.recording)
    why = {
        "_failed": {
            "kind": kind,
            "reason": redact(failed.reason or ""),
            "manifest": where.manifest,
            "line": where.line,
        }
    }
    if row is None:
        return {"id": failed.key, "audio": None, **why}
    return {"id": row.key, "audio": row.source, **row.options, **row.labels, **why}


def _is_marked(path: Path) -> bool:
    """Whether a page says of itself that it is ours."""
    try:
        with path.open("rb") as file:
            return PAGE_MARK in file.read(_FIRST_BYTES)
    except OSError:
        return False


def _is_failed_list(path: Path) -> bool:
    """Whether a run has written it: some line says what failed. Nobody else's is held in memory, however long."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return any(b'"_failed":' in line for line in iter(partial(file.readline, _LONG_LINE), b""))


def _unwritable(path: Path, error: OSError) -> DiaristError:
    """What meets every recording alike ends the run; a name that this disk cannot hold is one recording's trouble."""
    message = f"cannot write {path}: {error.strerror}. {disk_errors.advice(error)}"
    if disk_errors.meets_all(error):
        kind = FailureKind.OPEN_FILES if disk_errors.is_of_limits(error) else FailureKind.DISK
        again = "then run the same command again: a transcript is fetched again, not paid again"
        return UnavailableError(f"{message}; {again}", kind=kind)
    return PostponedError(message, kind=FailureKind.UNWRITABLE)


def _transcript_at(path: Path, transcript_id: str) -> bytes | None:
    try:
        content = path.read_bytes()
        return transcript_in(content) if job_of(content, 0.0).transcript_id == transcript_id else None
    except (OSError, ValueError):
        return None


def _folds_case(path: Path) -> bool:
    """Whether the disk finds what is there by its name in another case, as exFAT, macOS and SMB do. (They may give it
    another inode then.)"""
    return path.exists() and path.with_name(path.name.swapcase()).exists()


def encoded(job: Job, transcript: bytes) -> bytes:
    """A result: what we know of the recording, then the service's object as it came."""
    body = transcript.strip()
    return _HEAD + msgspec.json.encode(_about(job)) + (b"," if body != b"{}" else b"") + body[1:] + b"\n"


def transcript_in(result: bytes) -> bytes:
    """The service's object in a result, byte for byte. Raises ``ValueError`` if it is not a whole result."""
    if not result.startswith(_HEAD):
        return _laid_out_anew(result)[2]
    about = msgspec.json.decode(result, type=_Head).recording
    rest = result[len(_HEAD) + len(bytes(about)) :].strip()
    return b"{" + rest.removeprefix(b",")


def _laid_out_anew(result: bytes) -> tuple[dict[str, Any], Outline, bytes]:
    """A result that somebody has formatted otherwise: what we know of it, and the service's object in outline and in
    full. Raises ``ValueError`` if it is none of ours."""
    plain = result.removeprefix(_BOM)
    if _MARK not in plain[:_FIRST_BYTES]:
        raise ValueError("not a result of diarist")
    about = msgspec.json.decode(plain, type=_About).recording
    if not {"key", "source", "service"} <= about.keys():
        raise ValueError("not a result of diarist")
    tree = msgspec.json.decode(plain)
    del tree["recording"]
    body = msgspec.json.encode(tree)
    return about, registry.named(about["service"]).outline(body), body


def _is_whole(content: bytes) -> bool:
    try:
        transcript_in(content)
    except ValueError:
        return False
    return True


def _end_of(url: str, size_bytes: int) -> bytes:
    with object_stores.reader(url, size_bytes) as file:
        file.seek(-len(_TAIL), os.SEEK_END)
        return file.read()


def job_of(result: bytes, ended_at: float) -> Job:
    """The job that a result is the proof of, from the whole file or from its first part. Raises ``ValueError`` if it
    is not one of ours, or names no transcript."""
    try:
        return _proved(*_found_in(result), ended_at)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a result of diarist: {error!r}") from error


def _found_in(result: bytes) -> tuple[dict[str, Any], Outline]:
    """What we know of the recording, and the outline of its transcript, as far as they can be read."""
    if not result.startswith(_HEAD):
        return _laid_out_anew(result)[:2]
    try:
        about = msgspec.json.decode(result, type=_About).recording
        return about, registry.named(about["service"]).outline(result)
    except msgspec.DecodeError:
        text = result.decode("utf-8", "ignore")
        about, end = json.JSONDecoder().raw_decode(text, len(_HEAD))
        first = _FIRST_ID.match(text, end)
        return about, Outline(first[1] if first else None)


def _proved(about: dict[str, Any], outline: Outline, ended_at: float) -> Job:
    names = ("key", "source", "manifest", "line", "options", "labels")
    if not (transcript_id := outline.job_id or about.get("transcript_id")):
        raise ValueError("names no transcript")
    facts: dict[str, Any] = {name: about.get(name) for name in _STAGED}
    return Job(
        recording=Recording(**{name: about[name] for name in names}),
        service=about["service"],
        state=State.COLLECTED,
        transcript_id=transcript_id,
        submissions=1,
        ended_at=ended_at,
        audio_seconds=outline.audio_seconds,
        speakers=outline.speakers,
        **facts,
    )


def _proved_by(paths: Iterable[Path]) -> Iterator[Job]:
    """The jobs of those files that are results."""
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            yield job_of(path.read_bytes(), path.stat().st_mtime)


def _known_result(path: Path) -> Job | None:
    """What is known of the result at ``path``; None if nothing stands there. Raises ``PostponedError`` for what is
    not ours."""
    try:
        content = path.read_bytes()
        return job_of(content, 0.0)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        if content.startswith(_HEAD) or _HEAD.startswith(content):
            return None  # what is left of a result: nothing of it can be kept
        raise PostponedError(f"{path} is not diarist's, and stays as it is: give the recording another id") from None


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
        "schema": registry.named(job.service).schema,
        "sha256": job.sha256,
        "size_bytes": job.size_bytes,
        "mtime_ns": job.mtime_ns,
        "etag": job.etag,
        "transcript_id": job.transcript_id,
        "shared_with": job.shared_with,
    }


def is_result(path: Path) -> bool:
    """Whether a result stands there, by its first bytes, or whole if somebody has formatted it otherwise."""
    try:
        with path.open("rb") as file:
            first = file.read(_FIRST_BYTES)
            return first.startswith(_HEAD) or (_MARK in first and not is_foreign(first + file.read()))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False


def is_foreign(content: bytes) -> bool:
    """Whether a JSON file is surely not one of our results, nor what is left of one."""
    if _HEAD.startswith(content[: len(_HEAD)]):
        return False
    try:
        _laid_out_anew(content)
    except ValueError:
        return True
    return False


def require_directory(directory: Path) -> None:
    """Raise ``UsageError`` unless there is a directory to look for results in."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory of results")


def result_files(directory: Path) -> Iterator[Path]:
    """The JSON files below ``directory``, by name: results, and what somebody else has put there; none of our own
    other formats, unless a recording of that name has its result there."""
    return map(Path, result_paths(directory))


def result_paths(directory: Path) -> Iterator[str]:
    """The same as text, for whoever looks at all of a great many: every place at which a run may put a result, so
    hidden names and links to directories too, each directory once."""
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(directory, followlinks=True):
        folders[:] = sorted(name for name in folders if name != INNER and _is_new(f"{parent}/{name}", seen))
        for name in sorted(names):
            if name.endswith(".json"):
                path = f"{parent}/{name}"
                if not name.endswith(_OWN) or is_result(Path(path)):
                    yield path


def _is_new(folder: str, seen: set[tuple[int, int]]) -> bool:
    """Whether a directory is met for the first time."""
    try:
        facts = os.stat(folder)  # noqa: PTH116 (a hot path)
    except OSError:
        return True  # whoever reads it tells
    known, here = len(seen), (facts.st_dev, facts.st_ino)
    seen.add(here)
    return len(seen) > known


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


def _replace(path: Path, content: bytes, *, durable: bool = True, private: bool = False) -> None:
    with files.whole(path, durable, private) as file:
        file.write(content)
