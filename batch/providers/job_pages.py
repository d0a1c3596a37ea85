"""A provider's list of jobs, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from batch.providers.interface import JobPage


async def job_pages(page_after: Callable[[str | None], Awaitable[JobPage]]) -> AsyncIterator[JobPage]:
    """All pages, newest first. Ends where the list does, or where it leads in a circle."""
    asked: set[str | None] = set()
    older: str | None = None
    while older not in asked:
        asked.add(older)
        page = await page_after(older)
        yield page
        older = page.older
        if older is None:
            return
