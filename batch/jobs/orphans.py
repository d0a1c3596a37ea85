"""Orphans: transcripts of our own uploads that no job owns. The service has taken a submission that it was not
believed to have: it was paid for, and nobody collects it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from batch.archive.journal import Journal
from batch.config import PriceTable
from batch.model import Job, State
from batch.providers.assemblyai.job_list import pages
from batch.providers.assemblyai.pricing import billed_channels, price
from batch.providers.assemblyai.protocol import Page, Status

_PAGES: Final = 3
"""Of the list, the newest: a look that costs no more than this can be taken after every run."""


class Orphan(msgspec.Struct, frozen=True):
    """A transcript, and the job whose upload it is of."""

    transcript_id: str
    job: Job

    def told(self, prices: PriceTable | None) -> str:
        """In words, with about what it has cost where the service charges and the length is known."""
        options, seconds = self.job.recording.options, self.job.audio_seconds
        usd = prices and seconds and price(options, prices).usd(seconds, billed_channels(options, None, prices))
        cost = f", about ${usd:.2f}" if usd else ""
        return f"{self.transcript_id}, of {self.job.key} ({self.job.recording.where}){cost}"


async def orphans(page_before: Callable[[str | None], Awaitable[Page]], journal: Journal) -> list[Orphan]:
    """Those on the newest pages of the list. What failed was not paid, and what is in doubt is settled by a run."""
    found: list[Orphan] = []
    number = 0
    async for page in pages(page_before):
        number += 1
        known = await journal.known_ids([item.id for item in page.transcripts])
        strange = [item for item in page.transcripts if item.id not in known and item.status is not Status.ERROR]
        owners = await journal.of_links({item.audio_url for item in strange if item.audio_url}) if strange else {}
        for item in {item.id: item for item in strange}.values():
            jobs = owners.get(item.audio_url or "", [])
            if jobs and not any(job.state is State.SUBMITTING or item.id in job.past_ids for job in jobs):
                found.append(Orphan(item.id, jobs[0]))
        if number >= _PAGES:
            break
    return found


def listed(found: Sequence[Orphan], prices: PriceTable | None) -> str:
    """A sentence about orphans."""
    some = "; ".join(orphan.told(prices) for orphan in found[:5]) + ("; ..." if len(found) > 5 else "")
    return f"{len(found)} transcripts of our uploads belong to no recording, and may have been paid for: {some}"
