"""The routes of v2 for pre-recorded audio, over aiohttp.

Source: AssemblyAI v2 specification (August 2026). Parameters that are not known are ignored; what the local engine
cannot do is refused by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec
from aiohttp import ClientPayloadError, StreamReader, web
from aiohttp.http import HttpProcessingError
from yarl import URL

from batch.engine.interface import BUILT_IN, EngineCapabilities
from batch.network.addresses import is_loopback
from batch.providers.assemblyai import protocol
from batch.providers.assemblyai.protocol import UPLOAD_LIMIT_BYTES
from batch.server import derived_routes, parameters, schemas
from batch.server.queue import Queue
from batch.server.responses import BadRequest, refuse, reply
from batch.server.retention import RetentionPolicy
from batch.server.store import JobRow, Store
from batch.server.uploads import Full
from batch.telemetry.redaction import plain

_CHUNK_BYTES: Final = 1 << 20
_SUBMISSION_BYTES: Final = 1 << 20
_STALL_SECONDS: Final = 60.0
"""A body that does not move for so long is given up, and so is a connection that sends no request."""
_log = logging.getLogger(__name__)
_BROKEN_OFF: Final = (ClientPayloadError, web.RequestPayloadError, ConnectionError)
_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addFilter(
    lambda record: not record.exc_info or not isinstance(record.exc_info[1], (HttpProcessingError, *_BROKEN_OFF))
)
"""aiohttp writes a page for every request that is no HTTP: callers cannot fill the log."""
STORE: Final = web.AppKey("store", Store)
QUEUE: Final = web.AppKey("queue", Queue)
KEY: Final = web.AppKey("key", str)
KEEP: Final = web.AppKey("keep", RetentionPolicy)
LIMIT_BYTES: Final = web.AppKey("limit_bytes", int)
ABLE: Final = web.AppKey("able", EngineCapabilities)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(
    store: Store,
    queue: Queue,
    *,
    key: str | None = None,
    upload_limit_bytes: int = UPLOAD_LIMIT_BYTES,
    keep: RetentionPolicy | None = None,
    able: EngineCapabilities = BUILT_IN,
    middlewares: Iterable[Any] = (),
) -> web.Application:
    """The application, whose jobs run while it does. Without a ``key`` any key, or none, is accepted, but only from
    programs of this machine. ``able``: what the engine can."""
    app = web.Application(middlewares=[*middlewares, _authorised, _in_words], client_max_size=_SUBMISSION_BYTES)
    app[STORE], app[QUEUE], app[KEEP], app[ABLE] = store, queue, keep or RetentionPolicy(), able
    app[LIMIT_BYTES] = min(upload_limit_bytes, store.uploads.largest)
    if key:
        app[KEY] = key
    app.router.add_post("/v2/upload", upload)
    app.router.add_post("/v2/transcript", submit)
    app.router.add_get("/v2/transcript", list_transcripts)
    app.router.add_get("/v2/transcript/", no_such_transcript)
    app.router.add_get("/v2/transcript/{id}", fetch)
    app.router.add_delete("/v2/transcript/{id}", delete)
    app.add_routes(derived_routes.routes(store))
    app.cleanup_ctx.append(_working)
    return app


async def _working(app: web.Application) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(app[QUEUE].run()), asyncio.create_task(_expire(app[STORE], app[KEEP]))]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _expire(store: Store, keep: RetentionPolicy) -> None:
    while True:
        try:
            await store.expire(keep)
        except Exception:  # what could not be removed now is tried again
            _log.exception("uploads and transcripts whose time is over could not be removed")
        await asyncio.sleep(keep.pause_seconds)


@web.middleware
async def _authorised(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The key in ``Authorization``, compared in constant time; without one, no website's pages."""
    key, host = request.app.get(KEY), _host_of(f"http://{request.headers.get('Host', '')}")
    if host is None:
        return refuse(400, "The Host header is not valid")
    if not key:
        return _foreign(request, host) or await handler(request)
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(errors="surrogateescape"), key.encode()):
        return refuse(401, protocol.KEY_REFUSED_TEXT)
    return await handler(request)


def _foreign(request: web.Request, host: str) -> web.Response | None:
    """A refusal for what a website's page sends: to a name that it made mean this machine (DNS rebinding), or
    across sites."""
    if not is_loopback(host):
        return refuse(421, f"{host} is not served here: use localhost, or set a key in DIARIST_SERVICE_KEY")
    origin = request.headers.get("Origin")
    if origin is not None and not is_loopback(_host_of(origin)):
        return refuse(403, "Websites may not use this service unless it has a key (DIARIST_SERVICE_KEY)")
    return None


def _host_of(url: str) -> str | None:
    try:
        return URL(url).host
    except ValueError:
        return None


