"""A year of nights by simulation: an archive that grows, what befalls it, and what has to be so after every night.

    python -m tests.acceptance.nights SEED [NIGHT]     plays a year, or the nights up to one, and tells its story

The service is the double, on real sockets; runs are real ones, in this process or, where they are killed, in a child.
What a night does is drawn from its seed and number alone; the model knows what the user has asked to be paid for by
what the user did, and never asks diarist.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from batch import errors, jobs
from batch.config import BudgetSettings, RetrySettings, Settings, SweepSettings
from batch.engine.interface import BadAudio
from batch.jobs.planning.admission import Action, Rerun
from batch.jobs.planning.selection import Selection
from batch.jobs.runner import Run, carry_out
from batch.model import Recording, State
from batch.providers.assemblyai.options import canonical, read_options
from batch.server.faults import Fault, FaultKind, Faults, Handler
from batch.telemetry.events import Event, JobMoved, RowSkipped
from batch.telemetry.summary import Summary
from tests.support import crashing
from tests.support.places import ROOT
from tests.support.recordings import wav
from tests.support.service import Double, start_service

BAD: Final = b"RIFF no audio"
DEFAULTS: Final = {"speaker_labels": True}
WAYS: Final[Sequence[Sequence[Mapping[str, Any]]]] = (
    ({}, {"punctuate": True}, {"speaker_labels": True, "disfluencies": False, "custom_spelling": []}),
    ({"speakers_expected": 2}, {"num_speakers": "2"}, {"speakers_expected": 2.0, "format_text": True}),
    ({"keyterms_prompt": ["roof", "north side"]}, {"keyterms_prompt": "north  side; roof"}),
    ({"language_code": "en_us", "disfluencies": True}, {"language_code": "EN_US", "disfluencies": "true"}),
)
"""Options that rows ask for: in each line those that come to the same."""
MANNERS: Final = {
    "plain": 40, "force": 6, "limit": 5, "hours": 3, "stop": 8, "kill": 8, "away": 4, "faults": 10,
}  # fmt: skip
"""How a night runs, and how often."""
TROUBLES: Final = (
    Fault(FaultKind.DROP_AFTER, route="submit", probability=0.3),
    Fault(FaultKind.DROP_BEFORE, route="submit", probability=0.1),
    Fault(FaultKind.ACCEPT_LATE, route="submit", probability=0.1, status=504, seconds=0.1),
    Fault(FaultKind.LIST_LAG, probability=1.0, seconds=0.2),
    Fault(FaultKind.LIST_SHUFFLED, probability=1.0),
    Fault(FaultKind.LIST_REPEATED, probability=0.5),
    Fault(FaultKind.STATUS, probability=0.1),
    Fault(FaultKind.HALF_BODY, probability=0.1),
    Fault(FaultKind.REFUSE, probability=0.05),
)
QUICK: Final = Settings(
    concurrency=20,
    reconcile_grace_seconds=0.5,
    reconcile_lag_seconds=1.5,
    drain_seconds=2.0,
    patience=RetrySettings(base_seconds=0.01, cap_seconds=0.1, outage_seconds=20),
    sweep=SweepSettings(least_seconds=0.02, most_seconds=0.1),
)


def _asked(options: Mapping[str, Any]) -> str:
    return json.dumps(canonical(options), sort_keys=True)


_WAY: Final = {_asked(read_options(dict(way), DEFAULTS)): n for n, ways in enumerate(WAYS) for way in ways}


class Paid(NamedTuple):
    """What a payment is for: an audio by its SHA-256, and a line of ``WAYS``."""

    sha256: str
    way: int


class Row(msgspec.Struct):
    """A row of the catalogue, or of a folder."""

    key: str
    audio: Path
    way: int = 0
    spelling: int = 0
    labels: dict[str, str] = {}


class Done(NamedTuple):
    """What was last delivered under a key."""

    audio: Path
    paid: Paid


class Pass(NamedTuple):
    """A forced pass that is not over: what was paid when it met each audio, and what was delivered as it began."""

    met: dict[Paid, int]
    before: Counter[Paid]
    delivered: frozenset[Paid]


class Night(msgspec.Struct):
    """What a night runs: the catalogue, or a ``folder`` of recordings."""

    folder: str = ""
    prefix: str = ""
    force: bool = False
    yes: bool = False
    limit: int | None = None
    max_hours: float = 0.0
    stop_after: int | None = None
    kill: tuple[str, ...] = ()
    away: bool = False
    faults: bool = False
    bad_row: bool = False
    double_row: bool = False
    formats: tuple[str, ...] = ()

    def __str__(self) -> str:
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        return ", ".join(f"{name}={value}" for name, value in given.items() if value) or "the catalogue"


class Ending(NamedTuple):
    code: int
    told: Mapping[str, Recording]
    """What was said to be done, by key: as a row of tonight, or of the night whose job the service had."""
    why: str


class Till:
    """Stands in the service: what it has accepted, and what goes wrong on the way tonight."""

    def __init__(self) -> None:
        self.taken: Counter[Paid] = Counter()
        self.double: Double
        self.faults: Faults | None = None
        self.is_away = False

    @web.middleware
    async def line(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self.is_away and request.transport:
            request.transport.abort()
            return web.Response()
        return await (self.faults.middleware(request, handler) if self.faults else handler(request))

    @web.middleware
    async def counting(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if (request.method, request.path, answer.status) == ("POST", "/v2/transcript", 200):
            asked = json.loads(await request.read())
            sha256 = self.double.digest_of(asked.pop("audio_url"))
            self.taken[Paid(sha256, _WAY[_asked(asked)])] += 1
        return answer


class Wrong(AssertionError):
    """An invariant that did not hold, with the story so far."""


class Year:
    """One archive and its nights. Failed jobs are not billed, and do not count as payments."""

    def __init__(self, folder: Path, seed: int, *, say: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self.seed, self._say = folder, seed, say
        self.rec, self.out, self.backups = folder / "rec", folder / "out-0", folder / "backups"
        self.catalogue = folder / "all.jsonl"
        self.till, self.rng, self.number = Till(), random.Random(seed), 0
        self.story: list[str] = []
        self.rows: dict[str, Row] = {}
        self.content: dict[Path, str] = {}
        self.bad: set[str] = set()
        self.asked: Counter[Paid] = Counter()
        self.done: dict[str, Done] = {}
        self.passes: dict[str, Pass] = {}
        self.forgotten: set[Paid] = set()
        self.forced: set[str] = set()
        self.unsure: set[str] = set()
        self.own: dict[str, bytes] = {}
        self.kept: dict[str, set[str]] = defaultdict(set)
        self.first_ways: dict[str, int] = {}
        self.gone: dict[Path, bytes] = {}
        self.old_contents: list[bytes] = []
        self.journals: list[tuple[Path, Counter[Paid], set[Paid]]] = []
        self.copies: list[tuple[str, bytes]] = []

    # ── the nights ──────────────────────────────────────────────────────────────────────────────────────────────

    async def live(self, nights: int) -> None:
        """So many nights; raises ``Wrong`` after the first after which something is."""
        self.backups.mkdir(parents=True)
        layers = [self.till.line, self.till.counting]
        async with start_service(
            self.folder / "service", seconds=0.005, middlewares=layers, failing=_failing
        ) as self.till.double:
            for self.number in range(nights):
                self.rng = random.Random(f"{self.seed}/{self.number}")
                await self.night()

    async def night(self) -> None:
        self.grow()
        for _ in range(self.rng.choice((0, 1, 1, 2, 3))):
            mishap = self.rng.choice(MISHAPS)
            if told := mishap(self):
                self.tell(f"{mishap.__name__}: {told}")
        night = self.drawn()
        ending = await self.run(night)
        if ending.code == 8 and self.rng.random() < 0.5 and not night.max_hours:
            await self.run(msgspec.structs.replace(night, yes=True))
        if "recover" in ending.why and self.rng.random() < 0.8:
            await self.recover()
            await self.run(msgspec.structs.replace(night, kill=(), away=False))

    def drawn(self) -> Night:
        """What tonight runs."""
        rng, folders = self.rng, sorted(path.name for path in self.rec.glob("n*") if any(path.glob("*.wav")))
        night = Night(yes=rng.random() < 0.4)
        if folders and rng.random() < 0.35:
            night.folder = folders[-1] if rng.random() < 0.6 else rng.choice(folders)
            night.prefix = "" if rng.random() < 0.15 else "{name}"
        match rng.choices([*MANNERS], [*MANNERS.values()])[0]:
            case "force":
                night.force, night.yes = True, rng.random() < 0.8
                night.stop_after = rng.randint(1, 8) if rng.random() < 0.5 else None
                if not night.folder and rng.random() < 0.7 and folders:
                    night.folder, night.prefix = rng.choice(folders), "{name}"
            case "limit":
                night.limit = rng.randint(1, 4)
            case "hours":
                night.max_hours = rng.uniform(0.00005, 0.0005)
            case "stop":
                night.stop_after = rng.randint(1, 4)
            case "kill" if rng.random() < 0.5:
                night.kill = ("line", str(int(10 ** rng.uniform(2, 4))))
            case "kill":
                states = ("staged", "submitting", "submitted", "collected")
                night.kill = ("edge", rng.choice(states), rng.choice(("before", "after")), str(rng.randint(1, 3)))
            case "away":
                night.away = True
            case "faults":
                night.faults = True
        night.bad_row, night.double_row = rng.random() < 0.04, rng.random() < 0.05
        night.formats = ("txt",) if rng.random() < 0.1 else ()
        return night

    def tell(self, line: str) -> None:
        self.story.append(f"night {self.number}: {line}")
        self._say(self.story[-1])

    async def run(self, night: Night) -> Ending:
        """One run, and what has to be so after it."""
        rows = self.listed(night)
        undone = self.expect(night, rows)
        self.write(night)
        before = self.till.taken.total()
        self.till.is_away = night.away
        self.till.faults = Faults(TROUBLES, random.Random(self.number)) if night.faults else None
        ending = await (self.killed(night) if night.kill else self.ran(night))
        self.till.is_away, self.till.faults = False, None
        paid = self.till.taken.total() - before
        self.tell(f"run {night} -> {ending.code}, {paid} paid{f' ({ending.why})' if ending.why else ''}")
        self.check(night, rows, ending, undone)
        return ending

    async def ran(self, night: Night) -> Ending:
        """The run in this process."""
        summary, stop, told = Summary(), asyncio.Event(), dict[str, Recording]()
        submitted = 0

        def watch(event: Event) -> None:
            nonlocal submitted
            if not isinstance(event, JobMoved | RowSkipped) or not event.job:
                return
            if isinstance(event, JobMoved) and event.job.state is State.COLLECTED:
                told[event.job.key] = event.job.recording
            if isinstance(event, RowSkipped) and event.action == Action.DONE:
                told[event.job.key] = event.job.recording
            submitted += isinstance(event, JobMoved) and event.job.state is State.SUBMITTED
            if night.stop_after and submitted >= night.stop_after:
                summary.signal_number = 2
                stop.set()

        try:
            await self.begun(night, summary=summary, on_event=watch, stop=stop)
        except errors.DiaristError as error:
            return Ending(getattr(error, "exit_code", 5), {}, str(error))
        why = "; ".join(f"{n.count} x {kind}: {n.key}: {n.reason}" for kind, n in summary.failures.items())
        return Ending(summary.exit_code, told, why + (f"; {summary.stopped_by}" if summary.stopped_by else ""))

    def begun(self, night: Night, **given: Any) -> Any:
        patience = RetrySettings(base_seconds=0.01, cap_seconds=0.05, outage_seconds=0.2)
        settings = msgspec.structs.replace(
            QUICK, service=self.till.double.base_url, prefix=night.prefix, formats=list(night.formats),
            budget=BudgetSettings(max_hours=night.max_hours), patience=patience if night.away else QUICK.patience,
        )  # fmt: skip
        asked = Run(
            [self.manifest(night)], self.out, settings=settings, rerun=Rerun(force=night.force),
            select=Selection(limit=night.limit), environ={}, confirm=lambda question: night.yes, **given,
        )  # fmt: skip
        return carry_out(asked)

    async def killed(self, night: Night) -> Ending:
        """The run in a child, which kills itself somewhere."""
        given = msgspec.json.encode({"night": night, "out": str(self.out), "folder": str(self.folder),
                                     "base_url": self.till.double.base_url}).decode()  # fmt: skip
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.acceptance.nights", "child", given, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(child.communicate(), 120)
        return Ending(child.returncode or 0, {}, said.decode()[-500:].strip())

    async def recover(self) -> None:
        settings = msgspec.structs.replace(QUICK, service=self.till.double.base_url)
        done = await jobs.recover(self.out, [], settings=settings, environ={}, adopt=False)
        self.forgotten -= set(self.proofs(self.out.rglob("*.json")))
        self.tell(f"recover: {done.results} from results, {done.journal} from the old journal")

    # ── what the user has asked for ─────────────────────────────────────────────────────────────────────────────

    def manifest(self, night: Night) -> str:
        return str(self.rec / night.folder if night.folder else self.catalogue)

    def listed(self, night: Night) -> list[Row]:
        """The rows of tonight."""
        if not night.folder:
            return list(self.rows.values())
        prefix = f"{night.folder}/" if night.prefix else ""
        return [Row(f"{prefix}{path.name}", path) for path in sorted((self.rec / night.folder).glob("*.wav"))]

    def write(self, night: Night) -> None:
        """The catalogue as it is tonight."""
        lines = [
            json.dumps({"id": row.key, "audio": str(row.audio), **WAYS[row.way][row.spelling], **row.labels})
            for row in self.rows.values()
        ]
        if night.double_row and lines:
            lines.append(lines[0])
        if night.bad_row:
            lines.insert(len(lines) // 2, '{"id": "bad", "audio": "nowhere.wav", "speakers_expected": "many"}')
        self.catalogue.write_text("".join(f"{line}\n" for line in lines))

    def paid_for(self, row: Row) -> Paid:
        return Paid(self.content[row.audio], row.way)

    def expect(self, night: Night, rows: Sequence[Row]) -> frozenset[str]:
        """Note what tonight's run may be paid for; the keys of rows that it cannot do, or may not without consent."""
        taken, undone, ways = self.till.taken, set[str](), defaultdict[str, set[int]](set)
        for each in taken:
            ways[each.sha256].add(each.way)
        if night.force:
            self.forced.add(self.manifest(night))
            self.unsure |= set() if night.yes else {self.manifest(night)}
        if night.force and night.yes:
            delivered = frozenset(each.paid for each in self.done.values())
            self.passes.setdefault(self.manifest(night), Pass({}, taken.copy(), delivered))
        for row in rows:
            paid = self.paid_for(row)
            if self.is_collision(row) or f"{row.key}.json" in self.own:
                undone.add(row.key)
                continue
            if not row.audio.exists() or paid.sha256 in self.bad:
                undone.add(row.key)
            if paid in self.forgotten and not self.is_proved(row.key, paid, rows):
                self.asked[paid] = max(self.asked[paid], taken[paid] + 1)
            elif not night.yes and self.pays_again(row, paid):
                undone.add(row.key)
                continue
            else:
                self.asked[paid] = max(self.asked[paid], 1)
                if not night.yes and paid.way not in ways.get(paid.sha256, {paid.way}):
                    undone.add(row.key)  # a run that was killed may have delivered the same audio otherwise
            if night.force and night.yes:
                met = self.passes[self.manifest(night)].met.setdefault(paid, taken[paid])
                self.asked[paid] = max(self.asked[paid], met + 1)
            elif night.force and row.key not in self.done:
                self.asked[paid] = max(
                    self.asked[paid], taken[paid] + 1
                )  # it is new, and is paid as it was asked for
        return frozenset(undone)

    def is_collision(self, row: Row) -> bool:
        """Whether the key belongs to another recording: another source, and other content."""
        known = self.done.get(row.key)
        return bool(known and known.audio != row.audio and known.paid.sha256 != self.content[row.audio])

    def pays_again(self, row: Row, paid: Paid) -> bool:
        """Whether the recording is done, and something else is asked for of the same audio that nobody has paid."""
        known = self.done.get(row.key)
        return bool(
            known and known.paid.sha256 == paid.sha256 and known.paid.way != paid.way and not self.till.taken[paid]
        )

    def is_proved(self, key: str, paid: Paid, rows: Iterable[Row]) -> bool:
        """Whether a payment that the journal has forgotten is proved by a file where this run looks: in the place of
        a row that asks for it, or among what this one has replaced."""
        places = [self.out / f"{row.key}.json" for row in rows if self.paid_for(row) == paid]
        kept = (self.out / ".diarist" / "replaced" / key).glob("*.json")
        return paid in self.proofs((*places, *kept))

    def proofs(self, paths: Iterable[Path]) -> Iterator[Paid]:
        for path in paths:
            if about := _about(path):
                yield Paid(about["sha256"], _WAY[_asked(about["options"])])

    # ── what has to be so ───────────────────────────────────────────────────────────────────────────────────────

    def check(self, night: Night, rows: Sequence[Row], ending: Ending, undone: frozenset[str]) -> None:
        self.check_payments()
        self.check_code(night, ending, undone)
        is_all = ending.code == 0 and not night.limit
        for row in rows:
            if is_all or _is_told(row, ending.told.get(row.key)):
                self.check_result(row)
        if is_all and night.bad_row and not night.folder:
            self.wrong("a bad row was not told by the exit code")
        for name, content in self.own.items():
            if not (self.out / name).exists() or (self.out / name).read_bytes() != content:
                self.wrong(f"the user's own {name} was changed")
        self.check_kept()
        if ending.code == 0 and night.force:
            self.end_pass(night, rows)

    def check_payments(self) -> None:
        for paid, count in self.till.taken.items():
            if paid.sha256 not in self.bad and count > self.asked[paid]:
                of = [row.key for row in self.rows.values() if self.content[row.audio] == paid.sha256]
                self.wrong(f"{paid} (of {of}) was paid {count} times instead of {self.asked[paid]}")

    def check_code(self, night: Night, ending: Ending, undone: frozenset[str]) -> None:
        excused = {0}
        if undone or self.forgotten:
            excused |= {3, 5, 8}
        if self.forgotten and any((self.out / ".diarist").glob("journal.db.damaged-*")):
            excused |= {2}  # one that was put aside is left: nothing runs before it was recovered from
        if night.bad_row:
            excused |= {3}
        if night.faults or night.away:
            excused |= {3, 5}
        if night.max_hours or (night.force and not night.yes):
            excused |= {8}
        if night.stop_after:
            excused |= {130}
        if night.kill:
            excused |= {-9}
        if ending.code not in excused:
            self.wrong(f"exit code {ending.code} without a reason: {ending.why}")

    def check_result(self, row: Row) -> None:
        paid, path = self.paid_for(row), self.out / f"{row.key}.json"
        try:
            result = json.loads(path.read_bytes())
            about = result["recording"]
            found = (about["key"], about["labels"], _WAY[_asked(about["options"])])
        except (OSError, ValueError, KeyError) as error:
            return self.wrong(f"{row.key} is said to be done, and has no whole result: {error!r}")
        if paid.sha256 not in result["text"] or about["sha256"] != paid.sha256:
            self.wrong(f"{row.key} has another's result: {result['text']} instead of {paid.sha256}")
        if found != (row.key, row.labels, row.way):
            self.wrong(f"the result of {row.key} says {found}, its row {row.labels} and {row.way}")
        self.done[row.key] = Done(row.audio, paid)
        self.forgotten.discard(paid)
        self.asked[paid] = self.till.taken[paid]  # whoever has it need not pay for it any more
        self.kept[row.key].add(about["transcript_id"])
        return None

    def check_kept(self) -> None:
        """A paid transcript is never destroyed: it stands in its place, or beside the journal."""
        for key, ids in self.kept.items():
            about = _about(self.out / f"{key}.json")
            there = {about["transcript_id"]} if about else set()
            there |= {path.stem for path in (self.out / ".diarist" / "replaced" / key).glob("*.json")}
            if lost := ids - there:
                self.wrong(f"transcripts of {key} were destroyed: {lost}")

    def end_pass(self, night: Night, rows: Sequence[Row]) -> None:
        """A forced pass that is over has reached everything, unless the journal may have known of an older one."""
        manifest, taken = self.manifest(night), self.till.taken
        ended, is_sure = self.passes.pop(manifest, None), manifest not in self.unsure
        self.unsure.discard(manifest)
        for row in rows if ended and is_sure else ():
            paid = self.paid_for(row)
            if ended and paid in ended.delivered and row.audio.exists() and taken[paid] <= ended.before[paid]:
                self.wrong(f"the forced pass is over, and has not reached {row.key}")

    def wrong(self, what: str) -> None:
        told = "\n".join(self.story[-60:])
        raise Wrong(
            f"seed {self.seed}, night {self.number}: {what}\n"
            f"play it again: python -m tests.acceptance.nights {self.seed} {self.number}\n{told}"
        )

    # ── what befalls the archive ────────────────────────────────────────────────────────────────────────────────

    def grow(self) -> None:
        """Tonight's recordings: the names are those of every night."""
        folder = self.rec / f"n{self.number:03}"
        count = self.rng.choice((0, 1, 1, 2, 2, 3, 4)) if self.rows else 1
        for n in range(count):
            path = folder / f"call-{n}.wav"
            content = wav(self.rng.randbytes(self.rng.randint(400, 600)))
            if self.old_contents and self.rng.random() < 0.1:
                content = self.rng.choice(self.old_contents)
            elif self.rng.random() < 0.02:
                content = BAD + self.rng.randbytes(400)
            self.put(path, content)
            key = f"{folder.name}/{path.name}"
            way = self.rng.choice((0, 0, 0, 1, 2, 3))
            labels = {"customer": f"customer {self.rng.randint(1, 9)}"} if self.rng.random() < 0.5 else {}
            self.rows[key] = Row(key, path, way, self.rng.randrange(len(WAYS[way])), labels)
        if count:
            self.tell(f"{count} new recordings in {folder.name}")

    def put(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.content[path] = hashlib.sha256(content).hexdigest()
        if content.startswith(BAD):
            self.bad.add(self.content[path])
        else:
            self.old_contents = [*self.old_contents[-30:], content]

    def any_row(self, fits: Callable[[Row], bool] = lambda row: True) -> Row | None:
        fitting = [row for row in self.rows.values() if fits(row)]
        return self.rng.choice(fitting) if fitting else None

    def any_result(self) -> str | None:
        """The key of some result."""
        keys = sorted(key for key in self.done if _about(self.out / f"{key}.json"))
        return self.rng.choice(keys) if keys else None

    def forget_result(self, key: str) -> Path:
        """The user is about to harm a result: what stands there need not be kept."""
        path = self.out / f"{key}.json"
        if about := _about(path):
            self.kept[key].discard(about["transcript_id"])
        return path

    def labels_are_corrected(self) -> str:
        if (row := self.any_row()) is None:
            return ""
        row.labels = {"customer": f"customer {self.rng.randint(10, 99)}", "night": str(self.number)}
        return row.key

    def options_are_written_another_way(self) -> str:
        rows = self.rng.sample(list(self.rows.values()), min(5, len(self.rows)))
        for row in rows:
            row.spelling = self.rng.randrange(len(WAYS[row.way]))
        return ", ".join(row.key for row in rows)

    def options_are_changed(self) -> str:
        if (row := self.any_row()) is None:
            return ""
        self.first_ways.setdefault(row.key, row.way)
        row.way = self.rng.randrange(len(WAYS))
        row.spelling = 0
        return f"{row.key} to {row.way}"

    def options_are_changed_back(self) -> str:
        if not self.first_ways:
            return ""
        key = self.rng.choice(sorted(self.first_ways))
        self.rows[key].way, self.rows[key].spelling = self.first_ways.pop(key), 0
        return f"{key} to {self.rows[key].way}"

    def file_is_touched(self) -> str:
        if (row := self.any_row(lambda row: row.audio.exists())) is None:
            return ""
        os.utime(row.audio)
        return row.key

    def file_is_replaced(self) -> str:
        row = self.any_row(lambda row: row.audio.exists() and self.is_where_it_was(row))
        if row is None:
            return ""
        old = self.old_contents and self.rng.random() < 0.3
        self.put(row.audio, self.rng.choice(self.old_contents) if old else wav(self.rng.randbytes(700)))
        return f"{row.key}{' by an older content' if old else ''}"

    def is_where_it_was(self, row: Row) -> bool:
        known = self.done.get(row.key)
        return not known or known.audio == row.audio

    def is_as_delivered(self, row: Row) -> bool:
        known = self.done.get(row.key)
        return known is not None and known.paid.sha256 == self.content[row.audio]

    def bad_file_is_mended(self) -> str:
        row = self.any_row(lambda row: self.content[row.audio] in self.bad and self.is_where_it_was(row))
        if row is None:
            return ""
        self.put(row.audio, wav(self.rng.randbytes(700)))
        return row.key

    def file_is_moved(self) -> str:
        if (row := self.any_row(lambda row: row.audio.exists() and self.is_as_delivered(row))) is None:
            return ""
        there = self.rec / "moved" / f"{self.number}-{row.audio.name}"
        there.parent.mkdir(exist_ok=True)
        row.audio.rename(there)
        self.content[there] = self.content[row.audio]
        row.audio = there
        return row.key

    def file_is_removed(self) -> str:
        if len(self.gone) > 2 or (row := self.any_row(lambda row: row.audio.exists())) is None:
            return ""
        self.gone[row.audio] = row.audio.read_bytes()
        row.audio.unlink()
        return row.key

    def file_is_there_again(self) -> str:
        if not self.gone:
            return ""
        path, content = self.gone.popitem()
        self.put(path, content)
        return str(path.relative_to(self.rec))

    def result_is_removed(self) -> str:
        if (key := self.any_result()) is None:
            return ""
        self.forget_result(key).unlink()
        return key

    def result_is_emptied(self) -> str:
        if (key := self.any_result()) is None:
            return ""
        self.forget_result(key).write_bytes(b"")
        return key

    def result_is_cut(self) -> str:
        if (key := self.any_result()) is None:
            return ""
        path = self.forget_result(key)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * self.rng.random())])
        return key

    def result_is_replaced_by_the_users_own_file(self) -> str:
        if len(self.own) > 1 or (key := self.any_result()) is None:
            return ""
        self.own[f"{key}.json"] = json.dumps({"mine": self.number}).encode()
        self.forget_result(key).write_bytes(self.own[f"{key}.json"])
        return key

    def users_own_file_is_moved_away(self) -> str:
        if not self.own:
            return ""
        name, _ = self.own.popitem()
        (self.out / name).unlink()
        return name

    def results_are_copied(self) -> str:
        if (key := self.any_result()) is None:
            return ""
        self.copies = [*self.copies[-9:], (key, (self.out / f"{key}.json").read_bytes())]
        return key

    def result_is_restored_from_an_older_copy(self) -> str:
        fitting = [each for each in self.copies if f"{each[0]}.json" not in self.own]
        if not fitting:
            return ""
        key, content = self.rng.choice(fitting)
        path = self.forget_result(key)
        path.write_bytes(content)
        return key

    def archive_is_moved(self) -> str:
        if not self.out.exists():
            return ""
        there = self.folder / f"out-{self.number}"
        self.out.rename(there)
        self.out = there
        return there.name

    def journal_is_backed_up(self) -> str:
        if not (self.out / ".diarist" / "journal.db").exists():
            return ""
        there = self.backups / str(self.number)
        shutil.rmtree(there, ignore_errors=True)
        there.mkdir()
        for path in (self.out / ".diarist").glob("journal.db*"):
            if "damaged" not in path.name:
                shutil.copy2(path, there)
        self.journals = [*self.journals[-2:], (there, self.till.taken.copy(), set(self.forgotten))]
        return there.name

    def _without_journal(self) -> None:
        for path in (self.out / ".diarist").glob("journal.db*"):
            if "damaged" not in path.name:
                path.unlink()
        self.passes.clear()
        self.unsure = set()

    def journal_is_lost(self) -> str:
        if not (self.out / ".diarist" / "journal.db").exists() or self.rng.random() < 0.7:
            return ""
        self._without_journal()
        self.forgotten = set(self.till.taken)
        self.done = {key: done for key, done in self.done.items() if _about(self.out / f"{key}.json")}
        return "altogether"

    def journal_is_restored_from_a_backup(self) -> str:
        if not self.journals or self.rng.random() < 0.4:
            return ""
        there, taken, forgotten = self.rng.choice(self.journals)
        self._without_journal()
        for path in there.iterdir():
            shutil.copy2(path, self.out / ".diarist")
        self.unsure = self.forced.copy()
        self.forgotten = forgotten | {paid for paid in self.till.taken if not taken[paid]}
        return f"of night {there.name}"


