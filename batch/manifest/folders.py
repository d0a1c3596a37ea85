"""What is a recording by its name, and the recordings in a store without a manifest."""

from __future__ import annotations

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


def in_store(url: str) -> Iterator[Row]:
    """The recordings under a prefix, or that a glob matches, as the store lists them."""
    base = url[: min((url.find(mark) for mark in "*?[" if mark in url), default=len(url))].rpartition("/")[0] + "/"
    recordings = (found for found in stores.listed(url) if is_recording(found.url))
    for line, found in enumerate(recordings, 1):
        cells = {"audio": found.url, "id": found.url.removeprefix(base)}
        yield Row(line, cells, stamp=Stamp(*found[1:]))
