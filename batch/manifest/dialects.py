"""Dialects: which one a manifest is written in, and its rows.

A dialect is told by the content; the extension decides where the content allows several. What the columns mean is
decided elsewhere, once for all.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Final, NamedTuple
from urllib.parse import urlsplit

from batch.errors import RecordingError, UsageError
from batch.manifest import conventions, delimited, json_rows, line_lists, web
from batch.manifest.conventions import understood
from batch.manifest.decoding import COMPRESSED, Comment, Lines, Source, first_telling, unheard, whole
from batch.manifest.option_schema import OptionSchema
from batch.manifest.parquet import MAGIC, parquet
from batch.manifest.rows import Row
from batch.storage import object_stores


class Dialect(NamedTuple):
    """``rows`` reads lines; ``begins`` says whether a first line is of this dialect, for those that are recognised;
    ``convention`` is demanded of every row."""

    rows: Callable[[Lines], Iterator[Row]]
    begins: Callable[[str], bool] | None = None
    extensions: tuple[str, ...] = ()
    convention: str = ""


_csv, _tsv = (partial(delimited.delimited, delimiter=mark) for mark in ",\t")
_LINES: Final[Mapping[str, Dialect]] = {
    "jsonl": Dialect(json_rows.json_lines, json_rows.is_object, (".jsonl", ".ndjson")),
    "json": Dialect(json_rows.document, json_rows.is_document, (".json",)),
    "tsv": Dialect(_tsv, partial(delimited.is_header, delimiter="\t"), (".tsv",)),
    "csv": Dialect(_csv, partial(delimited.is_header, delimiter=","), (".csv",)),
    "kaldi": Dialect(line_lists.kaldi, line_lists.is_kaldi, (".scp",)),
    "txt": Dialect(line_lists.listed, line_lists.is_listed, (".txt",)),
    conventions.NEMO: Dialect(json_rows.json_lines, convention=conventions.NEMO),
    conventions.LHOTSE: Dialect(json_rows.json_lines, convention=conventions.LHOTSE),
    conventions.VOICE: Dialect(_tsv, convention=conventions.VOICE),
}
_BARE: Final = ("kaldi", "txt")
_PARQUET: Final = "parquet"
NAMES: Final = (*_LINES, _PARQUET)
"""Every dialect that can be asked for by name."""
_BY_EXTENSION: Final = {end: name for name, each in _LINES.items() for end in each.extensions} | {
    ".parquet": _PARQUET
}


def is_manifest(name: str) -> bool:
    """Whether a file of this name is taken for a manifest, by its extension."""
    return _named(PurePath(name)) is not None


def plain_name(name: str) -> str:
    """The name of a manifest without its extension."""
    plain = name
    while PurePath(plain).suffix.lower() in COMPRESSED:
        plain = plain.rpartition(".")[0]
    return plain.rpartition(".")[0]


def check(name: str | None) -> None:
    """Raises ``UsageError`` if ``name`` is no dialect."""
    if name is not None and name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, 1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise UsageError(f"--dialect {name}: there is no such dialect; {meant}Give one of {', '.join(NAMES)}")


def rows_of_file(
    path: Path, options: OptionSchema, name: str | None = None, comment: Comment = unheard
) -> Iterator[Row]:
    """The rows of a manifest file, compressed or not, in the dialect ``name``, or in the one that is recognised.
    ``comment`` hears of the comments in a list.

    Raises ``UsageError`` if there is none, or if the file cannot be read.
    """
    try:
        with path.open("rb") as file, Source(file) as source:
            yield from _rows(source, path, path.parent, options, name, comment)
    except OSError as error:
        raise UsageError(f"cannot read the manifest {path}: {error.strerror or error}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def rows_of_stream(
    stream: IO[bytes], folder: Path, options: OptionSchema, name: str | None = None, comment: Comment = unheard
) -> Iterator[Row]:
    """As ``rows_of_file``, of standard input, whose relative paths are to ``folder``."""
    yield from _rows(Source(stream), None, folder, options, name, comment)


def rows_of_url(url: str, called: str, options: OptionSchema, name: str | None = None) -> Iterator[Row]:
    """As ``rows_of_file``, of what is behind an http(s) URL, which goes by the name ``called``."""
    try:
        with web.fetched(url) as file, Source(file) as source:
            yield from _rows(source, PurePosixPath(urlsplit(called).path), Path("/nowhere"), options, name)
    except UsageError as error:
        raise UsageError(f"{called}: {error}") from None


def rows_of_object(url: str, options: OptionSchema, name: str | None = None) -> Iterator[Row]:
    """As ``rows_of_file``, of an object in a store."""
    try:
        with object_stores.reader(url) as file, Source(file) as source:
            yield from _rows(source, PurePosixPath(url), Path("/nowhere"), options, name)
    except (RecordingError, UsageError) as error:
        raise UsageError(f"{url}: {error}") from None


def _rows(
    source: Source,
    path: PurePath | None,
    folder: Path,
    options: OptionSchema,
    name: str | None,
    comment: Comment = unheard,
) -> Iterator[Row]:
    """``path`` is None for what cannot be read twice, and has no extension to go by."""
    if name == _PARQUET or (name is None and source.peek(len(MAGIC))[: len(MAGIC)] == MAGIC):
        yield from understood(parquet(source, path if isinstance(path, Path) else None), folder, options)
        return
    head, first = first_telling(source)
    dialect = _LINES[name or _recognised(first, path)]
    lines = Lines(itertools.chain(whole(head, source), source), source, comment)
    yield from understood(dialect.rows(lines), folder, options, dialect.convention)
    if lines.damage:
        yield Row(lines.number + 1, {}, lines.damage)


def _named(path: PurePath) -> str | None:
    """The dialect that the extension of ``path`` names."""
    suffixes = (suffix.lower() for suffix in reversed(path.suffixes))
    return _BY_EXTENSION.get(next((suffix for suffix in suffixes if suffix not in COMPRESSED), ""))


def _recognised(first: str, path: PurePath | None) -> str:
    """The dialect of a manifest whose first telling line is ``first``: what the extension says, unless the content is
    surely another one's. Raises ``UsageError`` if neither tells."""
    named = _named(path) if path else None
    begins = [name for name, dialect in _LINES.items() if dialect.begins and dialect.begins(first)]
    guesses = _BARE if named == "txt" else ("txt",)
    surely = next((name for name in begins if name not in guesses), None)
    if named and (not surely or (named in begins and named != "txt")):
        return named
    if begins:
        return surely or begins[0]
    if path is None or not first:
        return "txt"
    raise UsageError(
        f"is it a manifest or a recording? If it is a manifest, name its dialect: --dialect {'|'.join(NAMES)}"
    )
