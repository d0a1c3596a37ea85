"""What every route answers with: JSON, and refusals as v2 words them."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web


class BadRequest(Exception):
    """The message is the ``error`` of a 400."""


def reply(content: Any, status: int = 200) -> web.Response:
    """``content`` as JSON; bytes are JSON already."""
    body = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return web.Response(body=body, status=status, content_type="application/json")


def refuse(status: int, text: str) -> web.Response:
    return reply({"error": text}, status)
