"""The service behind the stand-ins: words out of audio, jobs that are charged for, and answers that can be lost."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

KEY = "open sesame"


class Service:
    """``charged`` counts the jobs that were accepted, by the digest of their audio. ``lost`` are the numbers of the
    submissions, from 1, whose answers get lost on the way, ``failing`` those that end in an error. A job takes
    ``seconds``."""

    def __init__(
        self, seconds: float = 0.0, lost: frozenset[int] = frozenset(), failing: frozenset[int] = frozenset()
    ) -> None:
        self.charged, self.asked = Counter[str](), Counter[str]()
        self.base_url, self._seconds, self._lost, self._failing = "", seconds, lost, failing
        self._numbers, self._uploads = itertools.count(1), dict[str, str]()
        self._jobs: dict[str, dict[str, Any]] = {}

    @web.middleware
    async def check_key(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("X-Key") != KEY:
            return web.Response(status=401)
        self.asked[f"{request.method} {request.path.split('/')[1]}"] += 1
        answer: web.StreamResponse = await handler(request)
        return answer

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def upload(self, request: web.Request) -> web.Response:
        digest = hashlib.sha256(await request.read()).hexdigest()
        link = f"{self.base_url}/audio/{next(self._numbers)}"
        self._uploads[link] = digest
        return web.json_response({"link": link})

    async def transcribe(self, request: web.Request) -> web.Response:
        """Audio in, transcript out."""
        digest = hashlib.sha256(await request.read()).hexdigest()
        job = self._accepted(digest, "", dict(request.query))
        await asyncio.sleep(self._seconds)
        return self._answer(request, job)

    async def submit(self, request: web.Request) -> web.Response:
        """A link in, an id out."""
        asked = await request.json()
        job = self._accepted(self._uploads[asked["link"]], asked["link"], asked["options"])
        return self._answer(request, {"job": job["job"], "link": job["link"], "state": "working"})

    async def fetch(self, request: web.Request) -> web.Response:
        job = self._jobs.get(request.match_info["job"])
        if job is None:
            return web.Response(status=404)
        is_done = asyncio.get_running_loop().time() >= job["at"] + self._seconds
        return web.json_response(_shown(job) if is_done else {**_shown(job), "state": "working", "turns": []})

    def _accepted(self, digest: str, link: str, options: Mapping[str, Any]) -> dict[str, Any]:
        self.charged[digest] += 1
        name = f"job-{self.charged.total()}"
        turns = [{"who": "1", "from": 0.0, "to": 0.5, "text": "I heard"}]
        turns.append({"who": "2", "from": 0.5, "to": 1.0, "text": digest})
        at = asyncio.get_running_loop().time()
        state = "failed" if self.charged.total() in self._failing else "done"
        facts = {"job": name, "state": state, "link": link, "asked": dict(options), "length": 1.0}
        self._jobs[name] = {**facts, "turns": turns, "at": at}
        return self._jobs[name]

    def _answer(self, request: web.Request, job: Mapping[str, Any]) -> web.Response:
        if int(job["job"].partition("-")[2]) in self._lost:
            assert request.transport
            request.transport.close()
        return web.json_response(_shown(job))


def _shown(job: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in job.items() if name != "at"}


PlugIn = Callable[[Service], dict[str, str]]
"""Installs the stand-ins for a service; gives what the environment of a run then holds."""


@asynccontextmanager
async def serving(**given: Any) -> AsyncIterator[Service]:
    """A service on a free port."""
    service = Service(**given)
    app = web.Application(middlewares=[service.check_key])
    app.add_routes(
        [
            web.get("/health", service.health), web.post("/transcribe", service.transcribe),
            web.post("/audio", service.upload), web.post("/jobs", service.submit),
            web.get("/jobs/{job}", service.fetch),
        ]
    )  # fmt: skip
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()


def plugged_in(folder: Path, service: Service) -> dict[str, str]:
    """The environment in which diarist finds the stand-ins as installed plug-ins, and they find ``service``.

    What is made in ``folder`` is what an installed package has: metadata that name its entry points.
    """
    about = folder / "stand_ins-1.0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stand-ins\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[diarist.providers]\n"
        "at-once = tests.providers.stand_ins.at_once:AtOnce\n"
        "by-id = tests.providers.stand_ins.by_id:ById\n"
    )
    return {"STAND_IN_URL": service.base_url, "STAND_IN_KEY": KEY}
