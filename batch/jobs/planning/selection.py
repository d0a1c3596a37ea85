"""The part of a manifest that a run takes: by number, by shard, by time, or a sample of it."""

from __future__ import annotations

import hashlib
import heapq
import zlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from batch.errors import UsageError
from batch.model import Recording, Reject, Stamp


class Selection(msgspec.Struct, frozen=True):
    """At most ``limit`` jobs; shard ``shard`` of ``shards``; files and stored objects modified from ``since`` to
    ``until`` (seconds since the epoch); of those ``sample`` recordings, always the same."""

    limit: int | None = None
    shard: int = 1
    shards: int = 1
    since: float | None = None
    until: float | None = None
    sample: int | None = None

    @property
    def takes_all(self) -> bool:
        """Whether it leaves nothing out of its shard."""
        return self.limit is None and self.since is None and self.until is None and self.sample is None

    @property
    def is_countable(self) -> bool:
        """Whether its rows, those behind the limit among them, can be told without looking at what they name."""
        return self.since is None and self.until is None and self.sample is None

    def in_shard(self, key: str) -> bool:
        """Whether the key belongs to this shard: by its CRC-32, so that it does on every machine and every night."""
        return self.shards == 1 or zlib.crc32(key.encode()) % self.shards == self.shard - 1

    def apply(
        self, rows: Iterable[Recording | Reject], stamp: Callable[[str], Stamp | None]
    ) -> Iterator[Recording | Reject]:
        """The rows that are in it, in order. Bad rows are in every window but a sample. Blocks: looks at the sources
        that no listing has told about (``stamp``: size in bytes, time of modification in ns) if it is bounded in
        time, and reads all rows before the first if it is a sample."""
        inside = (
            row for row in rows
            if isinstance(row, Reject) or (self.in_shard(row.key) and self._in_time(row, stamp))
        )  # fmt: skip
        return inside if self.sample is None else _sampled(inside, self.sample)

    def _in_time(self, row: Recording, stamp: Callable[[str], Stamp | None]) -> bool:
        """A URL has no time of modification, and is in; audio that is not there is, and is told as missing."""
        if self.since is None and self.until is None:
            return True
        if (found := row.stamp or stamp(row.source)) is None:
            return True
        modified = found[1] / 1e9
        return (self.since is None or modified >= self.since) and (self.until is None or modified <= self.until)


def _sampled(rows: Iterable[Recording | Reject], size: int) -> Iterator[Recording | Reject]:
    """So many recordings, chosen by the hash of their keys, in the order of the manifest."""
    numbered = ((_chance(row.key), number, row) for number, row in enumerate(rows) if isinstance(row, Recording))
    chosen = heapq.nsmallest(size, numbered, key=lambda each: each[:2])
    yield from (row for _, _, row in sorted(chosen, key=lambda each: each[1]))


def _chance(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=8).digest()


def read_shard(text: str) -> tuple[int, int]:
    """``I/N`` as two numbers. Raises ``UsageError``."""
    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit() and 1 <= int(number) <= int(of)):
        raise UsageError(f"--shard {text}: write it as I/N, for example 1/4, 2/4, 3/4 and 4/4")
    return int(number), int(of)
