"""``--log-file``: all that happened is in it, nothing that opens a door, and no misfortune of its own matters."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.engine.interface import BadAudio
from batch.providers.interface import Operation
from batch.server.faults import Fault, FaultKind, Faults
from batch.telemetry.redaction import redact
from tests.support.processes import diarist, end, start
from tests.support.recordings import archive
from tests.support.service import start_service
from tests.support.waiting import until

KEY = "a-key-that-nobody-may-see"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


async def test_log_has_every_call_and_event_with_run_id_and_key(
    tmp_path: Path,
) -> None:
    """Every call and every event is there with the run's id and the key of the recording."""
    manifest, log = archive(tmp_path / "audio", 6), tmp_path / "run.jsonl"
    with manifest.open("a") as file:
        file.write("calls/bad,,,\n" * 30)
    broken = (tmp_path / "audio" / "3.wav").read_bytes()
    faults = Faults([Fault(FaultKind.STATUS, route="upload", status=500, at=(2,))], random.Random(1))
    failing = lambda audio: BadAudio("no audio in it") if audio == broken else None  # noqa: E731
    async with start_service(tmp_path / "service", key=KEY, faults=faults, failing=failing) as service:
        ended = await diarist(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--log-file", log,
            "--set", "patience.base_seconds=0.01", ASSEMBLYAI_API_KEY=KEY,
        )  # fmt: skip
    assert ended.code == 3, ended.said
    told = lines(log)
    assert [line["event"] for line in (told[0], told[-1])] == ["began", "ended"]
    last = json.loads((tmp_path / "out" / ".diarist" / "summary.json").read_bytes())
    assert {line["run"] for line in told} == {last["run"]}
    assert all({"time", "level", "event"} <= set(line) for line in told)
    check_calls([line for line in told if line["event"] == "called"], len(service.answers))
    moved = {line["key"]: line["state"] for line in told if line["event"] == "moved"}
    assert moved == {f"calls/{n}": "failed" if n == 3 else "collected" for n in range(6)}
    assert sum(line["event"] == "rejected" and line["level"] == "error" for line in told) == 30
    again = [line for line in told if line["event"] == "retrying"]
    assert [(line["kind"], line["level"]) for line in again] == [("server_error", "warning")]
    assert (told[-1]["exit_code"], told[-1]["level"], told[-1]["failed"]) == (3, "error", 1)
    assert KEY not in log.read_text()


def check_calls(calls: list[dict[str, Any]], requests: int) -> None:
    """One line a request, each with an id of its own, and those of a recording with its key."""
    assert len({call["request_id"] for call in calls}) == len(calls) == requests
    of = {route: [call for call in calls if call["route"] == route] for route in Operation}
    assert Counter(call["key"] for call in of[Operation.SUBMIT]) == {f"calls/{n}": 1 for n in range(6)}
    assert {call["key"] for call in of[Operation.FETCH]} == {f"calls/{n}" for n in (0, 1, 2, 4, 5)}
    assert all(call["path"] == f"/v2/transcript/{call['transcript_id']}" for call in of[Operation.FETCH])
    assert all("key" not in call and call["path"] == "/v2/transcript" for call in of[Operation.LIST])
    good = [call for call in of[Operation.UPLOAD] if call["status"] == 200]
    # 2000 samples and more for each, after a header of 44 bytes
    assert {call["key"]: call["sent_bytes"] for call in good} == {f"calls/{n}": 2044 + n for n in range(6)}
    (bad,) = [call for call in of[Operation.UPLOAD] if call["status"] == 500]
    assert (bad["kind"], bad["level"], bad["attempt"]) == ("server_error", "warning", 1)
    assert [call["attempt"] for call in good if call["key"] == bad["key"]] == [2]
    assert all(call["received_bytes"] > 0 and call["seconds"] >= 0 for call in calls)


async def test_neither_the_key_nor_what_signs_a_link_is_ever_in_it(tmp_path: Path) -> None:
    """Not though the service repeats both in its errors."""
    signed = "https://example.invalid/talks/a.mp3?X-Amz-Signature=abcdef0123&X-Amz-Credential=somebody"
    (tmp_path / "rows.csv").write_text(f"id,audio\na,{signed}\nb,{signed}&b=1\n")
    error = f"cannot read {signed} with {KEY}"
    faults = Faults([Fault(FaultKind.STATUS, route="submit", status=400, error=error, at=(1,))], random.Random(1))
    log, out = tmp_path / "run.jsonl", tmp_path / "out"
    async with start_service(tmp_path / "service", key=KEY, faults=faults) as service:
        for manifests in (["rows.csv"], [signed]):  # a URL is a manifest, too
            ended = await diarist(
                "run", *(tmp_path / name if name.endswith("csv") else name for name in manifests),
                "--out", out, "--service", service.base_url, "--log-file", log, ASSEMBLYAI_API_KEY=KEY,
            )  # fmt: skip
            assert ended.code == 3, ended.said
    text = log.read_text()
    assert [line["message"] for line in lines(log) if line.get("kind") == "request_rejected" and "message" in line]
    for secret in (KEY, "abcdef0123", "somebody", "X-Amz"):
        assert secret not in text
    assert "https://example.invalid/talks/a.mp3?…" in text


