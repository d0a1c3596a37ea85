"""``diarist search``: real results, a real index, and whatever may have happened to either."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batch
from batch.archive.search import database, sync
from batch.archive.search.background import BackgroundIndexer
from batch.archive.search.query import Hit, Question, SearchAnswer, read_labels, search
from batch.cli.display import search_view
from batch.errors import UsageError
from batch.telemetry.events import Event, Notice
from batch.transcripts.speakers import read_names
from tests.support.command_line import diarist
from tests.support.demo_results import ARCHIVE, KEYS, copied, utterance, words
from tests.support.killing import finish, start
from tests.support.places import ROOT
from tests.support.recordings import archive as recordings
from tests.support.recordings import settings, sha256
from tests.support.service import start_service


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return copied(tmp_path / "results")


def asked(directory: Path, phrase: str, **given: Any) -> list[Hit]:
    return search(directory, Question(phrase, **given)).hits


def told(directory: Path, phrase: str, **given: Any) -> tuple[SearchAnswer, list[str]]:
    notices: list[str] = []
    return search(directory, Question(phrase, **given), notices.append), notices


def where(hits: list[Hit]) -> list[tuple[str, int]]:
    return [(hit.key, hit.start) for hit in hits]


def put(directory: Path, key: str, labels: dict[str, Any] | None = None, **transcript: Any) -> None:
    path = directory / f"{key}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"key": key, "source": f"/audio/{key}.wav", "labels": labels or {}}
    path.write_text(json.dumps({"recording": about, **transcript}), "utf-8")


def said(directory: Path, key: str, text: str, speaker: str = "A", labels: dict[str, Any] | None = None) -> None:
    put(directory, key, labels, utterances=[utterance(text, speaker)])


def indexed(directory: Path) -> dict[str, int]:
    """How many utterances the index holds of each key, without bringing it up to date."""
    with contextlib.closing(sqlite3.connect(directory / ".diarist" / "search.db")) as db:
        query = f"""SELECT key,
            (SELECT count(*) FROM utterances WHERE utterances.id >> {database.BITS} = recordings.id)
            FROM recordings"""
        found = dict(db.execute(query).fetchall())
        db.execute("INSERT INTO said (said, rank) VALUES ('integrity-check', 1)")
    return found


# ── what is found ────────────────────────────────────────────────────────────────────────────────────────────────


def test_phrase_is_found_with_its_time_speaker_and_context(archive: Path) -> None:
    [hit] = asked(archive, "Library building")
    assert (hit.key, hit.speaker, hit.name) == ("planning-meeting", "A", None)
    assert (hit.start, hit.end, hit.before) == (484, 5284, None)
    assert hit.after is not None
    assert hit.after.startswith("The roof is the first problem.")
    [span] = hit.hits
    assert hit.text[slice(*span.place)] == "library building"
    heard = json.loads((archive / "planning-meeting.json").read_bytes())["words"]
    [library] = [word for word in heard if word["text"] == "library"]
    [building] = [word for word in heard if word["text"] == "building"]
    assert (span.start, span.end) == (library["start"], building["end"])
    assert (hit.labels, hit.source) == ({"topic": "library building"}, "/demo/planning-meeting.mp3")
    assert Path(hit.result).samefile(archive / "planning-meeting.json")


@pytest.mark.parametrize("key", KEYS)
def test_every_word_and_pair_of_words_is_found_at_its_own_time(archive: Path, key: str) -> None:
    stored = json.loads((ARCHIVE / f"{key}.json").read_bytes())
    for one in stored["utterances"]:
        for first, second in zip(one["words"], one["words"][1:], strict=False):
            hits = asked(archive, f"{first['text']} {second['text']}", limit=1000)
            spans = [(span.start, span.end) for hit in hits if hit.key.endswith(key) for span in hit.hits]
            assert (first["start"], second["end"]) in spans


def test_words_must_be_adjacent_and_in_order_in_one_utterance(archive: Path) -> None:
    assert len(asked(archive, "before the winter")) == 1
    assert asked(archive, "the before winter") == []
    assert asked(archive, "before winter") == []
    assert asked(archive, "winter the roof") == [], "of two speakers"


def test_hits_are_ordered_by_key_and_time_and_counted_past_limit(archive: Path) -> None:
    """Hits are in the order of keys and times, and are counted beyond the limit."""
    answer = search(archive, Question("the", limit=3))
    everything = search(archive, Question("the"))
    assert (len(answer.hits), answer.utterances, answer.recordings) == (3, 17, 4)
    assert where(everything.hits) == sorted(where(everything.hits))
    assert answer.hits == everything.hits[:3]


def test_utterance_with_phrase_twice_is_one_hit_with_two_places(archive: Path) -> None:
    said(archive, "twice", "well well I never, well I never ever")
    [hit] = asked(archive, "well I never")
    assert [hit.text[slice(*span.place)] for span in hit.hits] == ["well I never", "well I never"]
    assert [(span.start, span.end) for span in hit.hits] == [(400, 1600), (1600, 2800)]


def test_with_prefix_the_last_word_may_go_on(archive: Path) -> None:
    assert asked(archive, "library build") == []
    [hit] = asked(archive, "library build", prefix=True)
    assert hit.text[slice(*hit.hits[0].place)] == "library building"


def test_a_speaker_is_known_by_letter_title_or_name_in_any_case(archive: Path) -> None:
    said(archive, "call", "pleasant weather to you", "A", {"speakers": "A=Zoë"})
    said(archive, "other", "pleasant weather to me", "A")
    names = read_names('A = "Everyone"\n["other"]\nA = "Äbbe"\n')
    assert [hit.key for hit in asked(archive, "pleasant weather", speaker="a")] == ["call", "other"]
    assert [hit.key for hit in asked(archive, "pleasant weather", speaker="speaker A")] == ["call", "other"]
    assert [(hit.key, hit.name) for hit in asked(archive, "pleasant weather", speaker="ZOË")] == [("call", "Zoë")]
    assert [hit.key for hit in asked(archive, "pleasant weather", speaker="zoe\u0308")] == ["call"]
    assert [hit.name for hit in asked(archive, "pleasant weather", names=names)] == ["Zoë", "Äbbe"]
    assert [hit.key for hit in asked(archive, "pleasant weather", speaker="äbbe", names=names)] == ["other"]
    assert [hit.name for hit in asked(archive, "roof", speaker="b", names=names)] == [None]
    assert asked(archive, "pleasant weather", speaker="B") == []


def test_all_labels_must_hold_whatever_they_are_made_of(archive: Path) -> None:
    for key, labels in (("a", {"team": "red", "n": 3}), ("b", {"team": "red", "n": 4, "x": None}), ("c", {})):
        said(archive, key, "the same words", labels=labels)
    assert [hit.key for hit in asked(archive, "the same words")] == ["a", "b", "c"]
    assert [hit.key for hit in asked(archive, "same", labels={"team": "red"})] == ["a", "b"]
    assert [hit.key for hit in asked(archive, "same", labels={"team": "red", "n": "4"})] == ["b"]
    assert asked(archive, "same", labels={"team": "blue"}) == []
    assert read_labels(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(UsageError, match="K=V"):
        read_labels(["team"])


def test_results_without_speakers_are_found_by_sentence(archive: Path) -> None:
    """Results without speakers are found by sentence, and those of channels by channel."""
    put(archive, "mono", words=words("One parcel first. Another parcel then. Never mind."), text="...")
    put(archive, "text", text="One parcel first. Another parcel then.", audio_duration=10)
    channels = [
        utterance("my own parcel", "1A") | {"channel": "1"},
        utterance("my parcel too", "2A") | {"channel": 2},
    ]
    put(archive, "stereo", utterances=channels)
    put(archive, "silent", text="", utterances=[], words=[])
    hits = asked(archive, "parcel")
    found = [(hit.key, hit.text, hit.channel) for hit in hits]
    assert found == [
        ("mono", "One parcel first.", None), ("mono", "Another parcel then.", None),
        ("stereo", "my own parcel", "1"), ("stereo", "my parcel too", "2"),
        ("text", "One parcel first.", None), ("text", "Another parcel then.", None),
    ]  # fmt: skip
    assert (hits[1].before, hits[1].after, hits[1].hits[0].start) == ("One parcel first.", "Never mind.", 1600)
    assert hits[1].speaker == ""
    assert asked(archive, "first another") == [], "of two sentences"


@pytest.mark.parametrize(
    ("text", "phrases", "not_found"),
    [
        ("Le café est où, señor?", ["CAFE", "cafe\u0301 est", "OÙ", "ou senor"], ["caf"]),
        ("cafe\u0301 noir", ["café", "cafe noir"], []),
        (
            "Don't, O'Neill said - twenty-one!",
            ["don't o'neill", "twenty one", "said twenty-one", "O NEILL"],
            ["dont"],
        ),
        ("今日は図書館へ行きます。", ["図書館", "書館へ", "今日"], ["図館"]),
        ("AIで図書館を探す", ["図書館", "aiで図"], ["Aで"]),
        ("か\u3099っこう", ["がっ"], ["かっ"]),
        ("ฉันไปโรงเรียนทุกวัน", ["โรงเรียน"], ["โรงวัน"]),
        ("나는 도서관에 갔다", ["도서관에", "나는 도서관에"], ["도서"]),
        ("Привет, Мир", ["привет мир"], []),
        ("Σίσυφος ένα", ["ΣΊΣΥΦΟΣ ΈΝΑ"], ["σισυφος"]),
    ],
)
def test_what_holds_in_other_scripts(archive: Path, text: str, phrases: list[str], not_found: list[str]) -> None:
    said(archive, "x", text)
    for phrase in phrases:
        [hit] = asked(archive, phrase)
        assert hit.text == unicodedata.normalize("NFC", text)
        assert search_view._around(hit, lambda found: f"[{found}]").count("[") == 1
    for phrase in not_found:
        assert asked(archive, phrase) == []


def test_words_of_scripts_without_spaces_are_joined_and_timed(archive: Path) -> None:
    """Words of a script without spaces are joined, and timed one by one."""
    heard = words("図書 館 へ 行き ます")
    put(
        archive,
        "x",
        utterances=[{"text": "図書館へ行きます", "speaker": "A", "start": 0, "end": 2000, "words": heard}],
    )
    [hit] = asked(archive, "館へ行")
    assert hit.text == "図書館へ行きます"
    assert hit.hits[0].place == (2, 5)
    assert (hit.hits[0].start, hit.hits[0].end) == (400, 1600)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("hostile")
    said(directory, "x", 'NEAR AND OR NOT "quoted" col:umn text : a* ^b (c) {d} -e + 1 don\'t')
    return directory


@given(phrase=st.text(st.characters()), speaker=st.none() | st.text(st.characters()), prefix=st.booleans())
def test_no_phrase_is_a_mistake_but_one_without_words(
    hostile: Path, phrase: str, speaker: str | None, prefix: bool
) -> None:
    if any(character.isalnum() for character in phrase):
        asked(hostile, phrase, speaker=speaker, prefix=prefix, labels={phrase: phrase})
        assert all(search_view.lines(asked(hostile, phrase, prefix=prefix), str))
    else:
        with pytest.raises(UsageError, match="there is no word in"):
            asked(hostile, phrase)


@pytest.mark.parametrize(
    "phrase",
    ["near and or not", '"quoted"', 'quoted" col', "col:umn", "text : a*", "a* ^b (c)", "{d} -e + 1", "don't"],
)
def test_index_syntax_in_a_phrase_is_searched_literally(hostile: Path, phrase: str) -> None:
    """What means something to the index means itself in a phrase."""
    assert len(asked(hostile, phrase)) == 1


@given(text=st.text(st.characters(), min_size=1))
def test_any_text_is_indexed_and_found_whole(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.mktemp("any")
    put(
        directory, "x", {text: text}, utterances=[{"text": text, "speaker": text, "start": 0, "end": 10, "words": []}]
    )
    said(directory, "y", "anchor")
    assert list(search_view.lines(asked(directory, "anchor", speaker="A"), str))[-1].endswith("anchor")
    if text.isascii() and any(map(str.isalnum, text)):
        assert [hit.key for hit in asked(directory, text)] == ["x"]


# ── an index that follows its results ────────────────────────────────────────────────────────────────────────────


def test_next_search_sees_new_changed_and_removed_results(archive: Path) -> None:
    assert len(asked(archive, "roof")) == 2
    said(archive, "new/one", "a roof of our own")
    said(archive, "kitchen-talk", "no soup but a roof")
    (archive / "planning-meeting.json").unlink()
    assert [hit.key for hit in asked(archive, "roof")] == ["kitchen-talk", "new/one"]
    assert asked(archive, "library building") == []
    assert indexed(archive) == {"kitchen-talk": 1, "new/one": 1, "radio-interview": 6, "calls/support-call": 8}


def test_300_results_are_indexed_by_processes_and_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        said(tmp_path, f"{number:03}", f"the roof number {number}")
    answer = search(tmp_path, Question("roof number"))
    assert (answer.utterances, answer.recordings, len(answer.hits)) == (300, 300, 50)
    monkeypatch.setattr("batch.archive.search.sync.read_document", None)
    assert [hit.key for hit in asked(tmp_path, "number 299")] == ["299"]


def test_what_is_no_result_is_told_once_and_the_others_are_found(archive: Path) -> None:
    (archive / "notes.json").write_bytes(b'{"mine": true}')
    (archive / "half.json").write_bytes(b'{"recording":{}, "words"')
    put(archive, "beyond", utterances=[{"text": "a roof", "speaker": "A", "start": 1e300, "end": 1e301}])
    with contextlib.suppress(OSError):  # not on every file system
        Path(os.fsdecode(os.fsencode(archive) + b"/\xff.json")).write_bytes(b"{}")
    answer, notices = told(archive, "roof")
    assert answer.recordings == 1
    assert [notice.partition(".json")[0].rpartition("/")[2] for notice in notices] == ["beyond", "half"]
    assert told(archive, "roof")[1] == []


def test_other_formats_of_a_result_are_not_searched(archive: Path) -> None:
    assert diarist("export", str(archive), "--to", "whisper,seglst,txt,csv").returncode == 0
    answer, notices = told(archive, "library building")
    assert (answer.utterances, notices) == (1, [])


def test_a_directory_that_was_moved_is_searched_where_it_is(archive: Path, tmp_path: Path) -> None:
    asked(archive, "roof")
    moved = archive.rename(tmp_path / "elsewhere")
    answer, notices = told(moved, "library building")
    assert (answer.hits[0].result, notices) == (f"{moved}/planning-meeting.json", [])


@pytest.mark.parametrize("damage", ["text", "empty", "cut", "holes", "older", "tables"])
def test_a_damaged_index_is_made_anew_and_says_so(archive: Path, damage: str) -> None:
    for number in range(40):
        said(
            archive, f"more/{number}", " ".join(random.Random(number).choices(("red", "roof", "blue", "wall"), k=80))
        )
    before = where(asked(archive, "roof wall", limit=1000))
    path = archive / ".diarist" / "search.db"
    content = path.read_bytes()
    with contextlib.closing(sqlite3.connect(path)) as db:
        match damage:
            case "text":
                path.write_text("this is no database, however one looks at it " * 100)
            case "empty":
                path.write_bytes(b"")
            case "cut":
                path.write_bytes(content[: len(content) // 2])
            case "holes":
                path.write_bytes(content[:8192] + b"\xa5" * (len(content) - 8192))
            case "older":
                db.execute("PRAGMA user_version = 99")
            case "tables":
                db.execute("DROP TABLE utterances")
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    answer, notices = told(archive, "roof wall", limit=1000)
    assert where(answer.hits) == before
    assert [notice for notice in notices if "made anew" in notice], notices
    assert told(archive, "roof wall")[1] == []


def test_an_index_that_was_removed_is_made_again(archive: Path) -> None:
    before = asked(archive, "the")
    shutil.rmtree(archive / ".diarist")
    assert told(archive, "the")[1] == []
    assert asked(archive, "the") == before


@pytest.mark.parametrize("obstacle", [".diarist", ".diarist/search.lock/x", ".diarist/search.db/x"])
def test_search_makes_its_own_index_where_none_can_be_written(archive: Path, obstacle: str) -> None:
    (archive / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (archive / obstacle).touch()
    answer, notices = told(archive, "library building")
    assert len(answer.hits) == 1
    assert ["one is made for this search only" in notice for notice in notices] == [True]


def test_read_only_archive_is_searched_with_its_existing_index(archive: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    asked(archive, "roof")
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(mounted)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        shutil.copytree(archive, mounted / "results")
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        answer, notices = told(mounted / "results", "library building")
        assert (answer.recordings, notices) == (1, [])
        subprocess.run(["mount", "-o", "remount,rw", str(mounted)], check=True)
        said(mounted / "results", "new", "another library building")
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        answer, notices = told(mounted / "results", "library building")
        assert (answer.recordings, len(notices)) == (2, 1)
        assert "Read-only file system" in notices[0]
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_four_searches_at_once_make_one_index(tmp_path: Path) -> None:
    for number in range(400):
        said(tmp_path, f"{number:03}", f"the roof number {number}")
    command = [sys.executable, "-W", "error", "-m", "batch", "search", str(tmp_path), "roof number", "--json"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)]
    for child in children:
        out, err = child.communicate(timeout=60)
        assert (child.returncode, len(out.splitlines())) == (0, 50), err
        assert err.decode() == "400 utterances in 400 recordings; the first 50 are shown (--limit)\n"
    assert indexed(tmp_path) == {f"{number:03}": 1 for number in range(400)}


# ── during a run ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_indexes_its_results_as_they_arrive(tmp_path: Path) -> None:
    manifest, out = recordings(tmp_path / "audio", 30), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url))
    assert summary.exit_code == 0
    assert indexed(out) == {f"calls/{number}": 2 for number in range(30)}
    [hit] = asked(out, sha256(tmp_path / "audio" / "7.wav"), labels={"customer": "customer 7"})
    assert (hit.key, hit.speaker, hit.before, hit.hits[0].start) == ("calls/7", "B", "sha256", 500)


async def test_a_search_during_a_run_finds_what_is_there(tmp_path: Path) -> None:
    manifest, out = recordings(tmp_path / "audio", 60), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=1.0, slots=10) as service:
        running = asyncio.create_task(batch.run(str(manifest), out, settings=settings(service.base_url)))
        counts = [0]
        while not running.done():
            await asyncio.sleep(0.2)
            if [*out.glob("calls/*.json")]:
                answer, notices = await asyncio.to_thread(told, out, "sha256")
                assert notices == []
                counts.append(answer.recordings)
        assert (await running).exit_code == 0
    assert counts == sorted(counts)
    assert 0 < counts[1] < 60
    assert len(indexed(out)) == 60


def test_results_indexed_during_a_search_are_not_taken_for_gone(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(archive, "roof")
    looked = sync._found

    def meanwhile(directory: Path) -> Iterator[tuple[str, int, int]]:
        yield from looked(directory)
        said(directory, "new", "a roof")
        with BackgroundIndexer(directory, pytest.fail) as indexer:
            indexer.enqueue("new")

    monkeypatch.setattr(sync, "_found", meanwhile)
    assert "new" in {hit.key for hit in asked(archive, "roof")}
    assert "new" in indexed(archive)


async def test_what_a_killed_run_has_not_indexed_the_next_search_does(tmp_path: Path) -> None:
    manifest, out = recordings(tmp_path / "audio", 60), tmp_path / "out"
    async with start_service(tmp_path / "service", seconds=0.3, slots=10) as service:
        child = await start(manifest, out, service)
        while len([*out.glob("calls/*.json")]) < 15 and child.returncode is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        await child.communicate()
        there = {path.relative_to(out).as_posix().removesuffix(".json") for path in out.glob("calls/*.json")}
        assert 15 <= len(there) < 60
        assert {hit.key for hit in asked(out, "sha256", limit=100)} == there
        assert (await finish(await start(manifest, out, service)))[0] == 0
    assert search(out, Question("sha256")).recordings == 60


async def test_a_run_that_cannot_index_says_so_once_and_goes_on(tmp_path: Path) -> None:
    manifest, out = recordings(tmp_path / "audio", 20), tmp_path / "out"
    (out / ".diarist" / "search.db" / "x").mkdir(parents=True)
    events: list[Event] = []
    async with start_service(tmp_path / "service", seconds=0.3, slots=2) as service:
        given = settings(service.base_url, concurrency=2)
        summary = await batch.run(str(manifest), out, settings=given, on_event=events.append)
    assert (summary.collected, summary.exit_code) == (20, 0)
    assert len([event for event in events if isinstance(event, Notice) and "not indexed" in event.message]) == 1
    assert search(out, Question("sha256")).recordings == 20


async def test_with_search_off_a_run_makes_no_index(tmp_path: Path) -> None:
    manifest, out = recordings(tmp_path / "audio", 3), tmp_path / "out"
    async with start_service(tmp_path / "service") as service:
        await batch.run(str(manifest), out, settings=settings(service.base_url, search=False))
    assert not (out / ".diarist" / "search.db").exists()
    assert search(out, Question("sha256")).recordings == 3


def test_ended_run_leaves_unfinished_indexing_to_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is over does not wait for what a search can do."""
    monkeypatch.setattr("batch.archive.search.background._CLOSING_SECONDS", -1.0)
    said(tmp_path, "x", "a roof")
    with BackgroundIndexer(tmp_path, pytest.fail) as indexer:
        indexer.enqueue("x")
    assert indexed(tmp_path) == {}
    assert search(tmp_path, Question("roof")).recordings == 1


