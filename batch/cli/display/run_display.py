"""Turns events into what a person reads: a live view, plain lines, or JSON lines. Nobody else prints.

Everything here goes to standard error; standard output is for what a command is asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol

import msgspec
from rich.console import Console
from rich.live import Live
from rich.text import Text

from batch.archive import Archive
from batch.cli.display.progress_view import pulse, view
from batch.errors import DiaristError
from batch.model import ENDED, Job, State
from batch.telemetry import suggestions
from batch.telemetry.events import (
    BytesSent,
    Event,
    JobMoved,
    JobPostponed,
    Notice,
    ProviderStatus,
    RequestEnded,
    RequestRetried,
    RequestStarted,
    RowRejected,
    RowSkipped,
)
from batch.telemetry.progress import snapshot
from batch.telemetry.records import to_record
from batch.telemetry.redaction import harmless
from batch.telemetry.summary import Summary
from batch.telemetry.wording import STATES, sentence
from batch.transcripts.timecodes import short_clock

_HEARTBEAT_SECONDS: Final = 15.0
_RETRY_LINE_SECONDS: Final = 5.0
_LOG_WIDTH: Final = 160
_PROGRESS_SECONDS: Final = 2.0
_REFRESH_PER_SECOND: Final = 5
_TRAFFIC: Final = (RequestStarted, RequestEnded, BytesSent)
"""So many events that only their sums are told."""
_REJECTS_SHOWN: Final = 10
_HANDFUL: Final = 5
"""So many recordings are told of once more at the end, with their first words."""
_UTTERANCES: Final = 3
_WORDS: Final = 12
_LINES_EACH: Final = 20
"""So many recordings get a line each; after that only failures in a log do, and a heartbeat tells the rest."""


class Display(Protocol):
    def show(self, event: Event) -> None: ...


@contextlib.contextmanager
def display(mode: str, summary: Summary, stream: IO[str]) -> Iterator[Display]:
    """The display for ``mode``, as the setting ``progress`` has it, writing to ``stream`` while the context lasts."""
    if mode == "auto":
        mode = "live" if stream.isatty() else "plain"
    if mode == "live":
        with _Live(summary, stream) as live:
            yield live
    elif mode == "json":
        lines = _Json(summary, stream)
        yield lines
        lines.end()
    else:
        yield _Off(stream) if mode == "off" else _Plain(summary, stream, is_verbose=mode == "verbose")


class _Off:
    """Says nothing but what a person must know."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def show(self, event: Event) -> None:
        if isinstance(event, Notice):
            _line(self._stream, harmless(event.message))


class _Json:
    """One event a line, the state of the run every other second, and in the end."""

    def __init__(self, summary: Summary, stream: IO[str]) -> None:
        self._summary, self._stream, self._beat = summary, stream, summary.clock()

    def show(self, event: Event) -> None:
        if not isinstance(event, _TRAFFIC):
            self._line(msgspec.to_builtins(to_record(event)))
        if self._summary.clock() - self._beat >= _PROGRESS_SECONDS:
            self._beat = self._summary.clock()
            self._line({"event": "progress"} | msgspec.to_builtins(snapshot(self._summary)))

    def end(self) -> None:
        self._line({"event": "ended"} | msgspec.to_builtins(snapshot(self._summary, is_over=True)))

    def _line(self, tree: dict[str, object]) -> None:
        _line(self._stream, msgspec.json.encode(tree).decode())


class _Plain:
    """Lines for a log: the first recordings and every failure by name, retries seldom, a heartbeat now and then;
    ``is_verbose``: every recording, also as it is uploaded and submitted or passed over, and every retry."""

    def __init__(self, summary: Summary, stream: IO[str], *, is_verbose: bool = False) -> None:
        self._summary, self._stream, self._clock = summary, stream, summary.clock
        self._is_verbose = is_verbose
        self._beat = self._clock()
        self._retried: dict[str, float] = {}

    def show(self, event: Event) -> None:
        if text := self._text(event):
            _line(self._stream, harmless(text))
        now = self._clock()
        if now - self._beat >= _HEARTBEAT_SECONDS:
            self._beat = now
            _line(self._stream, "… " + pulse(snapshot(self._summary)))

    def _text(self, event: Event) -> str:
        match event:
            case JobMoved(job=job) if job.state in ENDED:
                many = self._summary.collected > _LINES_EACH and job.state is State.COLLECTED
                return "" if many and not self._is_verbose else ending(job)
            case JobMoved(job=job) if self._is_verbose:
                return f"  {job.key}: {STATES.get(job.state, job.state.value)}"
            case RowSkipped(job=job, why=why, action=action) if self._is_verbose:
                return f"  {job.key if job else '(no key)'}: {action}, {why}"
            case RowRejected():
                return _rejected(event, self._summary)
            case RequestRetried():
                return self._retry_text(event)
        return _notice(event)

    def _retry_text(self, event: RequestRetried) -> str:
        now = self._clock()
        seldom = now - self._retried.get(event.kind, -_RETRY_LINE_SECONDS) < _RETRY_LINE_SECONDS
        if seldom and not self._is_verbose:
            return ""
        self._retried[event.kind] = now
        return f"↻ {event.message}; trying again in {event.pause_seconds:.1f} s"


