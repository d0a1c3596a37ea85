"""A program of somebody who uses diarist from Python. ``test_api`` has mypy check it: no ``Any`` may come out."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

import batch


def show(event: batch.Event) -> None:
    match event:
        case batch.JobMoved(job=job):
            print(job.key, job.state, job.audio_seconds)
        case batch.RowRejected(reject=reject):
            print(reject.where, reject.reason)
        case batch.JobPostponed(reason=reason, kind=kind):
            print(reason, kind)
        case batch.RequestEnded():
            print(event.operation, event.seconds, event.status)
        case batch.ProviderStatus(message=message, is_starting=is_starting):
            print(message, is_starting)
        case batch.Notice(message=message):
            print(message)


async def nightly() -> int:
    settings = batch.Settings(concurrency=200, budget=batch.BudgetSettings(max_cost=20.0))
    plan = await batch.plan("calls.csv", "results", settings=settings)
    cost: float | None = plan.usd
    print(plan.rows, plan.hours, cost)
    outcome = await batch.run(
        "calls.csv",
        "results",
        settings=settings,
        select=batch.Selection(limit=100),
        rerun=batch.Rerun(failed=True),
        on_event=show,
    )
    print(outcome, outcome.collected, outcome.failures.keys(), outcome.usd)
    return outcome.exit_code or 0


def read() -> None:
    archive = batch.Archive("results")
    status = archive.status()
    if status.progress:
        print(status.progress.left, status.journal)
    for transcript in archive.transcripts():
        for utterance in transcript.utterances:
            print(transcript.key, utterance.speaker, utterance.start, [word.text for word in utterance.words])
    print(archive.export(["srt", "csv"], out="captions").written)
    print([hit.text for hit in archive.search("how long", speaker="A").hits])
    print(archive.report("report.html", since=datetime(2026, 11, 20)).page_bytes)


def mended() -> None:
    try:
        print(asyncio.run(batch.recover("results")).results)
    except batch.RunError as error:
        kind: batch.FailureKind = error.kind
        sys.exit(error.exit_code if kind else 1)


if __name__ == "__main__":
    sys.exit(asyncio.run(nightly()))
