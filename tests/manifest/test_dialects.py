"""Every dialect that the field writes keeps one contract."""

from __future__ import annotations

import gzip
import io
import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from backports import zstd

from batch.errors import UsageError
from batch.manifest import dialects, reader
from batch.model import Recording, Reject
from batch.providers.assemblyai.options import SCHEMA

DEFAULTS = {"speaker_labels": True}


class Example(NamedTuple):
    """How a dialect lists two recordings (key, path below the manifest, labels) and a broken row between them."""

    name: str
    extension: str
    good: tuple[str, str]
    broken: str
    said: str
    keys: tuple[str, str] = ("a b", "ü")
    paths: tuple[str, str] = ("calls/a b.wav", "calls/ü.wav")
    header: str = ""


def _json(**cells: Any) -> str:
    return json.dumps(cells, ensure_ascii=False)


def _lhotse(key: str, path: str) -> str:
    source = {"type": "file", "channels": [0], "source": path}
    return _json(id=key, sources=[source], sampling_rate=16000, num_samples=16000, duration=1.0, channel_ids=[0])


PATHS = ("calls/a b.wav", "calls/ü.wav")
EXAMPLES = (
    Example("csv", ".csv", ("a b,calls/a b.wav", "ü,calls/ü.wav"), "x", "1 cells", header="id,audio"),
    Example("tsv", ".tsv", ("a b\tcalls/a b.wav", "ü\tcalls/ü.wav"), "x", "1 cells", header="id\taudio"),
    Example(
        "jsonl", ".jsonl", (_json(id="a b", url=PATHS[0]), _json(id="ü", url=PATHS[1])), "{x", "not valid JSON",
    ),
    Example("txt", ".txt", PATHS, "ftp://x/y.wav", "ftp://", PATHS),
    Example(
        "nemo", ".json",
        (_json(audio_filepath="calls/a b.wav", duration=2.5), _json(audio_filepath="calls/ü.wav", duration=2.5)),
        _json(audio_filepath="c.wav", offset="soon"), "offset: expected seconds", ("calls/a b.wav", "calls/ü.wav"),
    ),
    Example("lhotse", ".jsonl", (_lhotse("a b", "calls/a b.wav"), _lhotse("ü", "calls/ü.wav")), '{"id":1}', "lhotse"),
    Example("kaldi", ".scp", ("a calls/a b.wav", "ü calls/ü.wav"), "x sox in.mp3 -t wav - |", "not run", ("a", "ü")),
    Example(
        "common-voice", ".tsv", ("1\tcalls/a b.wav\t\"odd", "2\tcalls/ü.wav\tyes"), "1\tx", "2 cells",
        ("calls/a b.wav", "calls/ü.wav"), header="client_id\tpath\tsentence",
    ),
)  # fmt: skip
RECOGNISED = [example for example in EXAMPLES if example.name not in ("nemo", "common-voice")]
each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)


def text(example: Example, rows: Sequence[str], end: str = "\n") -> bytes:
    lines = [example.header, *rows] if example.header else rows
    return "".join(line + end for line in lines).encode()


def read(path: Path, **given: Any) -> list[Recording | Reject]:
    return list(reader.read([path.name], options=SCHEMA, defaults=DEFAULTS, cwd=path.parent, **given))


def check(example: Example, rows: list[Recording | Reject], folder: Path) -> None:
    recordings = [row for row in rows if isinstance(row, Recording)]
    assert tuple(row.key for row in recordings) == example.keys
    assert tuple(row.source for row in recordings) == tuple(str(folder / path) for path in example.paths)


@each
def test_keys_order_unicode_and_paths_below_the_manifest(example: Example, tmp_path: Path) -> None:
    path = tmp_path / f"m{example.extension}"
    path.write_bytes(text(example, example.good))
    check(example, read(path, dialect=example.name), tmp_path)


@each
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_bom_crlf_and_blank_lines_change_nothing(example: Example, bom: bytes, end: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{example.extension}"
    path.write_bytes(bom + text(example, example.good, end))
    check(example, read(path, dialect=example.name), tmp_path)


@each
def test_a_broken_row_is_told_with_its_line_and_the_rest_goes_on(example: Example, tmp_path: Path) -> None:
    path = tmp_path / f"m{example.extension}"
    path.write_bytes(text(example, (example.good[0], example.broken, example.good[1])))
    rows = read(path, dialect=example.name)
    check(example, rows, tmp_path)
    (reject,) = [row for row in rows if isinstance(row, Reject)]
    assert reject.line == (3 if example.header else 2)
    assert example.said in reject.reason


PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstd.compress}


