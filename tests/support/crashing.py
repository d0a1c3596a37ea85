"""``diarist run`` that kills itself with SIGKILL at a place that was chosen beforehand.

    python -m tests.support.crashing ARGS edge STATE before|after N    at the N-th record of a state
    python -m tests.support.crashing ARGS line N                       before the N-th line of CARRYING
    python -m tests.support.crashing ARGS trace                        nowhere; fails unless each of CARRYING is run

ARGS are MANIFEST OUT SERVICE. A place that is never reached lets the run finish. Lines are counted over all threads.
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
from batch.archive import journal, results
from batch.archive.journal import Journal
from batch.config import load
from batch.jobs import collecting, effects, pipeline, reconciler, room, services, staging, submitting, watcher
from batch.jobs.flow_control import throttle
from batch.model import Job, State
from batch.providers.assemblyai import client

SETS = (
    "sweep.least_seconds=0.03", "sweep.most_seconds=0.1", "patience.base_seconds=0.02", "reconcile_grace_seconds=1.0",
    "reconcile_lag_seconds=3",     "concurrency=10", "uploads=4",
)  # fmt: skip
MODULES = (
    pipeline, room, services, staging, submitting, collecting, effects, journal, results, reconciler, client, watcher,
    throttle,
)  # fmt: skip
CARRYING = frozenset(module.__file__ for module in MODULES)
"""The modules whose lines are counted."""


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


def at_line(number: int) -> set[str | None]:
    """Die before the ``number``-th line that is run of the modules that carry jobs; return the files of those that
    are entered, which grow meanwhile."""
    left, entered = number, set[str | None]()

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left <= 0:
                die()
        return count

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in CARRYING:
            return None
        entered.add(frame.f_code.co_filename)
        return count

    threading.settrace(enter)
    sys.settrace(enter)
    return entered


def main() -> None:
    manifest, out, service, how, *place = sys.argv[1:]
    if how == "edge":
        at_edge(State(place[0]), place[1], int(place[2]))
    settings = load(environ={}, sets=SETS, flags={"service": service})
    entered = at_line(int(place[0]) if how == "line" else sys.maxsize) if how in ("line", "trace") else set()
    summary = asyncio.run(batch.run(manifest, out, settings=settings))
    assert how != "trace" or entered == CARRYING, f"never entered: {CARRYING - entered}"
    sys.exit(summary.exit_code)


if __name__ == "__main__":
    main()
