"""Tries a mutation: in a copy of the tree, with the test that should notice it."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

from tests.mutations.table import Mutation

ROOT: Final = Path(__file__).resolve().parents[2]
PARTS: Final = ("batch", "tests", "configs", "docs", "README.md", "CHANGELOG.md", "pyproject.toml")
SECONDS: Final = 600
_PASSED, _FAILED = 0, 1
"""Pytest's exit codes; anything else is no verdict of a test."""


class Outcome(NamedTuple):
    mutation: Mutation
    is_noticed: bool
    said: str
    seconds: float

    def __str__(self) -> str:
        mark = "noticed" if self.is_noticed else "NOT NOTICED"
        return f"{mark:11} {self.mutation.name} ({self.mutation.test}, {self.seconds:.1f} s){self.said}"


def copied(folder: Path) -> Path:
    """A copy of what tests need of the tree, below ``folder``."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, folder / part)
    return folder


def path_of(mutation: Mutation, root: Path = ROOT) -> Path:
    """The module that is broken."""
    path = root.joinpath("batch", *mutation.module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def broken(mutation: Mutation) -> str:
    """The source of the module with its slip. Raises ValueError if the mutation does not fit it any more, and
    SyntaxError if what comes of it is no Python."""
    source = path_of(mutation).read_text("utf-8")
    if (count := source.count(mutation.old)) != 1:
        raise ValueError(f"{mutation.name}: {mutation.old!r} is {count} times in batch.{mutation.module}")
    changed = source.replace(mutation.old, mutation.new)
    compile(changed, mutation.module, "exec")
    return changed


@functools.cache
def places() -> dict[str, str]:
    """The file of each test function, by its name."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE):
            found[name] = path.relative_to(ROOT).as_posix()
    return found


def tried(mutation: Mutation, copy: Path) -> Outcome:
    """Break the copy, run the test, mend the copy."""
    name, _, _ = mutation.test.partition("[")
    node = f"{places()[name]}::{mutation.test}"
    if not _passes(node, copy):
        return Outcome(mutation, False, ": the test does not pass on the unbroken copy", 0.0)
    path, began = path_of(mutation, copy), time.monotonic()
    whole = path.read_text("utf-8")
    path.write_text(broken(mutation), "utf-8")
    try:
        code = _pytest(node, copy)
    finally:
        path.write_text(whole, "utf-8")
    said = "" if code in (_PASSED, _FAILED) else f": pytest ended with {code}"
    return Outcome(mutation, code == _FAILED, said, time.monotonic() - began)


@functools.cache
def _passes(node: str, copy: Path) -> bool:
    """Whether the test passes on the unbroken copy."""
    return _pytest(node, copy) == _PASSED


def _pytest(node: str, copy: Path) -> int:
    """Pytest's exit code for one test, whatever its markers; a test that hangs is one that fails."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        node,
        "-x",
        "-q",
        "-m",
        "",
        "-p",
        "no:cacheprovider",
        "--timeout",
        "120",
    ]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, timeout=SECONDS, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return _FAILED
