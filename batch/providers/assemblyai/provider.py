"""AssemblyAI v2 as a provider: the vendor's hosts, and any other service that speaks the same protocol."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from batch import errors
from batch.config import PriceTable
from batch.errors import FailureKind
from batch.providers.assemblyai import endpoints, options, protocol, transcript
from batch.providers.assemblyai.endpoints import Endpoint
from batch.providers.assemblyai.pricing import VendorPricing
from batch.providers.assemblyai.protocol import (
    DELETED_URL,
    PAGE_LIMIT,
    Head,
    Item,
    Page,
    Status,
    job_error,
    read_head,
)
from batch.providers.interface import (
    AudioStream,
    Capabilities,
    Connection,
    ConnectionRequest,
    Fetched,
    JobFailure,
    JobPage,
    Outline,
    Phase,
    RemoteJob,
    Submission,
)
from batch.storage.audio import AudioLimits
from batch.transcripts.transcript import Transcript

if TYPE_CHECKING:
    from batch.providers.assemblyai.client import Client

SCHEMA: Final = "assemblyai-v2"
_ZONE_SECONDS: Final = 15 * 3600.0
"""The list's times carry no zone, and zones differ by up to 14 hours."""
_SECRET_HEADER: Final = "X-Diarist-Secret"
_PHASES: Final = {
    Status.QUEUED: Phase.QUEUED,
    Status.PROCESSING: Phase.RUNNING,
    Status.COMPLETED: Phase.COMPLETED,
    Status.ERROR: Phase.FAILED,
}


class _Notice(msgspec.Struct):
    """What a webhook says of a transcript (AssemblyAI's documentation of webhooks, 2026)."""

    transcript_id: str
    status: Status


class AssemblyAI:
    """The provider at an endpoint. One without a base URL cannot be reached, but its jobs and results can be read."""

    schema = SCHEMA
    options = options.SCHEMA

    def __init__(self, endpoint: Endpoint) -> None:
        self.name, self.address, self.key = endpoint.name, endpoint.base_url, endpoint.key
        self.secrets: Sequence[str] = (endpoint.key,) if endpoint.key else ()
        self.capabilities = Capabilities(
            sends_webhooks=True,
            link_life_seconds=protocol.UPLOAD_LIFE_SECONDS,
            zone_seconds=_ZONE_SECONDS,
            ramp=self._is_vendors,
            audio=AudioLimits(protocol.UPLOAD_LIMIT_BYTES, protocol.SHORTEST_SECONDS, protocol.LONGEST_SECONDS),
        )

    @property
    def _is_vendors(self) -> bool:
        """Whether it is one of the vendor's own hosts, whose ramp and prices apply."""
        return self.name in endpoints.HOSTS

    def connect(self, request: ConnectionRequest) -> AbstractAsyncContextManager[Connection]:
        return connected(self.address or "", self.key, request)

    def pricing(self, prices: PriceTable) -> VendorPricing | None:
        table = prices.of(is_vendors=self._is_vendors)
        return VendorPricing(table) if table else None

    def alternatives(self) -> Sequence[AssemblyAI]:
        if not self._is_vendors:
            return ()
        return [
            AssemblyAI(Endpoint(name, url, self.key)) for name, url in endpoints.HOSTS.items() if name != self.name
        ]

    def classify(self, error: str | None) -> JobFailure:
        row = job_error(error)
        return JobFailure(row.kind, row.reaction)

    def matches(self, body: bytes, options_asked: Mapping[str, Any]) -> bool:
        return not options.unlike(options_asked, msgspec.json.decode(body))

    def restore(self, body: bytes) -> Fetched:
        return _fetched(read_head(body), body)

    def read(self, key: str, result: bytes) -> Transcript:
        return transcript.read_result(key, result)

    def outline(self, body: bytes) -> Outline:
        return transcript.outline(body)

    def notice_secret(self, headers: Mapping[str, str]) -> str:
        return headers.get(_SECRET_HEADER, "")

    def read_notice(self, body: bytes) -> RemoteJob | None:
        try:
            notice = msgspec.json.decode(body, type=_Notice)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None  # such as news of redacted audio
        return RemoteJob(notice.transcript_id, _PHASES[notice.status])


@contextlib.asynccontextmanager
async def connected(base_url: str, key: str | None, request: ConnectionRequest) -> AsyncIterator[Connection]:
    """A connection to the service at ``base_url``."""
    from batch.providers.assemblyai import client  # with aiohttp, which those who only read results do without

    async with client.connect(
        base_url, key, connections=request.connections, deadlines=request.timeouts, turn=request.turn,
        webhook=_webhook(*request.webhook) if request.webhook else None,
        on_request=request.on_request, on_warning=request.on_warning,
    ) as api:  # fmt: skip
        yield V2Connection(api)


class V2Connection:
    """The client's answers in the words of ``providers.interface``."""

    def __init__(self, api: Client) -> None:
        self._client = api

    async def check(self) -> str | None:
        await self._client.page(limit=1)
        return self._client.date

    async def upload(self, audio: AudioStream) -> str:
        return await self._client.upload(audio.chunks, audio.size_bytes)

    async def submit(self, audio: str | AudioStream, options: Mapping[str, Any]) -> Submission:
        if isinstance(audio, AudioStream):
            raise TypeError("v2 takes the link of an upload")
        return Submission(_of_head(await self._client.submit(audio, options)))

    async def fetch(self, job_id: str) -> Fetched:
        head, body = await self._client.fetch(job_id)
        if head.id != job_id:
            message = f"asked for transcript {job_id}, the service answered with {head.id}"
            raise errors.UnknownOutcomeError(message, kind=FailureKind.BAD_ANSWER)
        return _fetched(head, body)

    async def jobs(self, *, older: str | None = None, limit: int | None = None) -> JobPage:
        page = await self._client.page(before_id=older, limit=limit or PAGE_LIMIT)
        return JobPage([_of_item(item) for item in page.transcripts], _older(page, older))


def _webhook(url: str, secret: str) -> Mapping[str, str]:
    """The parameters of a submission by which the service reports its end to ``url``."""
    return {"webhook_url": url, "webhook_auth_header_name": _SECRET_HEADER, "webhook_auth_header_value": secret}


def _fetched(head: Head, body: bytes) -> Fetched:
    return Fetched(_of_head(head), body, head.audio_duration, head.audio_url == DELETED_URL)


def _of_head(head: Head) -> RemoteJob:
    return RemoteJob(head.id, _PHASES[head.status], head.audio_url, error=head.error)


def _of_item(item: Item) -> RemoteJob:
    return RemoteJob(item.id, _PHASES[item.status], item.audio_url, _created(item), item.error)


def _older(page: Page, asked: str | None) -> str | None:
    """The id before which the next page lies, by the service's own link, else the oldest of this page; None at the
    end of the list, and what this page was ``asked`` for with if there is more, but no way to it."""
    if not page.page_details.prev_url:
        return None
    if named := parse_qs(urlsplit(page.page_details.prev_url).query).get("before_id"):
        return named[0]
    oldest = min(reversed(page.transcripts), key=lambda item: _created(item) or 0.0, default=None)
    return oldest.id if oldest else asked or ""


def _created(item: Item) -> float | None:
    """When the list says that the transcript was made, read as UTC."""
    try:
        return datetime.fromisoformat(item.created or "").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
