"""``diarist doctor``: looks at everything that a run stands on, and says what to do about what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import itertools
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec
from yarl import URL

from batch import errors
from batch.archive.journal import Journal
from batch.archive.journal_files import check_not_vanished
from batch.archive.layout import JOURNAL, inner_of
from batch.config import Settings
from batch.jobs import orphans
from batch.jobs.places import placed
from batch.manifest import reader
from batch.model import Recording
from batch.network import http_client
from batch.providers import registry
from batch.providers.interface import Connection, ConnectionRequest, Pricing, Provider
from batch.storage import disk_errors, object_stores, sqlite
from batch.storage.locations import is_stored
from batch.telemetry.wording import STATES

_LITTLE_SPACE_BYTES: Final = 2_000_000_000
_SLOW_FSYNC_SECONDS: Final = 0.1
_SKEW_SECONDS: Final = 60.0
_ROWS: Final = 1000
"""Of a manifest, looked at for the stores that they name."""


class CheckLevel(StrEnum):
    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class Finding(msgspec.Struct, frozen=True):
    """What was looked at, how it is, and what to do about it. ``exit_code`` is what a run would end with."""

    what: str
    verdict: CheckLevel
    said: str
    advice: str = ""
    exit_code: int = 0


def _ok(what: str, said: str) -> Finding:
    return Finding(what, CheckLevel.OK, said)


def _warn(what: str, said: str, advice: str) -> Finding:
    return Finding(what, CheckLevel.WARN, said, advice)


def _bad(what: str, said: str, advice: str, exit_code: int) -> Finding:
    return Finding(what, CheckLevel.BAD, said, advice, exit_code)


async def examine(
    settings: Settings, environ: Mapping[str, str], out: Path, manifests: Sequence[str] = (), copies: str = ""
) -> AsyncIterator[Finding]:
    """All findings, as they are made. Spends nothing, and leaves nothing behind.

    Of the stores, those that ``manifests`` name, in themselves or in their first rows, and the one that results are
    copied to.
    """
    yield _locale()
    yield _open_files(settings)
    inner = await asyncio.to_thread(inner_of, out, settings.journal_dir)
    yield await asyncio.to_thread(_space, out)
    for place in dict.fromkeys((out, inner) if settings.journal_dir else (out,)):
        yield await asyncio.to_thread(_disk, place)
    yield await asyncio.to_thread(_journal, out, inner)
    for finding in await asyncio.to_thread(lambda: [*_read_from(manifests, settings), *_written_to(copies)]):
        yield finding
    try:
        provider = (await asyncio.to_thread(placed, out, settings, environ)).service
    except errors.RunError as error:
        yield _bad("service", str(error), "", error.exit_code)
        return
    yield _ok("service", f"{provider.name}, with {'a' if provider.key else 'no'} key")
    async for finding in _service(provider, settings, out, inner):
        yield finding


def _locale() -> Finding:
    encoding = sys.getfilesystemencoding()
    if encoding.lower() == "utf-8":
        return _ok("locale", f"file names are {encoding}")
    return _warn(
        "locale", f"file names are {encoding}", "set LANG=C.UTF-8, or names that are not ASCII cannot be read"
    )


def _open_files(settings: Settings) -> Finding:
    needed = 2 * settings.concurrency + 4 * settings.uploads + 100
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = f"{soft} may be open, a run needs up to {needed}"
    return (
        _ok("open files", limits)
        if soft >= needed
        else _warn("open files", limits, f"run `ulimit -n {needed}` before")
    )


def _space(out: Path) -> Finding:
    free = shutil.disk_usage(_there(out)).free
    space = f"{free / 1e9:.1f} GB free for {out}"
    if free >= _LITTLE_SPACE_BYTES:
        return _ok("space", space)
    return _warn("space", space, "a result takes about 1 MB for an hour of audio: make room, or choose another --out")


def _disk(out: Path) -> Finding:
    """Whether results can be written, and what a commit of the journal costs there."""
    place = _there(out)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".diarist-doctor-") as file:
            began = time.monotonic()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took = time.monotonic() - began
    except OSError as error:
        advice = disk_errors.advice(error, "choose another --out")
        return _bad("disk", f"cannot write to {place}: {error.strerror}", advice, 2)
    speed = f"{place} takes {took * 1000:.0f} ms to make a write durable"
    if took <= _SLOW_FSYNC_SECONDS:
        return _ok("disk", speed)
    return _warn("disk", speed, "is it a network disk? The journal must lie on a local one: choose another --out")


def _journal(out: Path, inner: Path) -> Finding:
    path = inner / JOURNAL
    try:
        check_not_vanished(path)
    except errors.UsageError as error:
        return _bad("journal", str(error), f"`diarist recover {out}`", error.exit_code)
    if not path.exists():
        return _ok("journal", f"none in {out} yet")
    try:
        with contextlib.closing(sqlite.open_to_read(path)) as db:
            sqlite.keep_temporaries(db, path.parent)
            said = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            states = dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state"))
    except errors.UnavailableError as error:
        return _bad("journal", str(error), "", error.exit_code)
    except (OSError, sqlite3.OperationalError) as error:
        said, _, advice = sqlite.explained(error, path).partition(". ")
        return _bad("journal", f"cannot read {path}: {said}", advice, errors.UnavailableError.exit_code)
    except sqlite3.Error as error:
        said, states = str(error), {}
    if said != "ok":
        return _bad("journal", f"{path} is damaged: {said}", f"`diarist recover {out}` makes it anew", 2)
    return _ok(
        "journal",
        ", ".join(f"{count:,} {STATES.get(state, state)}" for state, count in sorted(states.items())) or "empty",
    )


def _read_from(manifests: Sequence[str], settings: Settings) -> Iterator[Finding]:
    """A finding for each bucket that is named; for a manifest that cannot be read, one that says so."""
    looked_at: set[str] = set()
    for named in manifests:
        try:
            for url in _urls(named, settings):
                if (bucket := object_stores.bucket_of(url)) not in looked_at:
                    looked_at.add(bucket)
                    yield _readable(bucket, url)
        except errors.RunError as error:
            yield _bad("manifest", str(error), "", error.exit_code)


def _urls(manifest: str, settings: Settings) -> Iterator[str]:
    """What a manifest names in stores: itself, if it is all below a prefix; else its first rows, and itself."""
    if is_stored(manifest) and object_stores.is_prefix(manifest):
        yield manifest
        return
    rows = reader.read(
        [manifest], options=registry.named(settings.service).options, defaults=settings.options,
        dialect=settings.dialect or None, cwd=Path.cwd(),
    )  # fmt: skip
    for row in itertools.islice(rows, _ROWS):
        if isinstance(row, Recording) and is_stored(row.source):
            yield row.source
        if is_stored(manifest):
            yield manifest


def _readable(bucket: str, url: str) -> Finding:
    began = time.monotonic()
    try:
        if object_stores.is_prefix(url):
            next(object_stores.listed(url), None)
        else:
            object_stores.look(url)
    except errors.RecordingError as error:
        return _bad("store", str(error), "", 3)
    except errors.RunError as error:
        return _bad("store", str(error), "", error.exit_code)
    return _ok("store", f"{bucket} can be read: it answered in {(time.monotonic() - began) * 1000:.0f} ms")


def _written_to(copies: str) -> Iterator[Finding]:
    if not copies:
        return
    try:
        left = object_stores.try_to_write(copies)
    except (errors.RunError, errors.PostponedError) as error:
        yield _bad("results", str(error), "", getattr(error, "exit_code", 3))
        return
    kept = f"; {left} stays there, as these credentials may not delete it" if left else ""
    yield _ok("results", f"{copies} can be written{kept}")


def _there(path: Path) -> Path:
    """The nearest directory above that exists."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.is_dir())


