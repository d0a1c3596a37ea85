"""Whole runs against a v2 service on loopback: real sockets, real files, a real journal."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

import pytest

import batch
from batch import errors
from batch.config import RetrySettings
from batch.jobs.planning.admission import Rerun
from batch.jobs.planning.selection import Selection
from batch.model import State
from batch.providers.assemblyai.options import OPTION_NAMES
from batch.telemetry.events import Event, JobMoved
from batch.telemetry.summary import Summary
from tests.support.recordings import agree, archive, check_results, settings, submitted_audio
from tests.support.service import start_service


async def test_400_recordings_with_100_in_flight_are_each_paid_once(
    tmp_path: Path,
) -> None:
    """400 recordings with 100 in flight are each paid once and matched with their own audio."""
    manifest, out = archive(tmp_path / "audio", 400, longer=0), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.3, slots=100, key="secret") as service:
        summary = await batch.run(
            str(manifest), out, settings=settings(service.base_url), environ={"ASSEMBLYAI_API_KEY": "secret"}
        )
    assert (summary.collected, summary.failed, summary.exit_code) == (400, 0, 0)
    check_results(tmp_path / "audio", out, 400)
    assert set(submitted_audio(service).values()) == {1}
    assert len(service.submissions) == 400
    assert service.most_open <= 100
    for body in service.submissions:
        assert body["speaker_labels"] is True
        assert set(body) - {"audio_url"} <= OPTION_NAMES
    assert Counter(body.get("speakers_expected") for body in service.submissions) == {None: 200, 2: 200}


async def test_repeated_command_sends_nothing_to_the_service(tmp_path: Path) -> None:
    """The same command again sends nothing and does not even ask the service."""
    manifest, out = archive(tmp_path / "audio", 5), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        before = len(service.requests)
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url))
        assert len(service.requests) == before
    assert (summary.collected, summary.skipped["done"], summary.exit_code) == (0, 5, 0)


async def test_what_changed_runs_again_and_only_that(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    manifest = archive(folder, 5)
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url))
        (folder / "1.wav").write_bytes(b"RIFF other audio")
        os.utime(folder / "2.wav")  # touched, but the same bytes
        manifest.write_text(manifest.read_text().replace("calls/3,3.wav,2", "calls/3,3.wav,3"))
        (out / "calls" / "4.json").unlink()
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url), confirm=agree)
    assert (summary.collected, summary.skipped["done"]) == (3, 2)
    assert len(service.submissions) == 7, "1 and 3 were paid again, the missing result of 4 was only fetched"
    check_results(folder, out, 5)


async def test_one_bad_recording_never_stops_the_others(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    archive(folder, 3)
    (folder / "empty.wav").touch()
    (folder / "more.csv").write_text(
        "id,audio,speakers_expected\n"
        "calls/0,0.wav,\n"
        "gone,gone.wav,\n"
        "empty,empty.wav,\n"
        "calls/1,1.wav,two\n"
        "../escape,1.wav,\n"
        "calls/0,2.wav,\n"
        "calls/2,2.wav,2\n"
    )
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(folder / "more.csv"), out, settings=settings(service.base_url))
    assert (summary.collected, summary.failed, summary.rejected, summary.exit_code) == (2, 2, 3, 3)
    assert {"missing", "empty", "bad_row"} == set(summary.failures)
    assert len(service.submissions) == 2
    assert not [*tmp_path.glob("escape*")]


async def test_failed_recording_is_tried_again_by_itself_once_mended(tmp_path: Path) -> None:
    folder, out = tmp_path / "audio", tmp_path / "out"
    manifest = archive(folder, 3)
    content = (folder / "1.wav").read_bytes()
    (folder / "1.wav").unlink()
    async with start_service(tmp_path / "service") as service:
        first = await batch.run(str(manifest), out, settings=settings(service.base_url))
        (folder / "1.wav").write_bytes(content)
        second = await batch.run(str(manifest), out, settings=settings(service.base_url))
    assert (first.exit_code, second.exit_code) == (3, 0)
    assert (second.collected, second.skipped["done"]) == (1, 2)


async def test_a_window_takes_a_part_and_the_next_run_the_rest(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 10), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        assert (await batch.run(str(manifest), out, settings=at, select=Selection(limit=3))).collected == 3
        first = (await batch.run(str(manifest), out, settings=at, select=Selection(shard=1, shards=2))).collected
        second = (await batch.run(str(manifest), out, settings=at, select=Selection(shard=2, shards=2))).collected
    assert first + second == 7
    check_results(tmp_path / "audio", out, 10)


async def test_force_pays_again_and_nothing_else_does(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        at = settings(service.base_url)
        await batch.run(str(manifest), out, settings=at)
        summary = await batch.run(str(manifest), out, settings=at, rerun=Rerun(force=True), confirm=agree)
    assert summary.collected == 2
    assert len(service.submissions) == 4


async def test_wrong_key_stops_everything_once_before_any_upload(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 50), tmp_path / "out"
    async with start_service(tmp_path / "service", key="right") as service:
        summary = await batch.run(
            str(manifest), out, settings=settings(service.base_url), environ={"ASSEMBLYAI_API_KEY": "wrong"}
        )
        assert len(service.requests) == 1
    assert summary.stopped_kind == "key_refused"
    assert summary.exit_code == 4
    assert "ASSEMBLYAI_API_KEY" in str(summary.stopped_by)
    assert "wrong" not in str(summary.stopped_by)


async def test_without_a_network_the_run_says_so_and_loses_nothing(tmp_path: Path, unused_tcp_port: int) -> None:
    manifest, out = archive(tmp_path / "audio", 5), tmp_path / "out"
    patience = RetrySettings(base_seconds=0.02, cap_seconds=0.05, outage_seconds=0.3)
    at = settings(f"http://127.0.0.1:{unused_tcp_port}", patience=patience)
    summary = await batch.run(str(manifest), out, settings=at)
    assert summary.exit_code == 5
    assert "no connection" in str(summary.stopped_by)
    async with start_service(tmp_path / "service") as service:
        assert (await batch.run(str(manifest), out, settings=settings(service.base_url))).collected == 5


async def test_stopped_run_leaves_submitted_jobs_for_the_next_run(tmp_path: Path) -> None:
    """A stopped run leaves submitted jobs to the service, and the next run collects them."""
    manifest, out = archive(tmp_path / "audio", 30), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=1.0, slots=100) as service:
        stop, at = asyncio.Event(), settings(service.base_url)

        def watch(event: Event) -> None:
            if isinstance(event, JobMoved) and event.job.state is State.SUBMITTED:
                stop.set()

        first = await batch.run(str(manifest), out, settings=at, on_event=watch, stop=stop)
        assert first.collected == 0
        second = await batch.run(str(manifest), out, settings=at)
    assert second.collected == 30
    assert set(submitted_audio(service).values()) == {1}
    check_results(tmp_path / "audio", out, 30)


async def test_paid_transcript_is_collected_without_its_manifest_row(tmp_path: Path) -> None:
    """A paid transcript is collected though the manifest no longer names it."""
    folder, out = tmp_path / "audio", tmp_path / "out"
    manifest = archive(folder, 3)
    async with start_service(tmp_path / "service", seconds=0.5) as service:
        stop, at = asyncio.Event(), settings(service.base_url)

        def watch(event: Event) -> None:
            if len(service.submissions) == 3:
                stop.set()

        await batch.run(str(manifest), out, settings=at, on_event=watch, stop=stop)
        manifest.write_text("id,audio\nanother,0.wav\n")
        summary = await batch.run(str(manifest), out, settings=at)
    assert (summary.collected, summary.carried_over, summary.rows) == (1, 3, 1)
    assert {path.stem for path in (out / "calls").iterdir()} == {"0", "1", "2"}


async def test_two_runs_on_one_directory_do_not_meet(tmp_path: Path) -> None:
    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.5) as service:
        at = settings(service.base_url)
        first = asyncio.create_task(batch.run(str(manifest), out, settings=at))
        await asyncio.sleep(0.3)
        with pytest.raises(errors.UnavailableError, match=f"process {os.getpid()}, since"):
            await batch.run(str(manifest), out, settings=at)
        assert (await first).collected == 3


async def test_a_public_url_is_left_for_the_service_to_fetch(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text("https://example.invalid/talks/a.mp3\n")
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(tmp_path / "urls.txt"), tmp_path / "out", settings=settings(service.base_url))
        assert service.submissions[0]["audio_url"] == "https://example.invalid/talks/a.mp3"
        assert not [path for method, path in service.requests if path == "/v2/upload"]
    assert summary.failures["download_error"].count == 1


async def test_a_service_that_does_not_speak_v2_is_told_at_once(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 1)
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(manifest), tmp_path / "out", settings=settings(service.base_url + "/elsewhere"))
    assert summary.stopped_kind == "wrong_address"
    assert summary.exit_code == 2


async def test_a_manifest_that_is_not_there_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match=r"nowhere\.csv"):
        await batch.run(str(tmp_path / "nowhere.csv"), tmp_path / "out", settings=settings("http://127.0.0.1:9"))
    assert not (tmp_path / "out").exists()


def test_a_summary_says_which_exit_code() -> None:
    summary = Summary()
    assert summary.exit_code == 0
    summary.signal_number = 2
    assert summary.exit_code == 130
    summary.stopped_by = errors.InsufficientFundsError("empty")
    assert summary.exit_code == 6
