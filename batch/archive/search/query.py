"""A question to the index, and its answer: where a phrase was said, by whom, and when to the word."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.archive.layout import bucket_advice
from batch.archive.results import require_directory
from batch.archive.search import database, sync
from batch.archive.search.documents import Times, cleaned, readable, searchable
from batch.errors import UnavailableError, UsageError
from batch.transcripts.speakers import Names
from batch.transcripts.transcript import speaker_label

_MANY: Final = 1000
_OPENS, _CLOSES = "\x1c", "\x1d"
"""Stand around what was found: like ``SEPARATOR``, in no text."""
_MARKED: Final = re.compile(f"{_OPENS}([^{_CLOSES}]*){_CLOSES}")


class Question(msgspec.Struct, frozen=True):
    """``phrase``: words that stand side by side in one utterance; with ``prefix`` the last of them may go on.

    ``speaker`` is a letter or a name, in any case; all of ``labels`` must hold. ``limit``: so many hits, at most.
    ``names`` are those that people have given to speakers.
    """

    phrase: str
    speaker: str | None = None
    labels: Mapping[str, str] = {}
    limit: int = 50
    prefix: bool = False
    names: Names = Names()


class TextSpan(msgspec.Struct, frozen=True):
    """Where a phrase was found: ``start`` and ``end`` in milliseconds, ``place`` in the text, from and up to."""

    start: int
    end: int
    place: tuple[int, int]


class Hit(msgspec.Struct, frozen=True):
    """An utterance in which the phrase was said once or more often, and its neighbours. Times in milliseconds.

    ``speaker`` is the service's letter (empty: not told apart), ``name`` how people call it, if they do.
    """

    key: str
    result: str
    source: str
    labels: dict[str, str]
    speaker: str
    name: str | None
    channel: str | None
    start: int
    end: int
    text: str
    hits: list[TextSpan]
    before: str | None
    after: str | None


class SearchAnswer(msgspec.Struct, frozen=True):
    """``hits`` by key and time; ``utterances`` and ``recordings`` count all that there are."""

    hits: list[Hit]
    utterances: int
    recordings: int


def read_labels(pairs: Iterable[str]) -> dict[str, str]:
    """``customer=ACME`` as a label. Raises ``UsageError``."""
    labels = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--label {pair}: write it as K=V, for example --label customer=ACME")
        labels[name] = value
    return labels


def search(
    directory: Path, question: Question, on_warning: Callable[[str], None] = lambda message: None
) -> SearchAnswer:
    """Answer from the results as they are now: the index is brought up to date first, and made if it is not there.

    Raises ``UsageError`` if the phrase has no word or there are no results, ``UnavailableError`` if no index can be
    made.
    """
    if not any(character.isalnum() for character in question.phrase):
        raise UsageError(f"there is no word in {question.phrase!r}: give words as they were said")
    require_directory(directory)
    try:
        return _kept(directory, question, on_warning)
    except database.Damaged as error:
        on_warning(f"the search index of {directory} is made anew: it was damaged ({error})")
    except database.Unwritable as error:
        return _unkept(directory, question, on_warning, error)
    try:
        database.remove(directory)
        return _kept(directory, question, on_warning)
    except (database.Damaged, database.Unwritable) as error:
        return _unkept(directory, question, on_warning, error)


def _kept(directory: Path, question: Question, on_warning: Callable[[str], None]) -> SearchAnswer:
    with database.opened(directory, on_warning) as db:
        if count := sync.find_changes(db, directory):
            if count >= _MANY:
                on_warning(f"bringing the search index up to date: {count:,} results")
            sync.apply_changes(db, directory, on_warning)
        return _answer(db, directory, question)


def _unkept(directory: Path, question: Question, on_warning: Callable[[str], None], why: Exception) -> SearchAnswer:
    """Where no index can be written: that which is there, if it knows all results, else one for this search only."""
    try:
        with database.opened_to_read(directory) as db:
            if not sync.find_changes(db, directory):
                return _answer(db, directory, question)
    except (database.Unwritable, database.Damaged):
        pass
    on_warning(f"no search index can be kept in {directory} ({why}): one is made for this search only")
    try:
        with database.temporary(directory) as db:
            sync.find_changes(db, directory)
            sync.apply_changes(db, directory, on_warning)
            return _answer(db, directory, question)
    except (database.Unwritable, database.Damaged) as error:
        raise UnavailableError(f"cannot make a search index: {error}. Free some space for temporary files") from error


def _answer(db: sqlite3.Connection, directory: Path, question: Question) -> SearchAnswer:
    with database.transaction(db, "DEFERRED"):
        return _found(db, directory, question)


def _found(db: sqlite3.Connection, directory: Path, question: Question) -> SearchAnswer:
    if not db.execute("SELECT 1 FROM recordings WHERE problem = '' LIMIT 1").fetchone():
        advice = bucket_advice(directory)
        raise UsageError(f"there are no results in {directory}{advice and '; '}{advice}")
    called = _Called(question.names)
    where, values = _conditions(db, question, called)
    among = f"FROM said JOIN recordings ON recordings.id = said.rowid >> {database.BITS} WHERE {where}"
    utterances, recordings = db.execute(f"SELECT count(*), count(DISTINCT recordings.id) {among}", values).fetchone()
    columns, order = "said.rowid, recordings.id, key, source", "ORDER BY key, said.rowid LIMIT ?"
    found = db.execute(f"SELECT {columns} {among} {order}", (*values, question.limit)).fetchall()
    hits = [_hit(db, directory, values[0], called, *row) for row in found]
    return SearchAnswer(hits, utterances, recordings)


def _conditions(db: sqlite3.Connection, question: Question, called: _Called) -> tuple[str, list[Any]]:
    where, values = ["said MATCH ?"], [_expression(question)]
    for label in question.labels.items():
        where.append("recordings.id IN (SELECT recording FROM labels WHERE name = ? AND value = ?)")
        values += map(cleaned, label)
    if question.speaker is not None:
        wanted = cleaned(question.speaker).strip().casefold()
        db.create_function("is_wanted", 3, partial(called.is_known_as, wanted), deterministic=True)
        key = "recordings.key" if question.names.by_key else "''"
        where.append(f"(SELECT is_wanted({key}, speaker, name) FROM utterances WHERE utterances.id = said.rowid)")
    return " AND ".join(where), values


def _expression(question: Question) -> str:
    """The phrase as FTS5 reads it: between quotes nothing but words and quotes has a meaning
    (https://www.sqlite.org/fts5.html, section 3.1)."""
    quoted = searchable(cleaned(question.phrase)).replace('"', '""')
    return f'"{quoted}"' + (" *" if question.prefix else "")


class _Called:
    """How people call speakers: by the names of this key, else of the row, else of all recordings."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self.is_known_as = lru_cache(self._is_known_as)

    def name(self, key: str, speaker: str, own: str | None) -> str | None:
        return self._names.by_key.get(key, {}).get(speaker) or own or self._names.everywhere.get(speaker)

    def _is_known_as(self, wanted: str, key: str, speaker: str, own: str | None) -> bool:
        name = self.name(key, speaker, own)
        return wanted in {cleaned(known).casefold() for known in (speaker, speaker_label(speaker), name) if known}


def _hit(
    db: sqlite3.Connection, directory: Path, expression: str, called: _Called,
    rowid: int, recording: int, key: str, source: str,
) -> Hit:  # fmt: skip
    query = "SELECT highlight(said, 0, ?, ?) FROM said WHERE said MATCH ? AND rowid = ?"
    marked = db.execute(query, (_OPENS, _CLOSES, expression, rowid)).fetchone()[0]
    query = 'SELECT speaker, name, channel, "start", "end", text, times FROM utterances WHERE id = ?'
    speaker, own, channel, start, end, text, times = db.execute(query, (rowid,)).fetchone()
    labels = dict(db.execute("SELECT name, value FROM labels WHERE recording = ? ORDER BY rowid", (recording,)))
    return Hit(
        key, f"{directory / key}.json", source, labels, speaker, called.name(key, speaker, own), channel,
        start, end, readable(text), _spans(marked, Times(times)),
        _neighbour(db, rowid - 1), _neighbour(db, rowid + 1),
    )  # fmt: skip


def _neighbour(db: sqlite3.Connection, rowid: int) -> str | None:
    found = db.execute("SELECT text FROM utterances WHERE id = ?", (rowid,)).fetchone()
    return readable(found[0]) if found else None


def _spans(marked: str, times: Times) -> list[TextSpan]:
    spans, at, done = [], 0, 0
    for found in _MARKED.finditer(marked):
        at += len(readable(marked[done : found.start()]))
        begin, at, done = at, at + len(readable(found[1])), found.end()
        spans.append(TextSpan(*times.of(begin, at), (begin, at)))
    return spans
