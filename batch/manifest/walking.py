"""Recordings on disk without a manifest: those in a directory and below, and those that a glob matches."""

from __future__ import annotations

import errno
import fnmatch
import functools
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Final, NamedTuple

from batch.manifest import left_out
from batch.manifest.dialects import is_manifest, plain_name
from batch.manifest.discovery import is_recording
from batch.manifest.left_out import LeftOut
from batch.manifest.rows import Row
from batch.storage.output_names import FAILED_LIST, INNER, REPORT
from batch.transcripts.formats.registry import FORMATS, TABLES

_MARK: Final = b'{"recording":'
"""The first bytes of a result."""
_STRANGERS: Final = 1000
"""After so many JSON files in a row that are no results, no more are opened to see: there may be millions."""
_ENDS: Final = (".json", *(f".{form.suffix}" for form in FORMATS.values()))
_BESIDE_JOURNAL: Final = {FAILED_LIST, REPORT} | {name for names in TABLES.values() for name in names}
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_ADVICE: Final = {
    errno.EMFILE: "allow this process more open files (ulimit -n)",
    errno.ENFILE: "allow this machine more open files (sysctl fs.file-max)",
    errno.EACCES: "make it readable",
    errno.EPERM: "make it readable",
}


class Found(NamedTuple):
    """A file that is listed, or a directory that cannot be: ``problem`` says why."""

    path: str
    problem: str = ""
    is_manifest: bool = False

    def row(self, line: int) -> Row:
        return Row(line, {} if self.problem else {"audio": self.path}, self.problem)


class _Kind(Enum):
    FILE = auto()
    FOLDER = auto()
    LINK = auto()  # to a directory
    BROKEN = auto()


class Pattern:
    """A glob below a directory: ``*``, ``?`` and ``[...]`` within a part, ``**`` for any number of directories, and
    for all that is in them if it comes last. A place is how far names have matched: a set of numbers of parts."""

    def __init__(self, text: str) -> None:
        self._parts = [
            None if part == "**" else re.compile(fnmatch.translate(part)).match for part in text.split("/")
        ]
        self.names_manifests = is_manifest(text.rpartition("/")[2])
        self.start = self._closed({0})

    def after(self, place: frozenset[int], name: str) -> frozenset[int]:
        """The place one name further."""
        steps = ((number, self._parts[number]) for number in place if number < len(self._parts))
        return self._closed({number + (fits is not None) for number, fits in steps if fits is None or fits(name)})

    def _closed(self, numbers: set[int]) -> frozenset[int]:
        for number in sorted(numbers):
            while number < len(self._parts) and self._parts[number] is None:
                numbers.add(number := number + 1)
        return frozenset(numbers)

    def ends(self, place: frozenset[int]) -> bool:
        return len(self._parts) in place

    def goes_on(self, place: frozenset[int]) -> bool:
        return any(number < len(self._parts) for number in place)


EVERYTHING: Final = Pattern("**")


