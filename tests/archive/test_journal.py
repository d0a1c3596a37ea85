"""The journal keeps what it acknowledged, whoever is killed and however many write at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch import errors
from batch.archive.journal import Journal
from batch.model import Job, Recording, State
from tests.support.jobs import job


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".diarist" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with contextlib.closing(Journal(path)) as opened:
        yield opened


async def test_a_job_comes_back_as_it_was_recorded(journal: Journal) -> None:
    kept = job("a.wav", past_ids=("t0",), sha256="ff", size_bytes=3, mtime_ns=2**62, staged_at=1.5)
    await journal.record(kept)
    assert await journal.find(["a.wav", "b.wav"]) == {"a.wav": kept}


async def test_a_later_fact_replaces_the_earlier_one(journal: Journal) -> None:
    first = await journal.record(job("a.wav"))
    later = await journal.record(first.move(State.STAGED, audio_url="http://x/upload/1"))
    assert await journal.find(["a.wav"]) == {"a.wav": later}
    assert await journal.counts() == {State.STAGED: 1}


async def test_a_thousand_writers_at_once_all_find_their_facts(journal: Journal) -> None:
    jobs = [job(f"{n}.wav") for n in range(1000)]
    await asyncio.gather(*map(journal.record, jobs))
    found = await journal.find([each.key for each in jobs])
    assert found == {each.key: each for each in jobs}


async def test_a_closed_journal_opens_again_with_everything_in_it(path: Path) -> None:
    with contextlib.closing(Journal(path)) as first:
        await first.record(job("a.wav"))
    with contextlib.closing(Journal(path)) as again:
        assert await again.find(["a.wav"]) == {"a.wav": job("a.wav")}


async def test_jobs_are_found_by_state_in_the_order_of_their_listing(journal: Journal) -> None:
    for key in ("c", "a", "b"):
        await journal.record(job(key, state=State.SUBMITTED, transcript_id=f"t{key}"))
    await journal.record(job("d"))
    assert [each.key for each in await journal.in_states([State.SUBMITTED, State.SUBMITTING])] == ["c", "a", "b"]


async def test_the_ids_of_our_own_transcripts_are_known(journal: Journal) -> None:
    await journal.record(job("a", state=State.SUBMITTED, transcript_id="t1", submitted_at=9.0))
    assert await journal.known_ids(["t1", "t2"]) == {"t1": 9.0}


async def test_the_first_row_of_a_run_that_uses_a_key_keeps_it(journal: Journal) -> None:
    one, two = job("a").recording, job("b").recording
    assert await journal.claim([one, two, one], ["a", "b", "a"]) == [None, None, one]
    assert await journal.claim([one], ["A"]) == [None], "another place, as this disk compares them"


@pytest.mark.parametrize("names", [("a", "a.json/b"), ("a.json/b", "a"), ("x/a.json/b/c", "x/a")])
async def test_result_that_must_be_a_directory_is_in_the_way(journal: Journal, names: tuple[str, str]) -> None:
    """A result that would have to be a directory is in the way of another one."""
    rows = [job(name).recording for name in (*names, "a.json/c")]
    first, second, third = await journal.claim(rows, [row.key for row in rows])
    assert (first, second) == (None, rows[0])
    assert third == (rows[0] if names[0] == "a" else None)


KILLED = """
import asyncio, sys
from pathlib import Path
from batch.archive.journal import Journal
from tests.support.jobs import job

async def write(journal, name):
    for n in range(10**6):
        key = f"{name}-{n}"
        await journal.record(job(key))
        print(key, flush=True)

async def main():
    journal = Journal(Path(sys.argv[1]))
    await asyncio.gather(*(write(journal, name) for name in "abcdefgh"))

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    acknowledged = [child.stdout.readline().strip() for _ in range(200)]
    os.kill(child.pid, signal.SIGKILL)
    acknowledged += child.stdout.read().split("\n")[:-1]
    child.wait()
    child.stdout.close()
    with contextlib.closing(Journal(path)) as journal:
        found = await journal.find(acknowledged)
    assert sorted(found) == sorted(acknowledged)


async def test_a_damaged_journal_is_refused_with_advice(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is not a database at all, but it is long enough to be looked at" * 100)
    with pytest.raises(errors.UsageError, match="damaged.*diarist recover"):
        Journal(path)


async def test_a_journal_of_a_newer_diarist_is_refused(path: Path, journal: Journal) -> None:
    import sqlite3

    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(errors.UsageError, match="newer diarist"):
        Journal(path)


async def test_full_disk_is_reported_to_all_who_wait(path: Path) -> None:
    """A full disk is reported to all who wait, and nothing is half written."""
    with contextlib.closing(Journal(path)) as journal:
        await journal.record(job("before"))
        await journal._ask(lambda db: db.execute("PRAGMA max_page_count = 20").fetchone())
        big = {"text": "x" * 200_000}
        recording = Recording(key="big", source="/a", manifest="m", line=1, labels=big)
        outcomes = await asyncio.gather(
            journal.record(Job(recording=recording, service="local")), journal.record(job("beside")),
            return_exceptions=True,
        )  # fmt: skip
        assert all(isinstance(outcome, errors.UnavailableError) for outcome in outcomes)
        assert sorted(await journal.find(["before", "big", "beside"])) == ["before"]


def test_a_move_that_the_table_does_not_allow_is_a_bug() -> None:
    with pytest.raises(ValueError, match="no move from listed to collected"):
        job("a").move(State.COLLECTED)
