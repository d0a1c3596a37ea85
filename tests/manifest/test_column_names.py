"""Manifests whose columns have names of their own: which is the audio, which the key, which an option."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from batch.errors import UsageError
from batch.manifest.reader import read
from batch.model import Recording, Reject
from batch.providers.assemblyai import options

NAMES = {"audio": "recording_path", "id": "call_id", "speakers_expected": "people"}
ROWS = [
    {"call_id": "c/1", "recording_path": "a.wav", "people": "2", "url": "https://crm.example/1", "id": "77"},
    {"call_id": "c/2", "recording_path": "b.wav", "people": "", "url": "", "id": "78"},
]


def rows(folder: Path, name: str, names: dict[str, str] = NAMES, stdin: bytes | None = None) -> list[Any]:
    source = None if stdin is None else io.BytesIO(stdin)
    given = {"options": options.SCHEMA, "defaults": {"speaker_labels": True}, "cwd": folder, "stdin": source}
    return list(read([name], columns_named=names, **given))  # type: ignore[arg-type]


def written(folder: Path, name: str, content: list[dict[str, str]] = ROWS) -> str:
    mark = "\t" if name.endswith("tsv") else ","
    if name.endswith("parquet"):
        from pyarrow import Table, parquet

        parquet.write_table(Table.from_pylist(content), folder / name)
    elif name.endswith("json"):
        (folder / name).write_text(json.dumps(content))
    elif name.endswith("jsonl"):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        lines = [mark.join(content[0]), *(mark.join(row.values()) for row in content)]
        (folder / name).write_text("\n".join(lines) + "\n")
    return name


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl", "m.json", "m.parquet"])
def test_every_dialect_takes_names_and_keeps_the_rest_as_labels(tmp_path: Path, name: str) -> None:
    """A column that bears a usual name, and is another, is a label under that name."""
    first, second = rows(tmp_path, written(tmp_path, name))
    assert (first.key, first.source) == ("c/1", str(tmp_path / "a.wav"))
    assert first.options == {"speaker_labels": True, "speakers_expected": 2}
    assert first.labels == {"url": "https://crm.example/1", "id": "77"}
    assert (second.key, second.options, second.labels) == ("c/2", {"speaker_labels": True}, {"id": "78"})


def test_names_hold_on_standard_input(tmp_path: Path) -> None:
    content = b"recording_path,call_id\na.wav,x\n"
    (only,) = rows(tmp_path, "-", {"audio": "recording_path", "id": "call_id"}, content)
    assert (only.key, only.labels) == ("x", {})


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_a_column_that_is_not_there_is_told_at_once(tmp_path: Path, name: str) -> None:
    written(tmp_path, name)
    with pytest.raises(UsageError, match=r"no column 'recording_pth', which is to be the audio \(did you mean 'rec"):
        rows(tmp_path, name, {"audio": "recording_pth"})


def test_a_header_of_other_names_says_how_to_name_the_audio(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("call,sound\n1,a.wav\n")
    with pytest.raises(UsageError, match="--column audio=NAME"):
        rows(tmp_path, "m.csv", {})


def test_a_row_without_its_key_gets_no_other_one(tmp_path: Path) -> None:
    """Of a key that is missing no other is made: it would be paid for again once it is there."""
    (tmp_path / "m.jsonl").write_text('{"recording_path": "a.wav"}\n{"recording_path": "b.wav", "call_id": "x"}\n')
    first, second = rows(tmp_path, "m.jsonl", {"audio": "recording_path", "id": "call_id"})
    assert isinstance(first, Reject) and "no call_id, which is to be the id: fill it in" in first.reason
    assert isinstance(second, Recording) and second.key == "x"


def test_the_list_of_failures_has_the_usual_names(tmp_path: Path) -> None:
    failed = '{"id": "c/1", "audio": "/a.wav", "_failed": {"kind": "timeout"}}\n'
    (tmp_path / "failed.jsonl").write_text(failed)
    (only,) = rows(tmp_path, "failed.jsonl")
    assert (only.key, only.source) == ("c/1", "/a.wav")


def test_a_directory_needs_no_names_and_a_list_has_none(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"x")
    (only,) = rows(tmp_path, "in")
    assert only.key == "a.wav"
    (tmp_path / "m.txt").write_text("a.wav\n")
    with pytest.raises(UsageError, match="a list of paths has no columns"):
        rows(tmp_path, "m.txt")
