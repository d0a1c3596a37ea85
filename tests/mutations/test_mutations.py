"""Every promise of docs/guarantees.md is held by a test that can fail: a slip breaks it, and the test notices."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutations import trial
from tests.mutations.table import MUTATIONS, Mutation

GUARANTEES = (trial.ROOT / "docs" / "guarantees.md").read_text("utf-8")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_still_fits_its_module_and_names_a_test(mutation: Mutation) -> None:
    assert trial.broken(mutation)
    assert mutation.test.partition("[")[0] in trial.places()


def test_every_promise_is_broken_by_a_mutation_that_is_noticed() -> None:
    """Every promise is broken by a mutation that a test of its row notices."""
    rows = re.findall(r"^\| ([^|]+) \| (`test_[^|]+) \|$", GUARANTEES, re.MULTILINE)
    noticing = {mutation.test.partition("[")[0] for mutation in MUTATIONS}
    assert len(rows) > 40
    assert [promise for promise, tests in rows if not noticing & set(re.findall(r"`(test_\w+)`", tests))] == []


def test_names_are_unique() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield trial.copied(Path(folder))


@pytest.mark.slow
@pytest.mark.timeout(2 * trial.SECONDS)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_noticed(mutation: Mutation, copy: Path) -> None:
    outcome = trial.tried(mutation, copy)
    assert outcome.is_noticed, str(outcome)
