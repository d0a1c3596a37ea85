"""A watchdog that notes each ping."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from batch.server import app

SECRET = "4e63b0a1-check"


class Heard(NamedTuple):
    method: str
    what: str
    """The path below the check's own."""
    rid: str
    body: str


async def well(request: web.Request) -> web.Response:
    return web.Response(text="OK")


@contextlib.asynccontextmanager
async def watchdog(
    answer: Callable[[web.Request], Awaitable[web.Response]] = well,
) -> AsyncIterator[tuple[str, list[Heard]]]:
    """A real server, the URL of its check, and what it has heard."""
    heard: list[Heard] = []

    async def listen(request: web.Request) -> web.Response:
        below = request.path.removeprefix(f"/{SECRET}")
        heard.append(Heard(request.method, below, request.query.get("rid", ""), await request.text()))
        return await answer(request)

    made = web.Application()
    made.router.add_route("*", "/{path:.*}", listen)
    async with app.listening(made, "127.0.0.1", 0) as base_url:
        yield f"{base_url}/{SECRET}", heard
