"""Directories to report of: real results and a journal as a run leaves it; how to read a page without a browser."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import zlib
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from batch.archive.journal import Journal
from batch.archive.report import build
from batch.config import PriceTable
from batch.model import Job, Recording, State
from batch.providers.assemblyai.transcript import outline
from tests.support.demo_results import ARCHIVE, KEYS

_BEGAN = 1_795_600_000.0


def collected(directory: Path, keys: Iterable[str] = KEYS, **facts: Any) -> Path:
    """The demo recordings, again and again under ``keys``, collected a minute after each other."""
    jobs = []
    for number, key in enumerate(keys):
        real = ARCHIVE / f"{KEYS[number % len(KEYS)]}.json"
        path = directory / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real, path)
        result = json.loads(real.read_bytes())
        sent = _BEGAN + 60.0 * number
        recording = Recording(
            key, facts.get("source", f"/audio/{key}.wav"), "/calls.csv", number + 2, {}, facts.get("labels", {})
        )
        jobs.append(
            Job(
                recording, "local", State.COLLECTED, submitted_at=sent, ended_at=sent + 30.0 + number,
                audio_seconds=float(result["audio_duration"]), speakers=outline(real.read_bytes()).speakers,
            )
        )  # fmt: skip
    recorded(directory, jobs)
    return directory


def recorded(directory: Path, jobs: Iterable[Job]) -> None:
    """A journal of ``jobs``, beside what is in it already."""

    async def record() -> None:
        with closing(Journal(directory / ".diarist" / "journal.db")) as journal:
            for job in jobs:
                await journal.record(job)

    asyncio.run(record())


def unpacked(page: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The rows of a report, and the details of each that are in the page itself."""
    texts = re.findall(r'<script type="text/plain" id="(\S+)">([^<]*)</script>', page.read_text("utf-8"))
    found = {name: json.loads(zlib.decompress(base64.b64decode(text), -zlib.MAX_WBITS)) for name, text in texts}
    return found.pop("rows"), [detail for part in found.values() for detail in part]


def failed(key: str, *, kind: str = "empty", service: str = "local", **facts: Any) -> Job:
    recording = Recording(key, f"/{key}.wav", "/m.csv", 3)
    return Job(recording, service, State.FAILED, kind=kind, **{"reason": "nothing in it", **facts})


def files(directory: Path) -> dict[Path, bytes]:
    """What is in a directory, but for the journal, whose shared memory comes and goes with onlookers."""
    found = (path for path in directory.rglob("*") if path.is_file() and path.parent.name != ".diarist")
    return {path: path.read_bytes() for path in found}


def reported(directory: Path, page: Path | None = None, **given: Any) -> tuple[build.Reported, str, list[str]]:
    """What was done, the page, and what was told."""
    told: list[str] = []
    page = page or directory / "report.html"
    done = build.report(directory, build.ReportRequest(page, given.pop("prices", PriceTable()), **given), told.append)
    return done, page.read_text("utf-8"), told
