"""Was it taken? Tables of lists in which a lost submission is, or is not, to be found."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from batch import errors
from batch.archive.journal import Journal
from batch.config import RetrySettings
from batch.jobs.flow_control.throttle import Throttle
from batch.jobs.reconciler import Reconciler
from batch.model import Job, Recording, State
from batch.providers.assemblyai.options import unlike
from batch.providers.interface import Fetched, JobPage, Phase, RemoteJob
from batch.providers.registry import named
from batch.telemetry.events import Event, Notice

LINK = "https://cdn.test/upload/a"
INTENT = datetime(2026, 11, 24, 0, 0, 30, tzinfo=UTC).timestamp()


class Listed:
    """A client of a service that holds these transcripts, newest first, in pages of two hundred."""

    def __init__(self, items: list[RemoteJob], echo: dict[str, object] | None = None) -> None:
        self.items, self.echo, self.pages = items, echo or {}, 0

    async def jobs(self, *, older: str | None = None, limit: int = 200) -> JobPage:
        self.pages += 1
        start = next((n + 1 for n, item in enumerate(self.items) if item.id == older), 0)
        jobs = self.items[start : start + limit]
        return JobPage(jobs, jobs[-1].id if start + limit < len(self.items) else None)

    async def fetch(self, transcript_id: str) -> Fetched:
        return Fetched(
            RemoteJob(transcript_id, Phase.QUEUED),
            msgspec.json.encode({"id": transcript_id, "status": "queued", **self.echo}),
        )


def item(name: str, audio_url: str, after_seconds: float = 1.0) -> RemoteJob:
    return RemoteJob(name, Phase.QUEUED, audio_url, INTENT + after_seconds)


def foreign(count: int, after_seconds: float = 5.0) -> list[RemoteJob]:
    return [item(f"f{n}-{after_seconds}", f"https://cdn.test/upload/f{n}", after_seconds) for n in range(count)]


def uncertain(
    key: str = "a", link: str = "https://cdn.test/upload/a", source: str = "/a.wav", **facts: object
) -> Job:
    recording = Recording(key=key, source=source, manifest="m.csv", line=2, options={"speaker_labels": True})
    return Job(recording=recording, service="s", state=State.SUBMITTING, audio_url=link, intent_at=INTENT, **facts)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def reconciler(
    listed: Listed,
    path: Path,
    known: tuple[Job, ...] = (),
    told: list[Event] | None = None,
    *,
    later_seconds: float = 2 * 3600.0,
    patience_seconds: float = 0.3,
) -> AsyncIterator[Reconciler]:
    """``later_seconds``: how long after the intent it is now."""
    events: list[Event] = told if told is not None else []
    throttle = Throttle(RetrySettings(), rng=random.Random(0), on_event=events.append)
    with contextlib.closing(Journal(path / "journal.db")) as journal:
        for job in known:
            await journal.record(job)
        began = time.time()
        made = Reconciler(
            named("s"),
            listed,  # type: ignore[arg-type]
            throttle,
            journal,
            grace_seconds=0.05,
            patience_seconds=patience_seconds,
            clock=lambda: INTENT + later_seconds + time.time() - began,
            on_event=events.append,
        )
        task = asyncio.create_task(made.run())
        yield made
        task.cancel()


@pytest.mark.parametrize("above", [0, 199, 200, 201, 1000])
async def test_submission_is_found_despite_many_newer_foreign_jobs(tmp_path: Path, above: int) -> None:
    listed = Listed([*foreign(above), item("t1", "https://cdn.test/upload/a"), *foreign(300, -10)])
    async with reconciler(listed, tmp_path) as look:
        found = await look.find(uncertain())
    assert found
    assert found.id == "t1"


async def test_submission_from_before_midnight_is_found_after_it(tmp_path: Path) -> None:
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


async def test_earlier_failed_submission_of_same_upload_is_not_taken(tmp_path: Path) -> None:
    """An earlier submission of the same upload that failed is not taken for this one."""
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
    assert listed.pages == 4, "two pages a look, the second of which is all older, and not the whole account"


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
async def test_public_url_is_matched_by_url_options_and_time(
    tmp_path: Path, echo: dict[str, object], after_seconds: float, found: bool
) -> None:
    """A public URL is matched by URL, options and time, and the log says so."""
    told: list[Event] = []
    async with reconciler(Listed([item("t1", PUBLIC, after_seconds)], echo), tmp_path, told=told) as look:
        assert bool(await look.find(uncertain(link=PUBLIC, source=PUBLIC))) is found
    assert any("URL, options and time" in event.message for event in told if isinstance(event, Notice)) is found


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
    assert "t2 (paid twice?" in next(event.message for event in told if isinstance(event, Notice))


# ── Absence is no proof ─────────────────────────────────────────────────────────────────────────────────────────


def acknowledged(name: str, after_seconds: float) -> Job:
    """Another job of ours, that the service acknowledged so long after the intent of the lost one."""
    job = uncertain(name, f"https://cdn.test/upload/{name}")
    facts = {"state": State.SUBMITTED, "transcript_id": name, "submitted_at": INTENT + after_seconds}
    return msgspec.structs.replace(job, **facts)


def ours(job: Job) -> RemoteJob:
    return item(job.transcript_id or "", job.audio_url or "", (job.submitted_at or 0.0) - INTENT)


async def test_absence_is_not_believed_without_a_witness(tmp_path: Path) -> None:
    """Without a witness absence is not believed, and is left to the next run."""
    early = acknowledged("early", 0.04)
    listed = Listed([*foreign(10, 30.0), ours(early), *foreign(10, -120.0)])
    async with reconciler(listed, tmp_path, (early,), later_seconds=30) as look:
        with pytest.raises(errors.PostponedError, match="not sent again"):
            await look.find(uncertain())
    assert listed.pages >= 4, "it was looked for several times meanwhile"


async def test_witness_acknowledged_well_after_the_loss_is_believed(tmp_path: Path) -> None:
    """A witness that was acknowledged well after the lost one was let go is believed."""
    witness = acknowledged("witness", 20.0)
    listed = Listed([ours(witness), *foreign(10, -120.0)])
    async with reconciler(listed, tmp_path, (witness,), later_seconds=30) as look:
        assert await look.find(uncertain()) is None
        with pytest.raises(errors.PostponedError):
            await look.find(uncertain("b"), INTENT + 19.99)
    assert listed.pages >= 4, "two looks agreed"


async def test_witness_proves_nothing_in_a_list_that_is_too_short(tmp_path: Path) -> None:
    """A witness in a list that does not go back to the intent proves nothing."""

    class Circling(Listed):
        async def jobs(self, *, older: str | None = None, limit: int = 200) -> JobPage:
            return (await super().jobs(older=None, limit=limit))._replace(older="witness")

    witness = acknowledged("witness", 20.0)
    async with reconciler(Circling([ours(witness)]), tmp_path, (witness,), later_seconds=30) as look:
        with pytest.raises(errors.PostponedError):
            await look.find(uncertain())


async def test_submission_unlisted_for_an_hour_was_not_accepted(tmp_path: Path) -> None:
    """What the list does not show an hour after the intent was not taken."""
    for later, believed in ((3500.0, False), (3700.0, True)):
        async with reconciler(Listed(foreign(3, -120)), tmp_path, later_seconds=later) as look:
            if believed:
                assert await look.find(uncertain()) is None
            else:
                with pytest.raises(errors.PostponedError):
                    await look.find(uncertain())


async def test_while_others_are_at_work_a_witness_is_waited_for(tmp_path: Path) -> None:
    witness = acknowledged("witness", 20.0)
    listed = Listed(foreign(3, -120))
    async with reconciler(listed, tmp_path, (witness,), later_seconds=30, patience_seconds=0.1) as look:
        await asyncio.sleep(0)
        look._is_busy = lambda: True
        finding = asyncio.create_task(look.find(uncertain()))
        await asyncio.sleep(0.4)
        assert not finding.done()
        listed.items.insert(0, ours(witness))
        assert await asyncio.wait_for(finding, 5) is None


@pytest.mark.parametrize("seed", range(5))
async def test_submission_is_found_in_unordered_pages_with_repetitions(tmp_path: Path, seed: int) -> None:
    class Wild(Listed):
        async def jobs(self, *, older: str | None = None, limit: int = 200) -> JobPage:
            page = await super().jobs(older=older, limit=limit)
            jobs = [*page.jobs, *page.jobs[-5:]]
            random.Random(seed).shuffle(jobs)
            return JobPage(jobs, page.older)

    before = acknowledged("before", -500.0)
    listed = Wild([*foreign(399), ours(before), *foreign(150), item("t1", LINK), *foreign(300, -600)])
    async with reconciler(listed, tmp_path, (before,)) as look:
        found = await look.find(uncertain())
    assert found
    assert found.id == "t1"


# ── The one that was asked for ──────────────────────────────────────────────────────────────────────────────────

ZONE: float = -5 * 3600


@pytest.mark.parametrize(
    ("said", "asked", "is_it"),
    [
        ({"speaker_labels": True}, {"speaker_labels": True}, True),
        ({"speaker_labels": True, "audio_end_at": 5000}, {"speaker_labels": True}, False),
        ({"speaker_labels": True}, {"speaker_labels": True, "audio_end_at": 5000}, False),
        ({"speaker_labels": True, "audio_end_at": None, "punctuate": True}, {"speaker_labels": True}, True),
        ({"language_code": "en_us", "speech_model": "best"}, {}, True),
        ({"language_code": "de"}, {}, False),
        ({"language_code": "de", "language_detection": True}, {"language_detection": True}, True),
        ({"keyterms_prompt": [{"a": 1}]}, {}, False),
        ({"speech_models": ["a"]}, {"speech_models": ["b"]}, False),
        ({"speech_understanding": {"request": 1, "response": 2}}, {"speech_understanding": {"request": 1}}, True),
    ],
)
def test_what_a_transcript_was_asked_for_with_is_compared_whole(
    said: dict[str, object], asked: dict[str, object], is_it: bool
) -> None:
    assert (unlike(asked, said) == []) is is_it


@pytest.mark.parametrize(("after_seconds", "is_it"), [(5.0, True), (-14 * 3600.0, False), (3600.0, False)])
async def test_public_url_transcript_is_matched_in_the_services_zone(
    tmp_path: Path, after_seconds: float, is_it: bool
) -> None:
    """A public URL's transcript is that of some minutes, in the zone that a job of ours shows."""
    mine = acknowledged("mine", -200.0)
    shown = item("mine", mine.audio_url or "", -200.0 + ZONE)
    listed = Listed([item("t1", PUBLIC, after_seconds + ZONE), shown], {"speaker_labels": True})
    async with reconciler(listed, tmp_path, (mine,)) as look:
        assert bool(await look.find(uncertain(link=PUBLIC, source=PUBLIC))) is is_it
