"""``diarist run`` that kills itself with SIGKILL at a place that was chosen beforehand.

    python -m tests.crashing MANIFEST OUT SERVICE edge STATE before|after N     at the N-th record of a state
    python -m tests.crashing MANIFEST OUT SERVICE line N                        before the N-th line of batch/

A place that is never reached lets the run finish. Lines are counted over all threads.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import batch
from batch.journal import Journal
from batch.model import Job, State
from batch.settings import load

SETS = (
    "sweep.least_seconds=0.03", "sweep.most_seconds=0.1", "patience.base_seconds=0.02", "reconcile_grace_seconds=1.0",
    "reconcile_lag_seconds=3",     "concurrency=10", "uploads=4",
)  # fmt: skip
CARRYING = ("pipeline.py", "journal.py", "results.py", "reconcile.py", "client.py", "watch.py", "throttle.py")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_edge(state: State, when: str, number: int) -> None:
    """Die before, or after, the journal has written the ``number``-th job in ``state``."""
    record, seen = Journal.record, 0

    async def deadly(self: Journal, job: Job) -> Job:
        nonlocal seen
        seen += job.state is state
        here = job.state is state and seen == number
        if here and when == "before":
            die()
        await record(self, job)
        if here:
            die()
        return job

    Journal.record = deadly  # type: ignore[method-assign]


def at_line(number: int) -> None:
    """Die before the ``number``-th line that is run of the modules that carry jobs."""
    left = number

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left <= 0:
                die()
        return count

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return count if frame.f_code.co_filename.endswith(CARRYING) else None

    threading.settrace(enter)
    sys.settrace(enter)


def main() -> None:
    manifest, out, service, how, *place = sys.argv[1:]
    if how == "edge":
        at_edge(State(place[0]), place[1], int(place[2]))
    settings = load(environ={}, sets=SETS, flags={"service": service})
    if how == "line":
        at_line(int(place[0]))
    summary = asyncio.run(batch.run(manifest, out, settings=settings))
    sys.exit(summary.exit_code)


if __name__ == "__main__":
    main()
