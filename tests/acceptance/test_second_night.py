"""Ordinary life never costs money, a result, or the run: what a second night finds, and what it may not do.

``tests/acceptance/test_situations.py`` plays whole situations; here is each decision by itself.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

import batch
from batch import errors, jobs
from batch.archive.export import ExportRequest, export
from batch.archive.journal import Journal
from batch.archive.results import Results, result_files
from batch.archive.search.query import Question, search
from batch.jobs.planning.admission import Rerun
from batch.jobs.planning.selection import Selection
from batch.jobs.staging import Stager
from batch.manifest.prefix import prefix_of
from batch.model import Recording, State
from batch.providers.assemblyai.options import canonical, differing
from batch.storage.locations import identity
from batch.telemetry.events import Event, JobMoved, RowRejected, RowSkipped
from batch.telemetry.records import to_record
from batch.telemetry.summary import Summary
from tests.support import processes as running
from tests.support.places import ROOT
from tests.support.recordings import agree, archive, settings, submitted_audio, wav
from tests.support.service import Double, start_service


def rec(folder: Path, *names: str, seed: int = 0) -> Path:
    """Recordings of these names in a folder, the content of which depends on the seed too."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(random.Random(f"{seed} {name}").randbytes(3000)))
    return folder


def result(out: Path, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / f"{key}.json").read_bytes())
    return found


def kept(out: Path) -> list[Path]:
    return sorted((out / ".diarist" / "replaced").rglob("*.json"))


async def planned(manifest: Path, out: Path, service: Double, **given: Any) -> Any:
    rerun = given.pop("rerun", Rerun())
    at = settings(service.base_url, **given)
    async with jobs.open_planner(
        [str(manifest)], out, settings=at, rerun=rerun, select=Selection(), environ={}
    ) as planner:
        _ = [row async for row in planner.rows()]
    return planner.plan


# ── A key belongs to one recording for good ─────────────────────────────────────────────────────────────────────


async def test_folders_with_one_name_collide_unless_they_hold_the_same(tmp_path: Path) -> None:
    rec(tmp_path / "a", "1.wav", "2.wav")
    rec(tmp_path / "b", "1.wav", seed=1)
    shutil.copy(tmp_path / "a" / "2.wav", tmp_path / "b" / "2.wav")
    told: list[Event] = []
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        both = [str(tmp_path / "a"), str(tmp_path / "b")]
        summary = await batch.run(both, tmp_path / "out", settings=at, on_event=told.append)
    assert (summary.collected, summary.rejected, summary.skipped["duplicate"]) == (2, 1, 1)
    (message,) = (event.reject.reason for event in told if isinstance(event, RowRejected))
    assert "different audio" in message
    assert len(service.submissions) == 2


async def test_a_collision_names_both_sources_and_the_cures(tmp_path: Path) -> None:
    out = tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(rec(tmp_path / "23", "1.wav")), out, settings=at)
        before = (out / "1.wav.json").read_bytes()
        summary = await batch.run(str(rec(tmp_path / "24", "1.wav", seed=1)), out, settings=at)
    reason = summary.failures["bad_row"].reason
    assert str(tmp_path / "23" / "1.wav") in reason
    assert str(tmp_path / "24" / "1.wav") in reason
    assert "--prefix" in reason
    assert summary.exit_code == 3
    assert (out / "1.wav.json").read_bytes() == before


async def test_a_key_that_nothing_was_paid_for_may_be_used_again(tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "out"
    rec(tmp_path, "right.wav")
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        manifest.write_text("id,audio\n1,wrong.wav\n")
        assert (await batch.run(str(manifest), out, settings=at)).failed == 1
        manifest.write_text("id,audio\n1,right.wav\n")
        assert (await batch.run(str(manifest), out, settings=at)).collected == 1


async def test_keys_are_compared_as_the_disk_compares_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.archive.results._folds_case", lambda inner: True)
    folder = rec(tmp_path / "rec", "A.wav")
    rec(folder / "b", "a.wav", seed=1)
    manifest = tmp_path / "m.csv"
    manifest.write_text("id,audio\nA,rec/A.wav\na,rec/b/a.wav\né,rec/A.wav\ne\u0301,rec/b/a.wav\n")
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    assert (summary.collected, summary.rejected) == (2, 2)
    assert "its result would be where that of 'A'" in summary.failures["bad_row"].reason


async def test_next_run_finds_the_others_result_on_a_case_folding_disk(tmp_path: Path) -> None:
    image, disk = tmp_path / "image", tmp_path / "disk"
    disk.mkdir()
    image.write_bytes(b"")
    os.truncate(image, 32 << 20)
    made = (
        shutil.which("mkfs.vfat") and subprocess.run(["mkfs.vfat", str(image)], capture_output=True).returncode == 0
    )
    if not made or subprocess.run(["mount", "-o", "loop", str(image), str(disk)], capture_output=True).returncode:
        pytest.skip("needs dosfstools, and the right to mount")
    try:
        async with start_service(tmp_path / "service") as service:
            at = settings(service.base_url, search=False)
            manifest = tmp_path / "m.csv"
            rec(tmp_path, "1.wav", "2.wav")
            manifest.write_text("id,audio\nA,1.wav\n")
            await batch.run(str(manifest), disk / "out", settings=at)
            manifest.write_text("id,audio\na,2.wav\n")
            summary = await batch.run(str(manifest), disk / "out", settings=at)
        assert (summary.rejected, len(service.submissions)) == (1, 1)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_result_that_must_be_a_directory_is_reported_unpaid(tmp_path: Path) -> None:
    """A result that would have to be a directory is reported before anything is paid."""
    manifest = tmp_path / "m.csv"
    rec(tmp_path, "1.wav", "2.wav")
    manifest.write_text("id,audio\na,1.wav\na.json/b,2.wav\n")
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        summary = await batch.run(str(manifest), tmp_path / "out", settings=at)
        assert (summary.collected, summary.rejected, len(service.submissions)) == (1, 1, 1)
        manifest.write_text("id,audio\na.json/b,2.wav\n")
        again = await batch.run(str(manifest), tmp_path / "out", settings=at)
        assert "is a file, not a directory" in again.failures["bad_row"].reason
        assert len(service.submissions) == 1


@pytest.mark.parametrize("what", ["audio", "options", "force"])
async def test_whatever_a_new_result_replaces_is_kept(tmp_path: Path, what: str) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(folder), out, settings=settings(service.base_url))
        first = (out / "1.wav.json").read_bytes()
        options = {"speaker_labels": True, "disfluencies": what == "options"}
        if what == "audio":
            rec(folder, "1.wav", seed=1)
        await batch.run(
            str(folder), out,
            settings=settings(service.base_url, options=options), rerun=Rerun(force=what == "force"),
            confirm=agree,
        )  # fmt: skip
    assert len(service.submissions) == 2
    (old,) = kept(out)
    assert old.read_bytes() == first
    assert json.loads(first)["id"] in old.name