@given(st.text("abc/:?#@&=. \"'", max_size=30), st.from_regex(r"[A-Za-z0-9%+/=&]+", fullmatch=True))
def test_the_query_of_a_url_never_gets_through(before: str, query: str) -> None:
    said = redact(f"{before} https://user:word@host/a.wav?sig=SIGNED{query} and so on")
    assert "SIGNED" not in said
    assert "word" not in said
    assert said.endswith("host/a.wav?… and so on")


async def test_a_log_that_is_rotated_away_goes_on_in_a_new_file(tmp_path: Path) -> None:
    manifest, log, rotated = archive(tmp_path / "audio", 8), tmp_path / "run.jsonl", tmp_path / "run.jsonl.1"
    async with start_service(tmp_path / "service", seconds=0.5, slots=1) as service:
        child = await start(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--log-file", log
        )
        await until(lambda: len(service.fetched) >= 2)
        log.rename(rotated)
        assert (await end(child)).code == 0
    before, after = lines(rotated), lines(log)
    assert (before[0]["event"], after[-1]["event"]) == ("began", "ended")
    collected = Counter(line["key"] for line in before + after if line.get("state") == "collected")
    assert collected == {f"calls/{n}": 1 for n in range(8)}
    assert any(line.get("state") == "collected" for line in after)


async def test_a_log_is_appended_to_by_the_next_run(tmp_path: Path) -> None:
    manifest, log = archive(tmp_path / "audio", 2), tmp_path / "run.jsonl"
    async with start_service(tmp_path / "service") as service:
        for _ in range(2):
            await diarist(
                "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--log-file", log
            )
    told = lines(log)
    assert [line["event"] for line in told if line["event"] in ("began", "ended")] == ["began", "ended"] * 2
    assert len({line["run"] for line in told}) == 2
    assert [line["kind"] for line in told if line["event"] == "skipped"] == ["done", "done"]


async def test_a_full_disk_is_told_once_and_the_run_goes_on(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 4)
    async with start_service(tmp_path / "service") as service:
        ended = await diarist(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--log-file", "/dev/full"
        )
    assert ended.code == 0, ended.said
    assert ended.said.count("cannot write the log /dev/full: No space left on device. The run goes on") == 1
    assert "Traceback" not in ended.said
    assert "4 transcribed" in ended.said


async def test_vanished_log_folder_is_reported_once_and_return_noticed(tmp_path: Path) -> None:
    manifest, folder = archive(tmp_path / "audio", 4), tmp_path / "logs"
    folder.mkdir()
    async with start_service(tmp_path / "service", seconds=0.5, slots=1) as service:
        child = await start(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url,
            "--log-file", folder / "run.jsonl",
        )  # fmt: skip
        await until(lambda: service.fetched)
        (folder / "run.jsonl").unlink()
        folder.rmdir()
        await until(lambda: len(service.fetched) >= 2)
        folder.mkdir()
        ended = await end(child)
    assert lines(folder / "run.jsonl")[-1]["event"] == "ended"
    assert (ended.code, ended.said.count("cannot write the log")) == (0, 1), ended.said


async def test_unopenable_log_is_reported_before_anything_is_done(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 1)
    ended = await diarist("run", manifest, "--out", tmp_path / "out", "--log-file", tmp_path / "absent" / "run.jsonl")
    assert ended.code == 2
    assert "cannot write the log" in ended.said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("manifest", "code", "why"), [("absent.csv", 2, "absent.csv"), ("urls.txt", 5, "")])
async def test_log_of_a_failed_or_stopped_run_ends_with_the_reason(
    tmp_path: Path, manifest: str, code: int, why: str
) -> None:
    (tmp_path / "urls.txt").write_text("https://example.invalid/a.mp3\n")
    log = tmp_path / "run.jsonl"
    ended = await diarist(
        "run", tmp_path / manifest, "--out", tmp_path / "out", "--service", "http://127.0.0.1:9", "--log-file", log,
        "--set", "patience.outage_seconds=0.5", "--set", "patience.cap_seconds=0.1",
    )  # fmt: skip
    assert ended.code == code, ended.said
    last = lines(log)[-1]
    assert (last["event"], last["level"], last["exit_code"]) == ("ended", "error", code)
    assert why in last["stopped_by"]


async def test_what_is_cut_off_is_a_call_too(tmp_path: Path) -> None:
    manifest, log = archive(tmp_path / "audio", 1), tmp_path / "run.jsonl"
    faults = Faults([Fault(FaultKind.STALL, route="upload", seconds=3, at=(1,))], random.Random(1))
    async with start_service(tmp_path / "service", faults=faults) as service:
        child = await start(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--log-file", log,
            "--set", "deadlines.upload_answer_seconds=0.3", "--set", "patience.base_seconds=0.01",
        )  # fmt: skip
        assert (await end(child)).code == 0
    first = next(line for line in lines(log) if line.get("route") == "upload")
    assert (first["key"], first["attempt"], first["kind"], first["level"]) == ("calls/0", 1, "cut", "warning")
    assert "status" not in first
