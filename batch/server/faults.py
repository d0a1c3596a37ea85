"""Faults as data: what the service does wrong on purpose, on which route and how often.

    [[fault]]
    route = "submit"           # upload, submit, fetch, list, delete, or any
    what = "drop_after"        # see ``FaultKind``
    probability = 0.04         # or: at = [1, 5], the first and the fifth request on the route
    status = 504               # of what answers with one; ``seconds`` is how long the others take

A list may be wrong in several ways at once: each of ``list_lag``, ``list_shuffled`` and ``list_repeated`` that is due
befalls it, beside the first of the other faults.

``diarist serve --faults faults.toml`` reads them; tests hand them over.
"""

from __future__ import annotations

import asyncio
import random
import tomllib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from batch.engine.interface import BadAudio
from batch.errors import UsageError
from batch.providers.assemblyai.protocol import LINK_REFUSED_TEXT, SERVER_ERROR_TEXT, THROTTLED_TEXT
from batch.providers.interface import Operation
from batch.server.queue import Locate
from batch.server.responses import reply

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OF_LISTS: Final = frozenset({"list_lag", "list_shuffled", "list_repeated"})
_HTML: Final = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"


class FaultKind(StrEnum):
    """The misfortunes. After ``drop_after``, ``half_body``, ``garbled``, ``html_after`` and ``hold`` the service has
    done what it was asked to, after ``accept_late`` it is going to; after the others it has not."""

    REFUSE = "refuse"  # the connection is reset before a byte was read
    STALL = "stall"  # no answer for `seconds`, then the connection is closed
    DROP_BEFORE = "drop_before"  # the connection is closed once the request was read
    DROP_AFTER = "drop_after"  # ... once it was obeyed: the answer is lost
    HALF_BODY = "half_body"  # half of the answer, then the connection is closed
    GARBLED = "garbled"  # 200 and JSON that breaks off
    HTML = "html"  # `status` from a proxy in between, in HTML
    HTML_AFTER = "html_after"  # the same, though the request was obeyed
    THROTTLE = "throttle"  # 429, with Retry-After if `seconds` are given
    FORBID = "forbid"  # 403 without a word: throttling, as some have seen it
    REFUSE_LINK = "refuse_link"  # 403 `Cannot access uploaded file`
    STATUS = "status"  # `status` with `error` in JSON
    JOB_ERROR = "job_error"  # the submission is accepted, and the job ends in `error`
    HOLD = "hold"  # a gateway keeps the request for `seconds`, then it is obeyed, whoever still waits for the answer
    ACCEPT_LATE = "accept_late"  # `status` from a gateway at once, and the request is obeyed `seconds` later
    LIST_LAG = "list_lag"  # the list does not show what was accepted within the last `seconds`
    LIST_SHUFFLED = "list_shuffled"  # the items of a page are in any order
    LIST_REPEATED = "list_repeated"  # a page shows some of its items once more


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    what: FaultKind
    route: Literal["any", "upload", "submit", "fetch", "list", "delete"] = "any"
    probability: Annotated[float, Meta(ge=0, le=1)] = 0.0
    at: tuple[int, ...] = ()
    seconds: float = 0.0
    status: int = 500
    error: str = SERVER_ERROR_TEXT


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    fault: tuple[Fault, ...] = ()


