"""A year of nights: after each of them no more was paid than the user has asked for, and what is said to be done is
there. ``python -m tests.acceptance.nights SEED`` tells the story of a year."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.nights import Year


async def test_sixty_nights_of_ordinary_life_cost_what_was_asked_for(tmp_path: Path) -> None:
    year = Year(tmp_path / "year", 1)
    await year.live(60)
    assert year.till.taken
    assert year.done


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(2, 12))
async def test_a_year_of_nights_costs_what_was_asked_for(tmp_path: Path, seed: int) -> None:
    year = Year(tmp_path / "year", seed)
    await year.live(365)
    assert len(year.story) > 365
