"""What is installed is what was tested: the pins, and the digests of every file that may be installed for them."""

from __future__ import annotations

import re
import tomllib

from tests.support.places import ROOT

PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)", re.MULTILINE)
RUN_EXTRAS = ("local", "stores", "metrics", "parquet", "png")


def pins(name: str) -> dict[str, str]:
    return dict(PIN.findall((ROOT / name).read_text()))


def needed() -> set[str]:
    """What a run needs, and what builds diarist itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in RUN_EXTRAS:
        asked += project["project"]["optional-dependencies"][extra]
    names = (re.match(r"[\w.-]+", one) for one in asked)
    return {re.sub(r"[-_.]+", "-", name[0]).lower() for name in names if name}


def test_every_file_that_is_installed_for_a_run_has_its_digest() -> None:
    text = (ROOT / "requirements-hashed.lock").read_text()
    assert needed() <= pins("requirements-hashed.lock").keys()
    for one in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in one, one


def test_both_locks_name_the_same_versions() -> None:
    plain, hashed = pins("requirements.lock"), pins("requirements-hashed.lock")
    assert {name: plain[name] for name in hashed} == hashed
