"""The service's list of transcripts: how it is walked through, and what its times say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qs, urlsplit

from batch.providers.assemblyai.protocol import Item, Page

ZONE_SECONDS: Final = 15 * 3600.0
"""The list's times carry no zone, and zones differ by up to 14 hours."""


async def pages(page_before: Callable[[str | None], Awaitable[Page]]) -> AsyncIterator[Page]:
    """The pages of the list, newest first, whatever order the items of each are in. Ends where the list does, or
    where it leads in a circle."""
    asked: set[str | None] = set()
    before_id: str | None = None
    while before_id not in asked:
        asked.add(before_id)
        page = await page_before(before_id)
        yield page
        before_id = _older(page)


def _older(page: Page) -> str | None:
    """The id that the next older page is asked for with, by the service's own link, else the oldest of this page;
    None at the end."""
    if not page.page_details.prev_url:
        return None
    if named := parse_qs(urlsplit(page.page_details.prev_url).query).get("before_id"):
        return named[0]
    oldest = min(reversed(page.transcripts), key=lambda item: created(item) or 0.0, default=None)
    return oldest.id if oldest else None


def created(item: Item) -> float | None:
    """When the list says that the transcript was made, read as UTC."""
    try:
        return datetime.fromisoformat(item.created or "").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
