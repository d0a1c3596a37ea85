"""The processes in which engines run: warm, one a core. A long recording is shared out among those that are free.

Processes of their own, within the limits of `limits`, so that neither a long recording nor a hostile file nor a crash
in a decoder stalls the service. A recording always has the turns of one process; its parts are done by others only
while nobody else wants them, so another recording waits for one part at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Awaitable, Callable
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

import anyio
import anyio.to_process
import msgspec

from batch.engine.interface import (
    Engine,
    EngineCapabilities,
    EngineMissing,
    EngineRequest,
    EngineTranscript,
    Partitionable,
)
from batch.engine.registry import EngineChoice, load
from batch.server import sandbox

Given = TypeVarTuple("Given")
Made = TypeVar("Made")
_TRIES: Final = 2
_REAPING_SECONDS: Final = 0.5  # idle processes that died together with it are noticed meanwhile, and not tried


class EnginePool:
    """Up to ``workers`` processes, each with its own engine. None: one a core, or a single one on a GPU.

    ``folder`` is where they share recordings out (115 MB for an hour); None: where temporary files are. Each may use
    ``memory_bytes`` (None: its share of the machine's).
    """

    def __init__(
        self,
        choice: EngineChoice,
        workers: int | None = None,
        *,
        folder: Path | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self.choice, self._workers, self._folder = choice, workers, folder
        self._limiter = anyio.CapacityLimiter(workers or os.cpu_count() or 1)
        self._memory_bytes = memory_bytes or sandbox.memory(self.size)

    def clear(self) -> None:
        """Forget what an earlier life has left half shared out."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)

    @property
    def size(self) -> int:
        return int(self._limiter.total_tokens)

    async def check(self) -> EngineCapabilities:
        """Load the engine in a first process, which stays warm. Raises EngineMissing."""
        try:
            able = await self._run(None, _abilities)
        except (anyio.BrokenWorkerProcess, MemoryError, OSError) as error:
            if isinstance(error, OSError) and not sandbox.is_for_memory(error):
                raise
            memory = f"{self._memory_bytes / 1e6:,.0f} MB, see --worker-memory"
            lost = f"The engine {self.choice.engine!r} died while it was loaded. It may use {memory}."
            raise EngineMissing(lost) from error
        if able.on_gpu and self._workers is None:
            self._limiter.total_tokens = 1  # each process would load the model onto the one GPU
        return able

    async def warm(self, on_ready: Callable[[int], object] = lambda ready: None) -> None:
        """Load the engine in all the other processes, too; ``on_ready`` receives the number that have it."""
        calls = [asyncio.ensure_future(self._run(None, _abilities)) for _ in range(self.size)]
        for ready, call in enumerate(asyncio.as_completed(calls), 1):
            with contextlib.suppress(Exception):  # whoever cannot will tell when it has a job
                await call
            on_ready(ready)

    async def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript:
        """Transcribe in whichever processes are free. Raises BadAudio, EngineFailed, and BrokenWorkerProcess or
        ProcessLookupError if one dies."""
        with tempfile.TemporaryDirectory(prefix="diarist-", dir=self._folder) as name:
            folder, allowed_seconds = Path(name), sandbox.seconds(await asyncio.to_thread(os.path.getsize, path))
            begun = await self._run(allowed_seconds, _begin, path, request, folder)
            if isinstance(begun, EngineTranscript):
                return begun
            await self._hear(folder, begun, allowed_seconds)
            return await self._run(allowed_seconds, _join, folder)

    async def _hear(self, folder: Path, count: int, allowed_seconds: float) -> None:
        """All parts: one after the other, and beside that as many as there are processes without work. A part whose
        process dies is heard once more: the others' work is not lost."""

        async def part(number: int) -> None:
            await self._run(allowed_seconds, _hear_part, folder, number)

        left, helpers = deque(range(count)), list[asyncio.Task[None]]()
        try:
            while left:
                idle = 0 if self._wanted else int(self._limiter.available_tokens) - 1
                helpers += [asyncio.create_task(self._help(part, left)) for _ in range(min(idle, len(left) - 1))]
                await retry_once(partial(part, left.popleft()))
            await asyncio.gather(*helpers)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)

    async def _help(self, part: Callable[[int], Awaitable[None]], left: deque[int]) -> None:
        while left and self._limiter.available_tokens and not self._wanted:
            await retry_once(partial(part, left.popleft()))

    @property
    def _wanted(self) -> bool:
        """Whether a recording waits for a process."""
        return self._limiter.statistics().tasks_waiting > 0

    async def _run(
        self, allowed_seconds: float | None, work: Callable[[Engine, *Given], Made], *args: *Given
    ) -> Made:
        """Have the ``work`` done, in so much time, with the engine of whichever process is free."""
        return await anyio.to_process.run_sync(
            _do,
            self.choice,
            self._memory_bytes,
            allowed_seconds,
            work,
            *args,
            cancellable=True,
            limiter=self._limiter,
        )


async def retry_once(work: Callable[[], Awaitable[Made]]) -> Made:
    """Once more if the process that does it dies."""
    for _ in range(_TRIES - 1):
        try:
            return await work()
        except (anyio.BrokenWorkerProcess, ProcessLookupError):  # the latter if it died while it started
            await asyncio.sleep(_REAPING_SECONDS)
    return await work()


def _do(
    choice: EngineChoice,
    memory_bytes: int,
    allowed_seconds: float | None,
    work: Callable[[Engine, *Given], Made],
    *args: *Given,
) -> Made:
    """All that ever runs in the processes."""
    with contextlib.nullcontext() if allowed_seconds is None else sandbox.bounded(allowed_seconds):
        return work(_engine(choice, memory_bytes), *args)


@cache
def _engine(choice: EngineChoice, memory_bytes: int) -> Engine:
    """The process's engine. A Ctrl-C in the terminal is for the service, which ends its processes itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sandbox.confine(memory_bytes)
    return load(**msgspec.structs.asdict(choice))


def _abilities(engine: Engine) -> EngineCapabilities:
    able: EngineCapabilities = getattr(engine, "abilities", EngineCapabilities())
    return able


def _begin(engine: Engine, path: Path, request: EngineRequest, folder: Path) -> EngineTranscript | int:
    if isinstance(engine, Partitionable):
        return engine.prepare(path, request, folder)
    return engine.transcribe(path, request)


def _hear_part(engine: Engine, folder: Path, number: int) -> None:
    assert isinstance(engine, Partitionable)
    engine.hear_part(folder, number)


def _join(engine: Engine, folder: Path) -> EngineTranscript:
    assert isinstance(engine, Partitionable)
    return engine.join(folder)
