"""Effects at the provider, which run to their record whatever happens to the run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_to_completion(effect: Coroutine[Any, Any, T]) -> T:
    """Run an effect and its record to their end even if cancelled meanwhile; then let the cancellation through.

    A second cancellation is for the effect itself.
    """
    task = asyncio.ensure_future(effect)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: the run is being stopped, and what was not recorded is looked up by the next one
        raise
