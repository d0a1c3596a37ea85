"""The house is as its plan says: rooms, and tests that stand as the code does."""

from __future__ import annotations

import re

from tests.support.places import ROOT

ROOMS = {
    "archive", "cli", "engine", "jobs", "manifest", "network", "providers", "server", "storage", "telemetry",
    "transcripts",
}  # fmt: skip


def test_batch_holds_its_rooms_and_little_else() -> None:
    there = {path.name for path in (ROOT / "batch").iterdir() if path.name != "__pycache__"}
    assert there - ROOMS == {"__init__.py", "__main__.py", "py.typed", "config.py", "errors.py", "model.py"}


def test_no_module_imports_from_a_test_module() -> None:
    """Nor does a program within a string."""
    of_tests = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in (ROOT / "tests").rglob("*.py")
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"from tests\.\S*\b(test_\w+|conftest) import", line)
    ]
    assert of_tests == []


def test_the_tests_stand_in_the_rooms_of_what_they_test() -> None:
    beside = {"acceptance", "bench", "docs", "fuzz", "mutations", "support", "typing"}
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms <= ROOMS | beside


def test_test_names_have_sixty_characters_at_most() -> None:
    names = [
        name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    ]
    assert [name for name in names if len(name) > 60] == []
