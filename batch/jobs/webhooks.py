"""Webhooks: the service reports that a transcript has ended, and whoever waits for it is woken.

A notice is a hint and never a fact: it may be lost, doubled or late, so it only makes us fetch sooner what the sweep
would find anyway. The provider says what stands in one.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web
from yarl import URL

from batch.config import WebhookSettings
from batch.errors import UsageError
from batch.network.http_listener import listening
from batch.providers.interface import Provider, RemoteJob

_BODY_LIMIT_BYTES: Final = 64 * 1024
_SECRET: Final = re.compile(rb"[!-~]+")
"""What a header can carry."""


def stored_secret(path: Path) -> str:
    """The secret of this output directory, made on first use: notices outlive the run that asked for them.

    Blocks. Raises ``UsageError`` if the file cannot be written or read.
    """
    try:
        return _written_secret(path) or _make_secret(path)
    except OSError as error:
        raise UsageError(f"cannot use the webhook's secret in {path}: {error.strerror}") from error


def _written_secret(path: Path) -> str:
    """Empty if there is none that is whole."""
    try:
        written = path.read_bytes().strip()
    except FileNotFoundError:
        return ""
    return written.decode() if _SECRET.fullmatch(written) else ""


def _make_secret(path: Path) -> str:
    """Written beside and put in place at once: a run that is killed meanwhile leaves no half of one."""
    secret, beside = secrets.token_urlsafe(32), path.with_name(f".{path.name}.tmp")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 (its rights)
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return secret


@contextlib.asynccontextmanager
async def receiving(
    webhook: WebhookSettings, secret: str, provider: Provider, on_notice: Callable[[RemoteJob], None]
) -> AsyncIterator[int]:
    """Listen for notices while the context lasts; gives the port. ``on_notice`` receives each job that has ended.

    Raises ``UsageError`` if the URL is none or the port is taken.
    """
    app = web.Application(client_max_size=_BODY_LIMIT_BYTES)
    app.router.add_post(_path(webhook.url), _receiver(secret, provider, on_notice))
    words = {"what": "listen for webhooks", "cure": "Set webhook.port"}
    async with listening(app, webhook.host, webhook.port, **words) as port:
        yield port


def _path(url: str) -> str:
    """The path under which notices come. Raises ``UsageError`` for what is no URL."""
    parsed = URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"--webhook-url {url}: give the http(s) URL under which the service reaches this machine")
    return parsed.path or "/"


def _receiver(
    secret: str, provider: Provider, on_notice: Callable[[RemoteJob], None]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def receive(request: web.Request) -> web.Response:
        given = provider.notice_secret(request.headers)
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode()):
            return web.Response(status=401)
        job = provider.read_notice(await request.read())
        if job and job.has_ended:
            on_notice(job)
        return web.Response(status=204)

    return receive
