"""The journal against a model of it, a plain dict: whatever is recorded, in whatever order, and however often it is
closed and opened, they agree."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from batch.archive.journal import Journal
from batch.model import MOVES, Job, Recording, State

keys = st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=8)
values = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text(max_size=8))
labels = st.dictionaries(st.text(max_size=5), values, max_size=3)
times = st.floats(0, 4e9)


class JournalMachine(RuleBasedStateMachine):
    known = Bundle("known")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.model: dict[str, Job] = {}
        self.order: list[str] = []
        self.claimed: dict[str, Recording] = {}

    @initialize()
    def open(self) -> None:
        self.journal = Journal(self.folder / "journal.db")

    def teardown(self) -> None:
        self.journal.close()
        self.runner.close()
        shutil.rmtree(self.folder)

    def record(self, *jobs: Job) -> None:
        async def all_at_once() -> None:
            await asyncio.gather(*map(self.journal.record, jobs))

        self.runner.run(all_at_once())
        for job in jobs:
            self.order += [job.key] if job.key not in self.model else []
            self.model[job.key] = job

    @rule(target=known, names=st.lists(keys, min_size=1, max_size=5, unique=True), labels=labels)
    def list_some(self, names: list[str], labels: dict[str, Any]) -> Any:
        rows = [
            Recording(name, f"/{name}", "m.csv", n, {"speaker_labels": True}, labels) for n, name in enumerate(names)
        ]
        self.record(*(Job(recording=row, service="s") for row in rows))
        return multiple(*names)

    @rule(key=known, data=st.data(), at=times, past=st.lists(st.text(max_size=5), max_size=2))
    def move(self, key: str, data: st.DataObject, at: float, past: list[str]) -> None:
        job = self.model[key]
        if allowed := sorted(MOVES[job.state]):
            state = data.draw(st.sampled_from(allowed))
            transcript_id = f"t-{key}" if state is State.SUBMITTED else job.transcript_id
            facts = {"submitted_at": at, "transcript_id": transcript_id, "past_ids": tuple(past), "mtime_ns": 2**62}
            self.record(job.move(state, **facts))

    @rule(names=st.lists(keys, max_size=5))
    def claim(self, names: list[str]) -> None:
        rows = [Recording(name, f"/{n}", "m.csv", n) for n, name in enumerate(names)]
        expected = []
        for row in rows:
            expected.append(self.claimed.get(row.key))
            self.claimed.setdefault(row.key, row)
        assert self.runner.run(self.journal.claim(rows, [row.key for row in rows])) == expected

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.journal = Journal(self.folder / "journal.db")
        self.claimed.clear()

    @rule()
    def look_on(self) -> None:
        onlooker = Journal(self.folder / "journal.db", read_only=True)
        assert self.runner.run(onlooker.find(list(self.model))) == self.model
        onlooker.close()

    @invariant()
    def they_agree(self) -> None:
        assert self.runner.run(self.journal.find([*self.model, "nobody"])) == self.model
        assert self.runner.run(self.journal.counts()) == Counter(job.state for job in self.model.values())
        for state in State:
            found = self.runner.run(self.journal.in_states([state]))
            listed = [self.model[key] for key in self.order if self.model[key].state is state]
            rows = sorted(listed, key=lambda job: (job.recording.manifest, job.recording.line))
            assert [job.key for job in found] == [job.key for job in rows]
        ids = {job.transcript_id: job.submitted_at or 0.0 for job in self.model.values() if job.transcript_id}
        assert self.runner.run(self.journal.known_ids([*ids, "nobody"])) == ids


JournalMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestJournal = JournalMachine.TestCase
