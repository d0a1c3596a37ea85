"""Answering HTTP for as long as a run lasts: an address that is taken is told before anything is done, and strangers
who hold connections open take none from anybody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web

from batch.errors import UsageError

MOST_CONNECTIONS: Final = 64
"""With one more the oldest is closed: each costs a descriptor, and what is asked here is answered at once."""


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, what: str, cure: str) -> AsyncIterator[int]:
    """Serve ``app`` while the context lasts; gives the port that it has got.

    Raises ``UsageError`` that says ``what`` cannot be done there, and its ``cure``.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    serve = runner.server
    assert serve

    def accepted() -> asyncio.BaseProtocol:
        for oldest in serve.connections[: 1 - MOST_CONNECTIONS]:
            oldest.force_close()
        return serve()

    try:
        try:
            server = await asyncio.get_running_loop().create_server(accepted, host, port)
        except OSError as error:
            raise UsageError(f"cannot {what} on {host}:{port}: {error.strerror}. {cure}") from error
        with contextlib.closing(server):
            yield server.sockets[0].getsockname()[1]
    finally:
        await runner.cleanup()
