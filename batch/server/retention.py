"""How long the service keeps what it has, and how much: the rules of ``--keep`` and ``--disk-budget``. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from batch.config import read_span
from batch.errors import UsageError

UPLOAD_LIFE_SECONDS: Final = 24 * 3600.0
"""What v2 promises: an upload can be submitted for a day."""
_LEAST_PAUSE_SECONDS: Final = 5.0
_MOST_PAUSE_SECONDS: Final = 600.0


class RetentionPolicy(msgspec.Struct, frozen=True):
    """How long after the last of its jobs an upload is kept, and after its end a transcript (None: for ever).

    An upload that no job has named yet is kept for a day, one that a waiting job names for as long as that waits.
    """

    uploads: float = UPLOAD_LIFE_SECONDS
    transcripts: float | None = None

    @property
    def pause_seconds(self) -> float:
        """Between two looks at what is due: a tenth of the shortest life."""
        shortest = min(self.uploads, UPLOAD_LIFE_SECONDS if self.transcripts is None else self.transcripts)
        return min(_MOST_PAUSE_SECONDS, max(_LEAST_PAUSE_SECONDS, shortest / 10))


def read_rules(rules: Iterable[str]) -> RetentionPolicy:
    """``uploads=1h`` and ``transcripts=30d`` as ``RetentionPolicy``. Raises Usage."""
    given = {}
    for rule in rules:
        what, _, span = rule.partition("=")
        life = read_span(span)
        if what not in RetentionPolicy.__struct_fields__ or life is None:
            raise UsageError(f"--keep {rule}: write it as uploads=1h or transcripts=30d")
        given[what] = life.total_seconds()
    return RetentionPolicy(**given)
