"""One notion of a sentence, for captions, tables, the local service and the engine alike."""

from __future__ import annotations

import pytest

from batch.model import Word
from batch.server import segments
from batch.transcripts import segmentation
from batch.transcripts.sentences import ends_sentence
from batch.transcripts.timecodes import clock, short_clock, short_timecode, timecode


@pytest.mark.parametrize(
    ("text", "following", "ends"),
    [
        ("there.", "Then", True),
        ("there?", "he", True),
        ("there…", "he", False),
        ('there."', "Then", True),
        ("Prof.", "Smith", False),
        ("prof.", "Smith", False),
        ("J.", "Smith", False),
        ("I.", "Then", True),
        ("U.S.", "Then", False),
        ("m.", "", True),
        ("etc.", "Then", False),
        ("said.", "he", False),
        ("そうです。", "はい", True),
        ("there,", "Then", False),
    ],
)
def test_a_sentence_ends_where_people_end_it(text: str, following: str, ends: bool) -> None:
    assert ends_sentence(text, following) is ends


def test_in_a_text_without_capitals_a_full_stop_is_one() -> None:
    assert ends_sentence("said.", "he", is_cased=False)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("I met Prof. Smith there. He was kind.", 2),
        ("こんにちは。 元気 ですか？ はい。", 3),  # noqa: RUF001
        ("well… maybe. Really? yes.", 3),
        ("it was late. we went home.", 2),
    ],
)
def test_exports_and_the_service_find_the_same_sentences(text: str, count: int) -> None:
    words = [Word(each, 400 * n, 400 * n + 300, 1.0) for n, each in enumerate(text.split())]
    assert len(list(segmentation.sentences(words))) == len(segments.sentences(words)) == count


def test_times_are_written_in_one_way() -> None:
    assert timecode(3_675_042, ",") == "01:01:15,042"
    assert (short_timecode(75_042), short_timecode(3_675_042)) == ("01:15.042", "01:01:15.042")
    assert (clock(75_900), clock(3_675_000)) == ("0:01:15", "1:01:15")
    assert [short_clock(each) for each in (None, 9, 75, 3675, 36_000)] == ["-", "0:09", "1:15", "1:01:15", "10:00:00"]
