"""Directories, globs and lists: what is listed, in which name, and that nothing is left out in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batch
from batch.manifest import reader
from batch.model import Recording, Reject
from batch.providers.assemblyai.options import SCHEMA
from batch.telemetry.events import Notice
from tests.support.places import ROOT
from tests.support.recordings import settings, wav
from tests.support.service import start_service

LISTING = """
import json, os, resource, sys
from pathlib import Path
from batch.manifest import reader
from batch.providers.assemblyai.options import SCHEMA
rows = reader.read(sys.argv[2:], options=SCHEMA, defaults={}, cwd=Path("."), on_warning=lambda message: None)
if os.geteuid() == 0:
    os.setuid(65534)
if limit := int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
print(json.dumps([[type(row).__name__, Path(row.key or "").name, getattr(row, "reason", "")] for row in rows]))
"""
"""Lists as somebody who may not read everything, and with so few files open; from where it is, for the directories
above are a test's own. Prints each row's kind, the name of its audio, and why it cannot run."""


def listed(folder: Path, *manifests: str) -> tuple[list[Recording | Reject], list[str]]:
    told: list[str] = []
    return list(reader.read(manifests, options=SCHEMA, defaults={}, cwd=folder, on_warning=told.append)), told


def keys(rows: list[Recording | Reject]) -> list[str | None]:
    return [row.key for row in rows]


def tree(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(wav(os.fsencode(name) * 200))


def listed_by_a_child(folder: Path, limit: int, *manifests: str) -> list[list[str]]:
    folder.chmod(0o755)
    root = ROOT
    child = subprocess.run(
        [sys.executable, "-c", LISTING, str(limit), *manifests],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    return json.loads(child.stdout)  # type: ignore[no-any-return]


# ── a directory ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_directory_reports_what_it_left_out_and_why(tmp_path: Path) -> None:
    """A directory reports what it left out and why, with a count and examples."""
    tree(
        tmp_path / "rec",
        "1.wav",
        "a/2.MP3",
        "a.xyz",
        "notes.md",
        ".hidden.wav",
        ".cache/3.wav",
        "a/list.csv",
        "b/c.pdf",
    )
    (tmp_path / "rec" / "gone").symlink_to("nowhere")
    (tmp_path / "rec" / "a" / "self").symlink_to("self")
    rows, told = listed(tmp_path, "rec")
    assert keys(rows) == ["1.wav", "a/2.MP3"]
    assert sorted(told) == [
        "rec: 2 hidden files and directories were left out, for example rec/.cache, rec/.hidden.wav",
        "rec: 2 links are broken: what they lead to is not there, for example rec/gone, rec/a/self; those with the "
        "name of a recording stay rows, which fail as missing",
        "rec: 4 files were left out because their extension is not known as audio, for example rec/a.xyz, "
        "rec/notes.md, rec/a/list.csv",
    ]


def test_where_all_is_listed_nothing_is_told(tmp_path: Path) -> None:
    tree(tmp_path / "rec", "1.wav", "a/2.wav", "a/b/3.wav")
    (tmp_path / "rec" / "4.wav").symlink_to("1.wav")
    rows, told = listed(tmp_path, "rec", "rec/**/*.wav", "rec/1.wav")
    assert keys(rows) == [*["1.wav", "4.wav", "a/2.wav", "a/b/3.wav"] * 2, "1.wav"]
    assert [row.line for row in rows] == [1, 2, 3, 4, 1, 2, 3, 4, 1]
    assert told == []


def test_linked_directories_are_followed_once_and_a_loop_ends(tmp_path: Path) -> None:
    tree(tmp_path, "rec/z/1.wav", "rec/z/deep/2.wav", "disk/3.wav", "disk/deep/4.wav")
    (tmp_path / "rec" / "a").symlink_to("z")  # comes before what it leads to, and must not rename it
    (tmp_path / "rec" / "disk").symlink_to(tmp_path / "disk")
    (tmp_path / "rec" / "disk2").symlink_to(tmp_path / "disk" / "deep")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "rec")
    rows, told = listed(tmp_path, "rec")
    assert keys(rows) == ["z/1.wav", "z/deep/2.wav", "disk/3.wav", "disk/deep/4.wav"]
    (message,) = told
    assert message == (
        "rec: 3 directories were not entered again: they are listed already under another name, for example rec/a, "
        "rec/disk2, rec/disk/loop"
    )


def test_a_broken_link_with_the_name_of_a_recording_stays_a_row(tmp_path: Path) -> None:
    tree(tmp_path, "rec/1.wav")
    (tmp_path / "rec" / "2.wav").symlink_to("/mnt/gone/2.wav")
    for name in ("rec", "rec/*.wav"):
        rows, told = listed(tmp_path, name)
        assert keys(rows) == ["1.wav", "2.wav"]
        assert [message.partition(";")[0] for message in told] == [
            f"{name}: 1 link is broken: what it leads to is not there, for example rec/2.wav"
        ]


@pytest.mark.parametrize("name", ["rec", "rec/**/*.wav", "rec/*/*.wav"])
def test_unreadable_directory_is_a_row_that_cannot_run(tmp_path: Path, name: str) -> None:
    tree(tmp_path, "rec/a/1.wav", "rec/secret/2.wav", "rec/z/3.wav")
    (tmp_path / "rec" / "secret").chmod(0)
    rows = listed_by_a_child(tmp_path, 0, name)
    (tmp_path / "rec" / "secret").chmod(0o755)
    assert [(kind, key) for kind, key, _ in rows] == [
        ("Recording", "1.wav"),
        ("Reject", ""),
        ("Recording", "3.wav"),
    ]
    assert rows[1][2] == (
        "rec/secret cannot be read: Permission denied. What is in it is not listed: make it readable, then run the "
        "same command again"
    )


def test_directory_beyond_the_open_file_limit_is_a_rejected_row(tmp_path: Path) -> None:
    """A directory for which no more files may be open is a row that cannot run."""
    tree(tmp_path, "rec/1.wav")
    assert [key for _, key, _ in listed_by_a_child(tmp_path, 0, "rec")] == ["1.wav"]
    ((kind, _, reason),) = listed_by_a_child(tmp_path, 3, "rec")
    assert kind == "Reject"
    assert reason.startswith("rec cannot be read: Too many open files.")
    assert "ulimit -n" in reason


async def test_run_over_an_unreadable_directory_ends_with_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run over a directory that cannot be read ends with 3, and once it can be read with 0."""
    tree(tmp_path, "rec/1.wav", "rec/bad/2.wav", "rec/z/3.wav")
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("/bad"):
            raise OSError(24, "Too many open files")
        return real(path)

    async with start_service(tmp_path / "service") as service:
        with monkeypatch.context() as patched:
            patched.setattr(os, "scandir", scandir)
            first = await batch.run(str(tmp_path / "rec"), tmp_path / "out", settings=settings(service.base_url))
        assert (first.exit_code, first.collected, first.rejected) == (3, 2, 1)
        again = await batch.run(str(tmp_path / "rec"), tmp_path / "out", settings=settings(service.base_url))
        assert (again.exit_code, again.collected, again.rejected) == (0, 1, 0)