async def test_replaced_results_are_deleted_after_the_configured_days(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(folder), out, settings=settings(service.base_url))
        rec(folder, "1.wav", seed=1)
        await batch.run(str(folder), out, settings=settings(service.base_url))
        (old,) = kept(out)
        assert time.time() - old.stat().st_mtime < 60, "kept from when it was replaced, not from when it was made"
        await batch.run(str(folder), out, settings=settings(service.base_url, replaced_days=1))
        assert kept(out)
        os.utime(old, (0, 0))
        await batch.run(str(folder), out, settings=settings(service.base_url, replaced_days=1))
    assert not kept(out)


async def test_recording_changed_back_gets_its_old_result_unpaid(
    tmp_path: Path,
) -> None:
    """What was changed back is put back without paying, though the service has it no more."""
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        plain, port = settings(service.base_url), int(service.base_url.rpartition(":")[2])
        other = settings(service.base_url, options={"speaker_labels": True, "disfluencies": True})
        await batch.run(str(folder), out, settings=plain)
        first = result(out, "1.wav")["id"]
        await batch.run(str(folder), out, settings=other, confirm=agree)
    async with start_service(tmp_path / "another", port=port) as service:
        summary = await batch.run(str(folder), out, settings=plain)
        assert (summary.collected, summary.exit_code, len(service.submissions)) == (1, 0, 0)
    assert result(out, "1.wav")["id"] == first
    assert len(kept(out)) == 1, "the one that is not in its place"


@pytest.mark.parametrize(
    ("prefix", "named", "expected"),
    [
        ("", "rec/23", ""),
        ("night", "rec/23", "night/"),
        ("/a/b/", "rec/23", "a/b/"),
        ("{name}", "rec/2026-11-23", "2026-11-23/"),
        ("{name}", "rec/2026-11-23/", "2026-11-23/"),
        ("x-{name}", "calls.2026-11-23.csv.gz", "x-calls.2026-11-23/"),
        ("{name}", "rec/23/1.wav", "23/"),
        ("{name}", "rec/23/*.wav", "23/"),
        ("{name}", "s3://bucket/calls/23/", "23/"),
        ("{name}", "https://example.com/lists/23.jsonl?sig=x", "23/"),
        ("{name}", ".", "here/"),
    ],
)
def test_a_prefix_may_hold_the_manifests_name(prefix: str, named: str, expected: str) -> None:
    assert prefix_of(prefix, named, Path("/over/here")) == expected


async def test_prefix_keeps_nights_apart_and_lets_failures_be_fed_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rec(tmp_path / "23", "1.wav", "2.wav")
    rec(tmp_path / "24", "1.wav", seed=1)
    (tmp_path / "23" / "2.wav").write_bytes(b"")
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url, prefix="{name}")
        for night in ("23", "24", "23"):
            await batch.run(str(tmp_path / night), out, settings=at)
        assert {str(path.relative_to(out)) for path in result_files(out)} == {"23/1.wav.json", "24/1.wav.json"}
        rec(tmp_path / "23", "2.wav")
        await batch.run(str(out / "failed.jsonl"), out, settings=at)
        assert (out / "23" / "2.wav.json").exists()
    with pytest.raises(errors.UsageError, match="standard input has none"):
        await batch.run("-", out, settings=settings("local", prefix="{name}"), stdin=io.BytesIO())


# ── A finished archive never becomes new work by accident ───────────────────────────────────────────────────────


async def test_auto_is_the_service_of_the_directory(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "service") as service, start_service(tmp_path / "other") as other:
        await batch.run(str(folder), out, settings=settings(service.base_url))
        rec(folder, "2.wav")
        auto = settings("auto")
        await batch.run(str(folder), out, settings=auto, environ={"ASSEMBLYAI_BASE_URL": other.base_url})
        assert (len(service.submissions), len(other.submissions)) == (2, 0)
        with pytest.raises(errors.BudgetExceededError, match="2 x service changed from"):
            await batch.run(str(folder), out, settings=settings(other.base_url))
        shutil.rmtree(out / ".diarist")
        rec(folder, "3.wav")
        await batch.run(str(folder), out, settings=auto, environ={})
        assert len(service.submissions) == 3, "results without a journal tell, too"


