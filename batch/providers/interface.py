"""The interface of a provider: all that jobs, archive and manifest know of whoever transcribes.

Providers differ: audio is uploaded first or sent with the job, the transcript comes at once or later, jobs are listed
or can only be asked for by id. The ``Capabilities`` of a provider say which; its name is never compared.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from batch.config import LocalServiceSettings, PriceTable, TimeoutSettings
from batch.errors import FailureKind
from batch.manifest.option_schema import OptionSchema
from batch.storage.audio import AudioLimits
from batch.telemetry.events import RequestEnded
from batch.transcripts.transcript import Transcript


class Operation(StrEnum):
    """What a request asks for. The health of each is kept apart."""

    UPLOAD = "upload"
    SUBMIT = "submit"
    FETCH = "fetch"
    LIST = "list"
    DELETE = "delete"


class Phase(StrEnum):
    """How far the provider is with a job."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class RemoteJob(msgspec.Struct, frozen=True):
    """A job as the provider tells of it.

    ``link`` is the audio that it was given, ``created_at`` when it was made (seconds since the epoch, read as UTC;
    see ``Capabilities.zone_seconds``), ``error`` what went wrong, each None where it is not told.
    """

    id: str
    phase: Phase
    link: str | None = None
    created_at: float | None = None
    error: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.phase in (Phase.COMPLETED, Phase.FAILED)


class JobPage(NamedTuple):
    """Jobs of the account, in any order, all newer than those of the next page, which ``older`` asks for; None: this
    is the last page."""

    jobs: Sequence[RemoteJob]
    older: str | None


class Fetched(NamedTuple):
    """A job with all that the provider has of it: ``body``, a JSON object, exactly as it came; ``audio_seconds``, how
    long the audio was; ``is_deleted``, whether the provider has only the job's id left."""

    job: RemoteJob
    body: bytes
    audio_seconds: float | None = None
    is_deleted: bool = False


class Outline(NamedTuple):
    """What a transcript tells beside its words: its job, how long the audio was, how many speakers it tells apart."""

    job_id: str | None
    audio_seconds: float | None = None
    speakers: int = 0


class Submission(NamedTuple):
    """The answer to a submission; ``fetched`` is the transcript where it comes with that answer."""

    job: RemoteJob
    fetched: Fetched | None = None


class AudioStream(NamedTuple):
    """Audio to be sent; ``chunks`` can be read once."""

    chunks: AsyncIterator[bytes]
    size_bytes: int


class Reaction(StrEnum):
    """What is done about a job that the provider has failed."""

    SUBMIT_ANEW = "submit anew"
    STAGE_AGAIN = "stage again"
    EMPTY_RESULT = "empty result"
    GIVE_UP = "give up"


class JobFailure(NamedTuple):
    """What the error of a failed job means."""

    kind: FailureKind
    reaction: Reaction


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider can do.

    ``uploads``: audio is sent first and is then known by a link, which can be submitted for ``link_life_seconds``;
    else it is sent with the submission. ``reads_urls``: the provider fetches public URLs itself. ``lists_jobs``: it
    lists the jobs of the account, with times that are within ``zone_seconds`` of UTC; else each job is asked for by
    its id. ``lookup``: a submission whose answer was lost is found in that list by its link, or ``never``, of which a
    run warns before it begins. ``ramp``: submissions should begin slowly. ``audio``: which recordings are accepted.
    """

    uploads: bool = True
    reads_urls: bool = True
    lists_jobs: bool = True
    lookup: Literal["by link", "never"] = "by link"
    sends_webhooks: bool = False
    link_life_seconds: float = 22 * 3600.0
    zone_seconds: float = 0.0
    ramp: bool = False
    audio: AudioLimits = AudioLimits()


LIKELY_CHANNELS: Final = 2
"""Of a recording that nobody has looked into, where each channel is billed."""


class Quote(msgspec.Struct, frozen=True):
    """What a request costs: USD for an hour of audio, by what is charged (the model, and each extra). ``unknown``:
    options or models without a known price, which may cost something."""

    usd_per_hour: Mapping[str, float]
    unknown: tuple[str, ...] = ()

    def usd(self, seconds: float, channels: int = 1) -> float:
        """The price of so much audio, of which each channel is billed."""
        return sum(self.usd_per_hour.values()) * seconds / 3600 * channels


class Pricing(Protocol):
    """What recordings cost, an estimate from the settings' price table."""

    @property
    def as_of(self) -> str:
        """The day from which the prices are."""

    @property
    def table(self) -> Mapping[str, float]:
        """All prices, in USD for an hour of audio, by what is charged."""

    def quote(self, options: Mapping[str, Any]) -> Quote: ...

    def billed_channels(self, options: Mapping[str, Any], channels: int | None) -> int:
        """How many channels are billed of a recording that has ``channels`` (None: unknown)."""


