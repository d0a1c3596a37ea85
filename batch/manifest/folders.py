"""Recordings on disk without a manifest: a directory's, a glob's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from batch import stores
from batch.manifest.rows import Row
from batch.model import Stamp

EXTENSIONS: Final = frozenset(
    """3ga 8svx aac ac3 aif aiff alac amr ape au dss flac flv m4a m4b m4p m4r mp3 mpga ogg oga mogg opus qcp tta
    voc wav wma wv webm mts m2ts ts mov mp2 mp4 m4v mxf mkv""".split()
)
"""The audio and video files that the v2 documentation lists, and Matroska."""


def is_recording(name: str) -> bool:
    """Whether a file of this name is taken for a recording, by its extension."""
    return name.rpartition(".")[2].lower() in EXTENSIONS


def is_glob(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def split_glob(cwd: Path, pattern: str) -> tuple[Path, str]:
    """The directory before the first part of ``pattern`` that is a pattern, to which keys are relative; the rest."""
    parts = Path(pattern).parts
    fixed = next((n for n, part in enumerate(parts) if is_glob(part)), len(parts))
    return cwd.joinpath(*parts[:fixed]), "/".join(parts[fixed:])


def in_directory(folder: Path) -> Iterator[Row]:
    """The recordings in ``folder`` and below, sorted within each directory. Hidden ones and links to directories
    are left out, and so is our own ``.diarist``."""
    line = 0
    for parent, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if is_recording(name) and not name.startswith("."):
                line += 1
                yield Row(line, {"audio": os.path.join(parent, name)})  # noqa: PTH118 (a hot path)


def in_glob(folder: Path, pattern: str) -> Iterator[Row]:
    """The files below ``folder`` that match, sorted, but for hidden ones. ``**`` does not follow links."""
    files = (str(path) for path in sorted(folder.glob(pattern)) if path.is_file() and not _is_hidden(path, folder))
    yield from (Row(line, {"audio": file}) for line, file in enumerate(files, 1))


def in_store(url: str) -> Iterator[Row]:
    """The recordings under a prefix, or that a glob matches, as the store lists them."""
    base = url[: min((url.find(mark) for mark in "*?[" if mark in url), default=len(url))].rpartition("/")[0] + "/"
    recordings = (found for found in stores.listed(url) if is_recording(found.url))
    for line, found in enumerate(recordings, 1):
        cells = {"audio": found.url, "id": found.url.removeprefix(base)}
        yield Row(line, cells, stamp=Stamp(*found[1:]))


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
