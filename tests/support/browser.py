"""Debian's Chromium, headless and offline, as tests and benchmarks look at a report with it."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
HAS_BROWSER = bool(CHROMIUM and DRIVER)
NO_BROWSER = "no browser: apt-get install chromium chromium-driver"
_FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync",
)  # fmt: skip
_LOAD_SECONDS = 20


class Browser:
    """One page at a time; ``driver`` is selenium's."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, key: str = "") -> None:
        """Open a report, at one of its recordings, and wait until its rows are there."""
        self.driver.get("about:blank")
        self.driver.get(page.resolve().as_uri() + (f"#/{quote(key, safe='')}" if key else ""))
        self.until("return document.documentElement.dataset.ready === 'true'")

    def go(self, key: str) -> None:
        """Follow the address of a recording, or back to the table."""
        self.run("location.hash = arguments[0]", f"#/{quote(key, safe='')}" if key else "")
        self.until("return document.getElementById('recording').hidden === arguments[0]", not key)
        if key:
            self.until("return document.querySelector('#recording h1').textContent === arguments[0]", key)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def run_async(self, script: str) -> Any:
        return self.driver.execute_async_script(script)

    def until(self, script: str, *arguments: Any) -> None:
        end = time.monotonic() + _LOAD_SECONDS
        while not self.run(script, *arguments):
            assert time.monotonic() < end, f"not so within {_LOAD_SECONDS} s: {script}\n{self.complaints()}"
            time.sleep(0.02)

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)"
        return list(self.run(script, selector))

    def search(self, text: str) -> None:
        """Type into the search field."""
        box = self.driver.find_element("id", "search")
        box.clear()
        box.send_keys(text)

    def complaints(self) -> list[str]:
        """What the console said since the last look."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that pages have asked for since the last look."""
        told = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))
        return [one["params"]["request"]["url"] for one in told if one["method"] == "Network.requestWillBeSent"]

    def resize(self, width: int, height: int = 900) -> None:
        """A viewport of this size, as a phone's if it is narrow."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def darken(self, scheme: str = "dark") -> None:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def picture(self, path: Path, most_high: int = 6000) -> None:
        """The whole page as a PNG."""
        width, height = self.run("return [innerWidth, document.documentElement.scrollHeight]")
        self.resize(width, min(height, most_high))
        taken = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        path.write_bytes(base64.b64decode(taken["data"]))


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a fresh profile. The driver is Debian's too, so that selenium looks for none in the net."""
    assert CHROMIUM and DRIVER
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
