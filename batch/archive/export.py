"""``diarist export``: other formats of stored results, offline, in memory that does not grow with the archive."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.archive.layout import bucket_advice
from batch.archive.parallel import on_all_cores
from batch.archive.results import Results, is_foreign, require_directory, result_files
from batch.archive.table_writers import TABLE_WRITERS, Rows
from batch.archive.written_files import Note
from batch.errors import PostponedError, UsageError
from batch.providers import registry
from batch.transcripts.formats import corpora, tables
from batch.transcripts.formats.registry import FORMATS, TABLES
from batch.transcripts.speakers import Names, Turn, aliases, read_names, read_rttm, with_names, with_turns
from batch.transcripts.transcript import Transcript

_NOTES: Final = 1000


class ExportRequest(msgspec.Struct, frozen=True):
    """``formats`` by name; ``out`` is where they go; ``speakers`` are names, ``turns`` those told elsewhere.
    ``exact``: cells of CSV are as they are, also those that a spreadsheet would execute."""

    formats: tuple[str, ...]
    out: Path
    speakers: Names = Names()
    turns: dict[str, list[Turn]] = {}
    exact: bool = False


class Exported(msgspec.Struct):
    """How many results were read, how many files were written or found as they should be, what went wrong, and how
    many JSON files are none of ours."""

    results: int = 0
    written: int = 0
    unchanged: int = 0
    problems: int = 0
    foreign: int = 0


class _Done(msgspec.Struct):
    written: int = 0
    unchanged: int = 0
    problems: list[str] = []
    rows: Rows = {}
    notes: list[Note] = []
    is_foreign: bool = False


def read_formats(text: str) -> tuple[str, ...]:
    """``srt, vtt`` as names. Raises ``UsageError`` with the nearest name, or with what must be installed."""
    known = [*FORMATS, *TABLES]
    found = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in found or [text]:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise UsageError(f"there is no format {name!r}{meant}: give some of {', '.join(known)}")
        if name in FORMATS and (missing := FORMATS[name].missing()):
            raise UsageError(missing)
    return found


def read_speakers(path: Path) -> Names:
    """Names of speakers from a TOML file. Raises ``UsageError``."""
    try:
        return read_names(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the names in {path}: {error}") from None


def read_turns(path: Path) -> dict[str, list[Turn]]:
    """Turns by recording, from an RTTM file or all of those in a directory. Raises ``UsageError``."""
    turns: dict[str, list[Turn]] = {}
    for file in sorted(path.rglob("*.rttm")) if path.is_dir() else [path]:
        try:
            found = read_rttm(file.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read the turns in {file}: {error}") from None
        for name, own in found.items():
            turns.setdefault(name, []).extend(own)
    if not turns:
        raise UsageError(f"there are no turns in {path}: give an RTTM file, or a directory of them")
    return turns


def export(directory: Path, wanted: ExportRequest, on_warning: Callable[[str], None]) -> Exported:
    """Write ``wanted`` of every result below ``directory``. A result that cannot be read is told, and the others go
    on. Files are written whole or not at all, and left alone if they are as they would be.

    Raises ``UsageError`` if there is no such directory or a library is missing, ``UnavailableError`` if the disk
    refuses.
    """
    require_directory(directory)
    exported, results = Exported(), Results(wanted.out, make=False)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(TABLE_WRITERS[name](results)) for name in wanted.formats if name in TABLES]
        work = on_all_cores(partial(_one, directory, wanted), result_files(directory))
        for done in stack.enter_context(contextlib.closing(work)):
            exported.results += not done.is_foreign
            exported.foreign += done.is_foreign
            exported.written += done.written
            exported.unchanged += done.unchanged
            exported.problems += len(done.problems)
            for problem in done.problems:
                on_warning(problem)
            for writer in writers:
                writer.write(done.rows)
            results.written.pending += done.notes
            if len(results.written.pending) >= _NOTES:
                results.written.keep()
    results.written.keep()
    if not exported.results and (advice := bucket_advice(directory)):
        raise UsageError(f"there are no results in {directory}; {advice}")
    exported.written += sum(len(TABLES[name]) for name in wanted.formats if name in TABLES)
    return exported


def _one(directory: Path, wanted: ExportRequest, path: Path) -> _Done:
    done, results = _Done(), Results(wanted.out, make=False)
    key = path.relative_to(directory).as_posix().removesuffix(".json")
    try:
        content = path.read_bytes()
        if is_foreign(content):
            return _Done(is_foreign=True)
        transcript = with_names(_relabelled(registry.read(key, content), wanted.turns), wanted.speakers)
    except (OSError, ValueError) as error:
        done.problems.append(f"{path}: {error}")
        return done
    for name in wanted.formats:
        if form := FORMATS.get(name):
            try:
                written = results.write_format(key, form.suffix, form.content(transcript))
            except PostponedError as error:
                done.problems.append(str(error))
                continue
            done.written, done.unchanged = done.written + written, done.unchanged + (not written)
        else:
            rows = _ROWS[name](transcript)
            done.rows[name] = list(map(tables.inert, rows)) if name in _CSV and not wanted.exact else rows
    done.notes = results.written.pending
    return done


def _relabelled(said: Transcript, turns: Mapping[str, list[Turn]]) -> Transcript:
    own = next((turns[name] for name in aliases(said.key) if name in turns), None) if turns else None
    return with_turns(said, own) if own else said


_ROWS: Final[Mapping[str, Callable[[Transcript], list[Any]]]] = {
    "csv": tables.utterance_rows,
    "speakers": tables.speaker_rows,
    "parquet": lambda said: [(tables.recording_row(said), tables.utterance_rows(said))],
    "lhotse": lambda said: [corpora.lhotse(said)],
}


_CSV: Final = frozenset({"csv", "speakers"})
"""The tables that people open in spreadsheets."""