MISHAPS: Final = [
    Year.labels_are_corrected, Year.options_are_written_another_way, Year.options_are_changed,
    Year.options_are_changed_back, Year.file_is_touched, Year.file_is_replaced, Year.bad_file_is_mended,
    Year.bad_file_is_mended, Year.file_is_moved, Year.file_is_removed, Year.file_is_there_again,
    Year.file_is_there_again, Year.result_is_removed, Year.result_is_emptied, Year.result_is_cut,
    Year.result_is_replaced_by_the_users_own_file, Year.users_own_file_is_moved_away,
    Year.users_own_file_is_moved_away, Year.results_are_copied, Year.result_is_restored_from_an_older_copy,
    Year.archive_is_moved, Year.journal_is_backed_up, Year.journal_is_lost, Year.journal_is_restored_from_a_backup,
]  # fmt: skip


def _is_told(row: Row, told: Recording | None) -> bool:
    """Whether it is the row of tonight that was said to be done."""
    return told is not None and told.labels == row.labels and _WAY[_asked(told.options)] == row.way


def _failing(audio: bytes) -> Exception | None:
    return BadAudio("File does not appear to contain audio.") if audio.startswith(BAD) else None


def _about(path: Path) -> dict[str, Any] | None:
    """What a result of diarist's says of its recording, though it may be cut; None if it cannot be told."""
    try:
        text = path.read_text("utf-8", "ignore")
        about, _ = json.JSONDecoder().raw_decode(text, len('{"recording":'))
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and "transcript_id" in about else None