def _temporary(out: Path) -> tempfile.TemporaryDirectory[str]:
    """Where the system has its own, or, on a read-only one, where a run has it."""
    try:
        return tempfile.TemporaryDirectory()
    except FileNotFoundError:
        return tempfile.TemporaryDirectory(prefix=".diarist-doctor-", dir=_there(out))


async def _service(provider: Provider, settings: Settings, out: Path, inner: Path) -> AsyncIterator[Finding]:
    trust = await asyncio.to_thread(_trust)
    yield trust
    if trust.verdict is CheckLevel.BAD:
        return
    if provider.address:
        way = _proxy(provider.address)
        yield way
        if way.verdict is not CheckLevel.BAD:
            async for finding in _reached(provider, settings, inner):
                yield finding
        return
    began = time.monotonic()
    with _temporary(out) as folder:
        try:
            async with provider.connect(_request(settings, Path(folder))) as connection:
                yield _ok("engine", f"{settings.local.engine} was loaded in {time.monotonic() - began:.1f} s")
                async for finding in _answers(provider, connection, settings):
                    yield finding
        except errors.RunError as error:
            yield _bad("engine", str(error), "", error.exit_code)


def _request(settings: Settings, folder: Path) -> ConnectionRequest:
    local = msgspec.structs.replace(settings.local, workers=1)
    return ConnectionRequest(connections=1, folder=folder, timeouts=settings.deadlines, local=local)


