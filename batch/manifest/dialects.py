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
from batch.manifest.rows import ColumnNames, Row
from batch.storage import object_stores


class Dialect(NamedTuple):
    """``rows`` reads lines; ``begins`` says whether a first line is of this dialect, for those that are recognised;
    ``convention`` is demanded of every row."""

    rows: Callable[[Lines, ColumnNames], Iterator[Row]]
    begins: Callable[[str, ColumnNames], bool] | None = None
    extensions: tuple[str, ...] = ()
    convention: str = ""


class Reading(NamedTuple):
    """How manifests are read: with a provider's ``options``, in the ``dialect`` of that name (None: recognised), with
    the columns' names."""

    options: OptionSchema
    dialect: str | None = None
    columns: ColumnNames = ColumnNames()


def _named(rows: Callable[[Lines], Iterator[Row]]) -> Callable[[Lines, ColumnNames], Iterator[Row]]:
    """Rows that bring the names of their cells with them."""
    return lambda lines, columns: rows(lines)


def _unnamed(rows: Callable[[Lines], Iterator[Row]]) -> Callable[[Lines, ColumnNames], Iterator[Row]]:
    """Rows whose cells have no names. Raises ``UsageError`` if names were given."""

    def without_names(lines: Lines, columns: ColumnNames) -> Iterator[Row]:
        if columns.given:
            raise UsageError(f"a list of paths has no columns, so there is no {next(iter(columns.given.values()))!r}")
        return rows(lines)

    return without_names


def _shaped(begins: Callable[[str], bool]) -> Callable[[str, ColumnNames], bool]:
    """A first line that is told by its shape, whatever the columns are called."""
    return lambda text, columns: begins(text)


_csv, _tsv = (partial(delimited.delimited, delimiter=mark) for mark in ",\t")
_json_lines = _named(json_rows.json_lines)
_LINES: Final[Mapping[str, Dialect]] = {
    "jsonl": Dialect(_json_lines, _shaped(json_rows.is_object), (".jsonl", ".ndjson")),
    "json": Dialect(_named(json_rows.document), _shaped(json_rows.is_document), (".json",)),
    "tsv": Dialect(_tsv, partial(delimited.is_header, delimiter="\t"), (".tsv",)),
    "csv": Dialect(_csv, partial(delimited.is_header, delimiter=","), (".csv",)),
    "kaldi": Dialect(_unnamed(line_lists.kaldi), _shaped(line_lists.is_kaldi), (".scp",)),
    "txt": Dialect(_unnamed(line_lists.listed), _shaped(line_lists.is_listed), (".txt",)),
    conventions.NEMO: Dialect(_json_lines, convention=conventions.NEMO),
    conventions.LHOTSE: Dialect(_json_lines, convention=conventions.LHOTSE),
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
    return _by_extension(PurePath(name)) is not None


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


def rows_of_file(path: Path, how: Reading, comment: Comment = unheard) -> Iterator[Row]:
    """The rows of a manifest file, compressed or not. ``comment`` hears of the comments in a list.

    Raises ``UsageError`` if there is none, or if the file cannot be read.
    """
    try:
        with path.open("rb") as file, Source(file) as source:
            yield from _rows(source, path, path.parent, how, comment)
    except OSError as error:
        raise UsageError(f"cannot read the manifest {path}: {error.strerror or error}") from error
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def rows_of_stream(stream: IO[bytes], folder: Path, how: Reading, comment: Comment = unheard) -> Iterator[Row]:
    """As ``rows_of_file``, of standard input, whose relative paths are to ``folder``."""
    yield from _rows(Source(stream), None, folder, how, comment)


def rows_of_url(url: str, called: str, how: Reading) -> Iterator[Row]:
    """As ``rows_of_file``, of what is behind an http(s) URL, which goes by the name ``called``."""
    try:
        with web.fetched(url) as file, Source(file) as source:
            yield from _rows(source, PurePosixPath(urlsplit(called).path), Path("/nowhere"), how)
    except UsageError as error:
        raise UsageError(f"{called}: {error}") from None


def rows_of_object(url: str, how: Reading) -> Iterator[Row]:
    """As ``rows_of_file``, of an object in a store."""
    try:
        with object_stores.reader(url) as file, Source(file) as source:
            yield from _rows(source, PurePosixPath(url), Path("/nowhere"), how)
    except (RecordingError, UsageError) as error:
        raise UsageError(f"{url}: {error}") from None


def _rows(
    source: Source, path: PurePath | None, folder: Path, how: Reading, comment: Comment = unheard
) -> Iterator[Row]:
    """``path`` is None for what cannot be read twice, and has no extension to go by."""
    options, name, columns = how
    if name == _PARQUET or (name is None and source.peek(len(MAGIC))[: len(MAGIC)] == MAGIC):
        rows = parquet(source, path if isinstance(path, Path) else None, columns)
        yield from understood(columns.applied(rows), folder, options)
        return
    head, first = first_telling(source)
    dialect = _LINES[name or _recognised(first, path, columns)]
    lines = Lines(itertools.chain(whole(head, source), source), source, comment)
    yield from understood(columns.applied(dialect.rows(lines, columns)), folder, options, dialect.convention)
    if lines.damage:
        yield Row(lines.number + 1, {}, lines.damage)


def _by_extension(path: PurePath) -> str | None:
    """The dialect that the extension of ``path`` names."""
    suffixes = (suffix.lower() for suffix in reversed(path.suffixes))
    return _BY_EXTENSION.get(next((suffix for suffix in suffixes if suffix not in COMPRESSED), ""))


def _recognised(first: str, path: PurePath | None, columns: ColumnNames) -> str:
    """The dialect of a manifest whose first telling line is ``first``: what the extension says, unless the content is
    surely another one's. Raises ``UsageError`` if neither tells."""
    named = _by_extension(path) if path else None
    begins = [name for name, dialect in _LINES.items() if dialect.begins and dialect.begins(first, columns)]
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
