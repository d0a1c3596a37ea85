"""The routes of what is made from a finished transcript, over real sockets."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch.engine.interface import EngineTranscript
from batch.model import Word
from tests.support.caller import calling
from tests.support.stored_jobs import put

TEXT = "Let us begin. We have to decide. The roof is first."
WORDS = tuple(Word(text, 400 * n, 400 * n + 300, 0.9, "AB"[n > 6]) for n, text in enumerate(TEXT.split()))
TRANSCRIPT = EngineTranscript(TEXT, WORDS, (), 0.9, audio_seconds=4.4)
ROUTES = ("srt", "vtt", "sentences", "paragraphs", "word-search?words=roof")


async def test_sentences_and_paragraphs_have_all_documented_fields(tmp_path: Path) -> None:
    [made] = await put(tmp_path, TRANSCRIPT)
    async with calling(tmp_path) as api:
        status, said = await api.call("GET", f"/v2/transcript/{made}/sentences")
        assert status == 200
        assert (said["id"], said["confidence"], said["audio_duration"]) == (made, 0.9, 4)
        assert [each["text"] for each in said["sentences"]] == TEXT.replace(". ", ".|").split("|")
        assert said["sentences"][2].keys() == set("text start end confidence words speaker channel".split())
        assert [each["speaker"] for each in said["sentences"]] == ["A", "A", "B"]
        _, said = await api.call("GET", f"/v2/transcript/{made}/paragraphs")
        assert [each["text"] for each in said["paragraphs"]] == [TEXT[:33].strip(), "The roof is first."]
        assert said["paragraphs"][0].keys() == {"text", "start", "end", "confidence", "words"}
        assert said["paragraphs"][1]["words"][0]["speaker"] == "B"


async def test_captions_are_plain_text_as_long_as_asked_for(tmp_path: Path) -> None:
    [made] = await put(tmp_path, TRANSCRIPT)
    async with calling(tmp_path) as api:
        _, srt = await api.call("GET", f"/v2/transcript/{made}/srt")
        assert srt.startswith("1\n00:00:00,000 --> 00:00:01,100\nLet us begin.\n\n2\n")
        _, vtt = await api.call("GET", f"/v2/transcript/{made}/vtt?chars_per_caption=7")
        assert vtt.startswith("WEBVTT\n\n00:00.000 --> 00:00.700\nLet us\n\n00:00.800 --> 00:01.100\nbegin.\n\n")


async def test_words_and_phrases_are_found(tmp_path: Path) -> None:
    [made] = await put(tmp_path, TRANSCRIPT)
    async with calling(tmp_path) as api:
        status, said = await api.call("GET", f"/v2/transcript/{made}/word-search?words=ROOF,%20let%20us,ash,")
    assert status == 200
    assert said == {
        "id": made,
        "total_count": 2,
        "matches": [
            {"text": "ROOF", "count": 1, "timestamps": [[3200, 3500]], "indexes": [8]},
            {"text": "let us", "count": 1, "timestamps": [[0, 700]], "indexes": [0]},
        ],
    }


async def test_a_recording_in_which_nobody_spoke_has_empty_parts(tmp_path: Path) -> None:
    [made] = await put(tmp_path, EngineTranscript("", (), None, 0.0, 3.0))
    async with calling(tmp_path) as api:
        said = [(await api.call("GET", f"/v2/transcript/{made}/{route}")) for route in ROUTES]
    assert [status for status, _ in said] == [200] * 5
    assert said[0][1] == ""
    assert said[1][1] == "WEBVTT\n"
    assert said[2][1]["sentences"] == said[3][1]["paragraphs"] == said[4][1]["matches"] == []


@pytest.mark.parametrize("route", ROUTES)
async def test_what_is_not_completed_has_no_parts_yet(tmp_path: Path, route: str) -> None:
    failed, completed = await put(tmp_path, "Audio duration is too short.", TRANSCRIPT)
    async with calling(tmp_path, slots=1, seconds=60) as api:
        await api.submit()
        waiting = (await api.submit())["id"]
        for each, status in ((waiting, "queued"), (failed, "error")):
            answered, said = await api.call("GET", f"/v2/transcript/{each}/{route}")
            assert answered == 400
            assert said["error"].startswith(
                f"This transcript has a status of '{status}'. "
                "Transcripts must have a status of 'completed' before requesting "
            )
        assert (await api.call("GET", f"/v2/transcript/nobody/{route}"))[1] == {
            "error": "Transcript lookup error, transcript id not found"
        }
        await api.call("DELETE", f"/v2/transcript/{completed}")
        answered, said = await api.call("GET", f"/v2/transcript/{completed}/{route}")
        assert (answered, "has been deleted" in said["error"]) == (400, True)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("srt?chars_per_caption=0", 400, "chars_per_caption must be between 1 and"),
        ("vtt?chars_per_caption=ten", 400, "chars_per_caption must be between 1 and"),
        ("srt?chars_per_caption=%C2%B2", 400, "chars_per_caption must be between 1 and"),
        ("srt?chars_per_caption=" + "9" * 5000, 400, "chars_per_caption must be between 1 and"),
        ("word-search", 400, "words must be given"),
        ("word-search?words=,%20,", 400, "words must be given"),
        ("word-search?words=a%20b%20c%20d%20e%20f", 400, "may have 5 words at most"),
        ("redacted-audio", 400, "no redacted audio"),
    ],
)
async def test_a_wrong_question_is_refused(tmp_path: Path, path: str, status: int, says: str) -> None:
    [made] = await put(tmp_path, TRANSCRIPT)
    async with calling(tmp_path) as api:
        answered, said = await api.call("GET", f"/v2/transcript/{made}/{path}")
    assert answered == status
    assert says in said["error"]


@pytest.mark.parametrize("path", ["txt", "SRT", "sentences2"])
async def test_another_format_is_a_404_in_html(tmp_path: Path, path: str) -> None:
    async with calling(tmp_path) as api, api.session.get(f"{api.service.base_url}/v2/transcript/x/{path}") as answer:
        assert (answer.status, answer.content_type, await answer.text()) == (404, "text/html", "404: Not Found")