async def test_vendors_directory_is_left_alone_without_its_key(tmp_path: Path) -> None:
    """A directory of the vendor's needs its key and is left alone without."""
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(folder), out, settings=settings(service.base_url))
    with closing(Journal(out / ".diarist" / "journal.db")) as journal:
        await journal.set_note("service", "assemblyai")
    before = {path: path.read_bytes() for path in out.glob("*.json")}
    with pytest.raises(errors.AuthenticationError, match="transcribed by assemblyai: ASSEMBLYAI_API_KEY is not set"):
        await batch.run(str(folder), out, settings=settings("auto"), environ={})
    assert {path: path.read_bytes() for path in out.glob("*.json")} == before
    elsewhere = {"ASSEMBLYAI_API_KEY": "k", "ASSEMBLYAI_BASE_URL": "http://127.0.0.1:9"}
    with pytest.raises(errors.UsageError, match="ASSEMBLYAI_BASE_URL is http://127"):
        await batch.run(str(folder), out, settings=settings("auto"), environ=elsewhere)


async def test_paying_again_is_counted_apart_and_needs_consent(tmp_path: Path) -> None:
    """What would be paid again is counted apart, refused, and done with consent."""
    manifest, out = archive(tmp_path / "rec", 5), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        rec(tmp_path / "rec", "new.wav")
        with manifest.open("a") as file:
            file.write("new,new.wav,,\n")
        changed = {"options": {"speaker_labels": True, "disfluencies": True}}
        plan = await planned(manifest, out, service, **changed)
        assert (plan.recordings, dict(plan.again)) == (6, {"option changed: disfluencies": 5})
        assert plan.again_seconds == pytest.approx(10.0)
        asked: list[str] = []
        at = settings(service.base_url, **changed)
        with pytest.raises(errors.BudgetExceededError, match="5 recordings that are done") as stopped:
            await batch.run(str(manifest), out, settings=at, confirm=lambda question: bool(asked.append(question)))
        assert stopped.value.exit_code == 8
        assert len(asked) == 1
        assert len(service.submissions) == 5
        summary = await batch.run(str(manifest), out, settings=at, confirm=agree)
    assert (summary.collected, len(service.submissions)) == (6, 11)


async def test_option_changed_by_another_manifest_is_paid_with_consent(
    tmp_path: Path,
) -> None:
    """The same command as ever, but a run of the catalogue has given one of its recordings another option meanwhile:
    it is not held without a question, and it is paid for with consent."""
    folder, out, catalogue = rec(tmp_path / "rec", "1.wav"), tmp_path / "out", tmp_path / "catalogue.csv"
    catalogue.write_text("id,audio,disfluencies\n2.wav,rec/2.wav,true\n")
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(folder), out, settings=at)
        rec(folder, "2.wav")
        await batch.run(str(catalogue), out, settings=at)
        with pytest.raises(errors.BudgetExceededError, match="1 recordings that are done"):
            await batch.run(str(folder), out, settings=at, confirm=lambda question: False)
        assert len(service.submissions) == 2
        summary = await batch.run(str(folder), out, settings=at, confirm=agree)
    assert (summary.collected, summary.exit_code, len(service.submissions)) == (1, 0, 3)


async def test_standard_input_rows_that_would_be_paid_again_are_held(tmp_path: Path) -> None:
    """Rows of standard input that would be paid again are held, and the others run."""
    manifest, out = archive(tmp_path / "rec", 3), tmp_path / "out"
    rows = [{"audio": str(tmp_path / "rec" / f"{n}.wav"), "id": f"calls/{n}"} for n in range(3)]
    listed = tmp_path / "rows.jsonl"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        rows[1]["disfluencies"] = "true"
        rec(tmp_path / "rec", "new.wav")
        rows.append({"audio": str(tmp_path / "rec" / "new.wav")})
        listed.write_text("".join(json.dumps(row) + "\n" for row in rows))
        with listed.open("rb") as stdin:
            summary = await batch.run("-", out, settings=settings(service.base_url, prefix=""), stdin=stdin)
    held = summary.skipped["held"]
    assert (summary.collected, summary.skipped["done"], held, summary.exit_code) == (1, 2, 1, 8)
    assert len(service.submissions) == 4


