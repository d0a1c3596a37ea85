"""What a row's columns mean: which is the audio, which the key, which are options; the rest are labels, but for those
whose names begin with ``_``, which are for whoever reads the manifest."""

from __future__ import annotations

import difflib
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urljoin, urlsplit

from batch.manifest.option_schema import OptionSchema
from batch.manifest.rows import AUDIO_COLUMNS, CONTROL, FAILED_COLUMN, Row, printable, unexpected
from batch.manifest.web import escaped
from batch.model import Recording, Reject
from batch.storage.locations import identity, is_stored, is_url
from batch.storage.output_names import INNER

KEY_COLUMNS: Final = ("id", "key", "recording_id")
_NAMING: Final = (*AUDIO_COLUMNS, *KEY_COLUMNS)
_COMPONENT_BYTES: Final = 200
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CACHED: Final = 1024
_SIGNED: Final = "?"
"""Among the columns that were told of: signed URLs were."""


class RecordingBuilder:
    """Makes recordings of the rows of one manifest. ``folder`` is its directory, or its prefix in a store, or its own
    URL on the web. ``prefix`` stands before each key but those of rows that we wrote ourselves, which have it."""

    def __init__(
        self,
        manifest: str,
        folder: Path | str,
        defaults: Mapping[str, Any],
        on_warning: Callable[[str], None],
        options: OptionSchema,
        prefix: str = "",
    ) -> None:
        self._manifest, self._defaults, self._on_warning, self._prefix = manifest, defaults, on_warning, prefix
        self._schema = options
        self._folder = folder if isinstance(folder, str) else os.path.abspath(folder)  # noqa: PTH100 (keeps links)
        self._seen: set[str] = set()
        self._read: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}

    def recordings(self, rows: Iterator[Row]) -> Iterator[Recording | Reject]:
        """Each row as a recording, or as a reject that says what is wrong and what to do."""
        for row in rows:
            if row.problem:
                yield self._reject(row, row.problem)
                continue
            try:
                yield self._recording(row)
            except ValueError as error:
                yield self._reject(row, str(error))
            except Exception as error:  # one row's trouble, whatever it is
                yield self._reject(row, unexpected(error))

    def _reject(self, row: Row, reason: str) -> Reject:
        key = next((value for name in KEY_COLUMNS if (value := row.cells.get(name)) not in (None, "")), "")
        return Reject(self._manifest, row.line, printable(reason), printable(str(key).strip()) or None)

    def _recording(self, row: Row) -> Recording:
        given = _text(row.cells, AUDIO_COLUMNS)
        source = self._source(given)
        audio = next((name for name in AUDIO_COLUMNS if row.cells.get(name) not in (None, "")), "")
        key_column = next((name for name in KEY_COLUMNS if row.cells.get(name) not in (None, "")), "")
        key = str(row.cells[key_column]) if key_column else self._key(source, given)
        key = key if FAILED_COLUMN in row.cells else self._prefix + key
        if problem := key_problem(key):
            raise ValueError(f"the key '{printable(key)}' {problem}: give the row another id")
        used = {audio, key_column, *(name for name in _NAMING if row.cells.get(name) in (None, ""))}
        rest = {name: value for name, value in row.cells.items() if name not in used and not name.startswith("_")}
        asked = {name: value for name, value in rest.items() if self._schema.is_option(name)}
        labels = {name: value for name, value in rest.items() if name not in asked}
        self._hint(labels)
        labels |= row.labels
        self._tell_of_signature(source)
        return Recording(key, source, self._manifest, row.line, self._options(asked), labels, row.stamp)

    def _source(self, audio: str) -> str:
        """An absolute path, an http(s) URL, or an object in a store."""
        if not audio:
            raise ValueError(f"no audio: fill in one of {', '.join(AUDIO_COLUMNS)}")
        if CONTROL.search(audio):
            raise ValueError(f"the audio {audio!r} holds control characters: rename it")
        scheme = match[1].lower() if (match := _SCHEME.match(audio)) else ""
        if scheme in ("http", "https"):
            if not urlsplit(audio).hostname:
                raise ValueError(f"the audio {audio!r} is not a URL: it names no host")
            return audio
        if is_stored(audio):
            return audio
        if scheme == "file":
            if is_url(self._folder):
                raise ValueError(
                    f"the audio {audio!r} is a file of this machine, which no manifest from the web may name"
                )
            audio = unquote(urlsplit(audio).path)
        elif scheme:
            raise ValueError(
                f"the audio {audio!r}: {scheme}:// is not supported; give a path or an http(s), s3, gs or az URL"
            )
        elif is_stored(self._folder):
            scheme, _, base = self._folder.partition("://")
            return f"{scheme}://{posixpath.normpath(f'{base}/{audio}')}"
        elif is_url(self._folder):
            return urljoin(self._folder, escaped(audio))
        path = os.path.abspath(os.path.join(self._folder, audio))  # noqa: PTH100, PTH118 (a hot path)
        if not _is_text(path):
            raise ValueError(
                f"the name of the audio '{printable(path)}' is not UTF-8, in which results are written: rename it"
            )
        return path

    def _key(self, source: str, given: str) -> str:
        """The path below the manifest's directory, else the whole path without its root; host and path of a URL,
        unless it was given as a path below the manifest."""
        if is_url(source):
            below = urljoin(self._folder, ".") if is_url(self._folder) and not _SCHEME.match(given) else ""
            if below and source.startswith(below):
                return unquote(urlsplit(source.removeprefix(below)).path)
            url = urlsplit(source)
            return (url.netloc.rpartition("@")[2] + url.path).rstrip("/")
        inside = source.removeprefix(self._folder.rstrip("/") + "/")
        return (inside.partition("://")[2] if is_stored(inside) else inside).lstrip("/")

    def _options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The row's options, read once for all rows that give the same text."""
        if not all(isinstance(value, str) for value in given.values()):
            return self._schema.read(given, self._defaults)
        cells = tuple(given.items())
        if cells not in self._read:
            if len(self._read) >= _CACHED:
                self._read.clear()
            self._read[cells] = self._schema.read(given, self._defaults)
        return self._read[cells]

    def _tell_of_signature(self, source: str) -> None:
        """Tell once that a signed URL is known by what stays when it is signed anew."""
        if _SIGNED not in self._seen and "?" in source and is_url(source) and identity(source) != source:
            self._seen.add(_SIGNED)
            self._on_warning(
                f"{self._manifest}: some URLs are signed; a recording is known by its URL without the signature, so "
                "that it is the same one when it is signed anew"
            )

    def _hint(self, labels: Mapping[str, Any]) -> None:
        """Tell once of each label that looks like a misspelt option."""
        for name in labels.keys() - self._seen:
            self._seen.add(name)
            plain = name.strip().lower().replace("-", "_").replace(" ", "_")
            if close := difflib.get_close_matches(plain, self._schema.columns, 1, cutoff=0.88):
                self._on_warning(
                    f"{self._manifest}: the column {name!r} is carried as a label; "
                    f"did you mean the option {close[0]!r}?"
                )


def key_problem(key: str) -> str:
    """Why a key cannot name a result below the output directory; empty if it can."""
    parts = key.split("/")
    if not key:
        return "is empty"
    if "" in parts or "." in parts or ".." in parts:
        return "is not a plain relative path (no leading, doubled or trailing slash, no '.' or '..')"
    if CONTROL.search(key) or "\\" in key:
        return "holds control characters or backslashes"
    if any(part.lower() == INNER for part in parts):
        return "has a part .diarist, which is the journal's"
    if not _is_text(key):
        return "is not valid text"
    longest = max(len(part.encode()) for part in parts)
    return f"has a part of more than {_COMPONENT_BYTES} bytes" if longest > _COMPONENT_BYTES else ""


def _is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: names of files may be any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(cells: Mapping[str, Any], columns: tuple[str, ...]) -> str:
    """The first filled cell among ``columns`` as text; empty if there is none."""
    value = next((cells[name] for name in columns if cells.get(name) not in (None, "")), "")
    if not isinstance(value, str | int):
        raise ValueError(f"expected text, got {value!r:.60}")
    return str(value).strip()
