"""What a lister passes over, and why: counted, with a few examples, to be told once a manifest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from batch.manifest.rows import printable

_EXAMPLES: Final = 3


class Why(NamedTuple):
    """The reason as a sentence goes on after the number of what was passed over, and what to do about it."""

    one: str
    many: str
    advice: str = ""


UNKNOWN: Final = Why(
    "file was left out because its extension is not known as audio",
    "files were left out because their extension is not known as audio",
)
HIDDEN: Final = Why("hidden file or directory was left out", "hidden files and directories were left out")
BROKEN: Final = Why(
    "link is broken: what it leads to is not there",
    "links are broken: what they lead to is not there",
    "; those with the name of a recording stay rows, which fail as missing",
)
TWICE: Final = Why(
    "directory was not entered again: it is listed already under another name",
    "directories were not entered again: they are listed already under another name",
)
FOLDER: Final = Why(
    "directory was left out because the glob ends at it",
    "directories were left out because the glob ends at them",
    ": end the glob in /** to list what is in them",
)
SIDECAR: Final = Why(
    "file was left out because a recording of its name lies beside it",
    "files were left out because recordings of their names lie beside them",
)
OURS: Final = Why(
    "file was left out because it is a result, or was made of one",
    "files were left out because they are results, or were made of them",
)
COMMENT: Final = Why(
    "line was passed over as a comment, though a file of that name is there",
    "lines were passed over as comments, though files of those names are there",
    ": write ./ before the name to list such a file",
)


class LeftOut:
    """What was passed over in the manifest ``called``; paths are told as from ``cwd``."""

    def __init__(self, called: str, cwd: Path) -> None:
        self._called, self._cwd = called, cwd
        self._found: dict[Why, tuple[int, list[str]]] = {}

    def add(self, why: Why, name: str) -> None:
        count, examples = self._found.get(why, (0, []))
        if count < _EXAMPLES:
            examples.append(self.shown(name))
        self._found[why] = (count + 1, examples)

    def comment(self, folder: Path, line: str) -> None:
        """A line that was taken for a comment: it may as well have been a path below ``folder``."""
        if os.path.lexists(folder / line):
            self.add(COMMENT, line)

    def shown(self, path: str) -> str:
        """A path as a person would give it."""
        return printable(path.removeprefix(f"{self._cwd}/"))

    def told(self) -> list[str]:
        """A sentence for each reason."""
        return [
            f"{self._called}: {count:,} {why.one if count == 1 else why.many}, for example "
            f"{', '.join(examples)}{why.advice}"
            for why, (count, examples) in self._found.items()
        ]
