"""What ``diarist doctor`` finds, by name."""

from __future__ import annotations

from pathlib import Path

from batch.jobs.preflight import Finding, examine
from tests.support.recordings import settings


async def findings(base_url: str, out: Path, **environ: str) -> dict[str, Finding]:
    return {found.what: found async for found in examine(settings(base_url), environ, out)}
