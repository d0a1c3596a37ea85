"""The v2 API over aiohttp: one method a route, each a single attempt, every foreign error turned into one of ours.

Retrying, pacing and reconciling are decided above; here a request is sent once and its answer is understood.
"""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from yarl import URL

from batch import __version__, errors
from batch.config import TimeoutSettings
from batch.errors import FailureKind
from batch.network import http_client
from batch.providers.assemblyai import doubt
from batch.providers.assemblyai.protocol import (
    PAGE_LIMIT,
    Head,
    Page,
    Upload,
    error_text,
    read_head,
    read_page,
    refusal,
)
from batch.providers.interface import Operation
from batch.storage import disk_errors
from batch.telemetry.context import attempt_number, recording_key
from batch.telemetry.events import RequestEnded

T = TypeVar("T")
_LARGE_BYTES: Final = 1 << 20
"""From here on the loop would stand still for milliseconds while an answer is parsed."""
_UPLOAD: Final = msgspec.json.Decoder(Upload).decode
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_SECONDS: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE]\+?[0-9]+)?")
_PROXY_ADVICE: Final = (
    ". If it wants a password, write it into the variable that names the proxy, as http://USER:PASSWORD@HOST:PORT; "
    "if the service is reached without a proxy, name its host in NO_PROXY"
)
_LONGEST_PAUSE_SECONDS: Final = 366 * 86_400.0
"""Whoever asks to be left alone for longer has meant something else."""


class _Note:
    """What is seen of a call while it goes on."""

    __slots__ = ("received_bytes", "sent_bytes", "status")

    def __init__(self) -> None:
        self.status: int | None = None
        self.sent_bytes = self.received_bytes = 0


async def _at_once() -> None:
    return


