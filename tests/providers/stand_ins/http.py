"""What the stand-ins have in common: their options, their transcripts, and requests with errors of ours."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, ClassVar

import aiohttp
import msgspec

from batch import errors
from batch.config import PriceTable
from batch.errors import FailureKind
from batch.model import Utterance, Word
from batch.providers.interface import (
    Capabilities,
    Connection,
    ConnectionRequest,
    Fetched,
    JobFailure,
    Outline,
    Phase,
    Provider,
    Reaction,
    RemoteJob,
)
from batch.transcripts.transcript import Transcript, estimate_times, utterance


class Turn(msgspec.Struct, rename={"begin": "from", "end": "to"}):
    who: str
    begin: float
    end: float
    text: str


class Answer(msgspec.Struct):
    job: str
    state: str = "done"
    link: str = ""
    length: float | None = None
    turns: list[Turn] = []


class Vocabulary:
    """One option: which language is spoken. What else the settings may ask for does not exist here."""

    columns = frozenset({"tongue"})

    def is_option(self, column: str) -> bool:
        return column in self.columns

    def read(self, cells: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in {**defaults, **cells}.items() if name in self.columns and value}
        if not all(isinstance(value, str) for value in given.values()):
            raise ValueError(f"option tongue: expected a language, got {given['tongue']!r}")
        return given

    def excerpt(self, start_ms: int | None, end_ms: int | None) -> Mapping[str, Any]:
        raise ValueError("this provider transcribes whole recordings only")

    def is_excerpt(self, options: Mapping[str, Any]) -> bool:
        return False

    def language(self, code: str) -> Mapping[str, Any]:
        return {"tongue": code}

    def names_language(self, cells: Mapping[str, Any]) -> bool:
        return bool(cells.get("tongue"))

    def canonical(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value.lower() for name, value in sorted(options.items()) if value not in ("", "any")}

    def differing(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
        mine, theirs = self.canonical(one), self.canonical(other)
        return sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))


class StandIn:
    """A provider without the verbs: those are its connection's."""

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    schema, options = "turns", Vocabulary()

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.address, self.key = environ.get("STAND_IN_URL", ""), environ.get("STAND_IN_KEY")
        self.secrets: Sequence[str] = [self.key] if self.key else []

    @contextlib.asynccontextmanager
    async def connect(self, request: ConnectionRequest) -> AsyncIterator[Connection]:
        async with aiohttp.ClientSession(self.address, headers={"X-Key": self.key or ""}) as session:
            yield self.connection(session)

    def connection(self, session: aiohttp.ClientSession) -> Connection:
        raise NotImplementedError

    def pricing(self, prices: PriceTable) -> None:
        return None

    def alternatives(self) -> Sequence[Provider]:
        return ()

    def classify(self, error: str | None) -> JobFailure:
        return JobFailure(FailureKind.JOB_ERROR, Reaction.GIVE_UP)

    def matches(self, body: bytes, options: Mapping[str, Any]) -> bool:
        return not self.options.differing(options, msgspec.json.decode(body)["asked"])

    def restore(self, body: bytes) -> Fetched:
        return fetched(body)

    def outline(self, body: bytes) -> Outline:
        found = msgspec.json.decode(body, type=Answer)
        return Outline(found.job, found.length, len({turn.who for turn in found.turns}))

    def read(self, key: str, result: bytes) -> Transcript:
        found, about = msgspec.json.decode(result, type=Answer), msgspec.json.decode(result)["recording"]
        utterances = tuple(map(_utterance, found.turns))
        text = " ".join(turn.text for turn in found.turns)
        return Transcript(key, utterances, found.length or 0.0, None, about, found.job, found.state, None, text)

    def notice_secret(self, headers: Mapping[str, str]) -> str:
        return ""

    def read_notice(self, body: bytes) -> RemoteJob | None:
        return None


class HttpConnection:
    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def check(self) -> str | None:
        await self.call("GET", "/health")
        return None

    async def call(self, method: str, path: str, **request: Any) -> bytes:
        try:
            async with self._session.request(method, path, **request) as answer:
                body = await answer.read()
        except aiohttp.ClientConnectorError as error:
            raise errors.NoEffectError(str(error), kind=FailureKind.NOT_CONNECTED) from error
        except (aiohttp.ClientError, OSError) as error:
            raise errors.UnknownOutcomeError(str(error), kind=FailureKind.BROKEN_CONNECTION) from error
        if answer.status == 401:
            raise errors.AuthenticationError("the key is not accepted: set STAND_IN_KEY")
        if answer.status == 404:
            raise errors.TranscriptNotFoundError(f"{path} is not known", kind=FailureKind.UNKNOWN_ID)
        return body


def fetched(body: bytes) -> Fetched:
    found = msgspec.json.decode(body, type=Answer)
    phase = {"done": Phase.COMPLETED, "failed": Phase.FAILED}.get(found.state, Phase.RUNNING)
    error = "cannot make it out" if phase is Phase.FAILED else None
    return Fetched(RemoteJob(found.job, phase, found.link or None, error=error), body, found.length)


def _utterance(turn: Turn) -> Utterance:
    words = estimate_times(turn.text, round(turn.begin * 1000), round(turn.end * 1000), 1.0)
    return utterance([Word(word.text, word.start, word.end, 1.0, turn.who) for word in words])
