"""A passing error takes no paid transcript away, and one odd thing stops nobody.

Each test is what a real service has done to a run: on the local service, with a layer that does it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

import batch
from batch import protocol
from batch.model import Event
from batch.protocol import Status
from batch.results import count_speakers
from tests.service.double import Handler, start_service
from tests.test_run import archive, check_results, settings, submitted_audio

Change = Callable[[Any], None]


def changed(path: str, change: Change) -> Any:
    """A layer that lets ``change`` do something to the JSON that is answered below ``path``."""

    @web.middleware
    async def layer(request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if request.method != "GET" or not request.path.startswith(path):
            return answer
        body = json.loads(bytes(getattr(answer, "body", b"{}")))
        change(body)
        return web.json_response(body, status=answer.status)

    return layer


def told(events: list[Event], part: str) -> list[str]:
    return [event.message for event in events if part in event.message]


# ── One odd thing stops nobody ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("speaker", [0, None, 1.5, "A", ["A"], True])
async def test_whatever_a_service_calls_its_speakers_is_stored_and_counted(tmp_path: Path, speaker: Any) -> None:
    def rename(body: Any) -> None:
        for utterance in body.get("utterances") or ():
            utterance["speaker"] = speaker

    manifest, out = archive(tmp_path / "audio", 3), tmp_path / "out"
    async with start_service(tmp_path / "service", middlewares=[changed("/v2/transcript/", rename)]) as service:
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url))
        assert (summary.collected, summary.exit_code) == (3, 0)
        assert {job.speakers for job in summary.shown} == {int(speaker is not None)}
        again = await batch.run(str(manifest), out, settings=settings(service.base_url))
    assert (again.skipped["done"], again.exit_code, len(service.submissions)) == (3, 0, 3)


@pytest.mark.parametrize(
    ("utterances", "count"),
    [('[{"speaker": 0}, {"speaker": "0"}, {"speaker": 0}, {}, null]', 2), ('"none"', 0), ("null", 0), ("[7]", 0)],
)
def test_speakers_are_counted_whatever_they_are(utterances: str, count: int) -> None:
    assert count_speakers(f'{{"utterances": {utterances}}}'.encode()) == count


ODD_LINES: list[dict[str, Any]] = [
    {"id": "foreign", "status": "paused"},
    {"id": "foreign", "status": None},
    {"id": "foreign"},
    {"id": "foreign", "status": {"is": "new"}, "audio_url": 7, "created": []},
    {"status": "completed"},
    {"id": 7, "status": "completed"},
]


@pytest.mark.parametrize("line", ODD_LINES, ids=json.dumps)
async def test_one_odd_line_of_the_list_is_told_once_and_stops_nobody(tmp_path: Path, line: dict[str, Any]) -> None:
    def add(body: Any) -> None:
        body["transcripts"] = [line, *body["transcripts"], *[line][: len(body["transcripts"])]]

    manifest, out, events = archive(tmp_path / "audio", 5), tmp_path / "out", list[Event]()
    async with start_service(
        tmp_path / "service", seconds=0.2, middlewares=[changed("/v2/transcript", add_to_lists(add))]
    ) as service:
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url), notify=events.append)
    assert (summary.collected, summary.exit_code) == (5, 0)
    assert len(told(events, "counts as not ended")) == 1
    check_results(tmp_path / "audio", out, 5)


def add_to_lists(add: Change) -> Change:
    return lambda body: add(body) if "transcripts" in body else None


def test_a_list_is_read_line_by_line_but_never_for_an_empty_one() -> None:
    details = {"limit": 200, "result_count": 2, "current_url": "u", "prev_url": "older"}
    lines = [{"id": "a", "status": "completed"}, {"id": "b", "status": "new", "audio_url": "u"}, {"status": "queued"}]
    page, odd = protocol.read_page(msgspec.json.encode({"page_details": details, "transcripts": lines}))
    assert [(item.id, item.status) for item in page.transcripts] == [
        ("a", Status.COMPLETED),
        ("b", Status.PROCESSING),
    ]
    assert (page.transcripts[1].audio_url, page.page_details.prev_url) == ("u", "older")
    assert odd
    for body in (
        {"transcripts": lines},
        {"page_details": details, "transcripts": [{}, {}]},
        {"page_details": details},
    ):
        with pytest.raises(msgspec.DecodeError):
            protocol.read_page(msgspec.json.encode(body))


async def test_what_is_odd_in_a_transcript_object_counts_as_not_said(tmp_path: Path) -> None:
    def spoil(body: Any) -> None:
        body |= {"error": {"code": 0}, "audio_duration": "long"}

    manifest, out = archive(tmp_path / "audio", 2), tmp_path / "out"
    async with start_service(tmp_path / "service", middlewares=[changed("/v2/transcript/", spoil)]) as service:
        summary = await batch.run(str(manifest), out, settings=settings(service.base_url))
    assert (summary.collected, summary.exit_code) == (2, 0)
    assert set(submitted_audio(service).values()) == {1}
