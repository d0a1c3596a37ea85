"""Answering HTTP for as long as a run lasts: an address that is taken is told before anything is done."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from batch.errors import Usage


@contextlib.asynccontextmanager
async def listening(app: web.Application, host: str, port: int, *, what: str, cure: str) -> AsyncIterator[int]:
    """Serve ``app`` while the context lasts; gives the port that it has got.

    Raises ``Usage`` that says ``what`` cannot be done there, and its ``cure``.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise Usage(f"cannot {what} on {host}:{port}: {error.strerror}. {cure}") from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