async def test_own_output_beside_the_recordings_is_left_out_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What diarist wrote beside the recordings is neither listed nor reported."""
    monkeypatch.chdir(tmp_path)
    tree(tmp_path, "rec/1.wav", "rec/a/2.wav")
    notices: list[str] = []
    given = {
        "settings": None,
        "on_event": lambda event: notices.append(event.message) if isinstance(event, Notice) else None,
    }
    async with start_service(tmp_path / "service") as service:
        given["settings"] = settings(service.base_url, formats=["srt", "txt", "seglst", "svg"])
        first = await batch.run("rec", "rec", **given)
        assert (first.exit_code, first.collected) == (0, 2)
        (tmp_path / "rec" / "failed.jsonl").touch()
        (tmp_path / "rec" / "other.json").write_text('{"text": "not ours"}')
        (tmp_path / "rec" / "other.txt").touch()
        notices.clear()
        again = await batch.run("rec", "rec", **given)
        assert (again.exit_code, again.skipped["done"]) == (0, 2)
    (told,) = [message for message in notices if "left out" in message]
    assert told == (
        "rec: 2 files were left out because their extension is not known as audio, for example rec/other.json, "
        "rec/other.txt"
    )
    rows, of_glob = listed(tmp_path, "rec/*")
    assert keys(rows) == ["1.wav"]
    assert not any("1.wav." in message for message in of_glob)


# ── a glob ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_glob_filters_as_a_directory_does_and_tells_it(tmp_path: Path) -> None:
    tree(tmp_path, "rec/1.wav", "rec/1.json", "rec/1.txt", "rec/.x.wav", "rec/sub/2.wav", "rec/notes.md")
    rows, told = listed(tmp_path, "rec/*")
    assert keys(rows) == ["1.wav"]
    assert sorted(told) == [
        "rec/*: 1 directory was left out because the glob ends at it, for example rec/sub: end the glob in /** to "
        "list what is in them",
        "rec/*: 1 hidden file or directory was left out, for example rec/.x.wav",
        "rec/*: 3 files were left out because their extension is not known as audio, for example rec/1.json, "
        "rec/1.txt, rec/notes.md",
    ]
    assert keys(listed(tmp_path, "rec/**")[0]) == ["1.wav", "sub/2.wav"]
    assert keys(listed(tmp_path, "rec/**/*")[0]) == ["1.wav", "sub/2.wav"]
    assert keys(listed(tmp_path, "**/[12].wav")[0]) == ["rec/1.wav", "rec/sub/2.wav"]
    assert keys(listed(tmp_path, "r?c/**/sub/*.wav")[0]) == ["rec/sub/2.wav"]


def test_glob_of_manifests_reads_each_as_a_manifest_of_its_own(tmp_path: Path) -> None:
    tree(tmp_path, "lists/a/1.wav", "lists/2.wav")
    (tmp_path / "lists" / "a" / "m.csv").write_text("audio,id\n1.wav,\n../2.wav,two\n")
    (tmp_path / "lists" / "b.csv").write_text("audio\n2.wav\n")
    (tmp_path / "lists" / "c.jsonl").write_text('{"audio": "2.wav"}\n')
    (tmp_path / "lists" / "2.csv").write_text("time,level\n0,1\n")
    rows, told = listed(tmp_path, "lists/**/*.csv")
    assert [(row.key, row.where) for row in rows] == [
        ("2.wav", "lists/b.csv:2"), ("1.wav", "lists/a/m.csv:2"), ("two", "lists/a/m.csv:3"),
    ]  # fmt: skip
    assert told == [
        "lists/**/*.csv: 1 file was left out because a recording of its name lies beside it, for example lists/2.csv"
    ]
    rows, told = listed(tmp_path / "lists", "*.jsonl")
    assert [(row.key, row.where) for row in rows] == [("2.wav", "c.jsonl:1")]
    assert told == []


def test_unreadable_manifest_of_a_glob_is_reported_alone(tmp_path: Path) -> None:
    """A manifest of a glob that cannot be read is reported, and the others go on."""
    (tmp_path / "a.csv").write_text("name,who\nx,y\n")
    (tmp_path / "b.csv").write_text("audio\n1.wav\n")
    bad, good = listed(tmp_path, "*.csv")[0]
    assert isinstance(bad, Reject)
    assert "a.csv: no column for the audio" in bad.reason
    assert good.key == "1.wav"


def test_results_are_no_manifests_whatever_glob_names_them(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "x.json").write_text('{"recording":{"key":"x"},"id":"1"}')
    (tmp_path / "r" / "m.json").write_text('[{"audio": "1.wav"}]')
    rows, told = listed(tmp_path, "r/*.json")
    assert keys(rows) == ["1.wav"]
    assert told == ["r/*.json: 1 file was left out because it is a result, or was made of one, for example r/x.json"]


def test_globs_follow_links_as_directories_do(tmp_path: Path) -> None:
    tree(tmp_path, "rec/z/1.wav", "disk/2.wav")
    (tmp_path / "rec" / "a").symlink_to("z")
    (tmp_path / "rec" / "disk").symlink_to("../disk")
    (tmp_path / "disk" / "up").symlink_to("../rec")
    for glob in ("rec/**/*.wav", "rec/*/*.wav", "rec/**"):
        rows, told = listed(tmp_path, glob)
        assert keys(rows) == ["z/1.wav", "disk/2.wav"], glob
        assert any("not entered again" in message and "rec/a" in message for message in told), glob


# ── a list ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_comment_that_is_the_name_of_a_file_is_told(tmp_path: Path) -> None:
    tree(tmp_path, "#1 take.wav", "#2 take.wav", "3.wav")
    (tmp_path / "m.txt").write_text("# takes\n#1 take.wav\n#2 take.wav\n#3.wav\n3.wav\n")
    rows, told = listed(tmp_path, "m.txt")
    assert keys(rows) == ["3.wav"]
    assert told == [
        "m.txt: 2 lines were passed over as comments, though files of those names are there, for example "
        "#1 take.wav, #2 take.wav: write ./ before the name to list such a file"
    ]
    (tmp_path / "m.txt").write_text("./#1 take.wav\n")
    rows, told = listed(tmp_path, "m.txt")
    assert (keys(rows), told) == (["#1 take.wav"], [])


# ── odd names ───────────────────────────────────────────────────────────────────────────────────────────────────


def odd_tree(folder: Path) -> str:
    """Names that are not UTF-8, and one with a tab; the name of the odd directory."""
    tree(folder, "rec/ok.wav", "rec/a\tb.wav")
    odd = os.fsdecode(b"rec/caf\xe9")
    tree(folder, f"{odd}/1.wav", os.fsdecode(b"rec/x\xe9.wav"))
    return odd


def test_name_not_utf_8_or_with_a_tab_rejects_only_its_own_row(tmp_path: Path) -> None:
    odd = odd_tree(tmp_path)
    rows, _ = listed(tmp_path, "rec", odd)
    assert [row.key for row in rows if isinstance(row, Recording)] == ["ok.wav"]
    said = [f"{row.where} {row.reason}" for row in rows if isinstance(row, Reject)]
    assert len(said) == 4
    assert all(text.encode().isascii() or text.isprintable() for text in said)
    assert any(r"x\xe9.wav' is not UTF-8" in text for text in said)
    assert any(r"a\tb.wav' holds control characters" in text for text in said)
    assert any(text.startswith(r"rec/caf\xe9:1 ") for text in said)


async def test_a_run_over_odd_names_does_the_others_and_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = odd_tree(tmp_path)
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(["rec", odd], "out", settings=settings(service.base_url))
    assert (summary.exit_code, summary.collected, summary.rejected) == (3, 1, 4)
    assert b"caf\\\\xe9" in (tmp_path / "out" / ".diarist" / "summary.json").read_bytes()


def test_a_name_that_is_too_long_to_look_at_is_told(tmp_path: Path) -> None:
    with pytest.raises(batch.errors.UsageError, match="cannot look at x+: File name too long"):
        listed(tmp_path, "x" * 5000)
