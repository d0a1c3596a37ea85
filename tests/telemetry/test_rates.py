"""Rates are those of the last minutes, and the time that is left follows the work that is left."""

from __future__ import annotations

import pytest

from batch.errors import FailureKind
from batch.model import State
from batch.telemetry.events import BytesSent, JobMoved, JobPostponed, RequestStarted, RowSkipped
from batch.telemetry.rates import Rates
from tests.support.jobs import numbered_job


def ran(rates: Rates, number: int, begin: float, end: float, size: int | None = 1000, seconds: float = 60.0) -> None:
    facts = {"size_bytes": size, "submitted_at": 1.0}
    rates.note(JobMoved(numbered_job(number, State.SUBMITTED, **facts)), begin)
    rates.note(JobMoved(numbered_job(number, State.COLLECTED, audio_seconds=seconds, **facts)), end)


def test_the_rate_of_audio_is_that_of_the_last_five_minutes() -> None:
    rates = Rates()
    for number in range(100):
        ran(rates, number, 10.0 * number, 10.0 * number + 5)
    assert rates.audio_rate(1000) == pytest.approx(6.0, rel=0.05)
    for number in range(100, 160):
        ran(rates, number, 1000 + 5.0 * (number - 100), 1005 + 5.0 * (number - 100))
    assert rates.audio_rate(1300) == pytest.approx(12.0, rel=0.05)
    assert rates.audio_rate(10_000) == pytest.approx(0.0, abs=0.01)


def test_upload_rate_spans_ten_seconds_requests_five_minutes() -> None:
    """Uploads are rated over the last ten seconds, and requests over the last five minutes."""
    rates = Rates()
    ran(rates, 1, 0, 1)
    for second in range(600):
        rates.note(BytesSent(1000 if second < 300 else 5000), float(second))
        rates.note(RequestStarted("list"), float(second))
    assert rates.upload_rate(600) == pytest.approx(5000, rel=0.1)
    assert rates.requests(600) == pytest.approx(300, abs=3)
    assert rates.all_requests == 600


def test_long_recording_left_takes_longer_than_many_short_ones() -> None:
    rates = Rates()
    for number in range(100):
        ran(rates, number, number, number + 1, size=1000)
    rates.note(JobMoved(numbered_job(200, State.SUBMITTED, size_bytes=1_000_000)), 100)
    assert rates.left_seconds(100, total=101, handled=100) == pytest.approx(1000, rel=0.05)


def test_rows_to_come_are_expected_done_as_often_as_those_read() -> None:
    """Rows to come are expected to be done before as often as those that were read."""
    rates = Rates()
    for number in range(100):
        ran(rates, number, number, number + 1)
        for _ in range(9):
            rates.note(RowSkipped(None, "", "done"), number + 1)
    assert rates.left_seconds(100, total=11_000, handled=1000) == pytest.approx(1000, rel=0.05)


def test_recordings_that_fail_at_once_are_no_work() -> None:
    rates = Rates()
    for number in range(100):
        ran(rates, number, number, number + 1)
        for more in range(9):
            missing = numbered_job(1000 * number + more, State.FAILED, kind="missing")
            rates.note(JobMoved(missing), number + 1)
    assert rates.left_seconds(100, total=11_000, handled=1000) == pytest.approx(1000, rel=0.05)


def test_sizes_that_nobody_knows_count_as_the_others() -> None:
    rates = Rates()
    for number in range(50):
        ran(rates, number, number, number + 1, size=None if number % 2 else 5000)
    assert rates.left_seconds(50, total=100, handled=50) == pytest.approx(50, rel=0.05)


def test_before_anything_has_ended_nothing_is_claimed() -> None:
    rates = Rates()
    assert (rates.left_seconds(5, 10, 0), rates.audio_rate(5), rates.requests(5)) == (None, 0.0, 0)
    rates.note(JobMoved(numbered_job(1, State.SUBMITTED)), 1)
    assert rates.left_seconds(5, 10, 0) is None
    assert rates.left_seconds(5, None, 0) is None


def test_what_is_postponed_is_no_longer_waited_for() -> None:
    rates = Rates()
    ran(rates, 1, 0, 10)
    rates.note(JobMoved(numbered_job(2, State.STAGED, size_bytes=1000)), 10)
    rates.note(JobPostponed(numbered_job(2, State.STAGED, size_bytes=1000), "", FailureKind.THROTTLED), 10)
    assert rates.left_seconds(10, total=2, handled=2) == 0
