"""A report in a real browser: Debian's Chromium, headless, without network."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.archive.report import build, rows
from batch.model import Job, Recording, State
from tests.support.archives import collected, failed, recorded, reported
from tests.support.browser import HAS_BROWSER, NO_BROWSER, Browser
from tests.support.demo_results import KEYS

pytestmark = [pytest.mark.usefixtures("calm"), pytest.mark.skipif(not HAS_BROWSER, reason=NO_BROWSER)]
HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "'\"><svg onload=alert(2)>",
    "javascript:alert(3)",
    "{{ 7 * 7 }} $page %s",
    "%E0%A4%A/100%",
    "#/../&amp;?x=1",
    "ünïcödé/録音 🎙",
)
_ROWS = "#table tbody tr"
_KEYS = "#table tbody a"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred and twenty recordings, some of them failed."""
    directory = tmp_path_factory.mktemp("results")
    collected(directory, [f"calls/{number}" for number in range(1, 118)], labels={"customer": "ACME"})
    kinds = ("bad_audio", "bad_audio", "missing")
    recorded(directory, [failed(f"broken/{n}", kind=kind, ended_at=1_795_600_500.0) for n, kind in enumerate(kinds)])
    reported(directory)
    return directory / "report.html"


def test_a_page_opens_with_its_totals_charts_and_first_rows(seen: Browser, page: Path) -> None:
    seen.open(page)
    assert seen.texts("h1") == ["117 of 120 recordings transcribed, 3 failed"]
    assert seen.texts("figcaption h3") == ["Throughput", "In flight", "Turnaround by length", "Speakers"]
    assert len(seen.texts(_ROWS)) == 50
    assert seen.texts("#where") == ["1–50 of 120"]  # noqa: RUF001
    drawn = seen.run("return [...document.querySelectorAll('.chart')].map(one => one.getBoundingClientRect().height)")
    assert min(drawn) > 150
    assert all(seen.texts(".chart > title"))
    assert all(seen.texts(".chart > desc"))


def test_the_table_filters_by_text_and_state_and_turns_its_pages(seen: Browser, page: Path) -> None:
    seen.open(page)
    seen.search("CALLS/11")
    assert seen.texts(_KEYS) == ["calls/11", *(f"calls/{n}" for n in range(110, 118))]
    seen.search("acme calls/7")
    assert len(seen.texts(_KEYS)) == 11
    seen.search("bad_audio")
    assert seen.texts(_KEYS) == ["broken/0", "broken/1"]
    seen.search("nobody is called so")
    assert seen.texts("#found") == ["No recording is like that."]
    seen.driver.find_element("id", "search").clear()
    seen.search(" ")
    seen.driver.find_element("css selector", "[data-show=failed]").click()
    assert seen.texts(_KEYS) == ["broken/0", "broken/1", "broken/2"]
    assert seen.run("return getComputedStyle(document.querySelector('[data-show=open]')).display") == "none"
    seen.driver.find_element("css selector", "[data-show=all]").click()
    seen.driver.find_element("id", "after").click()
    seen.driver.find_element("id", "after").click()
    assert len(seen.texts(_ROWS)) == 20
    assert not seen.driver.find_element("id", "after").is_enabled()


def test_table_sorts_numbers_as_numbers_with_missing_ones_last(seen: Browser, page: Path) -> None:
    seen.open(page)
    heading = "th[data-name={}] button"
    seen.driver.find_element("css selector", heading.format("key")).click()
    assert seen.texts(_KEYS)[:5] == ["broken/0", "broken/1", "broken/2", "calls/1", "calls/2"]
    seen.driver.find_element("css selector", heading.format("took")).click()
    assert seen.texts(_KEYS)[:2] == ["calls/1", "calls/2"]
    assert seen.run("return document.querySelector('th[data-name=took]').ariaSort") == "ascending"
    seen.driver.find_element("css selector", heading.format("took")).click()
    assert seen.texts(_KEYS)[:2] == ["calls/117", "calls/116"]
    seen.driver.find_element("id", "after").click()
    seen.driver.find_element("id", "after").click()
    assert seen.texts(_KEYS)[-3:] == ["broken/0", "broken/1", "broken/2"]


def test_recording_opens_with_timeline_shares_and_transcript(seen: Browser, page: Path) -> None:
    """A recording opens with its timeline, shares and transcript, and with the way back."""
    seen.open(page)
    seen.search("calls/2")
    seen.driver.find_element("link text", "calls/2").click()
    seen.until("return document.querySelector('#recording h1')?.textContent === 'calls/2'")
    assert seen.texts(".who.halo") == ["Speaker A", "Speaker B", "Speaker C"]
    lanes = "return [...document.querySelectorAll('.timeline path')].map(one => one.getBoundingClientRect().width)"
    assert min(seen.run(lanes)) > 100
    shares = [float(text.split()[0]) for text in seen.texts(".shares td:nth-child(2)")]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert "The roof is the first problem." in seen.texts(".turns p")[1]
    assert seen.texts(".turns .at")[:2] == ["0:00", "0:05"]
    assert seen.run("return document.activeElement.tagName") == "H1"
    seen.driver.find_element("link text", "Next →").click()
    seen.until("return document.querySelector('#recording h1').textContent === 'calls/20'")
    seen.driver.back()
    seen.driver.back()
    seen.until("return document.getElementById('recording').hidden")
    assert seen.texts(_KEYS)[0] == "calls/2"


