"""What the tests of the local service share."""

from __future__ import annotations

import os

import pytest

from tests.support.places import ROOT


@pytest.fixture(autouse=True)
def engines_of_tests_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service in a process of its own looks for an engine where packages are, not in the working directory."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
