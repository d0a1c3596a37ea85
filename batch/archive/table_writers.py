"""Tables of a whole archive, written a result at a time: CSV, Parquet, a manifest of lhotse's."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import IO, Any, Final, Protocol

from batch.archive.results import Results
from batch.errors import UsageError
from batch.transcripts.formats import tables
from batch.transcripts.formats.registry import TABLES

_GROUP_ROWS: Final = 50_000
Rows = dict[str, list[Any]]
"""What one result adds to each table, by the name of its format."""


class TableWriter(Protocol):
    """Takes the rows of one result after another."""

    def write(self, rows: Rows) -> None: ...


class _CsvWriter:
    def __init__(self, file: IO[bytes], name: str, columns: Iterable[str]) -> None:
        self._name, self._text = name, io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(columns)

    def write(self, rows: Rows) -> None:
        self._writer.writerows(rows.get(self._name, ()))

    def end(self) -> None:
        self._text.detach()


@contextlib.contextmanager
def _open_csv(name: str, columns: Iterable[str], results: Results) -> Iterator[TableWriter]:
    with results.open_table(TABLES[name][0]) as file:
        writer = _CsvWriter(file, name, columns)
        yield writer
        writer.end()


class _LhotseWriter:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, rows: Rows) -> None:
        self._file.writelines(rows.get("lhotse", ()))


@contextlib.contextmanager
def _open_lhotse(results: Results) -> Iterator[TableWriter]:
    with results.open_table(TABLES["lhotse"][0]) as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        yield _LhotseWriter(packed)  # type: ignore[arg-type]


class _ParquetWriter:
    """Two tables, written a row group at a time."""

    def __init__(self, files: Sequence[IO[bytes]]) -> None:
        try:
            import pyarrow as pa
            from pyarrow import parquet as pq
        except ImportError:
            raise UsageError("writing Parquet needs pyarrow: pip install 'diarist[parquet]'") from None
        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        columns = (tables.UTTERANCES, tables.RECORDINGS)
        self._schemas = [pa.schema([(name, kinds[kind]) for name, kind in each.items()]) for each in columns]
        self._writers = [pq.ParquetWriter(file, schema) for file, schema in zip(files, self._schemas, strict=True)]
        self._rows: tuple[list[Any], list[Any]] = ([], [])

    def write(self, rows: Rows) -> None:
        for recording, utterances in rows.get("parquet", ()):
            self._rows[0].extend(utterances)
            self._rows[1].append(recording)
        if max(map(len, self._rows)) >= _GROUP_ROWS:
            self._write()

    def end(self) -> None:
        self._write()
        for writer in self._writers:
            writer.close()

    def _write(self) -> None:
        import pyarrow as pa

        for rows, schema, writer in zip(self._rows, self._schemas, self._writers, strict=True):
            if rows:
                cells = [
                    pa.array(column, field.type)
                    for column, field in zip(zip(*rows, strict=True), schema, strict=True)
                ]
                writer.write_table(pa.table(cells, schema=schema))
            rows.clear()


@contextlib.contextmanager
def _open_parquet(results: Results) -> Iterator[TableWriter]:
    utterances, recordings = TABLES["parquet"]
    with results.open_table(utterances) as first, results.open_table(recordings) as second:
        writer = _ParquetWriter((first, second))
        yield writer
        writer.end()


TABLE_WRITERS: Final[Mapping[str, Callable[[Results], contextlib.AbstractContextManager[TableWriter]]]] = {
    "csv": partial(_open_csv, "csv", tables.UTTERANCES),
    "speakers": partial(_open_csv, "speakers", tables.SPEAKERS),
    "parquet": _open_parquet,
    "lhotse": _open_lhotse,
}
