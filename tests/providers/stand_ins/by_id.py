"""A provider that is sent the audio first, has no list, and is asked for each job by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from batch.providers.interface import AudioStream, Capabilities, Connection, Fetched, JobPage, Submission
from tests.providers.stand_ins.http import HttpConnection, StandIn, fetched


class ById(StandIn):
    name = "by-id"
    capabilities = Capabilities(reads_urls=False, lists_jobs=False, lookup="never")

    def connection(self, session: aiohttp.ClientSession) -> Connection:
        return ByIdConnection(session)


class ByIdConnection(HttpConnection):
    async def upload(self, audio: AudioStream) -> str:
        headers = {"Content-Length": str(audio.size_bytes)}
        link: str = msgspec.json.decode(await self.call("POST", "/audio", data=audio.chunks, headers=headers))["link"]
        return link

    async def submit(self, audio: str | AudioStream, options: Mapping[str, Any]) -> Submission:
        body = await self.call("POST", "/jobs", json={"link": audio, "options": dict(options)})
        return Submission(fetched(body).job)

    async def fetch(self, job_id: str) -> Fetched:
        return fetched(await self.call("GET", f"/jobs/{job_id}"))

    async def jobs(self, *, older: str | None = None, limit: int | None = None) -> JobPage:
        raise TypeError("there is no list")
