"""Webhooks: the service tells us that a transcript has ended, and the watcher's bell is rung.

A notice is a hint and never a fact: it may be lost, doubled or late, so it only makes us fetch sooner what the sweep
would find anyway. Source of the shapes: AssemblyAI's documentation of webhooks (2026).
"""

from __future__ import annotations

import contextlib
import hmac
import os
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web
from yarl import URL

from batch.config import WebhookSettings
from batch.errors import UsageError
from batch.network.http_listener import listening
from batch.providers.assemblyai.protocol import DONE, Status

_HEADER: Final = "X-Diarist-Secret"
_BODY_LIMIT_BYTES: Final = 64 * 1024
_SECRET: Final = re.compile(rb"[!-~]+")
"""What a header can carry."""
Ring = Callable[[str, Status], None]


def parameters(url: str, secret: str) -> Mapping[str, str]:
    """What a submission says, so that the service tells ``url`` of its end."""
    return {"webhook_url": url, "webhook_auth_header_name": _HEADER, "webhook_auth_header_value": secret}


class _Notice(msgspec.Struct):
    transcript_id: str
    status: Status


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
async def receiving(webhook: WebhookSettings, secret: str, ring: Ring) -> AsyncIterator[int]:
    """Listen for notices while the context lasts; gives the port. ``ring`` is told id and status of each.

    Raises ``UsageError`` if the URL is none or the port is taken.
    """
    app = web.Application(client_max_size=_BODY_LIMIT_BYTES)
    app.router.add_post(_path(webhook.url), _receiver(secret, ring))
    told = {"what": "listen for webhooks", "cure": "Set webhook.port"}
    async with listening(app, webhook.host, webhook.port, **told) as port:
        yield port


def _path(url: str) -> str:
    """The path under which notices come. Raises ``UsageError`` for what is no URL."""
    parsed = URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"--webhook-url {url}: give the http(s) URL under which the service reaches this machine")
    return parsed.path or "/"


def _receiver(secret: str, ring: Ring) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def receive(request: web.Request) -> web.Response:
        given = request.headers.get(_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode()):
            return web.Response(status=401)
        try:
            notice = msgspec.json.decode(await request.read(), type=_Notice)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return web.Response(status=204)  # news of another kind, such as redacted audio
        if notice.status in DONE:
            ring(notice.transcript_id, notice.status)
        return web.Response(status=204)

    return receive
