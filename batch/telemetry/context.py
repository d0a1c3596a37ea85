"""On whose behalf a request is made: carried by the context of tasks, so that no step has to hand it on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

recording_key: Final[ContextVar[str | None]] = ContextVar("key", default=None)
"""The recording's key; None: a request for all of them."""
attempt_number: Final[ContextVar[int]] = ContextVar("attempt", default=1)
"""Which try of the same request this is, from 1."""