def read(path: Path) -> tuple[Fault, ...]:
    """The faults in a TOML file. Raises ``UsageError``."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), _Document).fault
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the faults in {path}: {error}") from None


class Faults:
    """Commits the first fault that is due for a request. ``met`` counts them by what was done."""

    def __init__(self, faults: Sequence[Fault], rng: random.Random) -> None:
        self._faults, self._rng = faults, rng
        self._requests: Counter[str] = Counter()
        self._job_errors: dict[str, str] = {}
        self._late: set[asyncio.Task[web.StreamResponse]] = set()
        self._accepted: list[tuple[float, str]] = []
        self.met: Counter[FaultKind] = Counter()

    def on_the_way(self, locate: Locate) -> Locate:
        """``locate``, but for audio whose newest job shall end in an error."""

        async def locate_or_fail(audio_url: str) -> Path:
            if error := self._job_errors.pop(audio_url, None):
                raise BadAudio(error)
            return await locate(audio_url)

        return locate_or_fail

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = _route(request)
        self._requests[route] += 1
        handler = self._listing(handler) if route == Operation.LIST else self._noting(handler)
        fault = self._due(route)
        return await (self._commit(fault, request, handler) if fault else handler(request))

    def _due(self, route: str) -> Fault | None:
        """The first fault that befalls the request that has just come."""
        for fault in self._faults:
            if fault.what not in _OF_LISTS and fault.route in (route, "any") and self._befalls(fault, route):
                return fault
        return None

    def _befalls(self, fault: Fault, route: str) -> bool:
        befalls = self._requests[route] in fault.at or self._rng.random() < fault.probability
        self.met[fault.what] += befalls
        return befalls

    def _noting(self, handler: Handler) -> Handler:
        """``handler``, with a note of when each transcript was accepted."""

        async def handle(request: web.Request) -> web.StreamResponse:
            answer = await handler(request)
            if _route(request) == Operation.SUBMIT and answer.status == HTTPStatus.OK:
                body = msgspec.json.decode(_body(answer))
                self._accepted.append((asyncio.get_running_loop().time(), body["id"]))
            return answer

        return handle

    def _listing(self, handler: Handler) -> Handler:
        """``handler`` of the list, with whatever is wrong with lists today."""
        wrong = {fault.what: fault for fault in self._faults if fault.what in _OF_LISTS}
        wrong = {what: fault for what, fault in wrong.items() if self._befalls(fault, Operation.LIST)}

        async def handle(request: web.Request) -> web.StreamResponse:
            unseen = self._unseen(wrong[FaultKind.LIST_LAG].seconds) if FaultKind.LIST_LAG in wrong else []
            if unseen and not request.query.keys() & {"before_id", "after_id"}:
                request = request.clone(rel_url=request.rel_url.update_query(before_id=unseen[0]))
            answer = await handler(request)
            if not wrong or answer.status != HTTPStatus.OK:
                return answer
            page = msgspec.json.decode(_body(answer))
            items = [item for item in page["transcripts"] if item["id"] not in unseen]
            if FaultKind.LIST_REPEATED in wrong:
                items += items[-3:]
            if FaultKind.LIST_SHUFFLED in wrong:
                self._rng.shuffle(items)
            return reply(page | {"transcripts": items})

        return handle

    def _unseen(self, seconds: float) -> list[str]:
        """The transcripts that were accepted within the last ``seconds``, oldest first."""
        since = asyncio.get_running_loop().time() - seconds
        return [transcript_id for at, transcript_id in self._accepted if at > since]

    async def _accept_late(self, seconds: float, request: web.Request, handler: Handler) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await handler(request)

    async def _commit(self, fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
        match fault.what:
            case FaultKind.REFUSE:
                return _cut(request)
            case FaultKind.STALL:
                await asyncio.sleep(fault.seconds)
                return _cut(request)
            case FaultKind.DROP_BEFORE:
                await request.read()
                return _cut(request)
            case FaultKind.THROTTLE:
                after = {"Retry-After": str(round(fault.seconds))} if fault.seconds else {}
                return web.json_response({"error": THROTTLED_TEXT}, status=429, headers=after)
            case FaultKind.FORBID:
                return web.Response(status=403)
            case FaultKind.REFUSE_LINK:
                return web.json_response({"error": LINK_REFUSED_TEXT}, status=403)
            case FaultKind.STATUS:
                return web.json_response({"error": fault.error}, status=fault.status)
            case FaultKind.HTML:
                return _html(fault.status)
            case FaultKind.JOB_ERROR:
                asked = msgspec.json.decode(await request.read())
                self._job_errors[str(asked.get("audio_url"))] = fault.error
                return await handler(request)
            case FaultKind.HOLD:
                await request.read()
                await asyncio.sleep(fault.seconds)
                return await handler(request)
            case FaultKind.ACCEPT_LATE:
                await request.read()
                late = asyncio.create_task(self._accept_late(fault.seconds, request, handler))
                self._late.add(late)
                late.add_done_callback(self._late.discard)
                return _html(fault.status)
        return await self._spoil(fault, request, await handler(request))

    async def _spoil(self, fault: Fault, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        """For requests that were obeyed: an answer that never arrives, or not as it was meant."""
        body = _body(answer)
        match fault.what:
            case FaultKind.HTML_AFTER:
                return _html(fault.status)
            case FaultKind.GARBLED:
                return web.Response(body=body[: len(body) // 2], content_type="application/json")
            case FaultKind.HALF_BODY:
                half = web.StreamResponse(headers={"Content-Length": str(len(body))})
                await half.prepare(request)
                await half.write(body[: len(body) // 2])
        return _cut(request)


def _route(request: web.Request) -> str:
    if request.path == "/v2/upload":
        return Operation.UPLOAD
    if request.method == "POST":
        return Operation.SUBMIT
    if request.method == "DELETE":
        return Operation.DELETE
    return Operation.LIST if request.path == "/v2/transcript" else Operation.FETCH


def _body(answer: web.StreamResponse) -> bytes:
    return bytes(getattr(answer, "body", b"") or b"")


def _cut(request: web.Request) -> web.Response:
    """Reset the connection: whatever is answered now reaches nobody."""
    if request.transport:
        request.transport.abort()
    return web.Response()


def _html(status: int) -> web.Response:
    return web.Response(status=status, text=_HTML.format(f"{status} from a gateway"), content_type="text/html")
