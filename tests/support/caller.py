"""Calls of the local service over real sockets, and what becomes of a submission."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.service import Double, start_service


class Caller:
    """Speaks to a double, raw."""

    def __init__(self, service: Double, session: aiohttp.ClientSession) -> None:
        self.service, self.session = service, session

    async def call(self, method: str, path: str, **request: Any) -> tuple[int, Any]:
        async with self.session.request(method, self.service.base_url + path, **request) as answer:
            said = await (answer.json() if answer.content_type == "application/json" else answer.text())
            return answer.status, said

    async def upload(self, audio: bytes = b"some audio") -> str:
        status, said = await self.call("POST", "/v2/upload", data=audio)
        assert status == 200
        return str(said["upload_url"])

    async def submit(self, **body: Any) -> dict[str, Any]:
        status, said = await self.call("POST", "/v2/transcript", json={"audio_url": await self.upload()} | body)
        assert status == 200, said
        return dict(said)

    async def ended(self, transcript_id: str) -> dict[str, Any]:
        while True:
            status, said = await self.call("GET", f"/v2/transcript/{transcript_id}")
            assert status == 200
            assert set(REQUIRED) <= said.keys()
            if said["status"] in ("completed", "error"):
                return dict(said)
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def calling(folder: Path, headers: dict[str, str] | None = None, **given: Any) -> AsyncIterator[Caller]:
    async with start_service(folder, **given) as service, aiohttp.ClientSession(headers=headers) as session:
        yield Caller(service, session)


async def outcome(base_url: str, audio: bytes) -> dict[str, Any]:
    async with aiohttp.ClientSession(base_url) as session:
        async with session.post("/v2/upload", data=audio) as answer:
            link = (await answer.json())["upload_url"]
        async with session.post("/v2/transcript", json={"audio_url": link}) as answer:
            made = await answer.json()
        while True:
            async with session.get(f"/v2/transcript/{made['id']}") as answer:
                said: dict[str, Any] = await answer.json()
            if said["status"] in ("completed", "error"):
                return said
            await asyncio.sleep(0.02)


REQUIRED = (
    "id speech_model language_model acoustic_model status audio_url webhook_auth auto_highlights redact_pii "
    "summarization language_confidence_threshold language_confidence"
).split()
