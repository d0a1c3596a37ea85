"""Every kind of failure has one name, and each set of kinds says what becomes of it."""

from __future__ import annotations

import re

import pytest

from batch import errors
from batch.errors import FailureKind
from tests.support.places import ROOT

SETS = (errors.RETRIED_UNASKED, errors.RECORDINGS_OWN, errors.LINE_DOWN, errors.GIVEN_UP)


def tree(root: type[errors.DiaristError]) -> list[type[errors.DiaristError]]:
    return [root, *(each for child in root.__subclasses__() for each in tree(child))]


@pytest.mark.parametrize("error", tree(errors.DiaristError), ids=lambda error: error.__name__)
def test_each_error_has_a_kind_and_its_message(error: type[errors.DiaristError]) -> None:
    assert (error("a").kind, str(error("a"))) == (error.default_kind, "a")
    assert error("a", kind=FailureKind.DISK).kind is FailureKind.DISK
    assert error is errors.DiaristError or "Error" in error.__name__


def test_errors_that_end_a_run_have_an_exit_code() -> None:
    codes = {error.__name__: error.exit_code for error in tree(errors.RunError)}
    assert set(codes.values()) == {1, 2, 4, 5, 6, 8}


def test_what_is_given_up_is_never_retried_unasked() -> None:
    assert not errors.GIVEN_UP & errors.RETRIED_UNASKED


def test_each_kind_is_used_by_the_code_or_is_an_errors_own() -> None:
    own = {error.default_kind for error in tree(errors.DiaristError)}
    text = "".join(path.read_text("utf-8") for path in (ROOT / "batch").rglob("*.py") if path.name != "errors.py")
    used = {FailureKind[name] for name in re.findall(r"FailureKind\.([A-Z_]+)\b", text)}
    assert [kind.name for kind in FailureKind if kind not in used | own] == []