@each
@pytest.mark.parametrize("packed", sorted(PACK))
@pytest.mark.parametrize("named", [True, False])
def test_compressed_it_reads_the_same_whatever_it_is_called(
    example: Example, packed: str, named: bool, tmp_path: Path
) -> None:
    path = tmp_path / f"m{example.extension}{packed if named else ''}"
    path.write_bytes(PACK[packed](text(example, example.good)))
    check(example, read(path, dialect=example.name), tmp_path)


@pytest.mark.parametrize("example", RECOGNISED, ids=lambda example: example.name)
@pytest.mark.parametrize("packed", ["", ".gz"])
def test_it_is_recognised_by_its_extension_or_by_its_content(example: Example, packed: str, tmp_path: Path) -> None:
    content = text(example, example.good)
    path = tmp_path / f"m{example.extension}{packed}"
    path.write_bytes(PACK[packed](content) if packed else content)
    check(example, read(path), tmp_path)
    if example.name not in ("kaldi", "txt"):
        path = path.rename(tmp_path / "manifest")
        check(example, read(path), tmp_path)


@each
def test_first_row_comes_before_the_manifest_is_read_to_its_end(example: Example, tmp_path: Path) -> None:
    """From standard input, whose other end stays open."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file, os.fdopen(reading, "rb") as stdin:
        lines = text(example, (*example.good, *example.good))
        threading.Thread(target=lambda: (file.write(lines), file.flush()), daemon=True).start()
        rows = reader.read(["-"], options=SCHEMA, defaults=DEFAULTS, cwd=tmp_path, stdin=stdin, dialect=example.name)
        first = next(rows)
        assert isinstance(first, Recording)
        assert first.key == example.keys[0]


def test_every_dialect_has_an_example() -> None:
    assert {example.name for example in EXAMPLES} | {"json", "parquet"} == set(dialects.NAMES)


def test_a_dialect_that_is_none_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("audio\na.wav\n")
    with pytest.raises(UsageError, match=r"did you mean lhotse\?"):
        read(tmp_path / "m.csv", dialect="lhoste")


# ── what each adds ──────────────────────────────────────────────────────────────────────────────────────────────


def rows_of(tmp_path: Path, name: str, *rows: Any) -> list[Recording | Reject]:
    path = tmp_path / name
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), "utf-8")
    return read(path)


def test_nemo_row_is_cut_only_if_it_is_a_part_of_its_file(tmp_path: Path) -> None:
    rows = rows_of(
        tmp_path, "m.json",
        {"audio_filepath": "a.wav", "offset": 0, "duration": 2, "text": "x", "num_speakers": None},
        {"audio_filepath": "a.wav", "offset": 2, "duration": 1.5, "id": "second"},
        {"audio_filepath": "b.wav", "duration": 9, "num_speakers": 2, "lang": "en"},
    )  # fmt: skip
    options = [row.options for row in rows if isinstance(row, Recording)]
    assert options[0] == DEFAULTS | {"audio_end_at": 2000}
    assert options[1] == DEFAULTS | {"audio_start_from": 2000, "audio_end_at": 3500}
    assert options[2] == DEFAULTS | {"speakers_expected": 2, "language_code": "en"}
    assert rows[2].labels["duration"] == 9  # type: ignore[union-attr]


def _cut(**more: Any) -> dict[str, Any]:
    source = {"type": "file", "channels": [0], "source": "r.wav"}
    recording = {"id": "r", "sources": [source], "sampling_rate": 16000, "num_samples": 160000, "duration": 10.0}
    return {"id": "c", "start": 0, "duration": 10.0, "channel": 0, "recording": recording, "type": "MonoCut"} | more


def test_a_lhotse_cut_is_its_part_of_the_recording(tmp_path: Path) -> None:
    whole, part = rows_of(tmp_path, "cuts.jsonl", _cut(), _cut(id="d", start=2.5, duration=3))
    assert isinstance(whole, Recording)
    assert isinstance(part, Recording)
    assert (whole.key, whole.options) == ("c", DEFAULTS)
    assert (part.key, part.options) == ("d", DEFAULTS | {"audio_start_from": 2500, "audio_end_at": 5500})
    assert part.source == str(tmp_path / "r.wav")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "MixedCut", "tracks": []}, "mixed or padded"),
        ({"recording": None}, "neither sources nor a recording"),
        ({"start": "soon"}, "start: expected seconds"),
    ],
)
def test_what_only_lhotse_could_make_into_audio_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    (row,) = read_one(tmp_path, json.dumps(_cut(**change)), "lhotse")
    assert isinstance(row, Reject)
    assert said in row.reason


@pytest.mark.parametrize(("kind", "said"), [("command", "commands are not run"), ("memory", "only file and url")])
def test_lhotse_sources_that_are_no_files_are_refused(tmp_path: Path, kind: str, said: str) -> None:
    row = json.loads(_lhotse("a", "sox x |"))
    row["sources"][0]["type"] = kind
    (reject,) = read_one(tmp_path, json.dumps(row), "lhotse")
    assert isinstance(reject, Reject)
    assert said in reject.reason


def read_one(tmp_path: Path, line: str, dialect: str) -> list[Recording | Reject]:
    path = tmp_path / "m"
    path.write_text(line + "\n")
    return read(path, dialect=dialect)


def test_common_voice_paths_are_in_clips_if_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (row,) = rows_of(tmp_path, "validated.tsv", "client_id\tpath\tsentence\tlocale\n", '1\ta.mp3\t"Yes\ten\n')
    assert isinstance(row, Recording)
    assert row.source == str(tmp_path / "clips" / "a.mp3")
    assert row.options == DEFAULTS | {"language_code": "en"}


def test_parquet_is_read_in_batches_with_types_and_without_bytes(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    count = 2500
    table = pa.table({
        "file_name": [f"{n}.wav" for n in range(count)],
        "speakers_expected": [2] * count,
        "tags": [["a", "b"]] * count,
        "thumbnail": [b"\x00"] * count,
    })  # fmt: skip
    pq.write_table(table, tmp_path / "metadata.parquet", row_group_size=1000)
    for name in ("metadata.parquet", "unnamed"):
        path = tmp_path / name
        path.write_bytes((tmp_path / "metadata.parquet").read_bytes())
        rows = read(path)
        assert [row.line for row in rows] == list(range(1, count + 1))
        last = rows[-1]
        assert isinstance(last, Recording)
        assert (last.source, last.options) == (str(tmp_path / "2499.wav"), DEFAULTS | {"speakers_expected": 2})
        assert last.labels == {"tags": ["a", "b"]}
    packed = tmp_path / "metadata.parquet.gz"
    packed.write_bytes(gzip.compress((tmp_path / "metadata.parquet").read_bytes()))
    assert len(read(packed)) == count
    stream = io.BytesIO((tmp_path / "metadata.parquet").read_bytes())
    assert len(list(reader.read(["-"], options=SCHEMA, defaults=DEFAULTS, cwd=tmp_path, stdin=stream))) == count


def test_parquet_that_is_cut_off_is_told(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "m.parquet").write_bytes(b"PAR1" + b"\x00" * 100)
    with pytest.raises(UsageError, match="not a whole Parquet file"):
        read(tmp_path / "m.parquet")


@pytest.mark.parametrize("packed", sorted(PACK))
def test_truncated_compressed_data_give_what_is_whole_and_say_so(tmp_path: Path, packed: str) -> None:
    lines = "audio\n" + "".join(f"{n}-{os.urandom(40).hex()}.wav\n" for n in range(5000))
    content = PACK[packed](lines.encode())
    (tmp_path / f"m.csv{packed}").write_bytes(content[: len(content) // 2])
    rows = read(tmp_path / f"m.csv{packed}")
    *good, last = rows
    assert isinstance(last, Reject)
    assert "in the middle of its" in last.reason or "damaged" in last.reason
    assert all(isinstance(row, Recording) and row.source.endswith(".wav") for row in good)


def test_damaged_compressed_data_are_told(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(("audio\n" + "".join(f"{n}.wav\n" for n in range(50_000))).encode()))
    content[len(content) // 2 :][:50] = b"\xff" * 50
    content[len(content) // 2 : len(content) // 2 + 50] = b"\xff" * 50
    (tmp_path / "m.csv.gz").write_bytes(bytes(content))
    last = read(tmp_path / "m.csv.gz")[-1]
    assert isinstance(last, Reject)
    assert "damaged" in last.reason or "gzip" in last.reason


def test_a_column_that_is_nearly_an_option_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("audio,speaker_expected\n" + "a.wav,2\n" * 50)
    told: list[str] = []
    list(reader.read(["m.csv"], options=SCHEMA, defaults={}, cwd=tmp_path, on_warning=told.append))
    (message,) = told
    assert "'speaker_expected' is carried as a label; did you mean the option 'speakers_expected'?" in message
