"""What opens a door is kept where it must be, for its owner only, and shown nowhere; what comes from outside moves no
terminal and forges no line."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import stat
import unicodedata
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.archive import results
from batch.archive.journal import Journal
from batch.archive.written_files import Written
from batch.cli import main
from batch.engine.interface import BadAudio
from batch.server.store import Store
from batch.telemetry.redaction import harmless, plain, redact
from tests.support.processes import Ended, diarist, start
from tests.support.recordings import wav
from tests.support.service import start_service

SIGNED = "https://user:passw0rd@example.invalid/talks/a.mp3?X-Amz-Signature=abcdef0123&x=1#sec"
SECRETS = ("abcdef0123", "passw0rd", "X-Amz", "#sec")
NASTY = "n\x1b[2Jasty\u202egnp\u2028"
FORGED = "ends\n✓ forged: 2 speakers, 0:02"


def archive(folder: Path) -> Path:
    """A manifest with a signed link, a name that would clear the screen, a broken row, and speakers that forge."""
    folder.mkdir()
    (folder / f"{NASTY}.wav").write_bytes(wav(b"a" * 1000))
    (folder / "good.wav").write_bytes(wav(b"b" * 1000))
    (folder / "bad.wav").write_bytes(wav(b"c"))
    rows = [
        {"id": "signed", "audio": SIGNED, "link": SIGNED},
        {"id": "nasty", "audio": f"{NASTY}.wav"},
        {"id": "good", "audio": "good.wav", "see": SIGNED, "speakers": "A=Ann\x1b[31m\u202e; B=Bob"},
        {"id": "refused", "audio": SIGNED, "speakers_expected": f"many {SIGNED} {FORGED}"},
        {"id": "gone", "audio": f"gone{FORGED}.wav"},
        {"id": "bad", "audio": "bad.wav"},
    ]
    manifest = folder / "calls.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return manifest


def failing(audio: bytes) -> Exception | None:
    return BadAudio(f"Transcoding failed. See {SIGNED} {FORGED}") if len(audio) == 45 else None


def is_quiet(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text, (secret, text)


def is_calm(text: str) -> None:
    is_quiet(text)
    for line in text.replace("\t", " ").split("\n"):  # which separate the columns of a plan
        assert not [character for character in line if unicodedata.category(character) in ("Cc", "Cf", "Zl")], line
        assert not line.startswith("✓ forged"), text


async def both(*arguments: object) -> Ended:
    """With what it wrote to standard output, too."""
    child = await start(*arguments)
    out, said = await child.communicate()
    return Ended(child.returncode or 0, out.decode() + said.decode())


def unpacked(page: str) -> str:
    """What a report shows."""
    parts = re.findall(r"[A-Za-z0-9+/]{80,}={0,2}", page)
    return page + "".join(
        zlib.decompress(base64.b64decode(part), -15).decode() for part in parts if len(part) % 4 == 0
    )


@pytest.mark.parametrize("progress", ["plain", "json", "off"])
async def test_secrets_and_terminal_controls_are_shown_nowhere(tmp_path: Path, progress: str) -> None:
    manifest, out, log = archive(tmp_path / "in"), tmp_path / "out", tmp_path / "run.log"
    async with start_service(tmp_path / "service", failing=failing) as service:
        given = (manifest, "-o", out, "--service", f"{service.base_url}/?token=abcdef0123")
        shown = [await both("plan", *given, "--explain"), await both("plan", SIGNED, "-o", out)]
        ended = await diarist("run", *given, "--progress", progress, "--log-file", log)
        again = await diarist("run", SIGNED, "-o", out, "--service", service.base_url, "--progress", progress)
        shown += [await both("status", out), await both("report", out), await both("search", out, "sha256")]
        shown.append(await both("export", out, "--to", "srt", "-o", tmp_path / "more"))
        machines = [await both("plan", *given, "--explain", "--json"), await both("status", out, "--json")]
        machines.append(await both("search", out, "sha256", "--json"))
    assert (ended.code, again.code) == (3, 3), ended.said + again.said
    assert "Ann\\x1b[31m\\u202e" in shown[4].said
    for done in (*shown, *([] if progress == "json" else [ended, again])):
        is_calm(done.said)
    for done in (*machines, ended, again):
        is_quiet(done.said)
    is_quiet(log.read_text())
    is_quiet((out / ".diarist" / "summary.json").read_text())
    is_quiet(unpacked((out / "report.html").read_text()))
    assert "https://…@example.invalid/talks/a.mp3?…" in unpacked((out / "report.html").read_text())
    with closing(sqlite3.connect(out / ".diarist" / "search.db")) as db:
        is_quiet("\n".join(db.iterdump()))


async def test_list_of_failures_can_be_run_again_as_it_is(tmp_path: Path) -> None:
    """What failed can be run again as it is listed, and the list is its owner's to read."""
    manifest, out = archive(tmp_path / "in"), tmp_path / "out"
    async with start_service(tmp_path / "service", failing=failing) as service:
        given = ("-o", out, "--service", service.base_url, "--progress", "off")
        await diarist("run", manifest, *given)
        listed = {row["id"]: row for row in map(json.loads, (out / "failed.jsonl").read_text().splitlines())}
        assert listed["signed"]["audio"] == SIGNED
        for row in listed.values():
            is_quiet(json.dumps(row["_failed"]))
        service.submissions.clear()
        await diarist("run", out / "failed.jsonl", *given, "--retry", "failed")
        assert SIGNED in [asked["audio_url"] for asked in service.submissions]


