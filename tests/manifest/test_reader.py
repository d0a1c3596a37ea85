"""Manifests: every dialect and encoding gives the same recordings; a broken row is told and spoils no other."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch.errors import UsageError
from batch.manifest.columns import key_problem
from batch.manifest.reader import read
from batch.model import Recording, Reject
from batch.providers.assemblyai import options

DEFAULTS = {"speaker_labels": True}


def rows(folder: Path, *manifests: str, stdin: bytes | None = None, told: list[str] | None = None) -> list[Any]:
    notice = told.append if told is not None else (lambda message: None)
    source = io.BytesIO(stdin) if stdin is not None else None
    return list(
        read(manifests, options=options.SCHEMA, defaults=DEFAULTS, cwd=folder, stdin=source, on_warning=notice)
    )


def manifest(folder: Path, name: str, content: str | bytes) -> str:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


CONTENTS = {
    "m.csv": 'id,audio,speakers_expected,who\nx/1,a.wav,2,"é, ü"\n,b/c.mp3,,\n',
    "m.tsv": "id\taudio\tspeakers_expected\twho\nx/1\ta.wav\t2\té, ü\n\tb/c.mp3\t\t\n",
    "m.jsonl": '{"id":"x/1","audio":"a.wav","speakers_expected":2,"who":"é, ü"}\n\n{"audio":"b/c.mp3","who":""}\n',
    "m.json": '[{"id":"x/1","audio":"a.wav","num_speakers":2,"who":"é, ü"},{"audio":"b/c.mp3","who":""}]',
}
ENCODINGS = {
    "plain": lambda text: text.encode(),
    "BOM": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "no last newline": lambda text: text.rstrip("\n").encode(),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_dialect_and_encoding_gives_the_same_recordings(tmp_path: Path, name: str, encoding: str) -> None:
    first, second = rows(tmp_path, manifest(tmp_path, name, ENCODINGS[encoding](CONTENTS[name])))
    assert (first.key, first.source, first.labels) == ("x/1", str(tmp_path / "a.wav"), {"who": "é, ü"})
    assert first.options == {"speaker_labels": True, "speakers_expected": 2}
    assert (second.key, second.source, second.labels) == ("b/c.mp3", str(tmp_path / "b/c.mp3"), {"who": ""})
    assert second.options == {"speaker_labels": True}
    assert first.manifest == name


@pytest.mark.parametrize("name", CONTENTS)
def test_standard_input_is_recognised_by_its_first_line(tmp_path: Path, name: str) -> None:
    first, second = rows(tmp_path, "-", stdin=CONTENTS[name].encode())
    assert (first.key, second.key) == ("x/1", "b/c.mp3")


def test_text_file_lists_paths_and_urls(tmp_path: Path) -> None:
    """A text file lists paths and URLs, and skips blank lines and comments."""
    text = "# calls\n\na b.wav\nhttps://example.com/talks/x.mp3?sig=1#t\n/abs/c.wav\n../up.wav\n"
    found = rows(tmp_path, manifest(tmp_path, "m.txt", text))
    outside = str(tmp_path.parent / "up.wav")
    assert [(row.key, row.source, row.line) for row in found] == [
        ("a b.wav", str(tmp_path / "a b.wav"), 3),
        ("example.com/talks/x.mp3", "https://example.com/talks/x.mp3?sig=1#t", 4),
        ("abs/c.wav", "/abs/c.wav", 5),
        (outside.lstrip("/"), outside, 6),
    ]
    assert rows(tmp_path, "-", stdin=text.encode())[0].key == "a b.wav"


def test_directories_globs_recordings_and_urls_are_manifests_too(tmp_path: Path) -> None:
    for name in ("b.wav", "a/2.MP3", "a/1.flac", "a/notes.txt", ".diarist/x.wav", "a/.hidden.wav"):
        (tmp_path / "calls" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "calls" / name).touch()
    (tmp_path / "calls" / "a" / "loop").symlink_to(tmp_path / "calls")
    keys = [row.key for row in rows(tmp_path, "calls")]
    assert sorted(keys) == ["a/1.flac", "a/2.MP3", "b.wav"]
    assert [row.key for row in rows(tmp_path, "calls/**/*.wav")] == ["b.wav"]
    assert [row.key for row in rows(tmp_path, "calls/*/*.flac")] == ["a/1.flac"]
    assert [row.key for row in rows(tmp_path, "calls/b.wav")] == ["b.wav"]
    assert [row.key for row in rows(tmp_path, "https://e.com/a.mp3", "calls/b.wav")] == ["e.com/a.mp3", "b.wav"]


BAD_ROWS = [
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a.wav", "1 cells where the header has 2 columns"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a.wav,1,2", "3 cells where"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", ",x", "no audio: fill in"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", 'a.wav,"x', "not a valid row"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a.wav,../x", "the key '../x' is not a plain relative path"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a.wav,/x", "is not a plain relative path"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a.wav,.diarist/journal", ".diarist"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a.wav,calls/.Diarist/journal", ".diarist"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a.wav,x/.DIARIST", ".diarist"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a.wav," + "x" * 300, "more than 200 bytes"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "ftp://bucket/a.wav,x", "ftp:// is not supported"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "http:///a.wav,x", "names no host"),
    ("m.csv", "audio,id,speakers_expected\n{bad}\nok.wav,ok,\n", "a.wav,x,two", "option speakers_expected"),
    ("m.csv", "audio,id,multichannel\n{bad}\nok.wav,ok,\n", "a.wav,x,perhaps", "option multichannel"),
    ("m.csv", "audio,id,min_speakers,max_speakers\n{bad}\nok.wav,ok,,\n", "a.wav,x,3,2", "contradict"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "caf\udce9.wav,x", "not UTF-8: byte 0xe9 at byte 4"),
    ("m.csv", "audio,id\n{bad}\nok.wav,ok\n", "a\0.wav,x", "NUL"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '{"audio": "a', "not valid JSON"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '["a.wav"]', "must be a JSON object"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '{"name": "a.wav"}', "no audio: fill in"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '{"audio": {"a": 1}}', "expected text"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '{"audio":"a","keyterms_prompt":"[1"}', "keyterms_prompt"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '{"id": {"a": 1}, "audio": ""}', "no audio: fill in"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '{"audio": "a\\tb.wav"}', "holds control characters"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '{"audio": "https://[::1/a.wav"}', "Invalid IPv6 URL"),
    ("m.jsonl", '{bad}\n{{"audio":"ok.wav"}}\n', '{"audio_filepath":"a","offset":1e306}', "cannot be read: Overflow"),
]


@pytest.mark.parametrize(("name", "frame", "bad", "says"), BAD_ROWS)
def test_a_broken_row_is_told_with_its_line_and_the_others_go_on(
    tmp_path: Path, name: str, frame: str, bad: str, says: str
) -> None:
    content = frame.format(bad=bad).encode("utf-8", "surrogateescape")
    reject, good = rows(tmp_path, manifest(tmp_path, name, content))
    assert isinstance(reject, Reject)
    assert reject.line == (2 if name == "m.csv" else 1)
    assert reject.where == f"{name}:{reject.line}"
    assert says in reject.reason
    assert isinstance(good, Recording)
    assert good.source == str(tmp_path / "ok.wav")
    assert good.line == reject.line + 1


def test_a_cell_with_line_breaks_keeps_the_first_line_as_its_own(tmp_path: Path) -> None:
    found = rows(tmp_path, manifest(tmp_path, "m.csv", 'audio,note\na.wav,"1\n2\n3"\nb.wav,x\n'))
    assert [(row.line, row.labels["note"]) for row in found] == [(2, "1\n2\n3"), (5, "x")]


def test_forgotten_quote_costs_one_row_and_not_all_that_follow(tmp_path: Path) -> None:
    text = "audio,note\n" + "".join(f"{n}.wav,{chr(34) if n == 5 else ''}x\n" for n in range(1000))
    found = rows(tmp_path, manifest(tmp_path, "m.csv", text))
    assert [row.line for row in found if isinstance(row, Reject)] == [7]
    assert len(found) == 1000


@pytest.mark.parametrize("name", ["m.jsonl", "m.json", "m.ndjson", "manifest"])
def test_a_first_line_of_any_length_is_one_row(tmp_path: Path, name: str) -> None:
    note = "x" * (3 << 20)
    lines = f'{{"audio":"a.wav","note":"{note}"}}\n{{"audio":"b.wav"}}\n'
    first, second = rows(tmp_path, manifest(tmp_path, name, lines))
    assert (first.key, first.labels, second.key) == ("a.wav", {"note": note}, "b.wav")
    if name == "m.json":
        return  # a line that is broken may as well begin a document
    bad, good = rows(tmp_path, manifest(tmp_path, name, lines.replace("}", "", 1)))
    assert (type(bad), bad.line, good.key) == (Reject, 1, "b.wav")


def test_a_header_and_a_comment_of_any_length_are_read_whole(tmp_path: Path) -> None:
    text = f"# {'y' * (2 << 20)}\naudio,{'x' * (2 << 20)}\na.wav,1\n"
    (row,) = rows(tmp_path, manifest(tmp_path, "m.csv", text))
    assert (row.key, row.line, row.labels) == ("a.wav", 3, {"x" * (2 << 20): "1"})


def test_20000_columns_are_20000_labels_and_read_at_once(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(20_000)]
    text = f"audio,{','.join(names)}\na.wav{',1' * 20_000}\nb.wav{',1' * 19_999}\n"
    began = time.monotonic()
    good, bad = rows(tmp_path, manifest(tmp_path, "m.csv", text))
    assert good.labels == dict.fromkeys(names, "1")
    assert bad.reason == "20000 cells where the header has 20001 columns"
    assert time.monotonic() - began < 3  # it was 4 s when each name was counted among all others


def test_whatever_a_row_raises_unexpectedly_is_its_own_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = options.V2Options.read

    def read(given: Any, defaults: Any) -> Any:
        if given.get("speakers_expected") == "3":
            raise RecursionError("too deep")
        return real(given, defaults)

    monkeypatch.setattr(options.V2Options, "read", staticmethod(read))
    text = "audio,id,speakers_expected\na.wav,x,3\nb.wav,y,2\n"
    bad, good = rows(tmp_path, manifest(tmp_path, "m.csv", text))
    assert bad == Reject("m.csv", 2, "the row cannot be read: RecursionError: too deep", "x")
    assert good.key == "y"


WRONG = [
    ("m.csv", "name,who\na.wav,x\n", "no column for the audio"),
    ("m.csv", "audio,audio\na.wav,x\n", "'audio' is there twice"),
    ("m.csv", "audio,id\n", "nothing is listed"),
    ("m.csv", "", "nothing is listed"),
    ("m.txt", "# only a comment\n", "nothing is listed"),
    ("m.json", '{"a":\n1}', "give a list of objects"),
    ("m.json", '[{"audio": ', "not valid JSON"),
    ("m.csv", "audio\na.wav\n".encode("utf-16"), "UTF-16"),
    ("m.xlsx", "PK", "name its dialect: --dialect jsonl"),
]


@pytest.mark.parametrize(("name", "content", "says"), WRONG)
def test_a_manifest_that_is_wrong_as_a_whole_is_told(
    tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        rows(tmp_path, manifest(tmp_path, name, content))


@pytest.mark.parametrize("name", ["absent.csv", "absent/*.wav", "empty"])
def test_a_manifest_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"absent\.csv|nothing is listed"):
        rows(tmp_path, name)


def test_a_column_that_is_nearly_an_option_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    text = "audio,speaker_expected,language-code,customer\na.wav,2,en,x\nb.wav,2,en,y\n"
    found = rows(tmp_path, manifest(tmp_path, "m.csv", text), told=told)
    assert len(told) == 2
    assert any("'speaker_expected'" in message and "'speakers_expected'" in message for message in told)
    assert found[0].labels == {"speaker_expected": "2", "language-code": "en", "customer": "x"}


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(min_size=1, max_size=60))
def test_accepted_key_never_leaves_the_output_directory(tmp_path: Path, key: str) -> None:
    if not key_problem(key):
        out = os.path.normpath(tmp_path / "out")
        path = os.path.normpath(os.path.join(out, f"{key}.json"))  # noqa: PTH118
        assert path.startswith(out + os.sep)
        assert not path.startswith(os.path.join(out, ".diarist") + os.sep)  # noqa: PTH118


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from([*CONTENTS, "m.txt"]), st.binary(max_size=200))
def test_reading_any_bytes_fails_only_with_a_usage_error(tmp_path: Path, name: str, content: bytes) -> None:
    try:
        found = rows(tmp_path, manifest(tmp_path, name, content))
    except UsageError:
        return
    assert all(isinstance(row, Recording | Reject) for row in found)
