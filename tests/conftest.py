"""What several test files share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioresponses
import aioresponses.core
import hypothesis
import pytest

from batch.providers.assemblyai import client

hypothesis.settings.register_profile(
    "a shared machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("a shared machine")


class MockedResponse(aioresponses.core.ClientResponse):  # type: ignore[misc]
    """aioresponses 0.7.9 does not know the stream writer that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, stream_writer=SimpleNamespace(output_size=0), **given)


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses.aioresponses]:
    """aioresponses, for answers that no real service gives on demand."""
    monkeypatch.setattr(aioresponses.core, "ClientResponse", MockedResponse)
    with aioresponses.aioresponses() as mock:
        yield mock


@pytest.fixture
async def api() -> AsyncIterator[client.Client]:
    """A client of a service that is mocked."""
    async with client.connect("http://service.test", "a-key", connections=4) as connected:
        yield connected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 megabytes: SQLite's write-ahead log alone may take four."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