async def test_a_forced_pass_that_failed_for_one_is_gone_on_with(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav", "2.wav"), tmp_path / "out"
    (tmp_path / "rec" / "3.wav").write_bytes(b"")
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        forced = {"settings": at, "rerun": Rerun(force=True), "confirm": agree}
        await batch.run(str(folder), out, settings=at)
        codes = [(await batch.run(str(folder), out, **forced)).exit_code for _ in range(3)]
        assert (codes, len(service.submissions)) == ([3, 3, 3], 4), "a service manager that starts it again pays once"
        rec(folder, "3.wav")
        assert (await batch.run(str(folder), out, **forced)).exit_code == 0
        assert len(service.submissions) == 5
        await batch.run(str(folder), out, **forced)
        assert len(service.submissions) == 8, "the pass had come to its end: this is another"


async def test_forced_recording_that_the_service_fails_had_its_turn(tmp_path: Path) -> None:
    """A forced recording that the service fails has had its turn, and the next run goes on with the others."""
    from batch.engine.interface import BadAudio

    folder, out = rec(tmp_path / "rec", "1.wav", "2.wav"), tmp_path / "out"
    bad = (folder / "2.wav").read_bytes()
    failing = lambda audio: BadAudio("no audio in it") if audio == bad else None  # noqa: E731
    async with start_service(tmp_path / "service", failing=failing) as service:
        forced = {"settings": settings(service.base_url), "rerun": Rerun(force=True), "confirm": agree}
        codes = [(await batch.run(str(folder), out, **forced)).exit_code for _ in range(3)]
        assert (codes, len(service.submissions)) == ([3, 3, 3], 2)


async def test_forced_shards_are_passes_of_their_own(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", *(f"take {n}.wav" for n in range(12))), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.05) as service:
        at = settings(service.base_url, concurrency=1)
        await batch.run(str(folder), out, settings=at)
        forced = {"settings": at, "rerun": Rerun(force=True), "confirm": agree}
        one, two = Selection(shard=1, shards=2), Selection(shard=2, shards=2)
        stop = asyncio.Event()

        def watch(event: Event) -> None:
            if isinstance(event, JobMoved) and event.job.state is State.COLLECTED:
                stop.set()

        await batch.run(str(folder), out, select=one, on_event=watch, stop=stop, **forced)
        await batch.run(str(folder), out, select=two, **forced)
        assert (await batch.run(str(folder), out, select=one, **forced)).exit_code == 0
    assert len(service.submissions) == 24


async def test_a_pass_that_nobody_goes_on_with_is_over_after_a_week(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    (folder / "2.wav").write_bytes(b"")
    async with start_service(tmp_path / "service") as service:
        forced = {"settings": settings(service.base_url), "rerun": Rerun(force=True), "confirm": agree}
        await batch.run(str(folder), out, **forced)
        with closing(sqlite3.connect(out / ".diarist" / "journal.db")) as db, db:
            began = db.execute("SELECT value FROM notes WHERE name LIKE 'forced: %'").fetchone()[0].split()[0]
            at = f"{began} {time.time() - 6 * 86400}"
            db.execute("UPDATE notes SET value = ? WHERE name LIKE 'forced: %'", (at,))
        await batch.run(str(folder), out, **forced)
        assert len(service.submissions) == 1
        with closing(sqlite3.connect(out / ".diarist" / "journal.db")) as db, db:
            at = f"{began} {time.time() - 8 * 86400}"
            db.execute("UPDATE notes SET value = ? WHERE name LIKE 'forced: %'", (at,))
        await batch.run(str(folder), out, **forced)
        assert len(service.submissions) == 2


async def test_done_recordings_can_be_kept_while_only_new_ones_run(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav", "2.wav"), tmp_path / "out"
    changed = {"options": {"speaker_labels": True, "disfluencies": True}}
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(folder), out, settings=settings(service.base_url))
        rec(folder, "3.wav")
        at, keeping = settings(service.base_url, **changed), Rerun(keep_done=True)
        plan = await planned(folder, out, service, rerun=keeping, **changed)
        assert (plan.recordings, plan.again.total()) == (1, 0)
        summary = await batch.run(str(folder), out, settings=at, rerun=keeping)
    assert (summary.collected, summary.skipped["kept"], summary.exit_code) == (1, 2, 0)
    assert len(service.submissions) == 3


async def test_what_another_service_has_is_told_with_its_name(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "one", seconds=30) as one, start_service(tmp_path / "two") as two:
        stop = asyncio.Event()

        def watch(event: Event) -> None:
            if isinstance(event, JobMoved) and event.job.state is State.SUBMITTED:
                stop.set()

        await batch.run(str(folder), out, settings=settings(one.base_url), on_event=watch, stop=stop)
        ended = await running.diarist("run", folder, "--out", out, "--service", two.base_url)
    assert ended.code == 5
    assert f"still with {one.base_url}: run with --service {one.base_url} first" in ended.said
    assert "to go on with what is left" not in ended.said


async def test_done_recording_is_not_paid_unasked_in_mid_pass(tmp_path: Path) -> None:
    """What is done is not paid unasked, though its journal is in the middle of a pass."""
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.2) as service:
        at, stop = settings(service.base_url), asyncio.Event()
        await batch.run(str(folder), out, settings=at)

        def watch(event: Event) -> None:
            if isinstance(event, JobMoved) and event.job.state is State.STAGED:
                stop.set()

        await batch.run(
            str(folder), out, settings=at, rerun=Rerun(force=True), confirm=agree, on_event=watch, stop=stop
        )  # fmt: skip
        paid = len(service.submissions)
        with closing(Journal(out / ".diarist" / "journal.db")) as journal:
            (job,) = (await journal.find(["1.wav"])).values()
            await journal.record(
                msgspec.structs.replace(job, state=State.STAGED, transcript_id=None, submitted_at=None)
            )
        other = settings(service.base_url, options={"speaker_labels": True, "disfluencies": True})
        with pytest.raises(errors.BudgetExceededError, match="1 recordings that are done"):
            await batch.run(str(folder), out, settings=other)
        assert len(service.submissions) == paid


# ── Proof of payment is wherever it lies ────────────────────────────────────────────────────────────────────────


async def test_result_answering_no_row_blocks_until_journal_knows_it(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    changed = {"options": {"speaker_labels": True, "disfluencies": True}}
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url, **changed)
        await batch.run(str(folder), out, settings=settings(service.base_url))
        shutil.rmtree(out / ".diarist")
        summary = await batch.run(str(folder), out, settings=at)
        assert "diarist recover" in summary.failures["bad_row"].reason
        assert (summary.exit_code, len(service.submissions)) == (3, 1)
        await jobs.recover(out, [], settings=at, environ={}, adopt=False)
        with pytest.raises(errors.BudgetExceededError, match="option changed: disfluencies"):
            await batch.run(str(folder), out, settings=at)
        assert (await batch.run(str(folder), out, settings=at, confirm=agree)).collected == 1


async def test_journal_from_an_older_backup_pays_for_nothing_again(tmp_path: Path) -> None:
    """A journal from an older backup pays for nothing that came since."""
    manifest, out = archive(tmp_path / "rec", 12), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at, select=Selection(limit=4))
        shutil.copytree(out / ".diarist", tmp_path / "backup")
        await batch.run(str(manifest), out, settings=at)
        shutil.rmtree(out / ".diarist")
        shutil.copytree(tmp_path / "backup", out / ".diarist")
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.skipped["done"], len(service.submissions)) == (12, 12)
    assert set(submitted_audio(service).values()) == {1}