class _Live:
    """A view that is redrawn in place, with notices and the first failures scrolling away above it."""

    def __init__(self, summary: Summary, stream: IO[str]) -> None:
        self._summary, self._scrolled = summary, 0
        self._live = Live(
            console=Console(file=stream),
            get_renderable=lambda: view(snapshot(summary)),
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> _Live:
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, event: Event) -> None:
        self._live.start()  # not before there is something to show: a question may be asked first
        text = _notice(event)
        match event:
            case RowRejected():
                text = _rejected(event, self._summary)
            case JobMoved(job=job) if job.state is State.FAILED and self._scrolled < _LINES_EACH:
                self._scrolled += 1
                text = ending(job)
        if text:
            self._live.console.print(harmless(text), markup=False, highlight=False)


def _line(stream: IO[str], text: str) -> None:
    stream.write(text + "\n")
    stream.flush()


def _rejected(event: RowRejected, summary: Summary) -> str:
    """The first bad rows by name; the end of the run tells how many there are."""
    if summary.rejected > _REJECTS_SHOWN:
        return ""
    return f"✗ {event.reject.where}: {event.reject.reason}"


def _notice(event: Event) -> str:
    match event:
        case ProviderStatus(message=message):
            return message
        case Notice(message=message, job=job):
            return f"{job.recording.where}: {job.key}: {message}" if job else message
        case JobPostponed(job=job, reason=reason):
            return f"… {job.recording.where}: {job.key}: {reason} (left for the next run)"
    return ""


def ending(job: Job) -> str:
    """One line about a job that has ended."""
    if job.state is State.FAILED:
        return f"✗ {job.recording.where}: {job.key}: {job.reason} [{job.kind}]"
    return f"✓ {job.key}: {_speakers(job)}, {short_clock(job.audio_seconds)}{_note(job)}"


def _speakers(job: Job) -> str:
    return f"{job.speakers} speaker{'' if job.speakers == 1 else 's'}"


def _note(job: Job) -> str:
    return f" ({job.reason})" if job.reason else ""


def closing(summary: Summary, out: Path, stream: IO[str]) -> None:
    """What ends a run: what a handful of recordings begin with, what went wrong, what to do, and the sum."""
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else _LOG_WIDTH)
    print_line = partial(console.print, soft_wrap=not stream.isatty())

    def line(text: str, style: str = "") -> None:
        print_line(Text(harmless(text), style=style))

    if 0 < summary.ended.total() <= _HANDFUL:
        for job in sorted(summary.shown, key=lambda job: (job.recording.manifest, job.recording.line)):
            if words := _beginning(job, out):
                line(f"{job.key}: {words}")
    now = snapshot(summary, is_over=True)
    for kind, failure in sorted(summary.failures.items(), key=lambda pair: -pair[1].count):
        example = f"{failure.where}: {failure.key or '(no key)'}: {failure.reason}"
        line(f"{failure.count} x {kind}, for example {example}", "red")
    if summary.stopped_by:
        line(f"stopped: {summary.stopped_by}", "red")
    if summary.budget_reached:
        line(f"no more was admitted: {summary.budget_reached}", "yellow")
    if summary.signal_number:
        line(_left_over(summary))
    for advice in suggestions.advice(now, Path.cwd()):
        line(advice)
    line(sentence(now, out), "bold")


def _beginning(job: Job, out: Path) -> str:
    """The first words of a recording, as they are in its result."""
    if job.state is not State.COLLECTED:
        return ""
    try:
        spoken = Archive(out).transcript(job.key)
    except DiaristError:
        return ""  # moved away meanwhile
    words = " ".join(said.text for said in spoken.utterances[:_UTTERANCES]).split()
    first = " ".join(words[:_WORDS])
    return f"“{first}{' …' * (len(words) > _WORDS)}”" if first else ""


def _left_over(summary: Summary) -> str:
    left = summary.alive[State.SUBMITTING] + summary.alive[State.SUBMITTED]
    return f"interrupted: {left} submitted recordings are left to the service; the next run collects them"
