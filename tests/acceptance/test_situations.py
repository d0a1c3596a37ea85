"""Thirteen situations of ordinary life: no payment too many, no result lost, and an exit code that says what was not
done. ``python -m tests.acceptance.situations`` prints them as a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.situations import SITUATIONS, played, told


@pytest.mark.parametrize("name", SITUATIONS)
async def test_ordinary_life_costs_no_money_and_no_result(tmp_path: Path, name: str) -> None:
    play = await played(name, tmp_path)
    assert play.is_right, f"\n{told(name, play)}"


def test_there_are_thirteen() -> None:
    assert len(SITUATIONS) == 13