async def _at_once() -> None:
    return


class ConnectionRequest(msgspec.Struct, frozen=True):
    """How a provider is to be reached.

    ``connections`` is the most requests at one time. ``turn`` is awaited right before each request, and returns when
    one may be sent. ``webhook`` is the URL, and the secret, with which the provider reports each end. ``on_request``
    receives each request once it has ended, ``on_warning`` sentences for the log, ``on_status`` a sentence about the
    provider and whether it is still starting. ``folder`` is for what the provider keeps on this disk.
    """

    connections: int
    folder: Path
    timeouts: TimeoutSettings = TimeoutSettings()
    local: LocalServiceSettings = LocalServiceSettings()
    turn: Callable[[], Awaitable[None]] = _at_once
    webhook: tuple[str, str] | None = None
    on_request: Callable[[RequestEnded], None] = lambda request: None
    on_warning: Callable[[str], None] = lambda message: None
    on_status: Callable[[str, bool], None] = lambda message, is_starting: None


class Connection(Protocol):
    """A provider that can be asked. Each method is a single attempt, and raises only ``batch.errors``.

    ``telemetry.context`` says for which recording a request is made, and which attempt it is.
    """

    async def check(self) -> str | None:
        """Make the cheapest request that proves address and key; return the time by the provider's clock, as HTTP
        writes it, if it tells that."""

    async def upload(self, audio: AudioStream) -> str:
        """Send audio; return the link by which it can be submitted."""

    async def submit(self, audio: str | AudioStream, options: Mapping[str, Any]) -> Submission:
        """Ask for a transcript of a link or of audio, which costs money. Raises ``UnknownOutcomeError`` if it may
        have been accepted."""

    async def fetch(self, job_id: str) -> Fetched:
        """All of one job. Raises ``TranscriptNotFoundError`` if the provider does not know it."""

    async def jobs(self, *, older: str | None = None, limit: int | None = None) -> JobPage:
        """A page of the account's jobs; the newest if ``older`` is None."""


class Provider(Protocol):
    """A provider, whether or not it can be reached.

    ``name`` identifies it in the journal, and never changes. ``schema`` names the shape of its transcripts. ``key``
    is what it is asked with, ``secrets`` is what must never be shown. ``address`` is where it is reached, for people;
    None if it is started on this machine for a run.
    """

    @property
    def name(self) -> str: ...
    @property
    def schema(self) -> str: ...
    @property
    def address(self) -> str | None: ...
    @property
    def key(self) -> str | None: ...
    @property
    def secrets(self) -> Sequence[str]: ...
    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def options(self) -> OptionSchema: ...

    def connect(self, request: ConnectionRequest) -> AbstractAsyncContextManager[Connection]:
        """Reach it while the context lasts. Raises ``RunError`` if that cannot be."""

    def pricing(self, prices: PriceTable) -> Pricing | None:
        """What recordings cost here, by the settings; None if nothing is charged."""

    def alternatives(self) -> Sequence[Provider]:
        """Others for which the same key may have been made."""

    def classify(self, error: str | None) -> JobFailure:
        """What the error of a failed job means."""

    def matches(self, body: bytes, options: Mapping[str, Any]) -> bool:
        """Whether a job, by the body that was fetched of it, was asked for with these options."""

    def restore(self, body: bytes) -> Fetched:
        """What ``fetch`` returned when it returned this body."""

    def read(self, key: str, result: bytes) -> Transcript:
        """The transcript in a stored result, which is the body with ``recording`` in front. Raises ``ValueError``."""

    def outline(self, body: bytes) -> Outline:
        """What a body, or a whole result, tells beside its words. What is odd in
        it counts as not said. Raises ``ValueError`` for what is no JSON."""

    def notice_secret(self, headers: Mapping[str, str]) -> str:
        """The secret that came with a webhook's notice; empty if none did."""

    def read_notice(self, body: bytes) -> RemoteJob | None:
        """The job that a webhook's notice reports; None if it reports something else."""
