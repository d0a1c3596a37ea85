"""A browser for the tests of the report's page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browser import Browser, browser


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        found.driver.get("about:blank")
        found.requests()
        yield found


@pytest.fixture
def calm(seen: Browser) -> Iterator[None]:
    """Whatever a test does, no page complains and nothing but files is asked for."""
    seen.resize(1280)
    seen.darken("light")
    yield
    assert seen.complaints() == []
    assert {url.partition(":")[0] for url in seen.requests()} <= {"file", "data", "about"}
