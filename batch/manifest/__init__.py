"""Manifests: from what a user names on the command line to a stream of recordings, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from batch import stores
from batch.errors import Usage
from batch.manifest import columns, dialects, folders
from batch.manifest.rows import Row, printable
from batch.model import Recording, Reject

__all__ = ["called", "read"]


def read(
    manifests: Sequence[str],
    *,
    defaults: Mapping[str, Any],
    cwd: Path,
    stdin: IO[bytes] | None = None,
    dialect: str | None = None,
    notice: Callable[[str], None] = lambda message: None,
) -> Iterator[Recording | Reject]:
    """The rows of all ``manifests`` in order, each a recording or the reason why it cannot be one. Blocks; lazy.

    A manifest is a file of a known dialect, a directory, a glob, a recording, a URL, or ``-`` for ``stdin``; files
    and recordings may also be in an object store, where a prefix ends in a slash. Relative paths in it resolve
    against its directory (``cwd`` for ``-``). ``defaults`` are the options that a row's own replace. ``dialect``
    names the one that manifest files are in (None: recognised). ``notice`` hears of columns that look like misspelt
    options, once a manifest. Raises ``Usage`` for a manifest that is not there, cannot be read or has no column for
    the audio, and when all of them list nothing.
    """
    dialects.check(dialect)
    listed = False
    for named in manifests:
        for row in _rows(named, defaults, cwd, stdin, dialect, notice):
            listed = True
            yield row
    if not listed:
        raise Usage(f"nothing is listed in {', '.join(map(called, manifests))}: no recordings, no rows")


def called(named: str) -> str:
    """What a manifest is called in messages, in the journal and in results: as it was given, but printable."""
    return printable(named)


def _rows(
    named: str,
    defaults: Mapping[str, Any],
    cwd: Path,
    stdin: IO[bytes] | None,
    dialect: str | None,
    notice: Callable[[str], None],
) -> Iterator[Recording | Reject]:
    def maker(folder: Path | str) -> columns.Maker:
        return columns.Maker(called(named), folder, defaults, notice)

    path = cwd / named
    if stores.is_stored(named):
        return _in_store(named, maker, dialect)
    if named == "-":
        if stdin is None:
            raise Usage("- means standard input, and there is none")
        return maker(cwd).recordings(dialects.rows_of_stream(stdin, cwd, dialect))
    if named.startswith(("http://", "https://")):
        return maker(cwd).recordings(iter([Row(1, {"audio": named})]))
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise Usage(f"cannot look at {called(named)}: {error.strerror}") from None
    if is_folder:
        return maker(path).recordings(folders.in_directory(path))
    if is_file:
        if folders.is_recording(path.name):
            return maker(path.parent).recordings(iter([Row(1, {"audio": path.name})]))
        return maker(path.parent).recordings(dialects.rows_of_file(path, dialect))
    if folders.is_glob(named):
        folder, pattern = folders.split_glob(cwd, named)
        return maker(folder).recordings(folders.in_glob(folder, pattern))
    raise Usage(f"there is no manifest, directory or recording {called(named)}: check the path (in {cwd})")


def _in_store(
    url: str, maker: Callable[[Path | str], columns.Maker], dialect: str | None
) -> Iterator[Recording | Reject]:
    """A prefix or a glob, a recording, or a manifest file in an object store."""
    folder = url.rpartition("/")[0]
    if url.endswith("/") or stores.is_glob(url):
        return maker(folder).recordings(folders.in_store(url))
    if folders.is_recording(url):
        return maker(folder).recordings(iter([Row(1, {"audio": url})]))
    return maker(folder).recordings(dialects.rows_of_object(url, dialect))
