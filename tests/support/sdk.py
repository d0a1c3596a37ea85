"""For the tests with the vendor's SDKs: a real ``diarist serve`` with the real engine, and a count of calls."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

KEY = "the right key"
_ENGINE = ("av", "moonshine_voice", "onnxruntime", "pocketsphinx")


@contextlib.contextmanager
def served(data: Path) -> Iterator[str]:
    """The base URL of a service that was started from the command line, and wants ``KEY``."""
    if not all(map(find_spec, _ENGINE)):
        pytest.skip("the engine is not installed: pip install '.[local]'")
    command = [sys.executable, "-m", "batch", "serve", "--port", "0", "--data", str(data), "--until-stdin-closes"]
    environ = os.environ | {"DIARIST_SERVICE_KEY": KEY}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as service:
        assert service.stdin
        assert service.stdout
        try:
            yield str(json.loads(service.stdout.readline())["base_url"])
        finally:
            service.stdin.close()


class Calls:
    """Counts the calls made to an SDK, and those that did what its documentation says."""

    def __init__(self) -> None:
        self.made = self.as_documented = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Around one call and what is expected of it."""
        self.made += 1
        yield
        self.as_documented += 1


def tell(config: pytest.Config, text: str) -> None:
    """Print ``text`` though pytest captures what tests print."""
    capture = config.pluginmanager.getplugin("capturemanager")
    assert capture
    with capture.global_and_fixture_disabled():
        print(f"\n{text}")
