"""``diarist recover`` that kills itself with SIGKILL before a chosen line, and directories to try that on.

    python -m tests.support.rebuilding once OUT FILE LINE HIT         before the HIT-th time that this line is run
    python -m tests.support.rebuilding somewhere OUT NUMBER           before the NUMBER-th line of all
    python -m tests.support.rebuilding all TEMPLATE FOLDER FILE...    before each line of the paths

The last kills the first time and the last that a line is run, each on a copy of TEMPLATE, recovers again and prints
what is not as it should be.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from batch import errors, jobs
from batch.archive import journal, journal_files, salvage
from batch.archive import recovery as module_of_recover
from batch.archive.journal import Journal
from batch.archive.recovery import Recovered
from batch.archive.results import Results
from batch.jobs import recovering
from batch.model import Job, Recording, State
from batch.storage import files, sqlite
from tests.support.crashing import die

MODULES = (module_of_recover, recovering, files, salvage, journal_files, journal, sqlite)
FILES = tuple(str(module.__file__) for module in MODULES)
"""Those in which a recovery can be killed; the first three are its own."""
Place = tuple[str, int]
Contents = dict[str, list[list[Any]]]


def recover(out: Path) -> Recovered:
    from batch.config import Settings

    return asyncio.run(jobs.recover(out, [], settings=Settings(service="local"), environ={}, adopt=False))


def traced(paths: tuple[str, ...], see: Callable[[Place], None]) -> None:
    """Tell of each line of ``paths`` before it is run, in all threads."""

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            see((frame.f_code.co_filename, frame.f_lineno))
        return line

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        return line if frame.f_code.co_filename in paths else None

    threading.settrace(enter)
    sys.settrace(enter)


def killing(place: Place, hit: int) -> Callable[[Place], None]:
    left = hit

    def see(here: Place) -> None:
        nonlocal left
        left -= here == place
        if left <= 0:
            die()

    return see


def in_a_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """Its exit code (negative: the signal) and what it returned."""
    read, write = os.pipe()
    if not (child := os.fork()):
        os.close(read)
        code = 1
        with contextlib.suppress(Exception), open(write, "w") as answer:  # noqa: PTH123
            json.dump(work(), answer)
            code = 0
        os._exit(code)
    os.close(write)
    with open(read) as answer:  # noqa: PTH123
        said = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, json.loads(said) if said and not code else None


# ── directories ─────────────────────────────────────────────────────────────────────────────────────────────────────


def job(n: int, state: State, transcript_id: str | None, at: float, **facts: Any) -> Job:
    recording = Recording(key=f"calls/{n}", source=f"/audio/{n}.wav", manifest="m.csv", line=n + 2, labels={"n": n})
    if state is not State.LISTED:
        facts |= {"audio_url": f"http://service/upload/{n}", "staged_at": at, "sha256": f"{n:064x}", "size_bytes": n}
    if state not in (State.LISTED, State.STAGED):
        facts |= {"intent_at": at + 1, "submissions": 1}
    if transcript_id:
        facts |= {"transcript_id": transcript_id, "submitted_at": at + 2}
    return Job(recording=recording, service="http://service", state=state, **facts)


def transcript(transcript_id: str) -> bytes:
    return json.dumps({"id": transcript_id, "status": "completed", "text": "x" * 500}).encode()


def due(n: int) -> tuple[State | None, str | None]:
    """What a journal that is made anew has to say of the ``n``-th recording of ``every_state``: state and id."""
    new, old = f"new-{n}", f"old-{n}"
    return (
        (State.COLLECTED, new), (State.COLLECTED, new), (State.COLLECTED, new), (State.SUBMITTED, new),
        (State.SUBMITTED, new), (State.SUBMITTING, None), (State.SUBMITTING, None), (State.STAGED, None),
        (State.LISTED, None), (State.FAILED, new), (State.COLLECTED, old), (State.SUBMITTED, new),
        (State.COLLECTED, new), (State.SUBMITTED, new),
    )[n % 14]  # fmt: skip


def every_state(out: Path, count: int) -> None:
    """A directory with recordings in every state, a journal whose last commits are in its write-ahead log, and one
    that an earlier attempt has put aside. Made by a child that does not close it."""
    code, _ = in_a_child(lambda: asyncio.run(_every_state(out, count)))
    assert not code


async def _every_state(out: Path, count: int) -> None:
    results = Results(out)
    journal = Journal(results.inner / "journal.db")
    for n in range(count):
        state, _ = due(n)
        new, old = f"new-{n}", f"old-{n}"
        if n % 14 in (2, 3, 6, 13):  # an older result, which was replaced, or will be
            older = results.write(job(n, State.COLLECTED, old, 100.0), transcript(old))
            await journal.record(older)
        if n % 14 in (0, 2, 12):
            await journal.record(results.write(job(n, State.COLLECTED, new, 200.0), transcript(new)))
        elif n % 14 == 10:  # a result that no journal knows
            results.write(job(n, State.COLLECTED, old, 100.0), transcript(old))
        elif n % 14 not in (11, 13):
            await journal.record(job(n, state or State.LISTED, new if due(n)[1] else None, 200.0))
    await journal.set_note("service", "http://service")
    await journal.set_note("forced: x", None)
    await _aside(results.inner, count)


async def _aside(inner: Path, count: int) -> None:
    """What only an older attempt knows: recordings with the service; and much that is not so any more."""
    path = inner / "journal.db.damaged-20260101-000000"
    with contextlib.closing(Journal(path)) as older:
        for n in range(count):
            if n % 14 in (11, 13):
                await older.record(job(n, State.SUBMITTED, f"new-{n}", 200.0))
            elif n % 14 in (2, 12):
                await older.record(job(n, State.SUBMITTED, f"old-{n}", 100.0))
            elif n % 14 in (9,):
                await older.record(job(n, State.SUBMITTED, f"new-{n}", 200.0))
        await older.set_note("forced: x", "1 2")
        await older.set_note("out", str(inner.parent))


def contents(out: Path) -> Contents:
    """All that the journal holds."""
    path = out / ".diarist" / "journal.db"
    assert path.exists()
    with contextlib.closing(sqlite3.connect(path)) as db:
        return {
            table: sorted((list(row) for row in db.execute(f"SELECT * FROM {table}")), key=repr)
            for table in ("jobs", "replaced", "notes")
        }


def left_alone(out: Path) -> str:
    """What a run finds: ``refused``, or the journal as it was before."""
    try:
        with contextlib.closing(Journal(out / ".diarist" / "journal.db")):
            return "a journal"
    except errors.UsageError as error:
        return error.kind


# ── every line ──────────────────────────────────────────────────────────────────────────────────────────────────────


def counted(paths: tuple[str, ...], out: Path) -> dict[str, int]:
    """How often each line is run when nobody is killed, by file and line."""
    seen: Counter[str] = Counter()
    traced(paths, lambda place: seen.update([f"{place[0]}:{place[1]}"]))
    recover(out)
    return dict(seen)


def kill_and_recover(template: Path, out: Path, place: Place, hit: int) -> str:
    """What is wrong afterwards; empty if nothing is."""
    shutil.copytree(template, out)

    def killed() -> None:
        traced((place[0],), killing(place, hit))
        recover(out)

    code, _ = in_a_child(killed)
    if code != -signal.SIGKILL:
        return "" if code == 0 else f"ended with {code}"
    found = in_a_child(lambda: left_alone(out))
    if found[1] not in ("a journal", "journal_vanished", "journal_damaged"):
        return f"a run would find {found}"
    before = len(contents(out)["jobs"]) if found[1] == "a journal" else None
    if before == 0:
        return "a run would begin anew"
    again = in_a_child(lambda: recover(out) and contents(out))
    expected = in_a_child(lambda: contents(template.with_name("expected")))
    return "" if again == expected else f"the second attempt tells something else: {again[0]}"


def all_lines(template: Path, folder: Path, paths: tuple[str, ...]) -> Iterator[str]:
    whole = template.with_name("expected")
    shutil.copytree(template, whole)
    _, seen = in_a_child(lambda: counted(paths, whole))
    yield f"{len(seen)} lines"
    for at, (place, hits) in enumerate(seen.items()):
        file, _, line = place.rpartition(":")
        for hit in sorted({1, hits}):
            out = folder / f"{at}-{hit}"
            if wrong := kill_and_recover(template, out, (file, int(line)), hit):
                yield f"{place}, hit {hit}: {wrong}"
            shutil.rmtree(out)


def main() -> None:
    how, *given = sys.argv[1:]
    if how == "all":
        for said in all_lines(Path(given[0]), Path(given[1]), tuple(given[2:])):
            print(said, flush=True)
        return
    if how == "once":
        traced((given[1],), killing((given[1], int(given[2])), int(given[3])))
    else:
        left = int(given[1])

        def see(place: Place) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                die()

        traced(FILES, see)
    recover(Path(given[0]))


if __name__ == "__main__":
    main()
