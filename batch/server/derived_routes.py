"""The routes of what is made from a finished transcript: sentences, paragraphs, captions, search.

Source: the AssemblyAI v2 specification (August 2026). Each is made when it is asked for, in a thread: a transcript of
ten hours has a hundred thousand words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from batch.model import Word
from batch.providers.assemblyai import protocol
from batch.providers.assemblyai.protocol import Status
from batch.server import parameters, segments
from batch.server.responses import BadRequest, refuse, reply
from batch.server.store import Store

_NOT_COMPLETED: Final = (
    "This transcript has a status of '{}'. Transcripts must have a status of 'completed' before requesting {}."
)
_DELETED: Final = "This transcript has been deleted: there are no {} of it."
_NOT_REDACTED: Final = "There is no redacted audio of this transcript: the local service does not redact."


class Finished(msgspec.Struct, frozen=True):
    """The part of a transcript object that everything else is made from."""

    id: str
    status: Status
    words: tuple[Word, ...] | None = None
    confidence: float | None = None
    audio_duration: int | None = None

    @property
    def said(self) -> tuple[Word, ...]:
        return self.words or ()


_Make = Callable[[Finished, parameters.Query], Any]
_Route = Callable[[web.Request], Awaitable[web.Response]]


def routes(store: Store) -> list[web.RouteDef]:
    """``/v2/transcript/{id}/...`` over the transcripts of ``store``."""

    def made(what: str, make: _Make) -> _Route:
        async def route(request: web.Request) -> web.Response:
            body = await store.body(request.match_info["id"])
            return await asyncio.to_thread(_answer, body, what, make, request.query)

        return route

    return [
        web.get("/v2/transcript/{id}/srt", made("captions", _srt)),
        web.get("/v2/transcript/{id}/vtt", made("captions", _vtt)),
        web.get("/v2/transcript/{id}/sentences", made("sentences", _sentences)),
        web.get("/v2/transcript/{id}/paragraphs", made("paragraphs", _paragraphs)),
        web.get("/v2/transcript/{id}/word-search", made("words", _search)),
        web.get("/v2/transcript/{id}/redacted-audio", made("redacted audio", _redacted)),
        web.get("/v2/transcript/{id}/{format}", _no_such_format),
    ]


def _answer(body: bytes | None, what: str, make: _Make, asked: parameters.Query) -> web.Response:
    if body is None:
        return refuse(400, protocol.UNKNOWN_ID_TEXT)
    transcript = msgspec.json.decode(body, type=Finished)
    if transcript.status is not Status.COMPLETED:
        return refuse(400, _NOT_COMPLETED.format(transcript.status, what))
    if transcript.words is None:
        return refuse(400, _DELETED.format(what))
    answer = make(transcript, asked)
    return web.Response(text=answer) if isinstance(answer, str) else reply(answer)


def _srt(transcript: Finished, asked: parameters.Query) -> str:
    return segments.srt(segments.captions(transcript.said, parameters.characters(asked)))


def _vtt(transcript: Finished, asked: parameters.Query) -> str:
    return segments.vtt(segments.captions(transcript.said, parameters.characters(asked)))


def _sentences(transcript: Finished, asked: parameters.Query) -> dict[str, Any]:
    return _whole(transcript) | {"sentences": segments.sentences(transcript.said)}


def _paragraphs(transcript: Finished, asked: parameters.Query) -> dict[str, Any]:
    return _whole(transcript) | {"paragraphs": segments.paragraphs(transcript.said)}


def _whole(transcript: Finished) -> dict[str, Any]:
    return {name: getattr(transcript, name) for name in ("id", "confidence", "audio_duration")}


def _search(transcript: Finished, asked: parameters.Query) -> dict[str, Any]:
    matches = segments.search(transcript.said, parameters.words(asked))
    return {"id": transcript.id, "total_count": sum(match.count for match in matches), "matches": matches}


def _redacted(transcript: Finished, asked: parameters.Query) -> dict[str, Any]:
    raise BadRequest(_NOT_REDACTED)


async def _no_such_format(request: web.Request) -> web.Response:
    """The vendor's web server answers here, not its API: in HTML, and whatever the transcript."""
    return web.Response(status=404, text="404: Not Found", content_type="text/html")
