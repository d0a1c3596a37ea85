"""``--log-file``: every event of a run and every call to the service, a line of JSON each, for good.

Unlike the display it leaves nothing out but bare traffic: a file is searched, not read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

import msgspec

from batch import __version__
from batch.errors import UsageError
from batch.model import Job, State
from batch.telemetry.events import (
    BudgetReached,
    BytesSent,
    Event,
    JobMoved,
    JobPostponed,
    RequestEnded,
    RequestRetried,
    RequestStarted,
    RowRejected,
)
from batch.telemetry.progress import snapshot
from batch.telemetry.records import to_record
from batch.telemetry.redaction import redact_tree
from batch.telemetry.summary import Summary


class _File(WatchedFileHandler):
    """The standard library's file that is opened anew when it was rotated away. ``on_warning`` is told the first time
    that it cannot be written; later lines are tried again, and the run goes on."""

    def __init__(self, path: Path, on_warning: Callable[[str], None]) -> None:
        super().__init__(path, encoding="utf-8", errors="replace")
        self._on_warning, self._complained = on_warning, False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            super().emit(record)
        except OSError:  # reopening, which the handler does not look after
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Called inside the ``except`` of what went wrong."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            raise
        if not self._complained:
            self._complained = True
            why = error.strerror or str(error)
            self._on_warning(
                f"cannot write the log {self.baseFilename}: {why}. The run goes on, lines are missing there"
            )

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


class Log:
    """Writes lines, each with its time, level and event, and the run's id."""

    def __init__(self, file: _File, run: str, secrets: tuple[str, ...]) -> None:
        self._file, self._run, self._secrets = file, run, secrets

    def note(self, event: Event) -> None:
        if isinstance(event, RequestStarted | BytesSent):  # told by the request that they belong to
            return
        fields = msgspec.to_builtins(to_record(event))
        if isinstance(event, RequestEnded):
            fields |= msgspec.to_builtins(event)
        self.write(_level(event), fields)

    def write(self, level: str, fields: dict[str, Any]) -> None:
        """``fields`` hold ``event`` and ``time``, which come first in the line."""
        line = {"time": fields.pop("time"), "level": level, "event": fields.pop("event"), "run": self._run} | fields
        text = msgspec.json.encode(redact_tree(line, self._secrets)).decode()
        self._file.handle(logging.makeLogRecord({"msg": text}))


def _level(event: Event) -> str:
    """``error``: a recording is lost to this run; ``warning``: it may yet be; ``info``: all else."""
    match event:
        case RowRejected() | JobMoved(job=Job(state=State.FAILED)):
            return "error"
        case RequestRetried() | JobPostponed() | BudgetReached():
            return "warning"
        case RequestEnded() if event.kind:
            return "warning"
    return "info"


@contextlib.contextmanager
def logging_to(
    path: Path, summary: Summary, secrets: tuple[str, ...], on_warning: Callable[[str], None]
) -> Iterator[Callable[[Event], None]]:
    """Append to the file at ``path`` while the context lasts: its beginning, what is told meanwhile, its end.

    None of ``secrets`` is ever in it. Raises ``UsageError`` if it cannot be opened.
    """
    try:
        file = _File(path, on_warning)
    except OSError as error:
        raise UsageError(f"cannot write the log {path}: {error.strerror}. Choose another --log-file") from error
    log = Log(file, summary.run, secrets)
    with contextlib.closing(file):
        log.write("info", _began(summary))
        try:
            yield log.note
        finally:
            log.write("error" if summary.exit_code else "info", _ended(summary))


def _began(summary: Summary) -> dict[str, Any]:
    who = {"version": __version__, "host": socket.gethostname(), "process": os.getpid()}
    stage = {"manifests": summary.stage.manifests, "out": summary.stage.out}
    return {"event": "began", "time": datetime.now(UTC), **who, **stage}


def _ended(summary: Summary) -> dict[str, Any]:
    """As the last line of ``--progress json``."""
    whole: dict[str, Any] = msgspec.to_builtins(snapshot(summary, is_over=True))
    return {"event": "ended", "time": whole["told"], **whole}
