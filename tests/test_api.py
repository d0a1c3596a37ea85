"""What Python callers may rely on: everything in ``batch.__all__``, typed, documented, and imported when it is asked
for."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import msgspec
import pytest

import batch
from batch.telemetry.progress import Progress, snapshot
from batch.telemetry.summary import Summary
from tests.support.demo_results import ARCHIVE
from tests.support.jobs import collected
from tests.support.places import ROOT
from tests.support.recordings import archive, settings
from tests.support.service import start_service

PROGRAM = ROOT / "tests" / "typing" / "api.py"


def python(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=cwd, capture_output=True, text=True, timeout=60
    )


def test_every_public_name_is_there_and_described() -> None:
    assert sorted(batch.__all__) == batch.__all__
    assert set(batch.__all__) <= set(dir(batch))
    for name in batch.__all__:
        thing = getattr(batch, name)
        assert name in ("__version__", "Event") or inspect.getdoc(thing), f"batch.{name} has no description"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        batch.nothing  # noqa: B018


def test_the_reference_has_each_public_name_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    named = set(re.findall(r"^(?:##+ |- )`(\w+)", page, re.MULTILINE))
    assert named == set(batch.__all__) - {"__version__"}


def test_a_program_that_uses_it_is_typed_throughout(tmp_path: Path) -> None:
    """mypy finds no mistake, and no expression of the program is ``Any``."""
    options = ["--strict", "--disallow-any-expr", "--config-file=", f"--cache-dir={tmp_path}"]
    found = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(PROGRAM)], cwd=ROOT, capture_output=True, text=True
    )
    assert [line for line in found.stdout.splitlines() if line.startswith("tests/")] == [], found.stdout


def test_importing_it_costs_nothing_that_is_not_asked_for(tmp_path: Path) -> None:
    heavy = "{'aiohttp', 'rich', 'jinja2', 'numpy', 'sqlite3', 'click'}"
    code = f"import batch, sys; batch.Settings; assert not {heavy} & sys.modules.keys(), {heavy} & sys.modules.keys()"
    done = python(code, ROOT)
    assert done.returncode == 0, done.stderr


def test_progress_is_frozen_and_prints_well() -> None:
    summary = Summary()
    summary.apply(collected(1))
    now = snapshot(summary)
    with pytest.raises(AttributeError):
        now.collected = 2  # type: ignore[misc]
    assert str(now).startswith("1 row read so far: 1 transcribed · 1:00 of audio")
    assert msgspec.json.decode(msgspec.json.encode(now), type=Progress) == now


async def test_a_run_a_plan_and_an_archive_from_python(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    events: list[batch.Event] = []
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        rows: list[batch.PlanRow] = []
        plan = await batch.plan(str(manifest), out, settings=at, on_row=rows.append)
        assert (plan.rows, plan.recordings, [row.key for row in rows]) == (3, 3, ["calls/0", "calls/1", "calls/2"])
        outcome = await batch.run(str(manifest), out, settings=at, on_event=events.append)
        again = await batch.plan(str(manifest), out, settings=at)
    assert (outcome.exit_code, outcome.collected, outcome.left) == (0, 3, 0)
    assert str(outcome).startswith("3 rows: 3 transcribed")
    assert (again.rows, again.recordings) == (3, 0)
    assert {event.job.key for event in events if isinstance(event, batch.JobMoved)} == {
        f"calls/{n}" for n in range(3)
    }
    told: list[str] = []
    (out / "broken.json").write_bytes((out / "calls" / "0.json").read_bytes()[:300])
    found = batch.Archive(out, on_warning=told.append)
    status = found.status()
    assert status.progress == msgspec.structs.replace(outcome, **changing(outcome, status.progress))
    assert [transcript.key for transcript in found.transcripts()] == ["calls/0", "calls/1", "calls/2"]
    assert len(told) == 1 and "broken.json" in told[0]
    assert found.export(["srt", "csv"], tmp_path / "captions").results == 4
    assert (tmp_path / "captions" / "calls" / "2.srt").exists()
    assert found.export("vtt", tmp_path / "captions").results == 4  # one format needs no list
    assert found.search("of").recordings == 0
    assert found.report().recordings == 3
    assert (await batch.recover(out)).results == 3


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """Nobody takes a slip in a path for an archive without transcripts."""
    missing = batch.Archive(tmp_path / "nowhere")
    for ask in (
        missing.transcripts,
        missing.status,
        missing.report,
        partial(missing.export, "srt"),
        partial(missing.search, "a"),
        partial(missing.transcript, "a"),
    ):
        with pytest.raises(batch.UsageError, match="nowhere"):
            ask()


def test_a_transcript_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    (tmp_path / "calls" / "one.json").write_bytes((ARCHIVE / "planning-meeting.json").read_bytes())
    here = batch.Archive(tmp_path)
    assert here.transcript("calls/one").utterances == here.transcript("calls/one.json").utterances != ()
    with pytest.raises(batch.UsageError, match=r"no result of 'calls/on' \(did you mean calls/one\?\)"):
        here.transcript("calls/on")
    (tmp_path / "calls" / "two.json").write_bytes(b"{")
    with pytest.raises(batch.UsageError, match=r"cannot read .*two\.json"):
        here.transcript("calls/two")


def changing(ours: batch.Progress, theirs: batch.Progress | None) -> dict[str, object]:
    """What two looks at one end differ in: when they were taken, and over which seconds."""
    names = ("told", "ended", "elapsed_seconds", "requests_lately", "audio_rate", "upload_bytes_per_second",
             "left_seconds")  # fmt: skip
    return {name: getattr(theirs, name) for name in names}


def test_diarist_is_another_name_for_it(tmp_path: Path) -> None:
    """Both names are one package, also where a file of the user's own is called ``batch.py``."""
    (tmp_path / "batch.py").write_text("raise SystemExit('the wrong one')\n")
    code = (
        "import diarist, sys; print(diarist.__version__, diarist.Settings().concurrency, diarist.Archive.__module__)"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [batch.__version__, "64", "batch.archive"]
    shown = subprocess.run(
        [sys.executable, "-m", "diarist", "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert batch.__version__ in shown.stdout, shown.stderr


def test_the_local_service_starts_beside_a_users_own_batch(tmp_path: Path) -> None:
    """A run with the local service starts ours, whatever lies in the directory that it is started in."""
    pytest.importorskip("moonshine_voice")
    (tmp_path / "batch.py").write_text("raise SystemExit('the wrong one')\n")
    shown = subprocess.run(
        [sys.executable, "-m", "diarist", "doctor", "--service", "local", "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    findings = {(line := json.loads(row))["what"]: line for row in shown.stdout.splitlines()}
    assert findings["engine"]["verdict"] == "ok", (shown.stdout, shown.stderr)
