"""Parquet: rows in batches, never the whole file; rows are numbered from 1. Needs pyarrow (extra ``[parquet]``)."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.errors import UsageError
from batch.manifest.decoding import Source
from batch.manifest.rows import ColumnNames, Row

MAGIC: Final = b"PAR1"
_BATCH_ROWS: Final = 1000


def parquet(source: Source, path: Path | None, names: ColumnNames) -> Iterator[Row]:
    """The rows of ``path`` if it is a plain file, else of ``source``, which is put on disk first: the format is read
    from its end. Columns that hold bytes are left out. Raises ``UsageError``."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise UsageError("reading Parquet needs pyarrow: pip install 'diarist[parquet]'") from None
    if path is not None and not source.is_compressed:
        yield from _rows(path, names)
        return
    with tempfile.NamedTemporaryFile(suffix=".parquet") as copy:
        shutil.copyfileobj(source, copy)
        copy.flush()
        if source.damage:
            raise UsageError(source.damage)
        yield from _rows(Path(copy.name), names)


def _rows(path: Path, names: ColumnNames) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet as pq

    try:
        file = pq.ParquetFile(path, memory_map=False)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"not a whole Parquet file: {_first_line(error)}") from None
    with file:
        columns = _columns(file.schema_arrow, names)
        line = 0
        for group in range(file.num_row_groups):
            end = line + file.metadata.row_group(group).num_rows
            try:
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns):
                    yield from _of_batch(batch, line)
                    line += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                yield Row(line + 1, {}, f"rows {line + 1} to {end} cannot be read: {_first_line(error)}")
            line = end


def _columns(schema: Any, names: ColumnNames) -> list[str]:
    """The columns that JSON can carry. Raises ``UsageError`` if none of them is the audio."""
    import pyarrow as pa

    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_dictionary, pa.types.is_null)
    carried = [field for field in schema if not _holds_bytes(field.type)]
    is_text = {field.name: any(is_kind(field.type) for is_kind in texts) for field in carried}
    inside = [field.name for field in schema if field.name in names.audio and not is_text.get(field.name)]
    hint = f" ({inside[0]!r} holds no paths: write the audio to files and list those)" if inside else ""
    try:
        names.check([field.name for field in schema if is_text.get(field.name, True)], hint)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return [name for name in is_text if name not in inside]


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields))


def _of_batch(batch: Any, before: int) -> Iterator[Row]:
    """The rows of a batch, of which ``before`` come before. One cell that cannot be read spoils its row only."""
    try:
        rows = [_carried(cells) for cells in batch.to_pylist()]
    except Exception:  # one row's trouble, whatever it is: which one's is found out below
        for number in range(batch.num_rows):
            yield _alone(batch.slice(number, 1), before + number + 1)
        return
    yield from (Row(line, cells) for line, cells in enumerate(rows, before + 1))


def _alone(batch: Any, line: int) -> Row:
    try:
        return Row(line, _carried(batch.to_pylist()[0]))
    except Exception as error:
        return Row(line, {}, f"the row cannot be read: {_first_line(error)}")


def _carried(cells: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _jsonable(value) for name, value in cells.items()}


def _jsonable(value: Any) -> Any:
    """As JSON has it: what is not a number is nothing, times are text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _jsonable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    return msgspec.to_builtins(value)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
