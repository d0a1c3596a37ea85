"""Where a run works: its directory, journal and service, as the directory remembers them and the settings say."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from batch import errors
from batch.archive.journal import remembered
from batch.archive.journal_files import check_not_vanished, is_there
from batch.archive.layout import JOURNAL, inner_of, is_same_or_moved
from batch.archive.results import Proofs, Results, job_of, result_files
from batch.config import Settings
from batch.jobs.planning.decision import Rerun
from batch.jobs.planning.selection import Selection
from batch.providers import registry
from batch.providers.interface import Provider
from batch.storage.locations import is_stored
from batch.storage.object_stores import local_directory

_LOOKED_AT: Final = 100
"""So many objects of a bucket are looked at for one that is a result."""
_PASS_SECONDS: Final = 7 * 24 * 3600.0
"""A forced pass that did not come to its end is gone on with, unless nobody has gone on with it for so long."""


ASKED: Final = "asked"
"""The note of what the last run asked for, if it looked at every row."""


class Place(msgspec.Struct, frozen=True):
    """``out`` as it was given, ``directory`` of the results on disk, ``copies`` the prefix in a store where they go,
    too; ``inner`` is where the journal lies, ``notes`` what it remembers (see
    ``Journal.note``), ``read_copies`` what was read in the store so far;
    ``why`` says why it is that service, where nobody has named it."""

    out: str
    directory: Path
    copies: str
    inner: Path
    service: Provider
    notes: dict[str, str]
    read_copies: Proofs
    why: str = ""

    def has_results(self) -> bool:
        """Whether anything was ever transcribed into the directory. Blocks for a look."""
        return "paid" in self.notes or bool(self.copies) or next(result_files(self.directory), None) is not None

    def pass_name(self, manifests: Sequence[str], select: Selection) -> str:
        """The note that says since when this shard of these manifests is being run again by force, and when that was
        last gone on with."""
        named = sorted(name if name == "-" or "://" in name else os.path.abspath(name) for name in manifests)  # noqa: PTH100
        return f"forced: {json.dumps([*named, self.service.name, select.shard, select.shards])}"

    def asked(self, manifests: Sequence[str], settings: Settings) -> str | None:
        """What the note ``ASKED`` says if the last run asked for what is asked for now: then no row can ask for
        something else than it was given. None if that cannot be told without reading the rows. Blocks for a look at
        the manifests."""
        stamps = [_stamp_of(name) for name in manifests]
        if None in stamps:
            return None
        facts = [sorted(manifests), self.service.name, settings.prefix, settings.dialect]
        facts += [json.dumps(settings.columns, sort_keys=True)] if settings.columns else []
        schema = self.service.options
        return json.dumps([*facts, schema.canonical(schema.read({}, settings.options)), stamps])

    def in_pass(self, rerun: Rerun, manifests: Sequence[str], select: Selection) -> Rerun:
        """The wish, as a part of the forced pass that has begun and did not come to its end, if there is one."""
        began, seen = map(float, (self.notes.get(self.pass_name(manifests, select)) or "0 0").split())
        is_open = rerun.force and time.time() - seen < _PASS_SECONDS
        return msgspec.structs.replace(rerun, forced_since=began) if is_open else rerun


def _stamp_of(manifest: str) -> list[int] | None:
    """What changes when the rows of a manifest ask for something else; of a directory nothing does. None: unknown."""
    try:
        facts = Path(manifest).stat()
    except OSError:
        return None
    return [] if stat.S_ISDIR(facts.st_mode) else [facts.st_size, facts.st_mtime_ns]


def placed(out: Path | str, settings: Settings, environ: Mapping[str, str]) -> Place:
    """Blocks while it looks at what the directory remembers.

    Raises ``AuthenticationError`` if the directory's service needs a key that is not there, ``UsageError`` if the
    service is none, or if the journal is that of another directory, or has vanished.
    """
    directory = local_directory(str(out))
    inner, known = inner_of(directory, settings.journal_dir), inner_of(directory)
    if inner.absolute() != known.absolute() and is_there(known / JOURNAL):
        raise errors.UsageError(f"the journal of {directory} is in {known}, not in {inner}: move it there, or say so")
    check_not_vanished(inner / JOURNAL)
    read_copies: Proofs = {}
    bucket = str(out) if is_stored(str(out)) else ""
    notes = remembered(inner / JOURNAL) or _told_by_results(directory, bucket, read_copies)
    copies = bucket or notes.get("copies", "")
    whose = notes.get("out")
    ours = bucket.rstrip("/") or str(directory.absolute())
    theirs = str(local_directory(whose).absolute()) if whose else ours
    if settings.journal_dir and whose and ours != whose.rstrip("/") and not is_same_or_moved(theirs, directory):
        raise errors.UsageError(
            f"the journal in {inner} is that of {whose}: give each --out a journal_dir of its own"
        )
    service = _service(settings.service, notes.get("service"), environ)
    why = _why(service, settings.service, notes.get("service"))
    return Place(str(out), directory, copies, inner, service, notes, read_copies, why)


def _service(named: str, known: str | None, environ: Mapping[str, str]) -> Provider:
    """``auto`` is the service of the directory; another one has to be named."""
    if named != "auto" or not known:
        return registry.resolve(named, environ)
    return registry.resolve_known(known, environ)


def local_workers(service: Provider, settings: Settings) -> int | None:
    """How many recordings the local service that a run would start works at; None for any other service."""
    return None if service.address else settings.local.workers or os.cpu_count() or 1


def _why(service: Provider, named: str, known: str | None) -> str:
    if named != "auto":
        return ""
    if known:
        return "as before in this directory"
    return "as ASSEMBLYAI_API_KEY is set" if service.address else "as no ASSEMBLYAI_API_KEY is set"


def _told_by_results(directory: Path, copies: str, read_copies: Proofs) -> dict[str, str]:
    """What results without a journal tell: which service they are from."""
    for path in result_files(directory):
        with contextlib.suppress(OSError, ValueError):
            return {"service": job_of(path.read_bytes(), 0.0).service}
    results = Results(directory, copies=copies, make=False, read_copies=read_copies)
    for name, size_bytes in itertools.islice(results.list_copies() if copies else (), _LOOKED_AT):
        if name.endswith(".json") and (job := results.stored_copy(name.removesuffix(".json"), size_bytes)[0]):
            return {"service": job.service}
    return {}