async def test_sensitive_files_are_private_and_results_keep_to_umask(tmp_path: Path) -> None:
    """What may open a door is for its owner only, and results keep to the umask."""
    manifest, out = archive(tmp_path / "in"), tmp_path / "out"
    async with start_service(tmp_path / "service", failing=failing) as service:
        given = ("-o", out, "--service", service.base_url, "--progress", "off", "--format", "srt")
        await diarist("run", manifest, *given)
        await diarist("run", manifest, *given, "--set", "options.format_text=false", "--yes")
    inner, mode = out / ".diarist", lambda path: stat.S_IMODE(path.stat().st_mode)
    assert [mode(folder) for folder in (inner, inner / "replaced")] == [0o700] * 2
    assert {path.name for path in inner.iterdir()} >= {"journal.db", "search.db", "written.db", "summary.json"}
    for path in (*inner.glob("*.db*"), inner / "summary.json", out / "failed.jsonl"):
        assert (path.name, mode(path)) == (path.name, 0o600)
    assert [*(inner / "replaced").rglob("*.json")]
    plain_file = tmp_path / "plain"
    plain_file.touch()
    assert {mode(out / name) for name in ("good.json", "good.srt")} == {mode(plain_file)}


async def test_next_run_closes_what_an_older_version_left_readable(tmp_path: Path) -> None:
    """What an older diarist left open to others is closed by the next run."""
    inner = tmp_path / "out" / ".diarist"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    for name in ("journal.db", "written.db", "summary.json"):
        (inner / name).touch()
        (inner / name).chmod(0o644)
    made = results.Results(tmp_path / "out")
    Journal(inner / "journal.db").close()
    Written(tmp_path / "out", inner).keep([("a.srt", b"digest")])
    made.write_summary(b"{}")
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (inner, *inner.iterdir())}
    assert found == {".diarist": 0o700, "journal.db": 0o600, "written.db": 0o600, "summary.json": 0o600}


def test_users_own_journal_folder_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o750)
    results.Results(tmp_path / "out", inner=tmp_path / "state")
    results.Results(tmp_path / "out", inner=tmp_path / "new" / "state")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("state", "new/state", "out/.diarist")]
    assert modes == [0o750, 0o700, 0o700]


def test_the_jobs_of_the_local_service_are_for_its_owner_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with closing(Store(tmp_path)):
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("service.db*")} == {0o600}


def test_an_unexpected_error_is_told_without_what_opens_a_door(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*given: Any, **more: Any) -> None:
        raise RuntimeError(f"{SIGNED} {FORGED}")

    monkeypatch.setattr(main.cli, "main", broken)
    with pytest.raises(SystemExit) as ended:
        main.main([])
    said = capsys.readouterr().err
    assert (ended.value.code, "RuntimeError: https://…@example.invalid/talks/a.mp3?…" in said) == (1, True)
    is_calm(said)


@given(st.text())
def test_what_is_harmless_stays_on_its_line_and_can_be_read(text: str) -> None:
    shown = harmless(text)
    assert shown.splitlines() in ([], [shown])
    assert shown.encode() == shown.encode("utf-8", "replace")
    assert plain(shown) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("grüße, 日本, नमस्ते क्\u200dष, 👩\u200d🚒, a\u00a0b", "grüße, 日本, नमस्ते क्\u200dष, 👩\u200d🚒, a\u00a0b"),
        ("\x1b]0;title\x07\x9b2J", "\\x1b]0;title\\x07\\x9b2J"),
        ("a\r\nb\tc", "a\\x0d\\x0ab\\x09c"),
        ("\u202e\u2066\u200e\u061c\ufeff\U000e0041", "\\u202e\\u2066\\u200e\\u061c\\ufeff\\U000e0041"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
        ("caf\udce9 \ud800", "caf\\xe9 \\ud800"),
    ],
)
def test_what_moves_a_terminal_is_shown_as_its_number(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    "url",
    [
        "https://h/a b.wav?sig=SECRET", "https://me:SECRET@h/a", "https://me:pa@SECRET@h/a", "https://h/a#SECRET",
        "s3://me:SECRET@b/a", "https://h/?X-Amz-Signature=SECRET&y", "HTTPS://h/a?SECRET", "https://h?SECRET",
    ],
)  # fmt: skip
def test_what_signs_a_url_is_left_out_and_the_rest_is_there(url: str) -> None:
    said = redact(f"cannot fetch {url} twice: is it there? Look")
    assert "SECRET" not in said
    assert said.startswith("cannot fetch ")
    assert said.endswith(" twice: is it there? Look")