def test_enqueueing_never_waits_and_leaves_the_excess_to_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever notes an arrival never waits, and what is too much is left to search."""
    monkeypatch.setattr("batch.archive.search.background._WAITING", 10)
    for number in range(30):
        said(tmp_path, f"{number}", "a roof")
    with BackgroundIndexer(tmp_path, pytest.fail) as indexer:
        for number in range(30):
            indexer.enqueue(f"{number}")
    assert len(indexed(tmp_path)) == 10
    assert search(tmp_path, Question("roof")).recordings == 30


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_people_get_keys_times_speakers_and_the_words_around(archive: Path) -> None:
    done = diarist("search", str(archive), "have an important meeting")
    assert done.stdout == (
        "calls/support-call\n"
        "  0:00:30.4  Speaker 2A  How long will that take? I have an important meeting in the afternoon.\n"
    )
    assert (done.returncode, done.stderr) == (0, "1 utterance in 1 recording\n")


def test_what_the_page_shows_is_what_comes_out(archive: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "search.md").read_text("utf-8")
    [shown_there] = re.findall(r'^\$ diarist search results "how long"\n(.*?)^```', page, re.MULTILINE | re.DOTALL)
    (archive / "calls" / "support-call.json").rename(archive / "support-call.json")
    done = diarist("search", str(archive), "how long")
    assert done.stdout + done.stderr == shown_there


@pytest.mark.parametrize("given", [".", "./", "../results", "../results/"])
def test_keys_are_the_same_however_the_directory_is_named(archive: Path, given: str) -> None:
    before = where(asked(archive, "roof"))
    done = diarist("search", given, "roof", "--json", cwd=archive)
    assert [(hit["key"], hit["start"]) for hit in map(json.loads, done.stdout.splitlines())] == before
    assert set(indexed(archive)) == {"calls/support-call", *(key for key in KEYS if "call" not in key)}


def test_programs_get_a_line_of_json_for_each_hit(archive: Path) -> None:
    done = diarist("search", str(archive), "the", "--json", "--limit", "2", "--speaker", "b")
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["key"], first["speaker"], second["key"]) == ("kitchen-talk", "B", "planning-meeting")
    assert set(first) == set(Hit.__struct_fields__)
    assert done.stderr.endswith("; the first 2 are shown (--limit)\n")


def test_long_utterance_is_shortened_around_its_emphasised_hit(archive: Path) -> None:
    said(archive, "long", f"{'before ' * 100}the roof\x1b[2J {'after ' * 100}the roof")
    [hit] = [hit for hit in asked(archive, "the roof") if hit.key == "long"]
    [name, line] = search_view.lines([hit], lambda found: f"<{found}>")
    assert name == "long"
    assert line.startswith("  0:00:40.0  Speaker A  … before before ")
    assert "before <the roof> [2J after after" in line
    assert line.endswith(" after …")
    assert len(line) < 200


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere", "roof"], 2, "nowhere is not a directory of results"),
        (["empty", "roof"], 2, "there are no results in empty"),
        (["results", ""], 2, "there is no word in ''"),
        (["results", "?!"], 2, "there is no word in '?!'"),
        (["results"], 2, "results is a directory: give a PHRASE, too"),
        ([], 2, "give one PHRASE"),
        (["results", "roof", "--label", "topic"], 2, "write it as K=V"),
        (["results", "roof", "--speakers", "absent.toml"], 2, "cannot read the names in absent.toml"),
        (["results", "frobnicate"], 7, "not found"),
        (["results", "roof", "--speaker", "nobody"], 7, "not found"),
    ],
)
def test_search_mistake_gets_one_message_and_its_own_code(
    archive: Path, arguments: list[str], code: int, says: str
) -> None:
    """A mistake gets one clear message, and what is not there an exit code of its own."""
    (archive.parent / "empty").mkdir()
    done = diarist("search", *arguments, cwd=archive.parent)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
