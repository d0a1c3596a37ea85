"""What a person does with a report, in a real browser: look for, listen, name, take along."""

from __future__ import annotations

import itertools
import os
import tomllib
from pathlib import Path

import pysubs2
import pytest

from batch.model import Job, Recording, State
from tests.support.archives import collected, failed, recorded, reported
from tests.support.browser import HAS_BROWSER, NO_BROWSER, Browser
from tests.support.demo_results import ARCHIVE, KEYS
from tests.support.places import DEMO

pytestmark = [pytest.mark.usefixtures("calm"), pytest.mark.skipif(not HAS_BROWSER, reason=NO_BROWSER)]
_KEYS = "#table tbody a"

KEY = "planning-meeting"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty calls of two customers, some of which failed in two ways."""
    directory = tmp_path_factory.mktemp("results")
    collected(directory, [f"seven/{number}" for number in range(55)], labels={"customer": "ACME 7", "agent": "Kim"})
    collected(directory, [f"seventy/{number}" for number in range(3)], labels={"customer": "ACME 70"})
    kinds = ("bad_audio", "bad_audio", "missing")
    recorded(directory, [failed(f"broken/{n}", kind=kind, ended_at=1_795_600_500.0) for n, kind in enumerate(kinds)])
    reported(directory)
    return directory / "report.html"


@pytest.fixture(scope="module")
def playable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One recording, whose audio is on this machine."""
    directory = tmp_path_factory.mktemp("playable")
    keys = [key for key in KEYS if key != KEY]
    collected(directory, keys)
    (directory / f"{KEY}.json").write_bytes((ARCHIVE / f"{KEY}.json").read_bytes())
    recording = Recording(KEY, str(DEMO / f"{KEY}.mp3"), "/calls.csv", 9)
    recorded(directory, [Job(recording, "local", State.COLLECTED, audio_seconds=45.0, speakers=3)])
    reported(directory)
    return directory / "report.html"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("customer:ACME", 58),
        ('customer:"ACME 7"', 55),
        ('customer:"acme 70"', 3),
        ("agent:kim seven/1", 11),
        ('"seventy/1"', 1),
        ("nobody:ACME", 0),
        ("http://x", 0),
    ],
)
def test_rows_are_found_by_words_and_by_labels(seen: Browser, page: Path, text: str, count: int) -> None:
    seen.open(page)
    seen.search(text)
    found = seen.texts("#found")[0]
    assert found.startswith(f"{count} of 61" if count else "No recording is like that"), found


def test_what_was_said_is_searched_by_the_command_that_is_told(seen: Browser, page: Path) -> None:
    seen.open(page)
    seen.search('the roof customer:"ACME 7"')
    command = f"diarist search {page.parent} 'the roof' --label 'customer=ACME 7'"
    assert seen.texts("#spoken code") == [command]


def test_a_kind_of_failure_leads_to_its_rows(seen: Browser, page: Path) -> None:
    seen.open(page)
    seen.driver.find_element("link text", "bad_audio").click()
    seen.until("return document.querySelectorAll('#table tbody tr').length === 2")
    assert seen.texts(_KEYS) == ["broken/0", "broken/1"]
    seen.driver.find_element("id", "unkind").click()
    assert seen.texts("#found")[0].startswith("61 recordings")


def test_search_filter_order_and_page_are_in_the_address(seen: Browser, page: Path) -> None:
    seen.open(page)
    seen.search("customer:ACME")
    seen.driver.find_element("css selector", "[data-show=collected]").click()
    seen.driver.find_element("css selector", "th[data-name=took] button").click()
    seen.driver.find_element("css selector", "th[data-name=took] button").click()
    seen.driver.find_element("id", "after").click()
    shown, address = seen.texts(_KEYS), seen.driver.current_url
    assert len(shown) == 8
    seen.driver.get("about:blank")
    seen.driver.get(address)
    seen.until("return document.documentElement.dataset.ready === 'true'")
    assert seen.texts(_KEYS) == shown
    assert seen.run("return document.getElementById('search').value") == "customer:ACME"
    seen.driver.find_element("link text", shown[0]).click()
    seen.until("return !document.getElementById('recording').hidden")
    seen.driver.find_element("link text", "All recordings").click()
    seen.until("return document.getElementById('recording').hidden")
    assert seen.texts(_KEYS) == shown
    seen.driver.back()
    seen.driver.back()
    assert seen.texts(_KEYS) == shown


def test_a_hostile_address_does_no_harm(seen: Browser, page: Path) -> None:
    for asked in (
        "#?page=-3&sort=constructor&show=__proto__",
        "#?page=1e9&show=failed",
        "#?text=%E0%A4%A",
        "#?kind=<b>",
    ):
        seen.driver.get("about:blank")
        seen.driver.get(page.as_uri() + asked)
        seen.until("return document.documentElement.dataset.ready === 'true'")
        assert seen.run("return document.querySelectorAll('b').length") == 0


_AT = "return document.querySelector('audio').currentTime"


def play(seen: Browser, page: Path) -> None:
    seen.open(page, KEY)
    seen.driver.find_element("css selector", ".turns li:nth-child(2) .at").click()
    seen.until(f"{_AT} > 6.2")


def test_what_is_spoken_is_marked_and_stays_in_view(seen: Browser, playable: Path) -> None:
    play(seen, playable)
    assert "The roof is the first problem." in seen.texts(".turns .now p")[0]
    first = seen.texts(".word.said")
    assert first and first[0] in seen.texts(".turns .now p")[0].split()
    seen.until("return document.querySelector('.word.said').textContent !== arguments[0]", first[0])
    assert seen.run("return document.querySelectorAll('.word.said').length") == 1
    box = "const at = document.querySelector('%s').getBoundingClientRect();"
    box += " return at.top >= 0 && at.bottom <= innerHeight"
    seen.until(box % ".turns .now")
    assert seen.run(box % "audio"), "the player stays in view"
    head = seen.run("return parseFloat(document.querySelector('.playhead').style.getPropertyValue('--at'))")
    assert 6 / 45 < head < 0.5