def _trust() -> Finding:
    try:
        http_client.context()
    except errors.UsageError as error:
        return _bad("tls", str(error), "", error.exit_code)
    return _ok("tls", f"the certificate authorities are {http_client.trusted()}")


def _proxy(address: str) -> Finding:
    try:
        proxy = http_client.proxy_for(URL(address))
    except errors.UsageError as error:
        return _bad("proxy", str(error), "", error.exit_code)
    return _ok("proxy", f"{address} is reached through {proxy}" if proxy else f"none on the way to {address}")


async def _reached(provider: Provider, settings: Settings, inner: Path) -> AsyncIterator[Finding]:
    async with provider.connect(_request(settings, inner)) as connection:
        is_well = True
        async for finding in _answers(provider, connection, settings):
            is_well = is_well and finding.verdict is not CheckLevel.BAD
            yield finding
        journal = inner / JOURNAL
        if is_well and provider.capabilities.lists_jobs and await asyncio.to_thread(journal.exists):
            with contextlib.suppress(errors.DiaristError):  # what is wrong with the journal has been told
                yield await _orphans(connection, journal, provider.pricing(settings.prices))


async def _answers(provider: Provider, connection: Connection, settings: Settings) -> AsyncIterator[Finding]:
    """Whether it answers to this key, and whether its clock agrees with ours."""
    began = time.monotonic()
    try:
        date = await connection.check()
    except errors.AuthenticationError as error:
        yield _bad("key", str(error), await _other_region(provider, settings), error.exit_code)
        return
    except errors.RunError as error:
        yield _bad("reach", str(error), "", error.exit_code)
        return
    except errors.DiaristError as error:
        advice = "look at the network, the proxy and the vendor's status page, then try again"
        yield _bad("reach", str(error), advice, errors.UnavailableError.exit_code)
        return
    where = provider.address or provider.name
    yield _ok("reach", f"{where} answered in {(time.monotonic() - began) * 1000:.0f} ms")
    yield _clock(date)


async def _orphans(connection: Connection, path: Path, pricing: Pricing | None) -> Finding:
    with contextlib.closing(await asyncio.to_thread(lambda: Journal(path, read_only=True))) as journal:
        found = await orphans.orphans(lambda older: connection.jobs(older=older), journal)
    if not found:
        return _ok("orphans", "none: each of the newest transcripts of our uploads belongs to a recording")
    return _warn("orphans", orphans.listed(found, pricing), "look at them at the service; none is paid for again")


async def _other_region(provider: Provider, settings: Settings) -> str:
    """Keys differ by region: whether another one knows this key."""
    for other in provider.alternatives():
        with contextlib.suppress(errors.DiaristError):
            async with other.connect(_request(settings, Path())) as connection:
                await connection.check()
                return f"the key is one of {other.name}: use --service {other.name}"
    return ""


def _clock(date: str | None) -> Finding:
    """Lost submissions are matched by time, among other things."""
    try:
        skew = time.time() - email.utils.parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return _warn("clock", "the service does not tell the time", "")
    if abs(skew) <= _SKEW_SECONDS:
        return _ok("clock", "agrees with the service's")
    skewed = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the service's"
    return _warn("clock", skewed, "set the clock (NTP)")
