"""The processes in which engines run: warm, one a core, one recording each at a time.

A process of its own, so that neither a long recording nor a crash in a decoder stalls the service.
"""

from __future__ import annotations

import asyncio
import os
import signal
from functools import cache
from pathlib import Path
from typing import NamedTuple

import anyio
import anyio.to_process
import msgspec

from batch.model import Transcript
from batch.service.engine import ENGLISH, Choice, Engine, EngineMissing, Request, load


class Abilities(NamedTuple):
    """What an engine, loaded, says that it can: ``languages`` without regions, None for any."""

    languages: frozenset[str] | None
    on_gpu: bool


class Pool:
    """Up to ``workers`` processes, each with its own engine. None: one a core, or a single one on a GPU."""

    def __init__(self, choice: Choice, workers: int | None = None) -> None:
        self.choice, self._workers = choice, workers
        self._limiter = anyio.CapacityLimiter(workers or os.cpu_count() or 1)

    @property
    def size(self) -> int:
        return int(self._limiter.total_tokens)

    async def check(self) -> Abilities:
        """Load the engine in a first process, which stays warm. Raises EngineMissing."""
        try:
            able = await anyio.to_process.run_sync(_abilities, self.choice, limiter=self._limiter)
        except anyio.BrokenWorkerProcess:
            lost = f"The process that loaded {self.choice.engine} died: its last words are above, if it had any."
            raise EngineMissing(lost) from None
        if able.on_gpu and self._workers is None:
            self._limiter.total_tokens = 1  # each process would load the model onto the one GPU
        return able

    async def warm(self) -> None:
        """Load the engine in all the other processes, too."""
        calls = [
            anyio.to_process.run_sync(_abilities, self.choice, cancellable=True, limiter=self._limiter)
            for _ in range(self.size)
        ]
        await asyncio.gather(*calls, return_exceptions=True)  # whoever cannot will tell when it has a job

    async def transcribe(self, path: Path, request: Request) -> Transcript:
        """Transcribe in whichever process is free first. Raises BadAudio, and BrokenWorkerProcess if it dies."""
        return await anyio.to_process.run_sync(
            _transcribe, self.choice, path, request, cancellable=True, limiter=self._limiter
        )


def _abilities(choice: Choice) -> Abilities:
    engine = _engine(choice)
    return Abilities(getattr(engine, "languages", ENGLISH), getattr(engine, "on_gpu", False))


def _transcribe(choice: Choice, path: Path, request: Request) -> Transcript:
    return _engine(choice).transcribe(path, request)


@cache
def _engine(choice: Choice) -> Engine:
    """The worker's engine. A Ctrl-C in the terminal is for the service, which ends its workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return load(**msgspec.structs.asdict(choice))
