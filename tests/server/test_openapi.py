"""Every answer of the local service, held against the vendor's own specification."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from batch.engine.interface import BadAudio, EngineTranscript
from batch.model import Utterance, Word
from tests.support.caller import Caller, calling
from tests.support.spec import deviations, specification
from tests.support.stored_jobs import put

ID = "/v2/transcript/{transcript_id}"
OURS = ("speech_model_used", "metadata", "speaker_options", "content_safety_confidence")
"""What is said beyond the specification: which engine it was (the vendor's names would be a lie), and, as in the
vendor's SDKs, warnings and the echo of two options, by which a lost submission is told from another."""
OPTIONS: dict[str, Any] = {
    "speaker_labels": True,
    "speaker_options": {"min_speakers_expected": 1, "max_speakers_expected": 3},
    "language_code": "en_us",
    "speech_models": ["universal-2"],
    "audio_start_from": 0,
    "audio_end_at": 5000,
    "custom_spelling": [{"from": ["one"], "to": "1"}],
    "keyterms_prompt": ["one"],
    "disfluencies": True,
    "temperature": 0.5,
    "remove_audio_tags": "all",
    "redact_pii_policies": ["person_name"],
    "content_safety_confidence": 30,
    "webhook_url": "http://127.0.0.1:9/hook",
    "webhook_auth_header_name": "X-Secret",
    "webhook_auth_header_value": "secret",
}


def transcript(**given: Any) -> EngineTranscript:
    words = (Word("One.", 0, 300, 0.9, "1A", "1"), Word("Two?", 400, 700, 1.0, "2A", "2"))
    said = tuple(Utterance(w.text, w.start, w.end, w.confidence, w.speaker or "", (w,), w.channel) for w in words)
    return EngineTranscript("One. Two?", words, said, 0.95, 1.0, **given)


class Checked:
    """Calls, and holds each answer against the specification."""

    def __init__(self, api: Caller) -> None:
        self.api, self.seen = api, set[tuple[str, str, int]]()

    async def __call__(self, method: str, template: str, id_: str = "", asked: str = "", **request: Any) -> Any:
        path = template.replace("{transcript_id}", id_).replace("{subtitle_format}", asked.partition("?")[0])
        query = asked[asked.index("?") :] if "?" in asked else ""
        async with self.api.session.request(method, self.api.service.base_url + path + query, **request) as answer:
            body = await (answer.json() if answer.content_type == "application/json" else answer.text())
            found = deviations(method, template, answer.status, answer.content_type, _without_ours(body))
            assert found == [], f"{method} {path}{query}: {answer.status} {found}"
            self.seen.add((method, template, answer.status))
            return body


def _without_ours(body: Any) -> Any:
    if not isinstance(body, dict) or "audio_url" not in body:
        return body
    return {name: value for name, value in copy.deepcopy(body).items() if name not in OURS}


async def test_every_answer_of_every_route_is_as_specified(tmp_path: Path) -> None:
    specification()
    silent = EngineTranscript("", (), None, 0.0, 0.2, warnings=("a warning",))
    full, empty, failed = await put(tmp_path, transcript(channels=2), silent, "Audio duration is too short.")
    bad = lambda audio: BadAudio("Download error") if audio == b"bad" else None  # noqa: E731
    async with calling(tmp_path, failing=bad, slots=1, seconds=0.2) as api:
        check = Checked(api)
        link = (await check("POST", "/v2/upload", data=b"audio"))["upload_url"]
        made = (await check("POST", "/v2/transcript", json={"audio_url": link, **OPTIONS}))["id"]
        queued = (await check("POST", "/v2/transcript", json={"audio_url": await api.upload(b"bad")}))["id"]
        states = {(await check("GET", ID, each))["status"] for each in (made, queued, full, empty, failed)}
        for each in (made, queued):
            await api.ended(each)
            states.add((await check("GET", ID, each))["status"])
        assert states >= {"queued", "completed", "error"}
        for each in (made, full, empty):
            for suffix in ("srt", "vtt?chars_per_caption=5"):
                await check("GET", f"{ID}/{{subtitle_format}}", each, suffix)
            await check("GET", f"{ID}/sentences", each)
            await check("GET", f"{ID}/paragraphs", each)
            await check("GET", f"{ID}/word-search", each, "?words=one,two,sha256")
        await refusals(check, failed)
        for each in (made, full, failed, (await check("POST", "/v2/transcript", json={"audio_url": link}))["id"]):
            for _ in range(2):
                await check("DELETE", ID, each)
            await check("GET", ID, each)
        for query in ("", "?limit=2", "?status=completed", f"?before_id={empty}&limit=1", "?created_on=2001-01-01"):
            await check("GET", "/v2/transcript", asked=query)
    ok = {(method, template) for method, template, status in check.seen if status == 200}
    assert ok == {
        (method.upper(), template)
        for template, methods in specification()["paths"].items()
        for method in methods
        if not template.endswith("redacted-audio")
    }


async def refusals(check: Checked, failed: str) -> None:
    await check("POST", "/v2/upload", data=b"")
    await check("POST", "/v2/transcript", json={})
    await check("GET", "/v2/transcript", asked="?limit=0")
    await check("GET", f"{ID}/{{subtitle_format}}", failed, "txt")
    for suffix in ("", "/sentences", "/paragraphs", "/word-search", "/redacted-audio"):
        await check("GET", ID + suffix, "nobody")
    for suffix in ("/sentences", "/paragraphs", "/word-search", "/redacted-audio"):
        await check("GET", ID + suffix, failed)
    await check("GET", f"{ID}/{{subtitle_format}}", failed, "srt")
    await check("DELETE", ID, "nobody")


async def test_a_wrong_key_is_refused_as_specified_on_every_route(tmp_path: Path) -> None:
    async with calling(tmp_path, key="right") as api:
        check = Checked(api)
        for template, methods in specification()["paths"].items():
            for method in methods:
                await check(method.upper(), template, "x", "srt")
    assert {status for _, _, status in check.seen} == {401}


@pytest.mark.parametrize(
    ("change", "says"),
    [({"confidence": 2}, "$.confidence"), ({"is_new": 1}, "is_new"), ({"status": "done"}, "status")],
)
async def test_what_is_not_as_specified_is_noticed(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    [made] = await put(tmp_path, transcript())
    async with calling(tmp_path) as api:
        _, body = await api.call("GET", f"/v2/transcript/{made}")
    assert deviations("GET", ID, 200, "application/json", _without_ours(body)) == []
    assert says in str(deviations("GET", ID, 200, "application/json", _without_ours(body) | change))
