"""Orphans: transcripts of our own uploads that no job owns. The service has taken a submission that it was not
believed to have: it was paid for, and nobody collects it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from batch.archive.journal import Journal
from batch.model import Job, State
from batch.providers.interface import JobPage, Phase, Pricing
from batch.providers.job_pages import job_pages

_PAGES: Final = 3
"""Of the list, the newest: a look that costs no more than this can be taken after every run."""


class Orphan(msgspec.Struct, frozen=True):
    """A transcript, and the job whose upload it is of."""

    transcript_id: str
    job: Job

    def told(self, pricing: Pricing | None) -> str:
        """In words, with about what it has cost where the service charges and the length is known."""
        options, seconds = self.job.recording.options, self.job.audio_seconds
        usd = pricing and seconds and pricing.quote(options).usd(seconds, pricing.billed_channels(options, None))
        cost = f", about ${usd:.2f}" if usd else ""
        return f"{self.transcript_id}, of {self.job.key} ({self.job.recording.where}){cost}"


async def orphans(page_after: Callable[[str | None], Awaitable[JobPage]], journal: Journal) -> list[Orphan]:
    """Those on the newest pages of the list. What failed was not paid, and what is in doubt is settled by a run."""
    found: list[Orphan] = []
    number = 0
    async for page in job_pages(page_after):
        number += 1
        known = await journal.known_ids([there.id for there in page.jobs])
        strange = {
            there.id: there for there in page.jobs if there.id not in known and there.phase is not Phase.FAILED
        }
        links = {there.link for there in strange.values() if there.link}
        owners = await journal.of_links(links) if links else {}
        for there in strange.values():
            jobs = owners.get(there.link or "", [])
            if jobs and not any(job.state is State.SUBMITTING or there.id in job.past_ids for job in jobs):
                found.append(Orphan(there.id, jobs[0]))
        if number >= _PAGES:
            break
    return found


def listed(found: Sequence[Orphan], pricing: Pricing | None) -> str:
    """A sentence about orphans."""
    some = "; ".join(orphan.told(pricing) for orphan in found[:5]) + ("; ..." if len(found) > 5 else "")
    return f"{len(found)} transcripts of our uploads belong to no recording, and may have been paid for: {some}"
