"""``diarist export``: other formats of stored results, whole, offline, and told apart from results."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from batch import errors
from batch.archive.export import Exported, ExportRequest, export, read_formats, read_speakers, read_turns
from batch.archive.results import Results, result_files
from batch.transcripts.formats.registry import FORMATS, TABLES
from tests.support.command_line import diarist
from tests.support.demo_results import ARCHIVE, KEYS, copied


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return copied(tmp_path / "results")


def exported(directory: Path, formats: str, out: Path | None = None, **given: object) -> tuple[Exported, list[str]]:
    told: list[str] = []
    done = export(directory, ExportRequest(read_formats(formats), out or directory, **given), told.append)  # type: ignore[arg-type]
    return done, told


def many(directory: Path, count: int) -> Path:
    """So many that processes are started, each under a key of its own."""
    directory.mkdir(exist_ok=True)
    for number in range(count):
        shutil.copy(ARCHIVE / f"{KEYS[number % len(KEYS)]}.json", directory / f"{number:05}.json")
    return directory


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_format_is_written_beside_each_result_only_once(archive: Path) -> None:
    here = [name for name, form in FORMATS.items() if not form.missing()]
    done, told = exported(archive, ",".join([*here, *TABLES]))
    assert (done.results, done.written, done.problems, told) == (4, 4 * len(here) + 5, 0, [])
    assert (archive / "calls" / "support-call.seglst.json").exists()
    again, _ = exported(archive, ",".join(here))
    assert (again.results, again.written, again.unchanged) == (4, 0, 4 * len(here))
    assert [*archive.rglob("*.tmp")] == []


def test_exported_json_is_no_result_to_whoever_reads_results(archive: Path) -> None:
    before = [*result_files(archive)]
    exported(archive, "seglst,whisper")
    assert [*result_files(archive)] == before


def test_a_result_is_never_overwritten_by_the_format_of_another(archive: Path) -> None:
    shutil.copy(ARCHIVE / "kitchen-talk.json", archive / "kitchen-talk.whisper.json")
    done, told = exported(archive, "whisper")
    assert done.problems == 1
    assert "kitchen-talk.whisper.json is a result, which nothing may replace: export to another --out" in told[0]
    assert (archive / "kitchen-talk.whisper.json").read_bytes() == (ARCHIVE / "kitchen-talk.json").read_bytes()


def test_tables_hold_the_whole_archive_and_read_back(archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables"
    exported(archive, "csv,speakers,parquet,lhotse", out)
    rows = table(out / "utterances.csv")
    assert {row["key"] for row in rows} == {"calls/support-call", *(key for key in KEYS if "call" not in key)}
    utterances = pq.read_table(out / "utterances.parquet").to_pylist()
    assert [row["text"] for row in utterances] == [row["text"] for row in rows]
    recordings = {row["key"]: row for row in pq.read_table(out / "recordings.parquet").to_pylist()}
    call = recordings["calls/support-call"]
    assert (call["speakers"], call["utterances"], call["status"]) == (2, 8, "completed")
    assert json.loads(call["labels"]) == {"topic": "internet connection"}
    people = table(out / "speakers.csv")
    assert {row["speaker"] for row in people if row["key"] == "planning-meeting"} == {"A", "B", "C"}
    with gzip.open(out / "supervisions.jsonl.gz", "rt", encoding="utf-8") as lines:
        assert {json.loads(line)["recording_id"] for line in lines} == set(recordings)


def test_300_results_are_exported_by_processes_in_order_of_names(tmp_path: Path) -> None:
    directory = many(tmp_path / "results", 300)
    done, told = exported(directory, "srt,csv", tmp_path / "out")
    assert (done.results, done.written, told) == (300, 301, [])
    keys = [row["key"] for row in table(tmp_path / "out" / "utterances.csv")]
    assert keys == sorted(keys)
    assert len(set(keys)) == 300


def test_unreadable_result_is_reported_and_others_are_exported(archive: Path) -> None:
    (archive / "a-bad.json").write_bytes(b'{"recording":{}, "words"')
    (archive / "b-notes.json").write_bytes(b'{"mine": true}')
    done, told = exported(archive, "srt")
    assert (done.results, done.written, done.problems, done.foreign) == (5, 4, 1, 1)
    (said,) = told
    assert "a-bad.json" in said, "and the notes, which are none of ours, are passed over"


def test_names_and_turns_reach_every_format_but_not_the_results(archive: Path, tmp_path: Path) -> None:
    """Names and other people's turns reach every format and leave the results alone."""
    before = (archive / "kitchen-talk.json").read_bytes()
    (tmp_path / "names.toml").write_text('A = "Ann"\n["kitchen-talk"]\nx = "Xaver"\n', "utf-8")
    (tmp_path / "turns").mkdir()
    (tmp_path / "turns" / "k.rttm").write_text("SPEAKER kitchen-talk 1 0 9999 <NA> <NA> x <NA> <NA>\n")
    exported(
        archive, "txt,rttm", speakers=read_speakers(tmp_path / "names.toml"), turns=read_turns(tmp_path / "turns")
    )  # fmt: skip
    assert "Xaver: " in (archive / "kitchen-talk.txt").read_text()
    assert "Speaker" not in (archive / "kitchen-talk.txt").read_text()
    assert " Ann " in (archive / "planning-meeting.rttm").read_text()
    assert (archive / "kitchen-talk.json").read_bytes() == before


