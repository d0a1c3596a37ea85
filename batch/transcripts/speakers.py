"""The names that people give to speakers, and other people's turns: both put onto what was said, nothing stored."""

from __future__ import annotations

import tomllib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from batch.model import Word
from batch.transcripts.formats.scoring import field
from batch.transcripts.transcript import Transcript, in_utterances

LABEL: Final = "speakers"
"""The manifest column that holds a recording's own names."""


class Names(msgspec.Struct, frozen=True):
    """Names by speaker for all recordings, and by key for single ones."""

    everywhere: dict[str, str] = {}
    by_key: dict[str, dict[str, str]] = {}


class Turn(msgspec.Struct, frozen=True):
    """One SPEAKER line: milliseconds."""

    start: int
    end: int
    speaker: str
    channel: str = "1"


def read_names(text: str) -> Names:
    """``A = "Agent"`` for all recordings; a table ``["calls/0001"]`` of the same for one.

    Raises ValueError saying what is wrong (``tomllib.TOMLDecodeError`` is one).
    """
    tree = tomllib.loads(text)
    tables = {key: value for key, value in tree.items() if isinstance(value, dict)}
    flat = {label: value for label, value in tree.items() if label not in tables}
    return Names(_checked(flat), {key: _checked(table) for key, table in tables.items()})


def read_label(label: Any) -> dict[str, str]:
    """``{"A": "Agent"}`` or ``A=Agent; B=Customer``; nothing for a label that is neither, which means something else.

    Raises ValueError if it was meant as names and cannot be read.
    """
    if isinstance(label, dict):
        return _checked(label)
    if not isinstance(label, str) or not ("=" in label or label.lstrip().startswith("{")):
        return {}
    try:
        if label.lstrip().startswith("{"):
            return _checked(msgspec.json.decode(label, type=dict[str, Any]))
        pairs = [part.split("=", 1) for part in label.split(";") if part.strip()]
        return _checked({speaker.strip(): name.strip() for speaker, name in pairs})
    except ValueError as error:
        hint = "write it as A=Agent; B=Customer"
        raise ValueError(f"the label {LABEL!r} is {label!r}, which names nobody ({error}): {hint}") from None


def with_names(spoken: Transcript, names: Names) -> Transcript:
    """The same, its speakers under their names: the names of this key, else of the row, else of all recordings."""
    own = read_label((spoken.recording.get("labels") or {}).get(LABEL))
    known = names.everywhere | own | names.by_key.get(spoken.key, {})
    if not known:
        return spoken

    def under(speaker: str | None) -> str | None:
        return known.get(speaker or "", speaker)

    replace = msgspec.structs.replace
    utterances = (
        replace(said, speaker=known.get(said.speaker, said.speaker),
                words=tuple(replace(word, speaker=under(word.speaker)) for word in said.words))
        for said in spoken.utterances
    )  # fmt: skip
    return replace(spoken, utterances=tuple(utterances))


def _checked(names: Mapping[str, Any]) -> dict[str, str]:
    for speaker, name in names.items():
        if not isinstance(name, str) or not name.strip() or not speaker:
            raise ValueError(f"the name of {speaker!r} is {name!r} and should be text")
    return {speaker: " ".join(name.split()) for speaker, name in names.items()}


# ── turns that another tool has found ────────────────────────────────────────────────────────────────────────────


def read_rttm(text: str) -> dict[str, list[Turn]]:
    """The SPEAKER lines of an RTTM, by its file ids. Raises ValueError naming a line that cannot be read."""
    turns: dict[str, list[Turn]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split()
        if not cells or cells[0] != "SPEAKER":
            continue
        try:
            start, seconds, channel, speaker = float(cells[3]), float(cells[4]), cells[2], cells[7]
            turn = Turn(round(1000 * start), round(1000 * (start + seconds)), speaker, channel)
        except (ValueError, IndexError, OverflowError):
            raise ValueError(f"line {number} is not a SPEAKER line of RTTM: {line.strip()[:80]!r}") from None
        turns.setdefault(cells[1], []).append(turn)
    return turns


def aliases(key: str) -> list[str]:
    """The names under which another tool may know a recording: its key, its file name, both without extension."""
    file = key.rpartition("/")[2]
    found = [key, _stem(key), file, _stem(file)]
    return list(dict.fromkeys([*found, *map(field, found)]))


def _stem(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    stem, point, _ = file.rpartition(".")
    return folder + slash + (stem if point and stem else file)


def with_turns(spoken: Transcript, turns: Iterable[Turn]) -> Transcript:
    """The same words, each with the speaker whose turns overlap it most (else the nearest), in utterances made anew.

    Turns count for their own channel if they are of several. Raises ValueError if there are no turns at all.
    """
    turns = sorted(turns, key=lambda turn: turn.start)
    if not turns:
        raise ValueError("it has no turns to take speakers from")
    several = len({turn.channel for turn in turns}) > 1
    words = sorted((word for said in spoken.utterances for word in said.words), key=lambda word: word.start)
    made = []
    for channel in dict.fromkeys(word.channel for word in words):
        own = [word for word in words if word.channel == channel]
        of_channel = [turn for turn in turns if turn.channel == (channel or "1")] if several else turns
        made += in_utterances(_labelled(own, of_channel or turns))
    made.sort(key=lambda said: (said.start, said.end))
    return msgspec.structs.replace(spoken, utterances=tuple(made))


def _labelled(words: Sequence[Word], turns: Sequence[Turn]) -> list[Word]:
    furthest = list(accumulate(turns, _later))
    return [msgspec.structs.replace(word, speaker=_speaker(word, turns, furthest)) for word in words]


def _later(so_far: Turn, turn: Turn) -> Turn:
    return turn if turn.end > so_far.end else so_far


def _speaker(word: Word, turns: Sequence[Turn], furthest: Sequence[Turn]) -> str:
    """Whose turns overlap the word most. Of the turns up to each place, ``furthest`` is the one that ends last: no
    turn before the first place that reaches the word can overlap it, nor one that starts at its end or later."""
    end = max(word.end, word.start + 1)
    after = bisect_left(turns, end, key=lambda turn: turn.start)
    before = bisect_left(furthest, word.start + 1, hi=after, key=lambda turn: turn.end)
    overlaps: Counter[str] = Counter()
    for turn in turns[before:after]:
        overlaps[turn.speaker] += max(0, min(end, turn.end) - max(word.start, turn.start))
    if overlaps.total():
        return max(overlaps, key=overlaps.__getitem__)
    beside = [*furthest[max(0, after - 1) : after], *turns[after : after + 1]]
    return min(beside, key=lambda turn: max(turn.start - word.end, word.start - turn.end)).speaker
