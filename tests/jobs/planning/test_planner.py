"""What a run would do, how long it would take and what it would cost; and runs that may not cost more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import batch
from batch import errors, jobs
from batch.config import BudgetSettings, PriceTable
from batch.jobs.planning.admission import Rerun
from batch.jobs.planning.budget import BudgetTracker
from batch.jobs.planning.planner import Expectation, Planner
from batch.jobs.planning.selection import Selection
from batch.model import Job, Recording, State
from batch.providers.assemblyai.pricing import VendorPricing
from batch.telemetry.events import JobMoved
from tests.support.recordings import agree, settings, wav
from tests.support.service import start_service

CHARGED = PriceTable(apply="always", models={"m": 0.2}, model="m", extras={"speaker_labels": 0.1})
HOUR = 3600


def archive(folder: Path, lengths: list[float], columns: str = "") -> Path:
    """Different recordings of these lengths in seconds, and a manifest."""
    folder.mkdir(exist_ok=True)
    rows = [f"id,audio{columns and ',' + columns.partition('=')[0]}"]
    for n, seconds in enumerate(lengths):
        (folder / f"{n}.wav").write_bytes(wav(n.to_bytes(2, "big") + b"x" * (round(seconds * 8000) - 2)))
        rows.append(f"{n},{n}.wav{columns and ',' + columns.partition('=')[2]}")
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.csv"


async def planned(manifest: Path, out: Path, **given: Any) -> Planner:
    select = given.pop("select", Selection())
    async with jobs.open_planner(
        [str(manifest)], out, settings=settings("http://127.0.0.1:9", prices=CHARGED, **given),
        rerun=given.pop("rerun", Rerun()), select=select, environ={},
    ) as planner:  # fmt: skip
        planner.seen = [row async for row in planner.rows()]  # type: ignore[attr-defined]
    return planner


async def test_hours_and_price_are_those_of_what_would_run(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [36.0, 72.0, 0.1])
    (tmp_path / "in" / "copy.wav").write_bytes((tmp_path / "in" / "0.wav").read_bytes())
    with manifest.open("a") as file:
        file.write("copy,copy.wav\nurl,https://example.com/a.mp3\ngone,gone.wav\n")
    plan = (await planned(manifest, tmp_path / "out")).plan
    assert plan.verdicts == {
        "run: new": 3,
        "would be refused: too short": 1,
        "would fail: missing": 1,
        "shared: duplicate of another row": 1,
    }
    assert plan.seconds == pytest.approx(108)
    assert plan.usd == pytest.approx(108 / HOUR * 0.3)
    assert plan.unknown_length == 1


async def test_plan_reports_unreadable_recordings_as_the_run_will(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [1.0])
    (tmp_path / "in" / "empty.wav").touch()
    (tmp_path / "in" / "folder.wav").mkdir()
    with (tmp_path / "in" / "large.wav").open("wb") as file:
        file.truncate(2_300_000_000)  # a hole: no disk is used
    with manifest.open("a") as file_:
        file_.write("".join(f"{name},{name}.wav\n" for name in ("gone", "empty", "folder", "large")))
    rows = (await planned(manifest, tmp_path / "out")).seen  # type: ignore[attr-defined]
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
    failed = [json.loads(line) for line in (tmp_path / "out" / "failed.jsonl").read_text().splitlines()]
    assert summary.exit_code == 3
    assert {row.key: (row.verdict, row.why, row.reason) for row in rows if row.key != "0"} == {
        row["id"]: ("would fail", row["_failed"]["kind"], row["_failed"]["reason"]) for row in failed
    }
    said = diarist("plan", str(manifest), "--out", str(tmp_path / "other"), "--service", "http://127.0.0.1:9")
    assert said.returncode == 3
    assert [
        f"{manifest}:{n}: {row.reason}" for n, row in enumerate(rows, 2) if row.reason
    ] == said.stderr.splitlines()
    assert "1  would fail: missing" in said.stdout


async def test_a_limit_bounds_the_plan_as_it_bounds_the_run(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [10.0] * 6)
    assert (await planned(manifest, tmp_path / "out", select=Selection(limit=2))).plan.seconds == pytest.approx(20)


async def test_advice_is_given_before_it_costs(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [1.0, 1.0], "multichannel=true")
    stereo = bytes(n // 2 % 251 for n in range(32_000))
    (tmp_path / "in" / "1.wav").write_bytes(wav(stereo, channels=2))
    plan = (await planned(manifest, tmp_path / "out")).plan
    assert plan.notes == {
        "mono, though multichannel is asked for": 1,
        "both channels are identical: multichannel would pay twice": 1,
    }
    assert plan.usd == pytest.approx((1 + 2 * 2) / HOUR * 0.3)


async def test_changing_one_option_runs_exactly_the_rows_it_touches(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [1.0] * 6)
    text = manifest.read_text().replace("id,audio", "id,audio,disfluencies").replace(".wav", ".wav,")
    manifest.write_text(text.replace("2.wav,", "2.wav,true").replace("4.wav,", "4.wav,true"))
    async with start_service(tmp_path / "service") as service:
        first = settings(service.base_url)
        await batch.run(str(manifest), tmp_path / "out", settings=first)
        changed = settings(service.base_url, options={"speaker_labels": True, "disfluencies": True})
        async with jobs.open_planner(
            [str(manifest)], tmp_path / "out", settings=changed, rerun=Rerun(), select=Selection(), environ={}
        ) as planner:
            why = {row.key: (row.verdict, row.why) async for row in planner.rows()}
        summary = await batch.run(str(manifest), tmp_path / "out", settings=changed, confirm=agree)
    touched = {key for key, said in why.items() if said == ("run", "option changed: disfluencies")}
    assert touched == {"0", "1", "3", "5"}
    assert {why[key] for key in ("2", "4")} == {("done", "done before")}
    assert summary.collected == 4


async def test_audio_done_under_another_key_is_planned_as_shared(tmp_path: Path) -> None:
    """Audio that was transcribed before under another key is planned as shared."""
    manifest = archive(tmp_path / "in", [1.0])
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
        manifest.write_text("id,audio\nanother,0.wav\n")
        async with jobs.open_planner(
            [str(manifest)], tmp_path / "out", settings=settings(service.base_url), rerun=Rerun(), select=Selection(),
            environ={},
        ) as planner:  # fmt: skip
            rows = [row async for row in planner.rows()]
    assert [(row.verdict, row.why) for row in rows] == [("shared", "audio transcribed before")]


def test_expected_time_is_that_of_slots_that_are_never_empty() -> None:
    takes = Expectation(20.0, 0.01, "")
    assert takes.run_seconds(0, 0, 64) == 0
    assert takes.run_seconds(1000, 100 * HOUR, 200) == pytest.approx((1000 * 20 + 3600) / 200)
    assert takes.run_seconds(3, 3 * HOUR, 200) == pytest.approx(20 + 36)


async def test_the_expected_time_is_learnt_from_what_recordings_took(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [1.0] * 25)
    async with start_service(tmp_path / "service", seconds=0.2) as service:
        await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
        async with jobs.open_planner(
            [str(manifest)], tmp_path / "out", settings=settings(service.base_url), rerun=Rerun(), select=Selection(),
            environ={},
        ) as planner:  # fmt: skip
            learnt = await planner.expectation(None)
    assert "last 25" in learnt.source
    assert 0.05 < learnt.of_length < 2


@pytest.mark.parametrize(
    ("options", "usd_per_hour", "unknown"),
    [
        ({}, 0.21, ()),
        ({"speaker_labels": True, "speakers_expected": 2, "language_code": "de"}, 0.23, ()),
        ({"speaker_labels": False, "speech_models": ["universal-2", "universal-3-5-pro"]}, 0.15, ()),
        ({"sentiment_analysis": True, "redact_pii": True}, 0.21, ("redact_pii", "sentiment_analysis")),
        ({"speech_models": ["nova"]}, 0.0, ("model nova",)),
    ],
)
def test_a_price_says_what_it_leaves_out(
    options: dict[str, Any], usd_per_hour: float, unknown: tuple[str, ...]
) -> None:
    pricing = VendorPricing(PriceTable())
    assert pricing.quote(options).usd(3600) == pytest.approx(usd_per_hour)
    assert pricing.quote(options).unknown == unknown
    assert pricing.billed_channels({"multichannel": True}, 2) == 2
    assert pricing.billed_channels({}, 2) == pricing.billed_channels({"multichannel": True}, None) == 1


# ── budgets ─────────────────────────────────────────────────────────────────────────────────────────────────────


def job(folder: Path, seconds: float, key: str = "a") -> Job:
    path = folder / f"{key}.wav"
    path.write_bytes(wav(b"x" * round(seconds * 8000)))
    return Job(Recording(key, str(path), "m", 1, {}), "s")


def test_budget_gets_back_what_failed_or_was_shared(tmp_path: Path) -> None:
    """What failed or was shared is given back, and the rest costs as long as its audio turned out to be."""
    tracker = BudgetTracker(BudgetSettings(max_cost=1.0), VendorPricing(PriceTable(models={"m": 3600.0}, model="m")))
    waiting = {key: job(tmp_path, 0.3, key) for key in "abc"}
    assert [bool(tracker.reserve(each)) for each in waiting.values()] == [False, False, False]
    assert tracker.usd == pytest.approx(0.9)
    assert "--max-cost 1" in tracker.reserve(job(tmp_path, 0.3, "d"))

    def becomes(key: str, **facts: Any) -> None:
        made = Job(waiting[key].recording, "s", **facts)
        tracker.settle(JobMoved(made))
        tracker.settle(JobMoved(made))

    becomes("a", state=State.FAILED)
    becomes("b", state=State.SUBMITTED, shared_with="z")
    becomes("c", state=State.COLLECTED, audio_seconds=0.5)
    assert tracker.usd == pytest.approx(0.5)
    assert tracker.seconds == pytest.approx(0.5)
    assert tracker.reserve(job(tmp_path, 0.3, "d")) == ""


@pytest.mark.parametrize(
    ("budget", "collected"),
    [
        (BudgetSettings(max_cost=0.0026), 3),
        (BudgetSettings(max_hours=25 / HOUR), 2),
        (BudgetSettings(max_cost=0.0001), 0),
    ],
)
async def test_budget_stops_admission_softly_and_more_of_it_continues(
    tmp_path: Path, budget: BudgetSettings, collected: int
) -> None:
    """A budget stops admission softly, and with more of it the same command continues."""
    manifest = archive(tmp_path / "in", [10.0] * 6)
    async with start_service(tmp_path / "service") as service:
        bounded = settings(service.base_url, prices=CHARGED, budget=budget)
        summary = await batch.run(str(manifest), tmp_path / "out", settings=bounded)
        assert (summary.exit_code, summary.collected) == (8, collected)
        assert "--max-" in summary.budget_reached
        rest = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url))
        assert (rest.exit_code, rest.collected, len(service.submissions)) == (0, 6 - collected, 6)


async def test_run_above_the_cost_allowed_unasked_asks_first(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [36.0] * 4)
    asked: list[str] = []
    async with start_service(tmp_path / "service") as service:
        dear = settings(service.base_url, prices=CHARGED, budget=BudgetSettings(confirm_above=0.01))
        with pytest.raises(errors.BudgetExceededError, match=r"about \$0.01 for 0.0 h .*--yes"):
            await batch.run(str(manifest), tmp_path / "out", settings=dear)
        assert not service.requests
        assert not (tmp_path / "out").exists()
        summary = await batch.run(
            str(manifest), tmp_path / "out", settings=dear, confirm=lambda cost: not asked.append(cost)
        )
        assert summary.collected == 4
        assert len(asked) == 1
        again = await batch.run(str(manifest), tmp_path / "out", settings=dear)
        assert again.skipped["done"] == 4, "what is done costs nothing, so nobody is asked"


def diarist(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "batch", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=environ,
    )


def test_plan_on_the_command_line_says_it_to_people_and_programs(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [36.0, 72.0])
    common = ("plan", str(manifest), "--out", str(tmp_path / "out"), "--service", "assemblyai", "-c", "2")
    said = diarist(*common, ASSEMBLYAI_API_KEY="k")
    assert (said.returncode, said.stderr) == (0, "")
    assert "2  run: new" in said.stdout
    assert "price: about $0.01" in said.stdout
    assert "2 in flight" in said.stdout
    lines = diarist(*common, "--json", "--explain", ASSEMBLYAI_API_KEY="k").stdout.splitlines()
    *rows, whole = map(json.loads, lines)
    assert [(row["key"], row["verdict"], row["seconds"]) for row in rows] == [("0", "run", 36.0), ("1", "run", 72.0)]
    assert whole["usd"] == pytest.approx(108 / HOUR * 0.23, abs=1e-4)
    assert whole["hours"] == 0.03


def test_a_dear_run_without_a_terminal_is_refused(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "in", [36.0, 72.0])
    dear = ("--set", "budget.confirm_above=0.001", "--service", "assemblyai")
    said = diarist("run", str(manifest), "--out", str(tmp_path / "out"), *dear, ASSEMBLYAI_API_KEY="k")
    assert said.returncode == 8
    assert "more than budget.confirm_above = 0.001" in said.stderr