@web.middleware
async def _in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals as v2 words them: JSON with an ``error``."""
    try:
        return await handler(request)
    except BadRequest as error:
        return refuse(400, str(error))
    except web.HTTPNotFound:
        return refuse(404, protocol.NOT_FOUND_TEXT)
    except web.HTTPMethodNotAllowed as error:
        refusal = refuse(405, f"{error.method} is not allowed here")
        refusal.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return refusal
    except web.HTTPRequestEntityTooLarge:
        return refuse(413, f"A request may have {_SUBMISSION_BYTES} bytes at most")
    except Full as error:
        return refuse(507, str(error))
    except TimeoutError:
        return refuse(408, f"Nothing came for {_STALL_SECONDS:.0f} seconds")
    except _BROKEN_OFF:
        return refuse(400, "The request broke off")
    except web.HTTPException:
        raise
    except Exception:
        _log.exception("%s %s", plain(request.method), plain(request.path))
        return refuse(500, protocol.SERVER_ERROR_TEXT)


async def upload(request: web.Request) -> web.Response:
    """Any bytes, streamed to disk. An upload that breaks off leaves nothing."""
    promised, limit = request.content_length or 0, request.app[LIMIT_BYTES]
    if promised > limit:
        return _too_large(limit)
    async with request.app[STORE].receive(promised) as arrival:
        async for chunk in _moving(request.content):
            if arrival.size + len(chunk) > limit:
                return _too_large(limit)
            await arrival.add(chunk)
        if arrival.size == 0:
            return web.Response(status=422, text=protocol.UPLOAD_FAILED_TEXT)
        path = await arrival.keep()
    return reply({"upload_url": str(request.url.origin() / "upload" / path.name)})


def _too_large(limit: int) -> web.Response:
    return refuse(413, f"An upload may have {limit} bytes at most")


async def _moving(content: StreamReader) -> AsyncIterator[bytes]:
    """The body in chunks. Raises TimeoutError when it stands still."""
    chunks = content.iter_chunked(_CHUNK_BYTES)
    while True:
        async with asyncio.timeout(_STALL_SECONDS):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        yield chunk


async def submit(request: web.Request) -> web.Response:
    """A new transcript, queued. 200, as the specification has it, and the whole object."""
    try:
        async with asyncio.timeout(_STALL_SECONDS):
            body = await request.read()
        asked = schemas.read_request(msgspec.json.decode(body), request.app[ABLE])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("The request body is not valid JSON") from None
    transcript_id = str(uuid.uuid4())
    body = msgspec.json.encode(schemas.waiting(transcript_id, asked))
    await request.app[STORE].add(transcript_id, asked, body)
    request.app[QUEUE].add(transcript_id)
    return reply(body)


async def fetch(request: web.Request) -> web.Response:
    """200 also for a job that failed: its ``status`` says so."""
    body = await request.app[STORE].body(request.match_info["id"])
    return reply(body) if body else await no_such_transcript(request)


async def no_such_transcript(request: web.Request) -> web.Response:
    """An unknown id is a 400, not a 404."""
    return refuse(400, protocol.UNKNOWN_ID_TEXT)


async def delete(request: web.Request) -> web.Response:
    """Forget the transcript's content and its upload at once. Again and again, if asked to."""
    store = request.app[STORE]
    line = await store.line(request.match_info["id"])
    if line is None:
        return await no_such_transcript(request)
    left = schemas.deleted(line.id, line.status)
    body = msgspec.json.encode(left)
    await store.delete(line, left["status"], body, audio_url=protocol.DELETED_URL, error=left.get("error"))
    return reply(body)


async def list_transcripts(request: web.Request) -> web.Response:
    """A page, newest first: ``prev_url`` leads to older ones, ``next_url`` to newer ones."""
    store, asked = request.app[STORE], request.query
    limit, status, created_on = parameters.limit(asked), parameters.status(asked), parameters.created_on(asked)
    before, after = await _number(store, asked.get("before_id")), await _number(store, asked.get("after_id"))
    throttled = parameters.throttled_only(asked)  # nobody is throttled here, and this overrides the status
    page = partial(store.page, status=status, created_on=created_on)
    lines = [] if throttled else await page(limit, before=before, after=after)
    older = await page(1, before=lines[-1].number) if lines else []
    newer = await page(1, after=lines[0].number) if lines else []
    kept = {"status": status, "created_on": created_on, "limit": str(limit)}
    here = request.url.with_query({name: value for name, value in kept.items() if value})
    details = {
        "limit": limit,
        "result_count": len(lines),
        "current_url": str(request.url),
        "prev_url": str(here.update_query(before_id=lines[-1].id)) if older else None,
        "next_url": str(here.update_query(after_id=lines[0].id)) if newer else None,
    }
    origin = request.url.origin()
    return reply({"page_details": details, "transcripts": [_item(line, str(origin)) for line in lines]})


async def _number(store: Store, transcript_id: str | None) -> int | None:
    if not transcript_id:
        return None
    line = await store.line(transcript_id)
    if line is None:
        raise BadRequest(protocol.UNKNOWN_ID_TEXT)
    return line.number


def _item(line: JobRow, origin: str) -> dict[str, Any]:
    fields = {name: getattr(line, name) for name in ("id", "status", "created", "completed", "audio_url", "error")}
    return fields | {"resource_url": f"{origin}/v2/transcript/{line.id}"}


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve ``app`` while the context lasts; gives its base URL, with the port that it has got."""
    runner = web.AppRunner(
        app, access_log=None, logger=_http_log, shutdown_timeout=2.0, keepalive_timeout=_STALL_SECONDS
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        at = runner.addresses[0]
        shown = f"[{at[0]}]" if ":" in at[0] else at[0]
        yield f"http://{shown}:{at[1]}"
    finally:
        await runner.cleanup()