def _child(given: str) -> int:
    asked = json.loads(given)
    night, year = msgspec.convert(asked["night"], Night), Year(Path(asked["folder"]), 0)
    year.out, year.till.double = Path(asked["out"]), Double(None)  # type: ignore[arg-type]
    year.till.double.base_url = asked["base_url"]
    how, *place = night.kill
    if how == "edge":
        crashing.at_edge(State(place[0]), place[1], int(place[2]))
    else:
        crashing.at_line(int(place[0]))
    try:
        return int(asyncio.run(year.begun(night)).exit_code)
    except errors.DiaristError as error:
        print(error, file=sys.stderr)
        return int(getattr(error, "exit_code", 5))


def main(arguments: Sequence[str]) -> int:
    if arguments[0] == "child":
        return _child(arguments[1])
    seed, nights = int(arguments[0]), int(arguments[1]) + 1 if len(arguments) > 1 else 365
    with tempfile.TemporaryDirectory(prefix="diarist-year-") as folder, contextlib.suppress(KeyboardInterrupt):
        year = Year(Path(folder) / "year", seed, say=lambda line: print(line, flush=True))
        try:
            asyncio.run(year.live(nights))
        except Wrong as wrong:
            print(str(wrong).partition("\n")[0])
            return 1
        paid, kept = year.till.taken.total(), len(year.done)
        print(f"{nights} nights, {paid} payments, {kept} recordings: all is as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