async def test_recover_knows_what_was_replaced(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    changed = {"options": {"speaker_labels": True, "disfluencies": True}}
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(folder), out, settings=settings(service.base_url))
        await batch.run(str(folder), out, settings=settings(service.base_url, **changed), confirm=agree)
        (out / ".diarist" / "journal.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
        await jobs.recover(out, [], settings=settings(service.base_url), environ={}, adopt=False)
        summary = await batch.run(str(folder), out, settings=settings(service.base_url))
    assert (summary.collected, len(service.submissions)) == (1, 2)


async def test_recover_keeps_jobs_under_way_despite_an_older_result(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.3) as service:
        changed = settings(service.base_url, options={"speaker_labels": True, "disfluencies": True})
        await batch.run(str(folder), out, settings=settings(service.base_url))
        stop = asyncio.Event()

        def watch(event: Event) -> None:
            if isinstance(event, JobMoved) and event.job.state is State.SUBMITTED:
                stop.set()

        await batch.run(str(folder), out, settings=changed, confirm=agree, on_event=watch, stop=stop)
        await jobs.recover(out, [], settings=changed, environ={}, adopt=False)
        summary = await batch.run(str(folder), out, settings=changed, confirm=agree)
    assert (summary.collected + summary.carried_over, len(service.submissions)) == (1, 2)


async def test_journal_may_lie_elsewhere_and_is_found_by_whoever_looks(tmp_path: Path) -> None:
    manifest, out, inner = archive(tmp_path / "rec", 2), tmp_path / "out", tmp_path / "volume" / "journal"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url, journal_dir=str(inner))
        await batch.run(str(manifest), out, settings=at)
        assert {path.name for path in inner.iterdir()} >= {"journal.db", "summary.json", "lock"}
        assert {path.name for path in (out / ".diarist").iterdir()} == {"elsewhere", "lock"}
        from batch.archive import status

        assert (await status.look(out)).journal == {"collected": 2}
        assert search(out, Question("sha256")).recordings == 2
        with pytest.raises(errors.UsageError, match="is that of"):
            await batch.run(str(manifest), tmp_path / "another", settings=at)
        with pytest.raises(errors.UsageError, match="move it there"):
            await batch.run(
                str(manifest), out, settings=settings(service.base_url, journal_dir=str(tmp_path / "new"))
            )
        shutil.rmtree(out)
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.collected, len(service.submissions)) == (2, 2), "fetched again, not paid again"


SIGNED = "https://bucket.s3.amazonaws.com/calls/1.wav?versionId=3"
CONTAINER = "https://account.blob.core.windows.net/calls/1.wav"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            f"{SIGNED}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261123T000000Z&X-Amz-Expires=900&X-Amz-Signature=a",
            f"{SIGNED}&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261124T000000Z&X-Amz-Expires=60&X-Amz-Signature=b",
        ),
        ("https://s3.test/1.wav?AWSAccessKeyId=A&Expires=1&Signature=x", "https://s3.test/1.wav"),
        ("https://gs.test/1.wav?X-Goog-Date=1&X-Goog-Signature=a", "https://gs.test/1.wav?X-Goog-Signature=b"),
        (
            "https://cdn.test/1.wav?Expires=1&Signature=a&Key-Pair-Id=K",
            "https://cdn.test/1.wav?Policy=p&Signature=b&Key-Pair-Id=K",
        ),
        (
            f"{CONTAINER}?sv=2024&se=2026-11-24&sr=b&sp=r&sig=a%3D",
            f"{CONTAINER}?sv=2025&se=2026-11-25&sr=b&sp=r&sig=b",
        ),
        ("https://me:secret@host.test/1.wav", "https://host.test/1.wav"),
    ],
)  # fmt: skip
def test_a_url_is_what_it_is_without_what_signs_it(one: str, other: str) -> None:
    assert identity(one) == identity(other)


@pytest.mark.parametrize(
    "url",
    [
        "https://host.test/a?id=1",
        "https://host.test/a?sig=left",
        "/calls/1?sig=2&sv=3.wav",
        "https://h.test/a?b=%20c",
    ],
)
def test_a_url_that_nothing_signs_stays_as_it_is(url: str) -> None:
    assert identity(url) == url


