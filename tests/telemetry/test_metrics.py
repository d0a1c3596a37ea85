"""``--metrics-port``: what Prometheus scrapes is what the summary says."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, generate_latest, parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

from batch.config import MetricsSettings
from batch.engine.interface import BadAudio
from batch.errors import FailureKind
from batch.jobs.runner import Run, carry_out
from batch.model import Job, Recording, Reject, State
from batch.providers.interface import Operation
from batch.telemetry import metrics as measured
from batch.telemetry.events import (
    Event,
    JobMoved,
    RequestEnded,
    RequestRetried,
    RequestStarted,
    RowRejected,
    RowSkipped,
)
from batch.telemetry.metrics import outcome
from batch.telemetry.summary import Summary
from tests.support.processes import diarist, end, start
from tests.support.recordings import archive, settings
from tests.support.service import start_service
from tests.support.waiting import until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    families = parser.text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


async def scrape(port: int, accept: str = "") -> tuple[str, str]:
    """What is served, and the content type that it has."""
    async with (
        aiohttp.ClientSession(headers={"Accept": accept} if accept else {}) as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert answer.status == 200
        return await answer.text(), answer.headers["Content-Type"]


async def test_scrape_during_a_run_agrees_with_the_summary(tmp_path: Path, unused_tcp_port: int) -> None:
    manifest, summary = archive(tmp_path / "audio", 6), Summary()
    with manifest.open("a") as file:
        file.write("calls/bad,,,\n")
    broken = (tmp_path / "audio" / "5.wav").read_bytes()  # the longest: it is not left for the end
    failing = lambda audio: BadAudio("no audio in it") if audio == broken else None  # noqa: E731
    async with start_service(tmp_path / "service", seconds=0.6, slots=1, failing=failing) as service:
        given = settings(service.base_url, concurrency=3, metrics=MetricsSettings(port=unused_tcp_port))
        run = asyncio.create_task(carry_out(Run([str(manifest)], tmp_path / "out", settings=given, summary=summary)))
        await until(lambda: summary.collected and summary.failed and summary.sent_bytes == 6 * 2044 + 15)
        found = await scraped_at_rest(unused_tcp_port, summary)
        assert not run.done()
        check(found, summary)
        await run
        with pytest.raises(aiohttp.ClientConnectorError):
            await scrape(unused_tcp_port)


async def scraped_at_rest(port: int, summary: Summary) -> Samples:
    """A scrape during which no recording moved, and nothing but the list was asked for."""

    def moved() -> tuple[object, ...]:
        return summary.ended.copy(), summary.alive.copy(), {**summary.requests, "list": 0}

    while True:
        before = moved()
        found = samples((await scrape(port))[0])
        if before == moved():
            return found


def check(found: Samples, summary: Summary) -> None:
    """Of six recordings, one of which fails, and a bad row."""
    done = summary.collected
    states = {labels[0][1]: value for (name, labels), value in found.items() if name == "diarist_recordings_total"}
    assert states == {"collected": done, "failed": 1, "rejected": 1, "postponed": 0, "skipped": 0}
    failures = {labels[0][1]: value for (name, labels), value in found.items() if name == "diarist_failures_total"}
    assert failures == {kind: failure.count for kind, failure in summary.failures.items()}
    assert failures == {"job_error": 1, "bad_row": 1}
    requests = {labels[0][1]: value for (name, labels), value in found.items() if name == "diarist_requests_total"}
    assert requests["upload"] == 6
    assert {route: requests[route] for route in ("submit", "fetch")} == {
        route: summary.requests[route] for route in ("submit", "fetch")
    }
    plain = {name: value for (name, labels), value in found.items() if not labels}
    assert plain["diarist_uploaded_bytes_total"] == summary.sent_bytes == 6 * 2044 + 15
    assert plain["diarist_audio_seconds_total"] == summary.audio_seconds
    assert (plain["diarist_concurrency"], plain["diarist_rows"]) == (3, 7)
    on_the_way = plain["diarist_listed"] + plain["diarist_staged"] + plain["diarist_in_flight"]
    assert on_the_way == 5 - done >= plain["diarist_in_flight"] > 0
    assert plain["diarist_turnaround_seconds_count"] == done
    assert plain["diarist_turnaround_seconds_sum"] >= done * 0.6
    assert found["diarist_request_duration_seconds_count", (("outcome", "ok"), ("route", "upload"))] == 6
    assert "diarist_cost_usd_total" not in plain  # this service charges nothing
    assert plain["process_resident_memory_bytes"] > 0


async def test_what_a_run_costs_is_told_where_it_costs(tmp_path: Path, unused_tcp_port: int) -> None:
    manifest = archive(tmp_path / "audio", 3)
    async with start_service(tmp_path / "service", seconds=0.7, slots=1) as service:
        child = await start(
            "run", manifest, "--out", tmp_path / "out", "--service", service.base_url, "--yes",
            "--metrics-port", unused_tcp_port, "--set", "prices.apply=always", "--set", "prices.each_channel=false",
        )  # fmt: skip
        await until(lambda: len(service.fetched) >= 1)
        await asyncio.sleep(0.3)
        found = samples((await scrape(unused_tcp_port))[0])
        assert (await end(child)).code == 0
    hours = found["diarist_audio_seconds_total", ()] / 3600
    assert found["diarist_cost_usd_total", ()] == pytest.approx(hours * (0.21 + 0.02), abs=0.0001)


async def test_who_asks_for_openmetrics_gets_it(tmp_path: Path, unused_tcp_port: int) -> None:
    async with measured.serving(MetricsSettings(port=unused_tcp_port), Summary()):
        text, content_type = await scrape(unused_tcp_port, "application/openmetrics-text; version=1.0.0")
        assert content_type.startswith("application/openmetrics-text; version=1.0.0")
        names = {family.name for family in openmetrics_families(text)}
        assert {"diarist_recordings", "diarist_request_duration_seconds", "diarist_run"} <= names
        assert (await scrape(unused_tcp_port))[1].startswith("text/plain; version=0.0.4")


def events(count: int) -> Iterator[Event]:
    """So many recordings of every fate, each with its own key, source, reason and transcript."""
    for n in range(count):
        job = Job(Recording(f"calls/{n}", f"/audio/{n}.wav", "m.csv", n), "assemblyai")
        staged = job.move(State.STAGED, audio_url=f"https://cdn/{n}", size_bytes=n)
        submitted = staged.move(State.SUBMITTING).move(State.SUBMITTED, transcript_id=f"id-{n}", submitted_at=1.0)
        yield JobMoved(submitted.move(State.COLLECTED, ended_at=1.0 + n, audio_seconds=1.0))
        yield JobMoved(staged.move(State.FAILED, kind="bad_audio", reason=f"no audio in {n}"))
        yield RowRejected(Reject("m.csv", n, f"no audio named in {n}", f"calls/{n}"))
        yield RowSkipped(job, "done before", "done")
        yield RequestRetried(f"fetch of calls/{n}: busy", FailureKind.THROTTLED, 1.0)
        yield RequestStarted(Operation.FETCH)
        status, kind = [(200, None), (999, "bad_answer"), (500 + n % 100, "server_error")][n % 3]
        yield RequestEnded(
            request_id=f"r{n}", operation=Operation.FETCH, method="GET", path=f"/v2/transcript/{n}", attempt=n,
            seconds=n / 10, sent_bytes=0, received_bytes=n, status=status, kind=kind, key=f"calls/{n}",
            transcript_id=f"id-{n}",
        )  # fmt: skip


def exposed(count: int) -> Samples:
    registry, summary = CollectorRegistry(), Summary()
    registry.register(measured._Run(summary))
    take = measured._times(registry)
    for event in events(count):
        summary.apply(event)
        take(event)
    return samples(generate_latest(registry).decode())


def test_labels_do_not_grow_with_recordings() -> None:
    few, many = exposed(3), exposed(3000)
    assert set(few) == set(many)
    assert many["diarist_recordings_total", (("state", "collected"),)] == 3000


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (200, None, "ok"),
        (429, "throttled", "4xx"),
        (503, "server_error", "5xx"),
        (None, "timeout", "unanswered"),
        (200, "broken_connection", "unanswered"),
        (None, "cut", "cut"),
    ],
)
def test_the_outcome_of_a_call_is_one_of_a_few(status: int | None, kind: str | None, said: str) -> None:
    call = RequestEnded(
        request_id="1", operation="list", method="GET", path="/", attempt=1, seconds=0, sent_bytes=0,
        received_bytes=0,         status=status, kind=kind,
    )  # fmt: skip
    assert outcome(call) == said


async def test_a_port_that_is_taken_is_told_before_anything_is_done(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = await diarist("run", manifest, "--out", tmp_path / "out", "--metrics-port", port)
    assert ended.code == 2
    assert f"cannot serve metrics on 127.0.0.1:{port}" in ended.said
    assert not (tmp_path / "out").exists()


def test_missing_metrics_library_is_reported_with_how_to_get_it(tmp_path: Path) -> None:
    arguments = ["run", str(archive(tmp_path / "audio", 1)), "--out", str(tmp_path / "out"), "--metrics-port", "9100"]
    code = (
        f"import sys; sys.modules['prometheus_client'] = None; from batch.cli.main import main; main({arguments!r})"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (child.returncode, child.stderr) == (
        2,
        "diarist: metrics need prometheus_client: pip install 'diarist[metrics]'\n",
    )
