"""The local service with a double for its engine: real routes, a real store and real sockets, but no speech.

Its transcript names the digest of the audio that it was given, so a test can tell whose result it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web

from batch.engine.interface import EngineRequest, EngineTranscript
from batch.model import Utterance, Word
from batch.providers.interface import Operation
from batch.server import app, download, outbound
from batch.server.faults import Fault, FaultKind, Faults
from batch.server.queue import Notify, Queue, Transcriber
from batch.server.retention import RetentionPolicy
from batch.server.store import Store
from batch.server.webhooks import WebhookRetry, WebhookSender

_COMPLETED = re.compile(rb'"text":"sha256 ([0-9a-f]{64})"')
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def heard(audio: bytes, request: EngineRequest) -> EngineTranscript:
    """A transcript of two words, the second of which is the digest of the audio."""
    digest = hashlib.sha256(audio).hexdigest()
    speakers = ("A", "B") if request.speaker_labels else (None, None)
    words = (Word("sha256", 0, 400, 0.9, speakers[0]), Word(digest, 500, 900, 0.7, speakers[1]))
    said = tuple(
        Utterance(word.text, word.start, word.end, word.confidence, word.speaker, (word,))
        for word in words
        if word.speaker
    )
    text = " ".join(word.text for word in words)
    return EngineTranscript(text, words, said if request.speaker_labels else None, 0.8, audio_seconds=2.5)


class Double:
    """What a test may ask of a running double: everything that it was sent."""

    def __init__(self, store: Store) -> None:
        self.base_url = ""
        self.queue: Queue
        self.requests: list[tuple[str, str]] = []
        self.fetched: dict[str, float] = {}
        self.answers: list[tuple[float, float, int]] = []
        self.submissions: list[dict[str, Any]] = []
        self.most_open = 0
        self._store, self._open = store, 0

    def digest_of(self, audio_url: str) -> str:
        """The SHA-256 of the audio behind a link."""
        path = self._store.upload(audio_url.rpartition("/")[2])
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else audio_url

    @web.middleware
    async def notes(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Write down each request, each submission that was accepted, and when each transcript was first fetched."""
        self.requests.append((request.method, request.path))
        answer = await handler(request)
        if (request.method, request.path, answer.status) == ("POST", "/v2/transcript", 200):
            self.submissions.append(json.loads(await request.read()))
            self._open += 1
            self.most_open = max(self.most_open, self._open)
        if digest := _COMPLETED.search(bytes(getattr(answer, "body", b"") or b"")):
            self.fetched.setdefault(digest[1].decode(), asyncio.get_running_loop().time())
        return answer

    @web.middleware
    async def clocks(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note when each request came, when it was answered (loop time) and how, whatever was done to it."""
        loop = asyncio.get_running_loop()
        came, status = loop.time(), 0
        try:
            answer = await handler(request)
            status = answer.status
            return answer
        finally:
            self.answers.append((came, loop.time(), status))

    def transcriber(self, seconds: float, failing: Callable[[bytes], Exception | None]) -> Transcriber:
        async def transcribe(path: Path, request: EngineRequest) -> EngineTranscript:
            audio = path.read_bytes()
            try:
                await asyncio.sleep(seconds)
                if error := failing(audio):
                    raise error
            finally:
                self._open -= 1
            return heard(audio, request)

        return transcribe


@contextlib.asynccontextmanager
async def start_service(
    folder: Path,
    *,
    seconds: float = 0.01,
    slots: int = 50,
    key: str | None = None,
    port: int = 0,
    middlewares: Iterable[Any] = (),
    failing: Callable[[bytes], Exception | None] = lambda audio: None,
    private: bool = False,
    faults: Faults | None = None,
    manner: WebhookRetry | None = None,
    keep: RetentionPolicy | None = None,
    budget: int | None = None,
    on_the_way: Callable[[Notify], Notify] = lambda send: send,
    webhooks: outbound.May = outbound.public_or_here,
) -> AsyncIterator[Double]:
    """A double whose jobs take ``seconds`` each, ``slots`` at a time, and fail as ``failing`` says of their audio.

    ``faults`` befall requests before anything else sees them; ``middlewares`` stand behind those. ``on_the_way`` is
    what happens to webhooks, which are otherwise sent in the ``manner`` of the real service to where ``webhooks``
    allows.
    """
    with contextlib.closing(Store(folder, budget)) as store:
        double = Double(store)
        async with download.session(private=private) as ways, outbound.ways(webhooks) as outward:
            locate = download.Fetcher(store, ways).locate
            locate = faults.on_the_way(locate) if faults else locate
            transcribe = double.transcriber(seconds, failing)
            double.queue = queue = Queue(
                store,
                transcribe,
                locate,
                on_the_way(WebhookSender(outward, manner).send),
                slots=slots,
                engine="double",
            )
            befall = [faults.middleware] if faults else []
            layers = [double.clocks, *befall, *middlewares, double.notes]
            made = app.make_app(store, queue, key=key, keep=keep, middlewares=layers)
            async with app.listening(made, "127.0.0.1", port) as double.base_url:
                yield double


FOUR_PERCENT = [
    Fault(FaultKind.REFUSE, probability=0.04),
    Fault(FaultKind.STATUS, probability=0.04, status=500),
    Fault(FaultKind.HTML, probability=0.04, status=503),
    Fault(FaultKind.THROTTLE, probability=0.04, seconds=1),
    Fault(FaultKind.DROP_BEFORE, route=Operation.UPLOAD, probability=0.04),
    Fault(FaultKind.DROP_AFTER, route=Operation.UPLOAD, probability=0.04),
    Fault(FaultKind.DROP_AFTER, route=Operation.SUBMIT, probability=0.04),
    Fault(FaultKind.HALF_BODY, route=Operation.FETCH, probability=0.04),
]