SAME = [
    ({}, {"punctuate": True, "format_text": True, "disfluencies": False}),
    ({}, {"keyterms_prompt": [], "speech_threshold": None, "speaker_options": {}}),
    ({"speech_model": "universal-2"}, {"speech_models": ["universal-2"]}),
    ({"language_code": "en_us"}, {"language_code": "EN-US"}),
    ({"keyterms_prompt": ["a b", "c"]}, {"keyterms_prompt": ["c", " a  b ", "c"]}),
    (
        {"speaker_options": {"max_speakers_expected": 3}},
        {"speaker_options": {"max_speakers_expected": 3, "min_speakers_expected": None}},
    ),
    (
        {"redact_pii": True, "redact_pii_policies": ["drug", "date"]},
        {"redact_pii": True, "redact_pii_policies": ["date", "drug"], "redact_pii_sub": "hash"},
    ),
    ({"temperature": 0}, {"temperature": 0.0}),
    ({}, {"audio_start_from": 0}),
]  # fmt: skip
OTHERS = [
    ({}, {"punctuate": False}),
    ({"language_detection": False, "language_code": "en"}, {"language_code": "en"}),
    ({"speech_models": ["a", "b"]}, {"speech_models": ["b", "a"]}),
    ({"language_code": "en"}, {"language_code": "en_us"}),
    ({"prompt": "Two  blanks"}, {"prompt": "Two blanks"}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_options_written_another_way_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonical(one) == canonical(other)
    assert differing(one, other) == []


@pytest.mark.parametrize(("one", "other"), OTHERS)
def test_options_that_ask_for_something_else_are_others(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert differing(one, other)


# ── Done means that what was promised is there, and whole ───────────────────────────────────────────────────────


@pytest.mark.parametrize("spoil", ["empty", "head", "half", "end", "noise"])
async def test_a_result_that_is_not_whole_is_fetched_again_for_free(tmp_path: Path, spoil: str) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    path = out / "1.wav.json"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(folder), out, settings=settings(service.base_url))
        whole = path.read_bytes()
        size = len(whole)
        cut = {"empty": b"", "head": whole[:40], "half": whole[: size // 2], "end": whole[:-20] + b"\0" * 20}
        path.write_bytes(cut.get(spoil, b'{"recording":' + b"x" * size))
        summary = await batch.run(str(folder), out, settings=settings(service.base_url))
        assert (summary.collected, summary.exit_code, len(service.submissions)) == (1, 0, 1)
        assert path.read_bytes() == whole
        if spoil in ("half", "end"):
            shutil.rmtree(out / ".diarist")
            path.write_bytes(cut[spoil])
            await batch.run(str(folder), out, settings=settings(service.base_url))
            assert path.read_bytes() == whole, "its beginning names the transcript"
            assert len(service.submissions) == 1


async def test_rewritten_result_with_same_content_is_whole_and_stays(tmp_path: Path) -> None:
    """A result that was only written otherwise, such as with another layout, is whole and stays."""
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    path = out / "1.wav.json"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(folder), out, settings=at)
        os.utime(path, (1, 1))
        for _ in range(2):
            assert (await batch.run(str(folder), out, settings=at)).skipped["done"] == 1
        path.write_text("\ufeff" + json.dumps(json.loads(path.read_bytes()), indent=2, sort_keys=True))
        mine = path.read_bytes()
        for _ in range(2):
            assert (await batch.run(str(folder), out, settings=at)).skipped["done"] == 1
        (out / ".diarist" / "journal.db").unlink()
        assert (await batch.run(str(folder), out, settings=at)).skipped["done"] == 1
        assert path.read_bytes() == mine
        assert len(service.submissions) == 1
        assert (await batch.run(str(folder), out, settings=at, rerun=Rerun(force=True), confirm=agree)).collected == 1
        assert [old.read_bytes() for old in kept(out)] == [mine]


async def test_labels_names_and_formats_reach_done_results_unrequested(tmp_path: Path) -> None:
    """Labels, names and formats reach results that are done, without a request."""
    manifest, out = tmp_path / "m.csv", tmp_path / "out"
    rec(tmp_path, "1.wav")
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url, formats=["txt"])
        manifest.write_text("id,audio,customer,speakers\n1,1.wav,ACNE,A=Agent\n")
        await batch.run(str(manifest), out, settings=at)
        body = result(out, "1")
        asked = len(service.requests)
        manifest.write_text("id,audio,customer,speakers\n1,1.wav,ACME,A=Anna\n")
        at = settings(service.base_url, formats=["txt", "srt"])
        summary = await batch.run(str(manifest), out, settings=at)
        assert (summary.skipped["done"], summary.exit_code, len(service.requests)) == (1, 0, asked)
        again = await batch.run(str(manifest), out, settings=at)
        assert (again.skipped["done"], len(service.requests)) == (1, asked)
    new = result(out, "1")
    assert new.pop("recording")["labels"] == {"customer": "ACME", "speakers": "A=Anna"}
    body.pop("recording")
    assert new == body
    assert "Anna" in (out / "1.txt").read_text()
    assert (out / "1.srt").exists()
    assert not kept(out), "the same transcript was not replaced"


async def test_labels_corrected_during_transcription_reach_the_result(tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "out"
    rec(tmp_path, "1.wav", "2.wav")
    async with start_service(tmp_path / "service", seconds=0.5) as service:
        at, stop = settings(service.base_url), asyncio.Event()
        manifest.write_text("id,audio,customer\n1,1.wav,ACNE\n2,2.wav,ACNE\n")

        def watch(event: Event) -> None:
            if len(service.submissions) == 2:
                stop.set()

        await batch.run(str(manifest), out, settings=at, on_event=watch, stop=stop)
        manifest.write_text("id,audio,customer\n1,1.wav,ACME\n2,2.wav,ACME\n")
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.exit_code, len(service.submissions)) == (0, 2)
    assert [result(out, key)["recording"]["labels"] for key in "12"] == [{"customer": "ACME"}] * 2


async def test_a_second_row_of_one_key_with_other_labels_is_told(tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    rec(tmp_path, "1.wav")
    manifest.write_text("audio,customer\n1.wav,ACME\n1.wav,Other\n1.wav,ACME\n")
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    assert (summary.collected, summary.rejected, summary.skipped["duplicate"]) == (1, 1, 1)
    assert "different labels" in summary.failures["bad_row"].reason


ODD_KEYS = ("vol/.snapshot/1.wav", ".hidden.wav", "a.whisper", "x.json", "deep/er/2.wav")


async def test_accepted_key_is_found_by_all_who_look_for_results(tmp_path: Path) -> None:
    out, manifest = tmp_path / "out", tmp_path / "m.csv"
    rec(tmp_path, "1.wav")
    linked = tmp_path / "other disk"
    linked.mkdir()
    out.mkdir()
    (out / "link").symlink_to(linked)
    keys = [*ODD_KEYS, "link/3.wav"]
    rows = [f'"{key}",{n}.wav' for n, key in enumerate(keys)]
    rec(tmp_path, *(f"{n}.wav" for n in range(len(keys))))
    manifest.write_text("id,audio\n" + "\n".join(rows) + "\n")
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at)
        found = {str(path.relative_to(out)).removesuffix(".json") for path in result_files(out)}
        assert found == set(keys)
        told: list[str] = []
        exported = export(out, ExportRequest(("srt",), tmp_path / "captions"), told.append)
        assert (exported.results, exported.problems, told) == (len(keys), 0, [])
        assert search(out, Question("sha256")).recordings == len(keys)
        (out / ".diarist" / "journal.db").unlink()
        done = await jobs.recover(out, [], settings=at, environ={}, adopt=False)
        assert done.results == len(keys)
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.skipped["done"], len(service.submissions)) == (len(keys), len(keys))


async def test_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    """What we did not write is never replaced, and the row is reported before it is paid."""
    folder = rec(tmp_path / "rec", "1.wav", "2.wav", "3.wav")
    mine = {
        "1.wav.json": '{"mine": 1}',
        "2.wav.txt": "my notes",
        "failed.jsonl": '{"id": "mine"}\n',
        "3.wav.rttm": "SPEAKER mine",
    }
    for name, text in mine.items():
        (folder / name).write_text(text)
    (folder / "1.wav.json").chmod(0o600)
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url, formats=["txt", "rttm"])
        told: list[str] = []
        for _ in range(2):
            summary = await batch.run(
                str(folder), folder, settings=at, on_event=lambda event: told.append(to_record(event).message or "")
            )
            assert (summary.rejected, summary.exit_code, len(service.submissions)) == (1, 3, 2)
            assert {name: (folder / name).read_text() for name in mine} == mine
    assert any("1.wav.json is not diarist's" in message for message in told)
    assert any("2.wav.txt is not diarist's" in message for message in told)
    assert (folder / "2.wav.rttm").exists()
    problems: list[str] = []
    exported = export(folder, ExportRequest(("txt", "csv"), folder), problems.append)
    assert (exported.results, exported.problems) == (2, 1)
    assert {name: (folder / name).read_text() for name in mine} == mine
    assert (await asyncio.to_thread(export, folder, ExportRequest(("csv",), folder), problems.append)).problems == 0