class Walk:
    """The files below ``folder`` that are recordings, or also manifests if the pattern names those, sorted in each
    directory. What matches and is not listed goes to ``passed_over``.

    Links to directories are followed, after all that is reached without one, and each real directory is entered once
    (once for each place in the pattern), so that a loop ends and a new link changes the name of nothing.
    """

    def __init__(self, folder: Path, pattern: Pattern, passed_over: LeftOut) -> None:
        self._folder, self._pattern, self._passed_over = str(folder), pattern, passed_over
        self._entered: set[tuple[int, int, frozenset[int]]] = set()
        self._waiting: list[tuple[str, frozenset[int]]] = []
        self._links: deque[tuple[str, frozenset[int]]] = deque()
        self._strangers = 0

    def __iter__(self) -> Iterator[Found]:
        self._waiting.append((self._folder, self._pattern.start))
        while self._waiting or self._links:
            path, place = self._waiting.pop() if self._waiting else self._links.popleft()
            try:
                if not self._enters(path, place):
                    self._passed_over.add(left_out.TWICE, path)
                    continue
                entries, error = _entries(path)
            except OSError as failed:
                entries, error = [], failed
            yield from self._listed(entries, place)
            if error and error.errno not in _GONE:
                yield Found(path, self._unreadable(path, error))

    def _enters(self, path: str, place: frozenset[int]) -> bool:
        facts = os.stat(path)  # noqa: PTH116 (paths are text here)
        entry = (facts.st_dev, facts.st_ino, place)
        is_new = entry not in self._entered
        self._entered.add(entry)
        return is_new

    def _unreadable(self, path: str, error: OSError) -> str:
        advice = _ADVICE.get(error.errno or 0, "see to it")
        return (
            f"{self._passed_over.shown(path)} cannot be read: {error.strerror}. What is in it is not listed: "
            f"{advice}, then run the same command again"
        )

    def _listed(self, entries: Sequence[os.DirEntry[str]], place: frozenset[int]) -> Iterator[Found]:
        beside = _Beside([entry.name for entry in entries], self._is_result)
        folders = []
        for entry in entries:
            further = self._pattern.after(place, entry.name)
            if not further:
                continue
            try:
                kind = _kind(entry)
            except OSError as error:
                yield Found(entry.path, self._unreadable(entry.path, error))
                continue
            if kind is _Kind.FOLDER or kind is _Kind.LINK:
                if self._is_entered(entry, further):
                    folders.append((entry.path, further, kind))
            elif found := self._file(entry, kind, further, beside):
                yield found
        self._links.extend((path, further) for path, further, kind in folders if kind is _Kind.LINK)
        self._waiting.extend((path, further) for path, further, kind in reversed(folders) if kind is _Kind.FOLDER)

    def _is_entered(self, entry: os.DirEntry[str], place: frozenset[int]) -> bool:
        if entry.name.startswith("."):
            if entry.name.lower() != INNER:
                self._passed_over.add(left_out.HIDDEN, entry.path)
            return False
        if not self._pattern.goes_on(place):
            self._passed_over.add(left_out.FOLDER, entry.path)
            return False
        return True

    def _file(self, entry: os.DirEntry[str], kind: _Kind, place: frozenset[int], beside: _Beside) -> Found | None:
        matches, sounds = self._pattern.ends(place), is_recording(entry.name)
        if not matches and kind is not _Kind.BROKEN:
            return None
        why = self._why_not(entry, kind, beside)
        if why and (why is not left_out.OURS or self._pattern.names_manifests):
            self._passed_over.add(why, entry.path)
        if matches and (not why or (why is left_out.BROKEN and sounds)):
            return Found(entry.path, is_manifest=not sounds)
        return None

    def _why_not(self, entry: os.DirEntry[str], kind: _Kind, beside: _Beside) -> left_out.Why | None:
        """Why a file that matches is not listed, if it is not."""
        name = entry.name
        if name.startswith("."):
            return left_out.HIDDEN
        if kind is _Kind.BROKEN:
            return left_out.BROKEN
        if is_recording(name):
            return None
        if beside.is_ours(entry):
            return left_out.OURS
        if not (self._pattern.names_manifests and is_manifest(name)):
            return left_out.UNKNOWN
        return left_out.SIDECAR if beside.is_sidecar(name) else None

    def _is_result(self, path: str) -> bool:
        if self._strangers >= _STRANGERS:
            return False
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                is_result = file.read(len(_MARK)) == _MARK
        except OSError:
            return False
        self._strangers = 0 if is_result else self._strangers + 1
        return is_result


def in_directory(folder: Path, passed_over: LeftOut) -> Iterator[Row]:
    """The recordings in ``folder`` and below."""
    return (found.row(line) for line, found in enumerate(Walk(folder, EVERYTHING, passed_over), 1))


class _Beside:
    """What the names in a directory say of each other."""

    def __init__(self, names: Sequence[str], is_result: Callable[[str], bool]) -> None:
        self._names, self._is_result = names, is_result
        self._known: dict[str, bool] = {}

    @functools.cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self._names)

    @functools.cached_property
    def _recordings(self) -> frozenset[str]:
        whole = [name for name in self._names if is_recording(name)]
        return frozenset(whole) | {name.rpartition(".")[0] for name in whole}

    def is_ours(self, entry: os.DirEntry[str]) -> bool:
        """Whether diarist wrote the file: a result, another format of one, or what lies beside a journal."""
        if entry.name in _BESIDE_JOURNAL and INNER in self._all:
            return True
        ends = (end for end in _ENDS if entry.name.endswith(end))
        return any(self._has_result(entry.path.removesuffix(end)) for end in ends)

    def _has_result(self, path: str) -> bool:
        result = f"{path}.json"
        if os.path.basename(result) not in self._all:  # noqa: PTH119
            return False
        if result not in self._known:
            self._known[result] = self._is_result(result)
        return self._known[result]

    def is_sidecar(self, name: str) -> bool:
        """Whether a recording of the same name, but for the extension, is there."""
        return plain_name(name) in self._recordings


def _entries(path: str) -> tuple[list[os.DirEntry[str]], OSError | None]:
    """What is in a directory, by name, as far as it can be read, and why no further."""
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                found.append(entry)
    except OSError as error:
        return sorted(found, key=_name), error
    return sorted(found, key=_name), None


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe, too, at once."""
    return os.open(path, flags | os.O_NONBLOCK)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _kind(entry: os.DirEntry[str]) -> _Kind:
    """Raises ``OSError`` if that cannot be seen; what is a recording by its name tells that by itself."""
    if not entry.is_symlink():
        return _Kind.FOLDER if entry.is_dir(follow_symlinks=False) else _Kind.FILE
    try:
        return _Kind.LINK if stat.S_ISDIR(entry.stat().st_mode) else _Kind.FILE
    except OSError as error:
        if error.errno in _GONE:
            return _Kind.BROKEN
        if is_recording(entry.name):
            return _Kind.FILE
        raise
