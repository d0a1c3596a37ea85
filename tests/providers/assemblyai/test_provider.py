"""AssemblyAI v2 in the words of a provider: phases, pages, times, deleted transcripts, webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from batch import errors
from batch.config import PriceTable
from batch.errors import FailureKind
from batch.providers.assemblyai.protocol import Head, Item, Page, PageDetails, Status
from batch.providers.assemblyai.provider import V2Connection
from batch.providers.interface import JobPage, Phase, Reaction
from batch.providers.registry import named

ITEMS = (
    Item("c", Status.QUEUED, "http://x/c", "2026-11-24T10:00:02"),
    Item("a", Status.ERROR, "http://x/a", "2026-11-24T10:00:00", error="no spoken audio"),
    Item("b", Status.PROCESSING, None, "yesterday"),
)


class Answering:
    """A client that gives one answer to everything."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def page(self, **_: object) -> Any:
        return self.answer

    async def fetch(self, transcript_id: str) -> Any:
        return self.answer


async def listed(items: tuple[Item, ...], prev_url: str | None, older: str | None = None) -> JobPage:
    page = Page(PageDetails(200, len(items), "http://here", prev_url), items)
    return await V2Connection(Answering(page)).jobs(older=older)  # type: ignore[arg-type]


async def test_a_line_of_the_list_is_a_job() -> None:
    queued, failed, running = (await listed(ITEMS, None)).jobs
    assert (queued.id, queued.phase, queued.link) == ("c", Phase.QUEUED, "http://x/c")
    assert queued.created_at == datetime(2026, 11, 24, 10, 0, 2, tzinfo=UTC).timestamp()
    assert (failed.phase, failed.error, failed.has_ended) == (Phase.FAILED, "no spoken audio", True)
    assert (running.phase, running.created_at, running.has_ended) == (Phase.RUNNING, None, False)


@pytest.mark.parametrize(
    ("items", "prev_url", "asked", "older"),
    [
        (ITEMS, None, None, None),
        (ITEMS, "http://x/v2/transcript?limit=3&before_id=z", None, "z"),
        (ITEMS, "http://x/v2/transcript?page=2", None, "b"),
        ((), "http://x/v2/transcript?page=2", "q", "q"),
        ((), "http://x/v2/transcript?page=2", None, ""),
    ],
)
async def test_the_next_page_is_asked_for_as_the_service_says(
    items: tuple[Item, ...], prev_url: str | None, asked: str | None, older: str | None
) -> None:
    """A list that goes on, but does not say how, never looks as if it had come to its end."""
    assert (await listed(items, prev_url, asked)).older == older


async def test_the_answer_for_another_transcript_is_none() -> None:
    connection = V2Connection(Answering((Head("other", Status.COMPLETED), b"{}")))  # type: ignore[arg-type]
    with pytest.raises(errors.UnknownOutcomeError, match="asked for transcript this, .* answered with other"):
        await connection.fetch("this")


def test_a_kept_body_says_what_it_said_when_fetched() -> None:
    said = {"id": "t", "status": "completed", "audio_url": "http://x/a", "audio_duration": 4.5}
    fetched = named("local").restore(msgspec.json.encode(said))
    assert (fetched.job.id, fetched.job.phase, fetched.audio_seconds) == ("t", Phase.COMPLETED, 4.5)
    assert not fetched.is_deleted
    gone = msgspec.json.encode(said | {"audio_url": "http://deleted_by_user"})
    assert named("local").restore(gone).is_deleted


def test_the_error_of_a_job_says_what_to_do_about_it() -> None:
    assert named("local").classify("Download error, unable to download") == (
        FailureKind.DOWNLOAD_ERROR,
        Reaction.STAGE_AGAIN,
    )
    assert named("local").classify(None) == (FailureKind.JOB_ERROR, Reaction.GIVE_UP)


def test_only_the_vendors_hosts_charge_and_have_alternatives() -> None:
    assert named("assemblyai").pricing(PriceTable())
    assert named("local").pricing(PriceTable()) is None
    assert named("http://127.0.0.1:9").pricing(PriceTable(apply="always"))
    assert [other.name for other in named("assemblyai").alternatives()] == ["assemblyai-eu"]
    assert not named("local").alternatives()