# ── Surroundings ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_file_from_beyond_2262_is_transcribed_and_harms_nobody(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", *(f"{n}.wav" for n in range(30))), tmp_path / "out"
    os.utime(folder / "7.wav", (2**34, 2**34))
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        assert (await batch.run(str(folder), out, settings=at)).collected == 30
        again = await batch.run(str(folder), out, settings=at)
    assert (again.skipped["done"], len(service.submissions)) == (30, 30)


async def test_a_commit_group_protects_its_members_from_each_other(tmp_path: Path) -> None:
    def row(key: str, line: int) -> Any:
        from batch.model import Job

        return Job(Recording(key, "/a", "m", line), "local")

    with closing(Journal(tmp_path / "journal.db")) as journal:
        asked = [journal.record(row(f"{n}", 2**70 if n == 5 else n)) for n in range(20)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, OverflowError)] == [5]
        assert len(await journal.find([f"{n}" for n in range(20)])) == 19


@pytest.mark.parametrize("when", ["staging", "collecting"])
async def test_unexpected_exception_fails_only_its_own_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    manifest, out = archive(tmp_path / "rec", 5), tmp_path / "out"
    upload, write = Stager._upload, Results.write

    async def odd_upload(self: Any, job: Any) -> Any:
        if job.key == "calls/3":
            raise ZeroDivisionError("odd")
        return await upload(self, job)

    def odd_write(self: Results, job: Any, transcript: bytes) -> Any:
        if job.key == "calls/3":
            raise ZeroDivisionError("odd")
        return write(self, job, transcript)

    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        with monkeypatch.context() as patch:
            if when == "staging":
                patch.setattr(Stager, "_upload", odd_upload)
            else:
                patch.setattr(Results, "write", odd_write)
            first = await batch.run(str(manifest), out, settings=at)
        assert (first.collected, list(first.failures)) == (4, ["internal_error"])
        assert first.exit_code == (3 if when == "staging" else 5)
        assert "ZeroDivisionError" in first.failures["internal_error"].reason
        second = await batch.run(str(manifest), out, settings=at)
    assert (second.collected, second.exit_code, len(service.submissions)) == (1, 0, 5)


VERSION_1 = """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, manifest TEXT, line INTEGER, source TEXT, options TEXT, labels TEXT,
    service TEXT, state TEXT, audio_url TEXT, staged_at REAL, sha256 TEXT, size_bytes INTEGER, mtime_ns INTEGER,
    intent_at REAL, transcript_id TEXT, submitted_at REAL, submissions INTEGER, failures INTEGER, past_ids TEXT,
    ended_at REAL, audio_seconds REAL, speakers INTEGER, kind TEXT, reason TEXT
);
CREATE INDEX jobs_by_source ON jobs (source) WHERE sha256 IS NULL;
INSERT INTO jobs VALUES ('a.wav', 'm.csv', 2, '/audio/a.wav', '{"punctuate":true,"speaker_labels":true}', '{"x":"y"}',
    'http://localhost:8517/', 'collected', 'http://localhost:8517/upload/1', 1.0, 'ff', 3, 5, 2.0, 't1', 3.0, 1, 0,
    '[]', 4.0, 2.5, 2, NULL, NULL);
PRAGMA user_version = 1;
"""


