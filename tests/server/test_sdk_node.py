"""The vendor's own SDK for Node, unchanged and from npm, against a real service with the real engine.

pytest -m sdk, with node and npm installed
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.places import DEMO, ROOT
from tests.support.sdk import KEY, served, tell

SCRIPT = ROOT / "tests" / "support" / "sdk.mjs"
PACKAGE = "assemblyai@^4.41.5"


@pytest.fixture
def sdk(tmp_path: Path) -> Path:
    """A folder with the SDK installed in it, and the script."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed")
    folder = tmp_path / "node"
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    if installed.returncode:
        pytest.skip(f"npm cannot install {PACKAGE}: {installed.stderr[-300:]}")
    shutil.copy(SCRIPT, folder)
    return folder


@pytest.mark.sdk
@pytest.mark.timeout(600)
def test_every_call_of_the_sdk_for_node_does_what_is_documented(
    sdk: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    with served(tmp_path / "service") as base_url:
        command = ["node", SCRIPT.name, base_url, KEY, str(DEMO)]
        run = subprocess.run(command, cwd=sdk, capture_output=True, text=True, timeout=500, env=os.environ)
    calls = [json.loads(line) for line in run.stdout.splitlines()]
    good = sum(call["ok"] for call in calls)
    version = json.loads((sdk / "node_modules/assemblyai/package.json").read_text())["version"]
    tell(pytestconfig, f"assemblyai {version} for Node: {len(calls)} calls, {good} as documented")
    assert run.returncode == 0, run.stderr
    assert [call for call in calls if not call["ok"]] == []
    assert calls[-1]["name"] == "get with a wrong key"  # the last in the script
