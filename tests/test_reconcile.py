"""Was it taken? Tables of lists in which a lost submission is, or is not, to be found."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from batch.journal import Journal
from batch.model import Event, Job, Recording, State
from batch.protocol import Head, Item, Page, PageDetails, Status
from batch.reconcile import Reconciler
from batch.throttle import Patience, Throttle

LINK = "https://cdn.test/upload/a"
INTENT = datetime(2026, 11, 24, 0, 0, 30, tzinfo=UTC).timestamp()


class Listed:
    """A client of a service that holds these transcripts, newest first, in pages of two hundred."""

    def __init__(self, items: list[Item], echo: dict[str, object] | None = None) -> None:
        self.items, self.echo, self.pages = items, echo or {}, 0

    async def page(self, *, before_id: str | None = None, limit: int = 200) -> Page:
        self.pages += 1
        start = next((n + 1 for n, item in enumerate(self.items) if item.id == before_id), 0)
        items = tuple(self.items[start : start + limit])
        older = "http://older" if start + limit < len(self.items) else None
        return Page(PageDetails(limit, len(items), "http://here", older), items)

    async def fetch(self, transcript_id: str) -> tuple[Head, bytes]:
        head = Head(transcript_id, Status.QUEUED)
        return head, msgspec.json.encode({"id": transcript_id, "status": "queued", **self.echo})


def item(name: str, audio_url: str, after_seconds: float = 1.0) -> Item:
    created = datetime.fromtimestamp(INTENT + after_seconds, UTC).replace(tzinfo=None).isoformat()
    return Item(name, Status.QUEUED, audio_url=audio_url, created=created)


def foreign(count: int, after_seconds: float = 5.0) -> list[Item]:
    return [item(f"f{n}-{after_seconds}", f"https://cdn.test/upload/f{n}", after_seconds) for n in range(count)]


def uncertain(
    key: str = "a", link: str = "https://cdn.test/upload/a", source: str = "/a.wav", **facts: object
) -> Job:
    recording = Recording(key=key, source=source, manifest="m.csv", line=2, options={"speaker_labels": True})
    return Job(recording=recording, service="s", state=State.SUBMITTING, audio_url=link, intent_at=INTENT, **facts)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def reconciler(
    listed: Listed, path: Path, known: tuple[Job, ...] = (), told: list[Event] | None = None
) -> AsyncIterator[Reconciler]:
    events: list[Event] = told if told is not None else []
    throttle = Throttle(Patience(), rng=random.Random(0), notify=events.append)
    with contextlib.closing(Journal(path / "journal.db")) as journal:
        for job in known:
            await journal.record(job)
        made = Reconciler(listed, throttle, journal, grace_seconds=0.05, notify=events.append)  # type: ignore[arg-type]
        task = asyncio.create_task(made.run())
        yield made
        task.cancel()


@pytest.mark.parametrize("above", [0, 199, 200, 201, 1000])
async def test_a_submission_is_found_however_many_foreign_jobs_came_since(tmp_path: Path, above: int) -> None:
    listed = Listed([*foreign(above), item("t1", "https://cdn.test/upload/a"), *foreign(300, -10)])
    async with reconciler(listed, tmp_path) as look:
        found = await look.find(uncertain())
    assert found
    assert found.id == "t1"


async def test_a_submission_from_just_before_midnight_is_found_after_it(tmp_path: Path) -> None:
    listed = Listed([*foreign(10), item("t1", "https://cdn.test/upload/a", -35), *foreign(10, -60)])
    async with reconciler(listed, tmp_path) as look:
        found = await look.find(uncertain())
    assert found
    assert found.id == "t1"


async def test_what_is_not_there_is_believed_only_after_a_second_look(tmp_path: Path) -> None:
    listed = Listed(foreign(10))
    async with reconciler(listed, tmp_path) as look:
        assert await look.find(uncertain()) is None
    assert listed.pages == 2


async def test_a_list_that_lags_is_given_a_second_look(tmp_path: Path) -> None:
    listed = Listed(foreign(3))
    async with reconciler(listed, tmp_path) as look:
        finding = asyncio.create_task(look.find(uncertain()))
        await asyncio.sleep(0.08)
        listed.items.insert(0, item("late", "https://cdn.test/upload/a"))
        found = await finding
    assert found
    assert found.id == "late"


async def test_an_earlier_submission_of_the_same_upload_that_failed_is_not_taken_for_this_one(tmp_path: Path) -> None:
    listed = Listed([item("t0", "https://cdn.test/upload/a", -100)])
    async with reconciler(listed, tmp_path) as look:
        assert await look.find(uncertain(past_ids=("t0",))) is None


async def test_the_walk_ends_at_a_job_of_ours_from_before_the_intent(tmp_path: Path) -> None:
    ours = msgspec.structs.replace(
        uncertain("b"), state=State.SUBMITTED, transcript_id="b1", submitted_at=INTENT - 99
    )
    listed = Listed([*foreign(150), item("b1", "https://cdn.test/upload/b", -99), *foreign(5000, -120)])
    async with reconciler(listed, tmp_path, (ours,)) as look:
        assert await look.find(uncertain()) is None
    assert listed.pages == 2, "one page a look, and not the whole account"


async def test_many_uncertain_submissions_share_one_walk(tmp_path: Path) -> None:
    links = [f"https://cdn.test/upload/{n}" for n in range(150)]
    listed = Listed([item(f"t{n}", link) for n, link in enumerate(links)])
    async with reconciler(listed, tmp_path) as look:
        found = await asyncio.gather(*(look.find(uncertain(str(n), link)) for n, link in enumerate(links)))
    assert [each.id for each in found if each] == [f"t{n}" for n in range(150)]
    assert listed.pages == 1


PUBLIC = "https://example.com/talk.mp3"


@pytest.mark.parametrize(
    ("echo", "after_seconds", "found"),
    [
        ({"speaker_labels": True}, 1.0, True),
        ({"speaker_labels": False}, 1.0, False),
        ({"speaker_labels": True}, -100 * 3600.0, False),
    ],
)
async def test_a_public_url_is_matched_by_url_options_and_time_and_the_log_says_so(
    tmp_path: Path, echo: dict[str, object], after_seconds: float, found: bool
) -> None:
    told: list[Event] = []
    async with reconciler(Listed([item("t1", PUBLIC, after_seconds)], echo), tmp_path, told=told) as look:
        assert bool(await look.find(uncertain(link=PUBLIC, source=PUBLIC))) is found
    assert any("URL, options and time" in event.message for event in told) is found


async def test_two_rows_of_one_public_url_never_share_a_transcript(tmp_path: Path) -> None:
    listed = Listed([item("t1", PUBLIC), item("t2", PUBLIC)], {"speaker_labels": True})
    async with reconciler(listed, tmp_path) as look:
        found = [await look.find(uncertain(key, PUBLIC, PUBLIC)) for key in ("a", "b", "c")]
    assert [each and each.id for each in found] == ["t1", "t2", None]


async def test_several_matches_are_told(tmp_path: Path) -> None:
    told: list[Event] = []
    link = "https://cdn.test/upload/a"
    async with reconciler(Listed([item("t1", link), item("t2", link)]), tmp_path, told=told) as look:
        await look.find(uncertain())
    assert "t2 (paid twice?" in next(event.message for event in told if event.name == "notice")
