"""The page: a template, its style sheet and its program, put together so that nothing else can run in it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib import resources
from typing import Any, Final

import jinja2
import msgspec
from rich.filesize import decimal

from batch.archive.layout import Kept
from batch.archive.report import charts
from batch.archive.report.charts import duration, number
from batch.archive.report.statistics import Statistics
from batch.model import State
from batch.telemetry import suggestions
from batch.telemetry.progress import Progress
from batch.telemetry.summary import Failure, RunContext


class Chart(msgspec.Struct, frozen=True):
    title: str
    said: str
    svg: str


class Tile(msgspec.Struct, frozen=True):
    what: str
    value: str
    more: str = ""


class Failing(msgspec.Struct, frozen=True):
    """Failures, by kind, that the same ``command`` runs again."""

    kinds: list[tuple[str, Failure]]
    said: str
    command: str
    have_rows: bool = True
    """Whether the table has them: rows of a manifest that could not become recordings are in no journal."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into a page beside the statistics: packed rows and ``parts`` as ``rows`` makes them (empty where they
    lie beside the page), ``at_work``: who still writes into the directory."""

    directory: str
    made: datetime
    statistics: Statistics
    run: Progress | None
    replaced: Kept
    at_work: str | None
    since: datetime | None
    rows: str
    parts: Sequence[str]


def html(page: Page) -> Iterator[str]:
    """The page, piece by piece. Whatever comes from recordings is escaped by the template."""
    style, program = _file("page.css"), _file("page.js")
    statistics = page.statistics
    facts: dict[str, Any] = {
        "page": page,
        "statistics": statistics,
        "verdict": _verdict(statistics, page.at_work),
        "tiles": [*_tiles(statistics), *_kept(page.replaced)],
        "failing": list(_failing(page)),
        "charts": list(_charts(statistics)),
        "going_on": suggestions.again(page.run.stage, None) if page.run else "",
        "style": style,
        "program": program,
        "style_hash": _digest(style),
        "program_hash": _digest(program),
        "services": [name for name, _ in statistics.services.most_common()],
    }
    return iter(_TEMPLATES.get_template("page.html").generate(facts))


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _digest(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


_TEMPLATES: Final = jinja2.Environment(
    loader=jinja2.FunctionLoader(_file), autoescape=True, trim_blocks=True, lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)  # fmt: skip
_TEMPLATES.filters |= {"number": number, "duration": duration}
_TEMPLATES.filters["money"] = lambda usd: f"${usd:,.2f}"
_TEMPLATES.filters["percent"] = lambda part: f"{100 * part:.1f} %"
_TEMPLATES.filters["moment"] = lambda at: f"{at.day} {at:%B %Y, %H:%M} UTC"


def _verdict(statistics: Statistics, at_work: str | None) -> str:
    collected, failed = statistics.states[State.COLLECTED], statistics.states[State.FAILED]
    if not statistics.total:
        return "Nothing has run yet" if not at_work else "The run has just begun"
    if collected == statistics.total:
        return f"All {collected:,} recordings transcribed" if collected > 1 else "The recording is transcribed"
    parts = [f"{collected:,} of {statistics.total:,} recordings transcribed"]
    if failed:
        parts.append(f"{failed:,} failed")
    if statistics.open:
        parts.append(f"{statistics.open:,} still open")
    return ", ".join(parts)


def _tiles(statistics: Statistics) -> Iterator[Tile]:
    hours, took = statistics.audio_seconds / 3600, statistics.turnaround
    yield Tile("audio", f"{hours:,.1f} h" if hours >= 1 else duration(statistics.audio_seconds), "transcribed")
    if took:
        span = max(statistics.last - statistics.first, 1e-3)
        yield Tile("throughput", f"{number(statistics.audio_seconds / span)} x", "real time")
        yield Tile("turnaround", duration(took[0]), f"median; 95 % within {duration(took[1])}")
    if statistics.last:
        yield Tile("from first to last", duration(statistics.last - statistics.first), "submitted to transcribed")
    yield Tile(
        "words", f"{statistics.words:,}", f"{statistics.silent:,} recordings without any" if statistics.silent else ""
    )
    usd = statistics.usd
    if usd is not None:
        yield Tile("cost", f"${usd:,.2f}", "an estimate, not the bill")


def _kept(replaced: Kept) -> Iterator[Tile]:
    if replaced:
        yield Tile("older results", f"{replaced.count:,}", f"replaced, and kept: {decimal(replaced.bytes)}")


def _failing(page: Page) -> Iterator[Failing]:
    for unasked, advice in ((False, "Run them again with"), (True, "The next run tries these without being asked")):
        kinds = [(kind, failure) for kind, failure, anyway in page.statistics.failing if anyway is unasked]
        if kinds:
            yield Failing(kinds, advice, _command(page, retry=not unasked))
    if page.run and (rejected := page.run.failures.get("bad_row")):
        advice = "Rows of the manifest, in the last run: mend them, then"
        yield Failing([("bad_row", rejected)], advice, _command(page, retry=False), have_rows=False)


def _command(page: Page, *, retry: bool) -> str:
    """What runs failed recordings again, with the service they are with: another would run, and be paid for,
    everything."""
    listed = f"{page.directory}/failed.jsonl"
    if page.run and page.run.failed_list:
        listed = page.run.failed_list.path
    services = list(page.statistics.services)
    unknown = RunContext((listed,), page.directory, services[0] if services else "")
    stage = page.run.stage if page.run and page.run.stage.manifests else unknown
    return suggestions.again(stage, None, retry=retry, listed=listed)


def _charts(statistics: Statistics) -> Iterator[Chart]:
    if throughput := statistics.throughput():
        caption = f"How many times faster than real time, in steps of {duration(throughput.step_seconds)}."
        yield Chart("Throughput", caption, charts.over_time("Throughput", throughput, "x real time"))
    if in_flight := statistics.in_flight():
        caption = f"Recordings with the service, on average; {statistics.most_in_flight():,} at most."
        yield Chart("In flight", caption, charts.over_time("In flight", in_flight, "recordings"))
    if points := statistics.points():
        caption = "From submission to result, against the length of the recording"
        caption += "." if len(points) <= charts.FEW_POINTS else ": the median, and the middle 80 %."
        yield Chart(
            "Turnaround by length", caption, charts.turnarounds("Turnaround", points, statistics.took_by_length())
        )
    if statistics.speakers:
        caption = "How many recordings have so many speakers."
        yield Chart("Speakers", caption, charts.bars("Speakers", statistics.speakers.items(), caption))


def run_facts(run: Progress) -> Mapping[str, str]:
    """What the last run did, for the line under the title."""
    facts = {"exit code": str(run.exit_code)} if run.exit_code is not None else {}
    counts = {
        "rows" if run.total is not None else "rows read so far": run.rows,
        "transcribed": run.collected,
        "failed": run.failed,
        "rejected": run.rejected,
        "skipped": sum(run.skipped.values()),
        "left": run.left,
        "carried over": run.carried_over,
        "retries": sum(run.retries.values()),
    }
    return facts | {what: f"{count:,}" for what, count in counts.items() if count}


_TEMPLATES.globals["run_facts"] = run_facts