class Client:
    """One service at ``base_url``. Raises only ``batch.errors``: see ``protocol.REFUSALS`` for which answer is which.

    ``session`` keeps its connections; ``fresh`` must not reuse them: a request on a connection that the service is
    just closing is lost without an answer, which for a submission costs a look at the list. ``turn`` is awaited right
    before each request: it returns when the service may be asked. ``webhook`` are parameters that go with every
    submission. ``on_request`` is told each call once it has ended, ``on_warning`` is given sentences for the log.
    ``date`` is the time that the service gave with its last answer (RFC 9110, section 6.6.1).
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        fresh: aiohttp.ClientSession,
        base_url: str,
        key: str | None,
        deadlines: TimeoutSettings | None = None,
        turn: Callable[[], Awaitable[None]] = _at_once,
        webhook: Mapping[str, str] | None = None,
        on_request: Callable[[RequestEnded], None] = lambda request: None,
        on_warning: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._session, self._fresh, self._base, self._turn = session, fresh, URL(base_url), turn
        self._webhook, self._on_request, self._on_warning = webhook or {}, on_request, on_warning
        self._odd = ""
        self._name, self._numbers = uuid.uuid4().hex[:16], itertools.count(1)
        self.date: str | None = None
        self._proxy = http_client.proxy_for(self._base)
        self._headers = {"Authorization": key} if key else {}
        self._deadlines = deadlines or TimeoutSettings()
        self._has_spoken = False
        self._doubts = {operation: doubt.Doubt(self._deadlines.doubt_seconds) for operation in Operation}

    async def upload(self, chunks: AsyncIterator[bytes], size_bytes: int) -> str:
        """Send ``size_bytes`` of audio; return the ``upload_url``. A slow upload that still moves is healthy."""
        broken: list[Exception] = []
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
        await self._doubts[Operation.UPLOAD].turn()
        await self._turn()  # before the clock of an upload that does not move begins to run
        try:
            async with asyncio.timeout(self._deadlines.stall_seconds) as deadline:
                body = self._moving(chunks, size_bytes, deadline, broken)
                answer = await self._call(Operation.UPLOAD, "POST", "v2/upload", data=body, headers=headers)
        except TimeoutError as error:
            raise errors.UnknownOutcomeError(
                f"the upload to {self._base} stands still", kind=FailureKind.TIMEOUT
            ) from error
        except errors.TransientError as error:
            raise (broken[0] if broken else error) from error
        return self._understood(Operation.UPLOAD, answer, _UPLOAD).upload_url

    async def submit(self, audio_url: str, options: Mapping[str, Any]) -> Head:
        """Ask for a transcript: this costs money. Raises ``UnknownOutcomeError`` if it may have been taken."""
        body = msgspec.json.encode({"audio_url": audio_url, **options, **self._webhook})
        headers = {"Content-Type": "application/json"}
        answer = await self._call(Operation.SUBMIT, "POST", "v2/transcript", data=body, headers=headers)
        return self._understood(Operation.SUBMIT, answer, read_head)

    async def fetch(self, transcript_id: str) -> tuple[Head, bytes]:
        """The transcript object as the service gave it, and the head of it."""
        answer = await self._call(Operation.FETCH, "GET", f"v2/transcript/{_safe(transcript_id)}", transcript_id)
        if len(answer) > _LARGE_BYTES:
            return await asyncio.to_thread(self._understood, Operation.FETCH, answer, read_head), answer
        return self._understood(Operation.FETCH, answer, read_head), answer

    async def page(self, *, before_id: str | None = None, limit: int = PAGE_LIMIT) -> Page:
        """One page of the account's transcripts, newest first; ``before_id`` asks for those older than it."""
        params = {"limit": str(limit)} | ({"before_id": before_id} if before_id else {})
        answer = await self._call(Operation.LIST, "GET", "v2/transcript", params=params)
        page, odd = self._understood(Operation.LIST, answer, read_page)
        if odd and not self._odd:
            self._on_warning(f"a line of the service's list is not what v2 documents ({odd}): it counts as not ended")
        self._odd = self._odd or odd
        return page

    def _understood(self, operation: Operation, answer: bytes, read: Callable[[bytes], T]) -> T:
        """What an answer says. One that is not what v2 documents is no answer at all."""
        try:
            parsed = read(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            start = answer[:80].decode("utf-8", "replace")
            raise errors.UnknownOutcomeError(
                f"the answer is not what v2 documents ({error}): {start!r}", kind=FailureKind.BAD_ANSWER
            ) from error
        self._has_spoken = True
        self._doubts[operation].went_well()
        return parsed

    async def _moving(
        self, chunks: AsyncIterator[bytes], size_bytes: int, deadline: asyncio.Timeout, broken: list[Exception]
    ) -> AsyncIterator[bytes]:
        """The chunks, with the deadline put off each time the socket has taken one.

        aiohttp reports whatever a body raises as a broken connection; ``broken`` keeps what it really was.
        """
        loop, left = asyncio.get_running_loop(), size_bytes
        try:
            async for chunk in chunks:
                left -= len(chunk)
                pause = self._deadlines.stall_seconds if left > 0 else self._deadlines.upload_answer_seconds
                deadline.reschedule(loop.time() + pause)
                yield chunk
        except errors.DiaristError as error:
            broken.append(error)
            raise

    async def _call(
        self, operation: Operation, method: str, path: str, transcript_id: str | None = None, **request: Any
    ) -> bytes:
        session = self._fresh if operation is Operation.SUBMIT else self._session
        request["headers"] = self._headers | request.get("headers", {})
        request["timeout"] = self._timeout(operation)
        if operation is not Operation.UPLOAD:
            await self._doubts[operation].turn()
        await self._turn()
        with self._noted(operation, method, path, transcript_id) as note:
            request["trace_request_ctx"] = note
            try:
                async with session.request(method, self._base / path, allow_redirects=False, **request) as answer:
                    note.status = answer.status
                    body = await answer.read()
                    note.received_bytes = len(body)
                    self.date = answer.headers.get("Date")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise _misfortune(error, self._base, self._proxy) from error
            if answer.status != 200:
                refused = _refused(operation, answer, body, self._base, self._proxy)
                raise self._weighed(refused, answer.status, operation, transcript_id)
        return body

    def _weighed(
        self, error: errors.DiaristError, status: int, operation: Operation, transcript_id: str | None
    ) -> errors.DiaristError:
        """What an error means of a service that has spoken v2: what one transcript meets is that transcript's, and
        what would end the run has to repeat."""
        if not self._has_spoken or not isinstance(error, doubt.ENDING):
            return error
        if operation is Operation.FETCH and status == HTTPStatus.NOT_FOUND:
            return errors.TranscriptNotFoundError(
                f"the service answered 404 to the fetch of {transcript_id}", kind=FailureKind.UNKNOWN_ID
            )
        return self._doubts[operation].met(error, transcript_id)

    @contextmanager
    def _noted(self, operation: Operation, method: str, path: str, transcript_id: str | None) -> Iterator[_Note]:
        """Tell of the call that is made while the context lasts, however it ends."""
        note, loop = _Note(), asyncio.get_running_loop()
        kind: str | None = None
        began = loop.time()
        try:
            yield note
        except errors.DiaristError as error:
            kind = error.kind
            raise
        except BaseException:
            kind = "cut"
            raise
        finally:
            self._on_request(
                RequestEnded(
                    request_id=f"{self._name}-{next(self._numbers)}", operation=operation, method=method,
                    path=f"/{path}", attempt=attempt_number.get(), seconds=round(loop.time() - began, 4),
                    sent_bytes=note.sent_bytes, received_bytes=note.received_bytes, status=note.status, kind=kind,
                    key=recording_key.get(), transcript_id=transcript_id,
                )
            )  # fmt: skip

    def _timeout(self, operation: Operation) -> aiohttp.ClientTimeout:
        read = (
            self._deadlines.upload_answer_seconds if operation is Operation.UPLOAD else self._deadlines.answer_seconds
        )
        return aiohttp.ClientTimeout(total=None, sock_connect=self._deadlines.connect_seconds, sock_read=read)


@asynccontextmanager
async def connect(
    base_url: str,
    key: str | None,
    *,
    connections: int,
    deadlines: TimeoutSettings | None = None,
    turn: Callable[[], Awaitable[None]] = _at_once,
    webhook: Mapping[str, str] | None = None,
    on_request: Callable[[RequestEnded], None] = lambda request: None,
    on_warning: Callable[[str], None] = lambda message: None,
) -> AsyncIterator[Client]:
    """A client with sessions of its own, closed at the end. ``connections`` bounds each of the two sessions.

    Raises ``UsageError`` if the environment names a proxy or certificate authorities that cannot be used.
    """
    counting = aiohttp.TraceConfig()
    counting.on_request_chunk_sent.append(_count_sent)
    given: dict[str, Any] = {
        "headers": {"User-Agent": f"diarist/{__version__}"},
        "trace_configs": [counting],
        "limit": connections,
    }
    async with http_client.session(**given) as session, http_client.session(**given, force_close=True) as fresh:
        yield Client(session, fresh, base_url, key, deadlines, turn, webhook, on_request, on_warning)


async def _count_sent(
    session: aiohttp.ClientSession, context: Any, sent: aiohttp.TraceRequestChunkSentParams
) -> None:
    context.trace_request_ctx.sent_bytes += len(sent.chunk)


def _safe(transcript_id: str) -> str:
    if not _SAFE_ID.fullmatch(transcript_id):
        raise errors.TranscriptNotFoundError(
            f"the service gave an unusable transcript id: {transcript_id!r}", kind=FailureKind.UNKNOWN_ID
        )
    return transcript_id


def _misfortune(error: Exception, base: URL, proxy: http_client.Proxy | None) -> errors.DiaristError:
    """A failed request as one of our errors: what matters is whether the service can have seen it."""
    disk_errors.check_limits(getattr(error, "os_error", error))
    reason = f"{type(error).__name__}: {error}".strip(": ")
    way = f"{base} through the proxy {proxy}" if proxy else f"{base}"
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            advice = f"Check the address, the clock and the certificate authorities: {http_client.trusted()}"
            return errors.UnavailableError(f"no secure connection to {way}: {reason}. {advice}")
        case aiohttp.ClientHttpProxyError(status=403 | 407):
            reason = f"it answered {error.status} {error.message}"
            return errors.UnavailableError(
                f"the proxy {proxy} lets nobody through to {base}: {reason}{_PROXY_ADVICE}"
            )
        case aiohttp.ClientHttpProxyError():
            reason = f"it answered {error.status} {error.message}"
            return errors.NoEffectError(
                f"the proxy {proxy} does not reach {base}: {reason}", kind=FailureKind.NOT_CONNECTED
            )
        case aiohttp.ClientProxyConnectionError():
            return errors.NoEffectError(
                f"no connection to the proxy {proxy} ({reason})", kind=FailureKind.NOT_CONNECTED
            )
        case aiohttp.InvalidURL():
            return errors.WrongServiceError(f"{base} is not an address: {reason}", kind=FailureKind.WRONG_ADDRESS)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return errors.NoEffectError(f"no connection to {way} ({reason})", kind=FailureKind.NOT_CONNECTED)
        case TimeoutError():
            return errors.UnknownOutcomeError(f"{base} did not answer in time", kind=FailureKind.TIMEOUT)
    return errors.UnknownOutcomeError(f"the connection to {way} broke ({reason})", kind=FailureKind.BROKEN_CONNECTION)


def _refused(
    operation: Operation, answer: aiohttp.ClientResponse, body: bytes, base: URL, proxy: http_client.Proxy | None
) -> errors.DiaristError:
    text = error_text(body)
    if answer.status < 300:
        return errors.UnknownOutcomeError(
            f"{base} answered {answer.status} instead of 200: {text}", kind=FailureKind.BAD_ANSWER
        )
    row, target = refusal(operation, answer.status, text), _target(answer)
    reason = f"a redirect to {target}" if target else text or answer.reason
    who = _who(answer.status, base, proxy)
    message = f"{who} answered {answer.status} to {operation}: {reason}{_advice(row.reach, base, target)}"
    if not issubclass(row.reach, errors.TransientError):
        return row.reach(message, kind=row.kind)
    asked = _retry_after(answer.headers, datetime.now(UTC))
    pause = None if asked is None else min(asked, _LONGEST_PAUSE_SECONDS)
    return row.reach(message, kind=row.kind, retry_after_seconds=pause)


def _who(status: int, base: URL, proxy: http_client.Proxy | None) -> str:
    """Whose answer it is: what goes to a service in TLS no proxy can answer, once it is connected."""
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return f"the proxy {proxy or 'on the way'}"
    return f"the service, or the proxy {proxy}," if proxy and base.scheme == "http" else "the service"


def _target(answer: aiohttp.ClientResponse) -> str:
    """Where a redirect leads, without user, query and fragment: they may sign it, and are the service's business."""
    given = answer.headers.get("Location", "") if 300 <= answer.status < 400 else ""
    try:
        target = answer.url.join(URL(given)) if given else URL()
        return str(target.with_user(None).with_query(None).with_fragment(None))[:200] if target.host else ""
    except ValueError:
        return ""


def _advice(reach: type[errors.DiaristError], base: URL, target: str) -> str:
    if issubclass(reach, errors.AuthenticationError):
        return f". Set ASSEMBLYAI_API_KEY to a key that {base} knows (keys differ by region), then run again"
    if issubclass(reach, errors.InsufficientFundsError):
        return ". Top up the account, then run the same command again: nothing that was done is lost"
    if issubclass(reach, errors.UnavailableError):
        return _PROXY_ADVICE
    moved, speaks, _ = target.partition("/v2/")
    if issubclass(reach, errors.WrongServiceError) and speaks:
        return f". If that is the service, give --service {moved}"
    if issubclass(reach, errors.WrongServiceError):
        return f". Does {base} speak AssemblyAI v2? Check --service"
    return ""


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Retry-After in seconds, whether given as a number or as a date (RFC 9110, section 10.2.3); None for neither.

    A date is measured by the service's own clock where it tells the time, else by ours, which says ``now``.
    """
    given = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(given):
        return float(given)
    if (then := _date(given)) is None:
        return None
    return max(0.0, (then - (_date(headers.get("Date", "")) or now)).total_seconds())


def _date(given: str) -> datetime | None:
    try:
        date = email.utils.parsedate_to_datetime(given)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