@pytest.mark.parametrize(
    "half", ["", "ALTER TABLE jobs ADD COLUMN shared_with TEXT", "ALTER TABLE jobs ADD COLUMN etag TEXT"]
)
async def test_version_1_journal_opens_whole_or_with_half_a_migration(tmp_path: Path, half: str) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(VERSION_1 + half)
    for _ in range(2):
        with closing(Journal(path)) as journal:
            (job,) = (await journal.find(["a.wav"])).values()
    assert (job.state, job.transcript_id, job.recording.labels) == (State.COLLECTED, "t1", {"x": "y"})
    assert job.service == "http://127.0.0.1:8517"
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone()[0] == 4
        assert db.execute("SELECT asked FROM jobs").fetchone()[0] == '{"speaker_labels":true}'


async def test_killed_migration_leaves_the_old_version_or_the_new_one(tmp_path: Path) -> None:
    import sys

    script = """
import os, sqlite3, sys
from pathlib import Path
from batch.archive import journal
left = int(sys.argv[2])
class Deadly(sqlite3.Connection):
    def execute(self, *given):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return super().execute(*given)
connect = sqlite3.connect
journal.sqlite3.connect = lambda *given, **named: connect(*given, factory=Deadly, **named)
journal.Journal(Path(sys.argv[1])).close()
"""
    root, killed = ROOT, 0
    for number in range(1, 40, 3):
        path = tmp_path / f"{number}.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(VERSION_1)
        done = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(path), str(number), cwd=root)
        killed += await done.wait() == -9
        with closing(Journal(path)) as journal:
            assert list(await journal.find(["a.wav"])) == ["a.wav"]
    assert killed >= 8


async def test_replaced_jobs_are_remembered_whatever_takes_their_place(tmp_path: Path) -> None:
    from batch.model import Job

    row = Recording("a", "/a", "m", 1)
    with closing(Journal(tmp_path / "journal.db")) as journal:
        for number in (1, 2, 1, 3):
            done = Job(row, "local", State.COLLECTED, transcript_id=f"t{number}", submitted_at=float(number))
            await journal.record(msgspec.structs.replace(done, state=State.COLLECTED))
        found = (await journal.replaced(["a"]))["a"]
        assert sorted(job.transcript_id or "" for job in found) == ["t1", "t2"]
        assert await journal.known_ids(["t1", "t2", "t3", "t4"]) == {"t1": 1.0, "t2": 2.0, "t3": 3.0}


def test_a_summary_says_that_something_was_held() -> None:
    summary = Summary()
    summary.apply(RowSkipped(None, "", "held"))
    assert summary.exit_code == 8


async def test_a_report_replaces_its_own_page_and_nobody_elses(tmp_path: Path) -> None:
    from batch.archive.report import build
    from batch.config import PriceTable

    folder, out, page = rec(tmp_path / "rec", "1.wav"), tmp_path / "out", tmp_path / "desk" / "report.html"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(folder), out, settings=settings(service.base_url))
    page.parent.mkdir()
    for _ in range(2):
        await asyncio.to_thread(build.report, out, build.ReportRequest(page, PriceTable()), print)
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]
    page.write_text("<html>mine</html>")
    with pytest.raises(errors.PostponedError, match="is not diarist's"):
        await asyncio.to_thread(build.report, out, build.ReportRequest(page, PriceTable()), print)
    assert page.read_text() == "<html>mine</html>"


async def test_copied_archive_leaves_the_original_journal_alone(
    tmp_path: Path,
) -> None:
    """A copy of an archive leaves the original's journal alone, and a moved archive keeps it."""
    folder, out, inner = rec(tmp_path / "rec", "1.wav"), tmp_path / "out", tmp_path / "journal"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        kept_there = settings(service.base_url, journal_dir=str(inner))
        await batch.run(str(folder), out, settings=kept_there)
        shutil.copytree(out, tmp_path / "copy")
        rec(folder, "2.wav")
        copied = await batch.run(str(folder), tmp_path / "copy", settings=at)
        assert (copied.skipped["done"], copied.collected) == (1, 1)
        assert (tmp_path / "copy" / ".diarist" / "journal.db").exists()
        await batch.run(str(folder), out, settings=kept_there)
        out.rename(tmp_path / "moved")
        moved = await batch.run(str(folder), tmp_path / "moved", settings=kept_there)
        assert (moved.skipped["done"], moved.exit_code) == (2, 0)
    assert len(service.submissions) == 3


async def test_two_runs_never_share_a_directory_wherever_journals_lie(tmp_path: Path) -> None:
    folder, out = rec(tmp_path / "rec", "1.wav"), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=1.0) as service:
        one = settings(service.base_url, journal_dir=str(tmp_path / "a"))
        other = settings(service.base_url, journal_dir=str(tmp_path / "b"))
        first = asyncio.create_task(batch.run(str(folder), out, settings=one))
        while not service.submissions:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        with pytest.raises((errors.UnavailableError, errors.UsageError)):
            await batch.run(str(folder), out, settings=other)
        assert (await first).collected == 1
    assert len(service.submissions) == 1


async def test_name_the_disk_cannot_hold_is_reported_before_paying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, touch = tmp_path / "m.csv", Path.touch

    def picky(self: Path, *given: Any, **named: Any) -> None:
        if ":" in self.name:
            raise OSError(22, "Invalid argument")
        touch(self, *given, **named)

    monkeypatch.setattr(Path, "touch", picky)
    rec(tmp_path, "1.wav", "2.wav")
    manifest.write_text("id,audio\nq:r,1.wav\nok,2.wav\n")
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    assert (summary.collected, summary.rejected, len(service.submissions)) == (1, 1, 1)