def test_link_to_a_recording_opens_it_and_a_dead_link_says_so(seen: Browser, page: Path) -> None:
    seen.open(page, "broken/2")
    assert seen.texts("#recording h1") == ["broken/2"]
    assert seen.texts("#recording .note") == ["nothing in it"]
    seen.open(page, "nowhere")
    assert seen.texts("#recording h1") == ["There is no such recording here"]


def test_hostile_names_labels_reasons_and_words_do_no_harm(seen: Browser, tmp_path: Path) -> None:
    evil = HOSTILE[0]
    directory = tmp_path / f"<b>{HOSTILE[3]}"
    jobs = []
    for number, key in enumerate(HOSTILE):
        recording = Recording(key, "javascript:alert(4)", f"<i>{evil}", number, {"prompt": evil}, {evil: evil})
        jobs.append(Job(recording, f"http://x/{evil}", State.FAILED, kind=f"<u>{number}", reason=evil))
    recorded(directory, jobs)
    collected(directory, [f"said{number}" for number in range(4)])
    for path in directory.glob("said*.json"):
        text = path.read_text("utf-8").replace('"text":"', '"text":"<img src=x onerror=alert(5)> ')
        path.write_text(text.replace('"speaker":"A"', '"speaker":"<script>alert(6)</script>"'), "utf-8")
    reported(directory, tmp_path / "page.html")
    seen.open(tmp_path / "page.html")
    tags = "return document.querySelectorAll('img, b:not(.shares b), i, u, iframe, [onerror], [onload]').length"
    assert seen.run(tags) == 0
    shown = []
    for key in (*HOSTILE, *(f"said{number}" for number in range(4))):
        seen.go(key)
        assert seen.run(tags) == 0
        links = seen.run("return [...document.querySelectorAll('a[href]')].map(one => one.protocol)")
        assert set(links) == {"file:"}
        shown += [*seen.texts("#recording h1"), *seen.texts(".who.halo"), *seen.texts(".turns p")]
    assert {*HOSTILE, "<script>alert(6)</script>"} <= {*shown}
    assert any("<img src=x onerror=alert(5)>" in text for text in shown)
    assert seen.run("return document.querySelectorAll('body script').length") == 3


def test_transcripts_beside_the_page_are_read_when_opened(
    seen: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Transcripts beside the page are read when they are opened, and reported when they are missing."""
    monkeypatch.setattr(build, "INLINE_BYTES", 1000)
    monkeypatch.setattr(rows, "PART_BYTES", 3000)
    directory = tmp_path / "it's 100% #1"
    collected(directory, [f"calls/{number}" for number in range(12)])
    reported(directory, directory / "my report #1.html")
    parts = sorted((directory / "my report #1.parts").iterdir())
    assert len(parts) > 3
    seen.requests()
    seen.open(directory / "my report #1.html")
    assert not [url for url in seen.requests() if url.endswith(".js")]
    seen.go("calls/9")
    assert seen.texts(".turns p")
    assert len([url for url in seen.requests() if url.endswith(".js")]) == 1
    for path in parts:
        path.unlink()
    seen.go("calls/0")
    assert "is not beside this page" in seen.texts("#recording .note")[0]
    assert all("ERR_FILE_NOT_FOUND" in message for message in seen.complaints())


@pytest.mark.parametrize("width", [360, 768, 940])
def test_on_a_phone_nothing_scrolls_sideways(seen: Browser, tmp_path: Path, width: int) -> None:
    long = "archive/" + "averylongnamewithoutanyspaces" * 5
    collected(tmp_path, [long, *KEYS])
    recorded(tmp_path, [failed("x" * 120, kind="bad_audio"), failed("y", kind="missing", reason="z" * 300)])
    reported(tmp_path)
    seen.resize(width)
    seen.open(tmp_path / "report.html")
    assert seen.run("return document.documentElement.scrollWidth") <= width
    wide = "return [...document.querySelectorAll('#table td')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    assert seen.run(wide) == []
    seen.go(long)
    assert seen.run("return document.documentElement.scrollWidth") <= width


def test_in_the_dark_it_is_dark_and_can_be_read(seen: Browser, page: Path) -> None:
    seen.darken()
    seen.open(page)
    colours = [_luminance(seen.run(f"return getComputedStyle({of}).{what}")) for of, what in _CONTRASTS]
    paper, *inks = colours
    assert paper < 0.02
    assert min((ink + 0.05) / (paper + 0.05) for ink in inks) >= 4.5  # WCAG 2, AA


def test_without_a_script_the_overview_is_there(seen: Browser, page: Path) -> None:
    seen.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        seen.driver.get(page.as_uri())
        assert seen.driver.find_element("tag name", "h1").text == "117 of 120 recordings transcribed, 3 failed"
        assert "needs JavaScript" in seen.driver.find_element("id", "overview").text
    finally:
        seen.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


_CONTRASTS = (
    ("document.body", "backgroundColor"),
    ("document.body", "color"),
    ("document.querySelector('.sub')", "color"),
    ("document.querySelector('#table a')", "color"),
    ("document.querySelector('.failures .count')", "color"),
    ("document.querySelector('.chart text')", "fill"),
)


def _luminance(colour: str) -> float:
    """Of an ``rgb(r, g, b)``, as WCAG defines it."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
