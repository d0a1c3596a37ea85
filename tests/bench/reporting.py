"""What a report of a big archive costs: time and memory to write it, its size, and how soon a browser shows it.

    python -m tests.bench.reporting [--recordings 10000 100000] [--keep DIR]

The archive is that of a made-up night: 200 in flight, lengths log-normal around a minute, two per cent failures, a
few identical recordings and warnings. Its results are links to 400 different transcripts: 100,000 fit on a disk.
The browser is Debian's Chromium (none: not measured); ``--keep`` leaves the archives and their reports in DIR.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from batch.archive.journal import Journal
from batch.model import Job, Recording, State
from tests.bench.scale import _peak_mb
from tests.bench.show import show
from tests.support.browser import CHROMIUM, browser
from tests.support.places import ROOT

ARCHIVE = ROOT / "tests" / "support" / "demo_archive"
BEGAN = datetime(2026, 11, 24, 22, 0, tzinfo=UTC).timestamp()
IN_FLIGHT, TRANSCRIPTS, GROUP = 200, 400, 20_000
FAILURES = (
    ("bad_audio", "the service found no audio in it: is it a recording?"),
    ("too_short", "the recording is shorter than 0.16 s"),
    ("missing", "there is no such file: check the path in the manifest"),
    ("download_error", "the service could not read the link: 403"),
)
WARNING = "The recording may not be English or too noisy: the words are mostly guesses."
WORDS = [word for path in sorted(ARCHIVE.glob("*.json")) for word in json.loads(path.read_bytes())["text"].split()]


def transcript(chance: random.Random) -> dict[str, Any]:
    """A conversation of a random length between one and five people."""
    seconds = min(7200.0, max(4.0, chance.lognormvariate(4.1, 0.8)))
    speakers = "ABCDE"[: chance.choices((1, 2, 3, 4, 5), (8, 60, 20, 8, 4))[0]]
    sure = min(0.97, chance.betavariate(18, 2))
    utterances, at = [], chance.uniform(200, 2000)
    while at < 1000 * seconds - 1500:
        words = []
        speaker = chance.choice(speakers)
        for _ in range(chance.randint(2, 40)):
            end = at + chance.uniform(120, 420)
            confidence = min(1.0, max(0.05, chance.gauss(sure, 0.12)))
            words.append(
                {"text": chance.choice(WORDS), "start": round(at), "end": round(end), "confidence": confidence}
            )
            at = end + chance.uniform(10, 120)
        utterances.append({"speaker": speaker, "words": words, "text": ""})
        at += chance.uniform(100, 1500)
    said = {"id": "t", "status": "completed", "utterances": utterances, "audio_duration": round(seconds)}
    said |= {"language_code": "en", "speech_model_used": "universal-3-5-pro"}
    return said | ({"metadata": {"warnings": [{"message": WARNING}]}} if sure < 0.75 else {})


def night(directory: Path, count: int) -> None:
    """A directory as a run of so many recordings leaves it."""
    chance = random.Random(7)
    pool = directory / ".diarist" / "pool"
    pool.mkdir(parents=True)
    facts = []
    for number in range(TRANSCRIPTS):
        said = transcript(chance)
        (pool / f"{number}.json").write_text(json.dumps({"recording": {}, **said}), "utf-8")
        facts.append((said["audio_duration"], len({one["speaker"] for one in said["utterances"]})))
    seconds = asyncio.run(_recorded(directory, _jobs(chance, directory, count, facts))) - BEGAN
    ended = datetime.fromtimestamp(BEGAN + seconds, UTC)
    stage = {"manifests": ["calls.csv"], "out": str(directory), "service": "assemblyai", "concurrency": IN_FLIGHT}
    last = {
        "schema": 1, "stage": stage, "host": "night", "process": 1, "began": datetime.fromtimestamp(BEGAN, UTC),
        "told": ended, "ended": ended, "exit_code": 3, "elapsed_seconds": seconds, "total": count, "handled": count,
        "listed": 0, "staged": 0, "in_flight": 0, "collected": count, "shared": 0, "failed": 0, "rejected": 0,
        "postponed": 0, "skipped": {}, "audio_seconds": 0.0, "audio_rate": 0.0, "uploaded_bytes": 0,
        "upload_bytes_per_second": 0, "requests": 0, "requests_lately": 0, "retries": {"throttled": 12}, "usd": 0.0,
        "left_seconds": 0.0, "failures": {}, "last_failures": [],
    }  # fmt: skip
    (directory / ".diarist" / "summary.json").write_text(json.dumps(last, default=datetime.isoformat))


def _jobs(chance: random.Random, directory: Path, count: int, facts: list[tuple[int, int]]) -> Iterator[Job]:
    free = [BEGAN + number * 0.3 for number in range(IN_FLIGHT)]
    heapq.heapify(free)
    for number in range(count):
        which = chance.randrange(TRANSCRIPTS)
        seconds, speakers = facts[which]
        key = f"calls/2026-11-{24 - number % 3:02}/{number // 1000:03}-{number:06}"
        options = {"speaker_labels": True} | ({"speech_models": ["universal-2"]} if number % 5 == 0 else {})
        labels = {"customer": f"customer {chance.randrange(400)}", "agent": chance.choice(("Ada", "Grace", "Edsger"))}
        recording = Recording(key, f"/archive/{key}.wav", "/archive/calls.csv", number + 2, options, labels)
        sent = heapq.heappop(free)
        back = sent + (12 + 0.3 * seconds) * chance.lognormvariate(0, 0.35)
        heapq.heappush(free, back + 0.2)
        job = Job(recording, "assemblyai", State.FAILED, submitted_at=sent, ended_at=back)
        if chance.random() < 0.023:
            kind, reason = chance.choices(FAILURES, (10, 4, 3, 1))[0]
            yield msgspec.structs.replace(job, kind=kind, reason=reason)
            continue
        path = directory / f"{key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(directory / ".diarist" / "pool" / f"{which}.json", path)
        shared = "calls/other" if chance.random() < 0.01 else None
        yield msgspec.structs.replace(
            job, state=State.COLLECTED, audio_seconds=float(seconds), speakers=speakers, shared_with=shared,
            transcript_id=f"{number:032x}",
        )  # fmt: skip


async def _recorded(directory: Path, jobs: Iterator[Job]) -> float:
    """When the last of them ended."""
    last = 0.0
    with closing(Journal(directory / ".diarist" / "journal.db")) as journal:
        group: list[Job] = []
        for job in jobs:
            group.append(job)
            last = max(last, job.ended_at or 0.0)
            if len(group) == GROUP:
                await asyncio.gather(*map(journal.record, group))
                group.clear()
        await asyncio.gather(*map(journal.record, group))
    return last


async def write(directory: Path) -> dict[str, Any]:
    began = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "batch", "report", str(directory), stderr=asyncio.subprocess.DEVNULL
    )
    peak = await _peak_mb(child)
    took = time.monotonic() - began
    assert child.returncode == 0
    parts = [*(directory / "report.parts").glob("*.js")]
    return {
        "seconds": round(took, 1),
        "peak_mb": peak,
        "page_mb": round((directory / "report.html").stat().st_size / 1e6, 2),
        "files_beside": len(parts),
        "beside_mb": round(sum(path.stat().st_size for path in parts) / 1e6, 1),
    }


def load(page: Path) -> dict[str, Any]:
    """Seconds from the beginning of the navigation until the first rows are there, a search is answered, and a
    recording is open: the best of three."""
    if not CHROMIUM:
        return {"rows_shown_seconds": None, "search_ms": None, "open_ms": None}
    shown, searched, opened = [], [], []
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as seen:
        for _ in range(3):
            seen.open(page)
            shown.append(seen.run("return performance.getEntriesByName('ready')[0].startTime"))
            searched.append(seen.run(_SEARCH))
            opened.append(seen.run_async(_OPEN))
            seen.driver.get("about:blank")
    return {
        "rows_shown_seconds": round(min(shown) / 1000, 2),
        "search_ms": round(min(searched)),
        "open_ms": round(min(opened)),
    }


_SEARCH = """
const box = document.getElementById("search"), began = performance.now();
box.value = "customer 37";
box.dispatchEvent(new Event("input"));
document.body.offsetHeight;
return performance.now() - began;
"""
_OPEN = """
const [done] = arguments, view = document.getElementById("recording"), began = performance.now();
new MutationObserver(() => done(performance.now() - began)).observe(view, {childList: true});
location.hash = document.querySelector("#table tbody tr:last-child a").getAttribute("href");
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for count in given.recordings:
            directory = (given.keep or Path(name)) / str(count)
            if not directory.exists():
                night(directory, count)
            figures.append({"recordings": count, **asyncio.run(write(directory)), **load(directory / "report.html")})
    show(figures)


if __name__ == "__main__":
    main()
