"""A provider that is sent the audio with the job, and answers with the transcript. It keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp

from batch.errors import FailureKind, TranscriptNotFoundError
from batch.providers.interface import (
    AudioStream,
    Capabilities,
    Connection,
    Fetched,
    JobPage,
    Submission,
)
from tests.providers.stand_ins.http import HttpConnection, StandIn, fetched


class AtOnce(StandIn):
    name = "at-once"
    capabilities = Capabilities(uploads=False, reads_urls=False, lists_jobs=False, lookup="never")

    def connection(self, session: aiohttp.ClientSession) -> Connection:
        return AtOnceConnection(session)


class AtOnceConnection(HttpConnection):
    async def upload(self, audio: AudioStream) -> str:
        raise TypeError("the audio goes with the submission")

    async def submit(self, audio: str | AudioStream, options: Mapping[str, Any]) -> Submission:
        assert isinstance(audio, AudioStream)
        headers = {"Content-Length": str(audio.size_bytes)}
        query = {name: str(value) for name, value in options.items()}
        body = await self.call("POST", "/transcribe", data=audio.chunks, headers=headers, params=query)
        answer = fetched(body)
        return Submission(answer.job, answer)

    async def fetch(self, job_id: str) -> Fetched:
        raise TranscriptNotFoundError(f"nothing is kept of {job_id}", kind=FailureKind.UNKNOWN_ID)

    async def jobs(self, *, older: str | None = None, limit: int | None = None) -> JobPage:
        raise TypeError("there is no list")
