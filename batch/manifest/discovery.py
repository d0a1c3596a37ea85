"""What is a recording by its name, and the recordings in a store without a manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from batch.manifest import left_out
from batch.manifest.left_out import LeftOut
from batch.manifest.rows import Row
from batch.storage import object_stores

EXTENSIONS: Final = frozenset(
    """3ga 8svx aac ac3 aif aiff alac amr ape au dss flac flv m4a m4b m4p m4r mp3 mpga ogg oga mogg opus qcp tta
    voc wav wma wv webm mts m2ts ts mov mp2 mp4 m4v mxf mkv""".split()
)
"""The audio and video files that the v2 documentation lists, and Matroska."""
_PART: Final = re.compile(r"[\x00-\x1f\x7f\\]")
_DOTS: Final = {"": "%2F", ".": "%2E", "..": "%2E%2E"}
"""Parts of a key that no path of a result may have; nothing at all is a slash too many."""


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


def in_store(url: str, passed_over: LeftOut) -> Iterator[Row]:
    """The recordings under a prefix, or that a glob matches, as the store lists them."""
    base = url[: min((url.find(mark) for mark in "*?[" if mark in url), default=len(url))].rpartition("/")[0] + "/"
    line = 0
    for found in object_stores.listed(url):
        if isinstance(found, object_stores.Found) and not is_recording(found.url):
            passed_over.add(left_out.UNKNOWN, found.url)
            continue
        line += 1
        name = {"id": _key_of(found.url.removeprefix(base))}
        if isinstance(found, object_stores.Unlisted):
            yield Row(line, name, found.reason)
        else:
            yield Row(line, {"audio": found.url, **name}, stamp=found.stamp)


def _key_of(name: str) -> str:
    """The key of an object by its name, which may hold what no path of a result can: that is escaped, as in a URL."""
    parts = (_PART.sub(lambda match: quote(match[0], safe=""), part) for part in name.split("/"))
    return "/".join(_DOTS.get(part, part) for part in parts)
