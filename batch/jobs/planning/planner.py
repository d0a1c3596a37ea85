"""What a run would do, for how many hours and at what price: rows judged, probed and priced, and their sum."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final

import msgspec

from batch.archive.journal import Journal
from batch.archive.layout import JOURNAL
from batch.archive.results import Results
from batch.config import Settings
from batch.errors import FailureKind, UnavailableError
from batch.jobs.connection import links
from batch.jobs.places import Place, placed
from batch.jobs.planning.admission import Admission
from batch.jobs.planning.decision import Action, Rerun, RowDecision
from batch.jobs.planning.inputs import rows_of
from batch.jobs.planning.selection import Selection
from batch.model import Job, Recording
from batch.providers.interface import Pricing, Provider
from batch.storage import sqlite
from batch.storage.audio import AudioLimits, digest
from batch.storage.audio_headers import Probe, channels_are_identical, probe
from batch.storage.locations import is_url
from batch.telemetry.events import Event
from batch.telemetry.redaction import redact

_ENOUGH_HISTORY: Final = 20
REJECT: Final = "would be refused"
FAIL: Final = "would fail"
SHARED: Final = "shared"
_PROBING_THREADS: Final = 16


class PlanRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """What would become of one row. ``usd`` is None where nothing is charged; ``note`` is advice; ``reason`` is what
    the run will say of a row that would fail."""

    key: str
    manifest: str
    line: int
    verdict: str
    why: str
    seconds: float | None = None
    codec: str | None = None
    channels: int | None = None
    size_bytes: int | None = None
    usd: float | None = None
    note: str = ""
    pays_again: bool = False
    reason: str = ""

    @property
    def where(self) -> str:
        return f"{self.manifest}:{self.line}"


class Expectation(msgspec.Struct, frozen=True):
    """How long a recording is with the service: ``least_seconds`` and so much of its length."""

    least_seconds: float
    of_length: float
    source: str

    def run_seconds(self, recordings: int, audio_seconds: float, in_flight: int) -> float:
        """For so many recordings, with slots that are never empty."""
        if not recordings:
            return 0.0
        busy = recordings * self.least_seconds + audio_seconds * self.of_length
        return max(busy / min(in_flight, recordings), busy / recordings)


class Plan(msgspec.Struct):
    """The sum of the rows. ``seconds`` and ``usd`` are of what would be paid for, where the length is known.

    ``again`` counts, by why, those that are done and would be paid for again; ``again_seconds`` and ``again_usd`` are
    theirs.
    """

    rows: int = 0
    verdicts: Counter[str] = msgspec.field(default_factory=Counter)
    notes: Counter[str] = msgspec.field(default_factory=Counter)
    recordings: int = 0
    seconds: float = 0.0
    size_bytes: int = 0
    unknown_length: int = 0
    usd: float | None = None
    again: Counter[str] = msgspec.field(default_factory=Counter)
    again_seconds: float = 0.0
    again_usd: float = 0.0
    unpriced: set[str] = msgspec.field(default_factory=set)

    @property
    def hours(self) -> float:
        """Hours of audio that would be paid for, where the length is known."""
        return self.seconds / 3600

    def add(self, row: PlanRow, unpriced: Sequence[str] = ()) -> None:
        self.rows += 1
        self.verdicts[f"{row.verdict}: {row.why}"] += 1
        if row.note:
            self.notes[row.note] += 1
        if row.verdict != Action.RUN:
            return
        self.recordings += 1
        self.size_bytes += row.size_bytes or 0
        self.seconds += row.seconds or 0.0
        self.unknown_length += row.seconds is None
        if row.usd is not None:
            self.usd = (self.usd or 0.0) + row.usd
        self.unpriced.update(unpriced)


class Planner:
    """Judges, probes and prices every row, up to ``limit`` that would run. Asks no service, writes nothing.

    What was paid before ``since`` does not count; ``probing``: headers are read; ``pricing`` None: nothing is
    charged; ``linked``: stored recordings are not sent through us.
    """

    def __init__(
        self,
        admission: Admission,
        journal: Journal,
        provider: Provider,
        pricing: Pricing | None,
        *,
        limit: int | None = None,
        since: float = 0.0,
        probing: bool = True,
        linked: bool = False,
    ) -> None:
        self._admission, self._journal, self._service = admission, journal, provider.name
        self._limits = provider.capabilities.audio
        self._limit, self._since, self._probing, self._linked = limit, since, probing, linked
        self.pricing = pricing
        self.plan = Plan(usd=0.0 if pricing else None)

    async def rows(self) -> AsyncIterator[PlanRow]:
        """The rows, in order; ``plan`` is their sum afterwards. Raises what reading the manifest raises."""
        with _probing() as pool, closing(_Seen(self._journal.path.parent)) as seen:
            admitted = 0
            async for batch in self._admission.judged():
                run = [judged for judged in batch if self._probing and judged.decision.verdict is Action.RUN]
                probes = await _probed(
                    pool, [judged.recording for judged in run], self._limits, sent=not self._linked
                )
                sound = [
                    judged.recording for judged in run
                    if (found := probes.get(judged.recording.source)) and not found.problem
                ]  # fmt: skip
                sizes = {recording.key: probes[recording.source].size_bytes for recording in sound}
                shared = await asyncio.to_thread(seen.before, sound, sizes)
                shared |= await self._transcribed(sound, sizes)
                for judged in batch:
                    would_run = judged.decision.verdict in (Action.RUN, Action.REFETCH)
                    if would_run and admitted == self._limit:
                        return
                    admitted += would_run
                    yield self._row(judged, probes.get(judged.recording.source), shared)

    def _row(self, judged: RowDecision, found: Probe | None, shared: Mapping[str, str]) -> PlanRow:
        recording, (verdict, why, pays_again) = judged.recording, judged.decision
        row = PlanRow(recording.key, recording.manifest, recording.line, verdict, why, pays_again=pays_again)
        unpriced: tuple[str, ...] = ()
        if recording.key in shared:
            row = msgspec.structs.replace(row, verdict=SHARED, why=shared[recording.key])
        elif verdict is Action.RUN:
            row, unpriced = self._priced(row, recording, found or Probe())
        self.plan.add(row, unpriced)
        if row.pays_again and row.verdict == Action.RUN and judged.job:
            self._add_again(row, judged.job.audio_seconds or row.seconds or 0.0, recording)
        return row

    def _add_again(self, row: PlanRow, seconds: float, recording: Recording) -> None:
        self.plan.again[row.why] += 1
        self.plan.again_seconds += seconds
        if self.pricing:
            channels = self.pricing.billed_channels(recording.options, row.channels)
            self.plan.again_usd += self.pricing.quote(recording.options).usd(seconds, channels)

    def _priced(self, row: PlanRow, recording: Recording, found: Probe) -> tuple[PlanRow, tuple[str, ...]]:
        if found.problem:
            if found.kind:
                return msgspec.structs.replace(row, verdict=FAIL, why=found.kind, reason=redact(found.problem)), ()
            what = found.problem.partition(":")[0]
            return msgspec.structs.replace(row, verdict=REJECT, why=what, size_bytes=found.size_bytes), ()
        facts = {name: getattr(found, name) for name in ("seconds", "codec", "channels")}
        row = msgspec.structs.replace(row, **facts, size_bytes=found.size_bytes, note=_advice(recording, found))
        if self.pricing is None:
            return row, ()
        quote = self.pricing.quote(recording.options)
        channels = self.pricing.billed_channels(recording.options, found.channels)
        return msgspec.structs.replace(row, usd=quote.usd(found.seconds or 0.0, channels)), quote.unknown

    async def _transcribed(self, recordings: Sequence[Recording], sizes: Mapping[str, int]) -> dict[str, str]:
        """Those whose audio the journal knows as transcribed with the same options. Only files whose size it knows
        are read."""
        known = await self._journal.known_sizes(set(sizes.values()))
        shared = {}
        for recording in recordings:
            if sizes[recording.key] in known and (sha256 := await asyncio.to_thread(_digest, recording.source)):
                job = Job(recording, self._service, sha256=sha256, size_bytes=sizes[recording.key])
                if await self._journal.twin(job, self._since):
                    shared[recording.key] = "audio transcribed before"
        return shared

    async def expectation(self, workers: int | None) -> Expectation:
        """From what the last recordings took, else from what is known of the service: the vendor's figures, or
        (``workers`` given) those of the local engine (docs/benchmarks.md)."""
        past = await self._journal.turnarounds(self._service)
        if len(past) >= _ENOUGH_HISTORY:
            ratio = statistics.median(took / audio for took, audio in past)
            return Expectation(0.0, ratio, f"as the last {len(past)} took")
        if workers:
            return Expectation(0.5, 0.13, "as the local engine takes")
        return Expectation(20.0, 0.011, "as the vendor says its service takes")


async def plan(
    manifests: Sequence[str] | str,
    out: Path | str,
    *,
    settings: Settings | None = None,
    rerun: Rerun | None = None,
    select: Selection | None = None,
    environ: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    on_row: Callable[[PlanRow], None] = lambda row: None,
) -> Plan:
    """What ``run`` with the same arguments would do, for how many hours of audio, at what price. Writes nothing, asks
    no service, and pays nothing. ``on_row`` receives each row, in the order of the manifests; ``on_event`` those that
    cannot run. Raises as ``run``.
    """
    async with open_planner(
        [manifests] if isinstance(manifests, str) else manifests, out, settings=settings or Settings(),
        rerun=rerun or Rerun(), select=select or Selection(), environ=os.environ if environ is None else environ,
        stdin=stdin, on_event=on_event,
    ) as planner:  # fmt: skip
        async for row in planner.rows():
            on_row(row)
        return planner.plan


@asynccontextmanager
async def open_planner(
    manifests: Sequence[str],
    out: Path | str,
    *,
    settings: Settings,
    rerun: Rerun,
    select: Selection,
    environ: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    probing: bool = True,
    place: Place | None = None,
) -> AsyncIterator[Planner]:
    """The planner of what ``run`` with the same arguments would do. Writes nothing, asks no service.

    Raises ``UsageError`` as ``run`` does. Rows that cannot run are told to ``on_event``.
    """
    place = place if place else await asyncio.to_thread(placed, out, settings, environ)
    rerun, service = place.in_pass(rerun, manifests, select), place.service
    rows = rows_of(manifests, settings, service.options, stdin, on_event)
    with closing(Journal(place.inner / JOURNAL, read_only=True)) as journal:
        results = Results(
            place.directory, copies=place.copies, formats=settings.formats, inner=place.inner, make=False,
            read_copies=place.read_copies,
        )  # fmt: skip
        admission = Admission(rows, journal, results, service.name, rerun=rerun, select=select, on_event=on_event)
        yield Planner(
            admission, journal, service, service.pricing(settings.prices), limit=select.limit,
            since=rerun.forced_since if rerun.force else 0.0, probing=probing,
            linked=links(service, settings) is not None,
        )  # fmt: skip


@contextmanager
def _probing() -> Iterator[ThreadPoolExecutor]:
    """Threads that nobody waits for once the context has ended: what they look at may be slow to answer."""
    pool = ThreadPoolExecutor(_PROBING_THREADS, "probe")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def _probed(
    pool: ThreadPoolExecutor, recordings: Sequence[Recording], limits: AudioLimits, *, sent: bool
) -> dict[str, Probe]:
    """What the headers tell, by source, all at once, in a few strides: a thread's start costs more than a header."""
    asked = [recording for recording in recordings if not is_url(recording.source)]
    stride = max(1, -(-len(asked) // _PROBING_THREADS))
    parts = [asked[start : start + stride] for start in range(0, len(asked), stride)]
    loop = asyncio.get_running_loop()
    done = await asyncio.gather(
        *(loop.run_in_executor(pool, partial(_probe_all, part, limits, sent=sent)) for part in parts)
    )
    return {source: found for part in done for source, found in part}


def _probe_all(recordings: Sequence[Recording], limits: AudioLimits, *, sent: bool) -> list[tuple[str, Probe]]:
    sizes = [row.stamp.size_bytes if row.stamp else None for row in recordings]
    looked_at = zip(recordings, sizes, strict=True)
    return [(row.source, probe(row.source, size, limits=limits, sent=sent)) for row, size in looked_at]


def _advice(recording: Recording, found: Probe) -> str:
    multichannel = recording.options.get("multichannel")
    if multichannel and found.channels == 1:
        return "mono, though multichannel is asked for"
    if found.channels == 2 and found.codec == "wav" and channels_are_identical(recording.source):
        cost = "multichannel would pay twice" if multichannel else "stereo says no more than mono"
        return f"both channels are identical: {cost}"
    return ""


def _digest(path: str) -> str | None:
    try:
        return digest(path)
    except OSError:
        return None


class _Seen:
    """Which audio has been planned already, on disk if there is one: a file is read only if another has its size."""

    def __init__(self, beside: Path) -> None:
        self._db = sqlite.scratch(beside)
        self._db.execute("CREATE TABLE seen (size INTEGER, options BLOB, sha256 TEXT, source TEXT)")
        self._db.execute("CREATE INDEX seen_by_audio ON seen (size, options, sha256)")

    def before(self, recordings: Sequence[Recording], sizes: Mapping[str, int]) -> dict[str, str]:
        """Those whose audio and options an earlier row has. Blocks. Raises ``UnavailableError`` without room."""
        try:
            self._db.execute("BEGIN")
            with self._db:
                again = [row.key for row in recordings if self._is_again(row, sizes[row.key])]
        except sqlite3.OperationalError as error:
            raise UnavailableError(
                f"no room for temporary tables: {error}. Set SQLITE_TMPDIR to a folder with more",
                kind=FailureKind.TEMPORARY,
            ) from error
        return dict.fromkeys(again, "duplicate of another row")

    def _is_again(self, recording: Recording, size_bytes: int) -> bool:
        same = (size_bytes, msgspec.json.encode(recording.options))
        where = "WHERE size = ? AND options = ?"
        sha256 = None
        if self._db.execute(f"SELECT 1 FROM seen {where} LIMIT 1", same).fetchone():
            for number, source in self._db.execute(f"SELECT rowid, source FROM seen {where} AND sha256 = ''", same):
                self._db.execute("UPDATE seen SET sha256 = ? WHERE rowid = ?", (_digest(source) or source, number))
            sha256 = _digest(recording.source)
            if self._db.execute(f"SELECT 1 FROM seen {where} AND sha256 = ?", (*same, sha256)).fetchone():
                return True
        self._db.execute("INSERT INTO seen VALUES (?, ?, ?, ?)", (*same, sha256 or "", recording.source))
        return False

    def close(self) -> None:
        self._db.close()