def test_a_full_disk_stops_the_export_and_leaves_no_litter(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(errors.UnavailableError, match="No space left"):
        exported(archive, "srt")
    assert [*archive.rglob(".*")] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere", "--to", "srt"], "nowhere is not a directory of results"),
        ([".", "--to", "srtt"], "did you mean srt?)"),
        ([".", "--to", "srt", "--speakers", "absent.toml"], "cannot read the names in absent.toml"),
        ([".", "--to", "srt", "--relabel", "absent.rttm"], "cannot read the turns in absent.rttm"),
        ([".", "--to", "srt", "--relabel", "."], "there are no turns in ."),
        ([".", "--to", ","], "give some of srt"),
    ],
)
def test_a_mistake_gets_one_clear_message(tmp_path: Path, arguments: list[str], says: str) -> None:
    done = diarist("export", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_export_reports_and_exits_3_on_unwritten_files(archive: Path) -> None:
    """The command says what it did, and exits with 3 if something was not written."""
    good = diarist("export", str(archive), "--to", "srt, vtt")
    assert (good.returncode, good.stderr) == (0, "4 results: 8 files written, 0 as they were\n")
    (archive / "bad.json").write_bytes(b"{")
    bad = diarist("export", str(archive), "--to", "srt, vtt")
    assert bad.returncode == 3
    assert bad.stderr.endswith("5 results: 0 files written, 8 as they were, 1 not written\n")


def test_row_with_unreadable_names_stays_collected(tmp_path: Path) -> None:
    """A run writes other formats too, and a row whose names cannot be read stays collected."""
    from batch.model import Job, Recording

    told: list[str] = []
    results = Results(tmp_path, formats=["srt"], on_warning=told.append)
    for key, label in (("good", "A=Ann"), ("bad", "A=")):
        labels = {"speakers": label}
        transcript = (ARCHIVE / "kitchen-talk.json").read_bytes()
        body = b'{"id"' + transcript.partition(b',"id"')[2]
        results.write(Job(Recording(key, "/x", "m", 1, labels=labels), "local"), body)
    assert "Ann: " in (tmp_path / "good.srt").read_text()
    assert (tmp_path / "bad.json").exists()
    assert told == [
        "bad: no srt was written: the label 'speakers' is 'A=', which names nobody"
        " (the name of 'A' is '' and should be text): write it as A=Agent; B=Customer"
    ]


FORMULAS = ("=cmd|' /C calc'!A0", "+4930123", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1")
TEXTS = ("it's = fine", "'quoted", "3 - 2", "")


@pytest.mark.parametrize("is_exact", [False, True])
def test_table_text_is_no_spreadsheet_formula_unless_exact(archive: Path, tmp_path: Path, is_exact: bool) -> None:
    result = json.loads((archive / "calls" / "support-call.json").read_text())
    said = [result["utterances"][0] | {"text": text, "speaker": text or "A"} for text in (*FORMULAS, *TEXTS)]
    for utterance in said:
        utterance["words"] = [utterance["words"][0] | {"text": utterance["text"], "speaker": utterance["speaker"]}]
    (archive / "+49" / "x").mkdir(parents=True)
    (archive / "+49" / "x" / "1.json").write_text(json.dumps(result | {"utterances": said}))
    exported(archive, "csv,speakers", tmp_path / "out", exact=is_exact)
    for name in ("utterances.csv", "speakers.csv"):
        cells = [cell for row in table(tmp_path / "out" / name) for cell in (row["key"], row["speaker"])]
        texts = [row["text"] for row in table(tmp_path / "out" / name) if "text" in row]
        assert ("+49/x/1" in cells, "'+49/x/1" in cells) == (is_exact, not is_exact)
        begin = {cell[0] for cell in (*cells, *texts) if cell}
        assert bool(begin & set("=+-@\t\r\n\uff1d")) is is_exact
        if texts:
            assert set(TEXTS) - {""} <= set(texts)
    done = diarist("export", str(archive), "--to", "csv", "-o", str(tmp_path / "typed"), *["--exact"] * is_exact)
    assert done.returncode == 0
    assert table(tmp_path / "typed" / "utterances.csv") == table(tmp_path / "out" / "utterances.csv")