def test_words_and_the_timeline_are_clickable(seen: Browser, playable: Path) -> None:
    play(seen, playable)
    seen.run("document.querySelector('audio').pause()")
    seen.run(
        "document.querySelector('.turns li:nth-child(4)')"
        ".dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    )
    seen.driver.find_element("css selector", ".turns li:nth-child(4) [data-word='3']").click()
    seen.until(f"{_AT} > 17")
    area = seen.driver.find_element("css selector", ".track-area")
    seen.run("document.querySelector('audio').pause(); arguments[0].scrollIntoView({block: 'center'})", area)
    area.click()
    seen.until(f"{_AT} > 22 && document.querySelector('audio').currentTime < 25")


def test_space_and_arrows_play_and_go(seen: Browser, playable: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    play(seen, playable)
    body = seen.driver.find_element("tag name", "body")
    body.send_keys(Keys.SPACE)
    seen.until("return document.querySelector('audio').paused")
    before = seen.run(_AT)
    body.send_keys(Keys.ARROW_RIGHT)
    seen.until(f"{_AT} > {before + 4.5}")
    body.send_keys(Keys.ARROW_LEFT)
    seen.until(f"{_AT} < {before + 0.5}")
    name = seen.driver.find_element("css selector", ".name")
    name.send_keys("An na")
    assert seen.run("return document.querySelector('audio').paused"), "a space in a name is a space"
    assert name.get_attribute("value") == "An na"
    name.clear()


def taken(seen: Browser, button: str) -> str:
    """What a button saves."""
    seen.run(
        "HTMLAnchorElement.prototype.click = () => {};"
        "URL.createObjectURL = (blob) => { window.saved = blob; return '#' }"
    )
    seen.driver.find_element("css selector", button).click()
    return str(seen.run_async("window.saved.text().then(arguments[0])"))


def test_speakers_are_named_and_their_names_taken_away(seen: Browser, playable: Path) -> None:
    seen.open(playable, KEY)
    seen.driver.find_element("css selector", ".shares tr:nth-child(2) .name").send_keys('Bo "B"')
    assert seen.texts(".turns .who")[1] == 'Bo "B"' == seen.texts(".who.halo")[1]
    assert tomllib.loads(taken(seen, "#take-names")) == {KEY: {"B": 'Bo "B"'}}
    seen.go("")
    seen.go(KEY)
    assert seen.texts(".turns .who")[1] == 'Bo "B"', "it is kept"
    assert 'Bo "B": The roof' in taken(seen, "[data-form=txt]")
    field = seen.driver.find_element("css selector", ".shares tr:nth-child(2) .name")
    field.send_keys("\b" * 9)
    assert seen.texts(".turns .who")[1] == "Speaker B"
    assert not seen.driver.find_element("id", "take-names").is_displayed()


@pytest.mark.parametrize("form", ["srt", "vtt"])
def test_captions_are_such_as_others_read(seen: Browser, playable: Path, form: str) -> None:
    seen.open(playable, KEY)
    read = pysubs2.SSAFile.from_string(taken(seen, f"[data-form={form}]"), format_=form)
    assert len(read) > 9
    assert all(cue.start < cue.end <= 45_100 for cue in read)
    assert all(before.end <= after.start for before, after in itertools.pairwise(read))
    said = " ".join(cue.plaintext.replace("\n", " ") for cue in read)
    assert "roof is the first problem" in said
    assert max(len(line) for cue in read for line in cue.plaintext.split("\n")) <= 60


def test_doubtful_words_are_marked_one_by_one(seen: Browser, playable: Path) -> None:
    seen.open(playable, KEY)
    marked = seen.texts("mark.unsure")
    assert marked and all(" " not in word for word in marked)
    button = seen.driver.find_element("id", "doubted")
    assert button.text.startswith(f"{len(marked)} word")
    before = seen.texts(".turns p")
    for word in marked:
        button.click()
        assert seen.texts("mark.looked-at") == [word]
    seen.run(
        "for (const li of document.querySelectorAll('.turns li')) "
        "li.dispatchEvent(new PointerEvent('pointerover', {bubbles: true}))"
    )
    assert seen.texts(".turns p") == before, "the text stays what it was"
    assert seen.texts("mark.unsure") == marked


def test_the_bar_jumps_within_a_page(seen: Browser, playable: Path, page: Path) -> None:
    top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
    seen.resize(390)
    seen.open(page)
    assert seen.texts("#overview .jump button") == ["Failures", "Charts", "Least certain", "Cost", "Recordings"]
    seen.driver.find_element("css selector", "#overview .jump button:last-child").click()
    assert 0 <= seen.run(top, "#recordings") < 450
    seen.open(playable, KEY)
    assert seen.texts("#recording .jump button") == ["Who speaks when", "Talk shares", "Transcript", "About"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.skipif(not os.environ.get("AXE"), reason="AXE: the path of axe.min.js (npm pack axe-core)")
def test_axe_finds_nothing_serious(seen: Browser, playable: Path, page: Path, scheme: str, width: int) -> None:
    axe = Path(os.environ["AXE"]).read_text("utf-8")
    seen.resize(width)
    seen.darken(scheme)
    for shown, key in ((page, ""), (playable, KEY)):
        seen.open(shown, key)
        seen.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})
        found = seen.run_async("axe.run().then((told) => arguments[0](told.violations))")
        assert [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in found] == []
