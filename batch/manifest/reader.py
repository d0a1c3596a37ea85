"""Manifests: from what a user names on the command line to a stream of recordings, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple

from batch.errors import UsageError
from batch.manifest import columns, dialects, discovery, walking
from batch.manifest.left_out import LeftOut
from batch.manifest.option_schema import OptionSchema
from batch.manifest.prefix import prefix_of
from batch.manifest.rows import ColumnNames, Row, printable
from batch.manifest.web import without_secrets
from batch.model import Recording, Reject
from batch.storage import object_stores
from batch.storage.locations import is_stored, is_url

__all__ = ["called", "read"]


def read(
    manifests: Sequence[str],
    *,
    options: OptionSchema,
    defaults: Mapping[str, Any],
    cwd: Path,
    stdin: IO[bytes] | None = None,
    dialect: str | None = None,
    prefix: str = "",
    columns_named: Mapping[str, str] = MappingProxyType({}),
    on_warning: Callable[[str], None] = lambda message: None,
) -> Iterator[Recording | Reject]:
    """The rows of all ``manifests`` in order, each a recording or the reason why it cannot be one. Blocks; lazy.

    A manifest is a file of a known dialect, a directory, a glob, a recording, a URL, or ``-`` for ``stdin``; files
    and recordings may also be in an object store, where a prefix ends in a slash. Relative paths in it resolve
    against its directory or URL (``cwd`` for ``-``). ``options`` are the provider's, and a row's own replace the
    ``defaults``.
    ``dialect`` names the one that manifest files are in (None: recognised), ``columns_named`` what their
    columns are called (see ``ColumnNames``);
    ``prefix`` stands before all keys, with
    the name of the manifest for each ``{name}`` in it. ``on_warning`` hears, once a manifest, of
    columns that look like misspelt options and of what was left out. Raises ``UsageError`` for a manifest that is not
    there, cannot be read or has no column for the audio, and when all of them list nothing.
    """
    dialects.check(dialect)
    how = dialects.Reading(options, dialect, ColumnNames(columns_named))
    reading = _Reading(how, defaults, cwd, stdin, prefix, on_warning)
    listed = False
    for manifest in manifests:
        for row in reading.rows(manifest):
            listed = True
            yield row
    if not listed:
        raise UsageError(f"nothing is listed in {', '.join(map(called, manifests))}: no recordings, no rows")


def called(named: str) -> str:
    """What a manifest is called in messages, in the journal and in results: as it was given, but printable, and
    without what signs a URL."""
    return printable(without_secrets(named) if is_url(named) else named)


class _Reading(NamedTuple):
    """What is the same for all manifests of a command."""

    how: dialects.Reading
    defaults: Mapping[str, Any]
    cwd: Path
    stdin: IO[bytes] | None
    prefix: str
    on_warning: Callable[[str], None]

    def rows(self, named: str) -> Iterator[Recording | Reject]:
        """The rows of one manifest; at its end it is told what was left out."""
        passed_over = LeftOut(called(named), self.cwd)
        yield from self._rows(named, passed_over)
        for message in passed_over.told():
            self.on_warning(message)

    def _rows(self, named: str, passed_over: LeftOut) -> Iterator[Recording | Reject]:
        def maker(folder: Path | str) -> columns.RecordingBuilder:
            return columns.RecordingBuilder(
                called(named), folder, self.defaults, self.on_warning, self.how.options, prefix
            )

        prefix = prefix_of(self.prefix, named, self.cwd)

        path = self.cwd / named
        if is_stored(named):
            return _in_store(named, maker, self.how, passed_over)
        if named == "-":
            if self.stdin is None:
                raise UsageError("- means standard input, and there is none")
            comment = partial(passed_over.comment, self.cwd)
            return maker(self.cwd).recordings(dialects.rows_of_stream(self.stdin, self.cwd, self.how, comment))
        if is_url(named):
            return self._on_the_web(named, maker)
        try:
            is_folder, is_file = path.is_dir(), path.is_file()
        except OSError as error:
            raise UsageError(f"cannot look at {called(named)}: {error.strerror}") from None
        if is_folder:
            return maker(path).recordings(walking.in_directory(path, passed_over))
        if is_file:
            if discovery.is_recording(path.name):
                return maker(path.parent).recordings(iter([Row(1, {"audio": path.name})]))
            comment = partial(passed_over.comment, path.parent)
            return maker(path.parent).recordings(dialects.rows_of_file(path, self.how, comment))
        if discovery.is_glob(named):
            return self._matching(named, maker, passed_over)
        raise UsageError(
            f"there is no manifest, directory or recording {called(named)}: check the path (in {self.cwd})"
        )

    def _on_the_web(
        self, url: str, maker: Callable[[Path | str], columns.RecordingBuilder]
    ) -> Iterator[Recording | Reject]:
        """A manifest if its name says so, or a dialect was given and no name says that it is a recording."""
        name = without_secrets(url).partition("://")[2].partition("/")[2]
        if dialects.is_manifest(name) or (self.how.dialect and not discovery.is_recording(name)):
            return maker(url).recordings(dialects.rows_of_url(url, called(url), self.how))
        return maker(self.cwd).recordings(iter([Row(1, {"audio": url})]))

    def _matching(
        self, glob: str, maker: Callable[[Path | str], columns.RecordingBuilder], passed_over: LeftOut
    ) -> Iterator[Recording | Reject]:
        """What a glob matches: recordings, keyed from where the glob begins, and manifests, as if each was named. One
        that cannot be read is told, and the others go on."""
        folder, pattern = discovery.split_glob(self.cwd, glob)
        make = maker(folder)
        for line, found in enumerate(walking.Walk(folder, walking.Pattern(pattern), passed_over), 1):
            if not found.is_manifest:
                yield from make.recordings(iter([found.row(line)]))
                continue
            try:
                yield from self.rows(found.path.removeprefix(f"{self.cwd}/"))
            except UsageError as error:
                yield from make.recordings(iter([Row(line, {}, str(error))]))


def _in_store(
    url: str,
    maker: Callable[[Path | str], columns.RecordingBuilder],
    how: dialects.Reading,
    passed_over: LeftOut,
) -> Iterator[Recording | Reject]:
    """A prefix or a glob, a recording, or a manifest file in an object store."""
    folder = url.rpartition("/")[0]
    if url.endswith("/") or object_stores.is_glob(url):
        return maker(folder).recordings(discovery.in_store(url, passed_over))
    if discovery.is_recording(url):
        return maker(folder).recordings(iter([Row(1, {"audio": url})]))
    return maker(folder).recordings(dialects.rows_of_object(url, how))
