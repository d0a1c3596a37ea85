"""``diarist recover``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from batch import errors
from batch.archive import recovery as recovering
from batch.archive.journal import Journal
from batch.archive.layout import JOURNAL, LOCK, inner_of
from batch.archive.recovery import Recovered
from batch.archive.results import Results
from batch.config import Settings
from batch.jobs.planning.inputs import rows_of
from batch.model import Recording
from batch.providers.interface import ConnectionRequest
from batch.providers.registry import resolve
from batch.storage import lock
from batch.storage.locations import is_stored, is_url
from batch.storage.object_stores import local_directory


async def recover(
    out: Path | str,
    manifests: Sequence[str] = (),
    *,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
    adopt: bool = False,
) -> Recovered:
    """Make the journal of a directory, or of a bucket's prefix, anew, from its results and from what the old one
    still tells, which is put aside.

    With ``adopt`` also from the list of the service that the settings name, for public URLs in ``manifests``. Raises
    ``UsageError`` if there is no such directory, ``UnavailableError`` if the disk refuses.
    """
    settings, environ = settings or Settings(), os.environ if environ is None else environ
    directory, copies = local_directory(str(out)), str(out) if is_stored(str(out)) else ""
    if not copies and not await asyncio.to_thread(directory.is_dir):
        raise errors.UsageError(f"{directory} is not a directory of results")
    inner = inner_of(directory, settings.journal_dir)
    adopting = partial(_adopt, manifests=manifests, settings=settings, environ=environ) if adopt else None
    with lock.held(inner / LOCK, datetime.now()):
        copies = copies or recovering.known_notes(inner / JOURNAL).get("copies") or ""
        results = await asyncio.to_thread(lambda: Results(directory, copies=copies, inner=inner))
        return await recovering.recover(results, datetime.now(), adopting)


async def _adopt(journal: Journal, manifests: Sequence[str], settings: Settings, environ: Mapping[str, str]) -> int:
    service = resolve(settings.service, environ)
    if service.address is None:
        raise errors.UsageError("the local service fetches again for free: name the service whose list is to be read")
    if not service.capabilities.lists_jobs:
        raise errors.UsageError(f"{service.name} has no list of its transcripts: there is nothing to be read from it")
    rows = rows_of(manifests, settings, service.options, None, lambda event: None)
    urls = [row for row in rows if isinstance(row, Recording) and is_url(row.source)]
    request = ConnectionRequest(connections=4, folder=journal.path.parent, timeouts=settings.deadlines)
    async with service.connect(request) as connection:
        return await recovering.adopt(journal, service, connection, urls, time.time())
