"""Which part of a manifest a run takes."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from batch.config import read_time
from batch.errors import UsageError
from batch.jobs.planning.selection import Selection, read_shard
from batch.model import Recording, Reject
from batch.storage.audio import stamp

NOW = datetime(2026, 11, 24, 12, 0, 0).astimezone()


def row(number: int, source: str = "") -> Recording:
    return Recording(f"calls/{number}", source or f"/{number}.wav", "m.csv", number + 2)


def test_shards_part_the_rows_among_them_and_keep_bad_rows() -> None:
    rows = [*map(row, range(1000)), Reject("m.csv", 1002, "bad")]
    shards = [list(Selection(shard=n, shards=4).apply(rows, stamp)) for n in (1, 2, 3, 4)]
    keys = [each.key for shard in shards for each in shard if isinstance(each, Recording)]
    assert sorted(keys) == sorted(f"calls/{n}" for n in range(1000))
    assert all(len(shard) > 200 and isinstance(shard[-1], Reject) for shard in shards)


def test_a_sample_is_always_the_same_from_all_over_and_in_order() -> None:
    rows = list(map(row, range(1000)))
    first, again = (list(Selection(sample=20).apply(rows, stamp)) for _ in range(2))
    lines = [each.line for each in first]
    assert first == again
    assert len(first) == 20
    assert lines == sorted(lines)
    assert lines[-1] - lines[0] > 500


def test_time_bounds_select_files_by_their_modification(tmp_path: Path) -> None:
    """Time bounds files by their modification, and leaves URLs and missing files in."""
    sources = {}
    for name, days in (("old", 10), ("young", 1)):
        path = tmp_path / f"{name}.wav"
        path.touch()
        then = (NOW - timedelta(days=days)).timestamp()
        os.utime(path, (then, then))
        sources[name] = str(path)
    rows = [
        row(1, sources["old"]),
        row(2, sources["young"]),
        row(3, "https://example.com/a.mp3"),
        row(4, "/gone.wav"),
    ]

    def within(**bounds: float) -> list[int]:
        return [each.line - 2 for each in Selection(**bounds).apply(rows, stamp) if isinstance(each, Recording)]

    week = (NOW - timedelta(days=7)).timestamp()
    assert within(since=week) == [2, 3, 4]
    assert within(until=week) == [1, 3, 4]
    assert within(since=week, until=week) == [3, 4]


def test_what_a_listing_has_told_is_not_looked_at_again() -> None:
    def told(days: int) -> Recording:
        then = int((NOW - timedelta(days=days)).timestamp()) * 10**9
        return Recording(f"{days}", f"s3://archive/{days}.wav", "s3://archive/", 1, stamp=(1000, then))

    def asked(source: str) -> None:
        raise AssertionError(source)

    week = (NOW - timedelta(days=7)).timestamp()
    recent = Selection(since=week).apply([told(10), told(1)], asked)
    assert [each.key for each in recent] == ["1"]


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("36h", timedelta(hours=36)),
        ("7d", timedelta(days=7)),
        ("2 w", timedelta(weeks=2)),
        ("90m", timedelta(minutes=90)),
    ],
)
def test_a_time_may_be_an_age(text: str, ago: timedelta) -> None:
    assert read_time(text, NOW) == (NOW - ago).timestamp()


def test_a_time_may_be_a_date_or_a_moment() -> None:
    assert read_time("2026-11-20", NOW) == datetime(2026, 11, 20).timestamp()
    assert read_time("1970-01-02T00:00:00+00:00", NOW) == 86400


@pytest.mark.parametrize("text", ["", "yesterday", "7", "h", "2026-13-01", "-3d"])
def test_what_is_no_time_is_told_with_what_would_be(text: str) -> None:
    with pytest.raises(UsageError, match=r"2026-11-20T18:00, 36h or 7d"):
        read_time(text, NOW)


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "/"])
def test_what_is_no_shard_is_told(text: str) -> None:
    with pytest.raises(UsageError, match="I/N"):
        read_shard(text)
