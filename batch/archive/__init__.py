"""An output directory: what a run leaves there, and what is made of it."""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from batch.archive.export import Exported
    from batch.archive.report.build import Reported
    from batch.archive.search.query import SearchAnswer
    from batch.archive.status import Status
    from batch.config import PriceTable
    from batch.transcripts.transcript import Transcript

__all__ = ["Archive"]

T = TypeVar("T")
_LOG = logging.getLogger("diarist")


class Archive:
    """The results in a directory, as callers from Python use them. It may be looked at while a run is at work.

    ``on_warning`` receives a sentence for each result that cannot be read, and the others go on; by default it is
    logged. Every method blocks while it reads. Raises ``UsageError`` for a directory without results, and
    ``UnavailableError`` if the disk refuses.
    """

    def __init__(self, directory: Path | str, *, on_warning: Callable[[str], None] = _LOG.warning) -> None:
        self.directory = Path(directory)
        self._on_warning = on_warning

    def status(self) -> Status:
        """How the run at work stands, or how the last one ended, and how many recordings are in each state."""
        from batch.archive.status import look

        return _apart(lambda: asyncio.run(look(self.directory)))

    def transcripts(self) -> Iterator[Transcript]:
        """Every transcript, by the name of its file, one at a time."""
        from batch.archive.results import require_directory

        require_directory(self.directory)
        return self._transcripts()

    def transcript(self, key: str) -> Transcript:
        """That of the recording ``key``. Raises ``UsageError`` if there is none, or if it cannot be read."""
        from batch.archive.results import require_directory
        from batch.errors import UsageError
        from batch.providers import registry

        require_directory(self.directory)
        key = key.removesuffix(".json")
        path = self.directory / f"{key}.json"
        try:
            return registry.read(key, path.read_bytes())
        except FileNotFoundError:
            keys = sorted(self._keys())
            close = difflib.get_close_matches(key, keys, 3) or [name for name in keys if key in name][:3]
            meant = f" (did you mean {' or '.join(close)}?)" if close else ""
            raise UsageError(f"{self.directory} has no result of {key!r}{meant}") from None
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {path}: {error}") from None

    def _keys(self) -> Iterator[str]:
        from batch.archive.results import result_paths

        begin = f"{self.directory}/"
        return (path.removeprefix(begin).removesuffix(".json") for path in result_paths(self.directory))

    def _transcripts(self) -> Iterator[Transcript]:
        from batch.archive.results import is_foreign, result_files
        from batch.providers import registry

        for path in result_files(self.directory):
            try:
                content = path.read_bytes()
                if not is_foreign(content):
                    yield registry.read(path.relative_to(self.directory).as_posix().removesuffix(".json"), content)
            except (OSError, ValueError) as error:
                self._on_warning(f"{path}: {error}")

    def export(
        self,
        formats: str | Sequence[str],
        out: Path | str | None = None,
        *,
        speakers: Path | str | None = None,
        relabel: Path | str | None = None,
        exact: bool = False,
    ) -> Exported:
        """Write all results in other formats (``"srt"``, or ``["srt", "csv"]``), beside the results or into ``out``.

        ``speakers`` is a file of names, ``relabel`` an RTTM or a directory of them; see ``diarist export``.
        ``exact``: cells of CSV as they are, also those that a spreadsheet would execute. Raises ``UsageError`` for a
        format that there is none of.
        """
        from batch.archive.export import ExportRequest, export, read_formats, read_speakers, read_turns
        from batch.transcripts.speakers import Names

        request = ExportRequest(
            read_formats(formats if isinstance(formats, str) else ",".join(formats)),
            Path(out) if out else self.directory,
            read_speakers(Path(speakers)) if speakers else Names(),
            read_turns(Path(relabel)) if relabel else {},
            exact,
        )
        return _apart(partial(export, self.directory, request, self._on_warning))

    def search(
        self,
        phrase: str,
        *,
        speaker: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        prefix: bool = False,
    ) -> SearchAnswer:
        """Where a phrase was said: its words side by side in one utterance, in any case. ``speaker`` is a letter or a
        name; all of ``labels`` must hold; ``limit`` is the most hits; with ``prefix`` the last word may go on."""
        from batch.archive.search.query import Question, search

        question = Question(phrase, speaker, labels or {}, limit, prefix)
        return _apart(partial(search, self.directory, question, self._on_warning))

    def report(
        self, page: Path | str | None = None, *, since: datetime | None = None, prices: PriceTable | None = None
    ) -> Reported:
        """Write the page that tells what happened; by default ``report.html`` beside the results. ``since``: only of
        recordings that ended then or later, or have not ended."""
        from batch.archive.layout import REPORT
        from batch.archive.report.build import ReportRequest, report
        from batch.config import PriceTable

        where = Path(page) if page else self.directory / REPORT
        request = ReportRequest(where, prices or PriceTable(), since.timestamp() if since else None)
        return _apart(partial(report, self.directory, request, self._on_warning))


def _apart(work: Callable[[], T]) -> T:
    """Do work that runs an event loop of its own, also for those who are inside one."""
    with ThreadPoolExecutor(1, "archive") as thread:
        return thread.submit(work).result()
