"""The local service as a provider: started for one run, as a child process, and stopped afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec

from batch.errors import FailureKind, UnavailableError, UsageError
from batch.providers.assemblyai.endpoints import Endpoint
from batch.providers.assemblyai.provider import AssemblyAI, connected
from batch.providers.interface import Connection, ConnectionRequest

LOCAL: Final = "local"
_ENGLISH: Final = "moonshine"
"""The engine that understands nothing else."""

_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 5.0


class LocalService(AssemblyAI):
    """Speaks AssemblyAI v2, charges nothing, and works with the engine that the settings name."""

    def __init__(self) -> None:
        super().__init__(Endpoint(LOCAL, None, None))

    def connect(self, request: ConnectionRequest) -> contextlib.AbstractAsyncContextManager[Connection]:
        return _started(request)


@contextlib.asynccontextmanager
async def _started(request: ConnectionRequest) -> AsyncIterator[Connection]:
    local = request.local
    about = f"the engine {local.engine} works on this machine, and no audio leaves it"
    known = "; it understands English" if local.engine == _ENGLISH else ""
    request.on_status(f"{about}{known}: loading it", True)
    async with (
        local_service(
            request.folder,
            engine=local.engine, speakers=local.speakers, device=local.device, workers=local.workers or None,
            private_network=local.private_network, on_status=request.on_status,
        ) as base_url,
        connected(base_url, None, request) as connection,
    ):  # fmt: skip
        yield connection


@contextlib.asynccontextmanager
async def local_service(
    data: Path,
    *,
    engine: str,
    speakers: str = "community-1",
    device: str = "auto",
    workers: int | None,
    private_network: bool = False,
    on_status: Callable[[str, bool], None] = lambda message, is_starting: None,
) -> AsyncIterator[str]:
    """A service on a free loopback port, with its jobs in ``data``; gives its base URL.

    It has a session of its own, so that Ctrl-C in the terminal ends the run first, and it ends by itself when this
    process does, because that closes its standard input. When it ends, it keeps no audio but what a job still waits
    for. ``on_status``: see ``ConnectionRequest``. Raises ``UsageError`` if the engine is not installed, and
    ``UnavailableError`` if the service does not come up.
    """
    arguments = ["--host", "127.0.0.1", "--port", "0", "--data", str(data)]
    arguments += ["--engine", engine, "--diarizer", speakers, "--device", device]
    arguments += ["--keep", "uploads=1h"]  # the recordings are all here: an upload is a second copy
    arguments += ["--private-network"] * private_network + ["--until-stdin-closes"]
    arguments += ["--workers", str(workers)] if workers else []
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "batch", "serve", *arguments, stdin=PIPE, stdout=PIPE, start_new_session=True
    )
    telling: asyncio.Task[None] | None = None
    try:
        base_url = await _base_url(child)
        telling = asyncio.create_task(_tell(child, on_status))
        yield base_url
    finally:
        if telling:
            telling.cancel()
        await _stop(child)


async def _tell(child: Process, on_status: Callable[[str, bool], None]) -> None:
    """Tell how many of its processes have loaded the engine, until all have."""
    assert child.stdout
    async for line in child.stdout:
        fields: dict[str, int] = msgspec.json.decode(line)
        ready, size = fields["ready"], fields["of"]
        if ready == size:
            on_status(f"the engine is ready, in {size} process{'es' * (size != 1)}", False)
        else:
            on_status(f"loading the engine: {ready} of {size} processes are ready", True)


async def _base_url(child: Process) -> str:
    assert child.stdout
    try:
        async with asyncio.timeout(_START_SECONDS):
            line = await child.stdout.readline()
        fields: dict[str, str] = msgspec.json.decode(line)
    except TimeoutError:
        raise UnavailableError(
            "the local service did not start in time: run again", kind=FailureKind.LOCAL_SERVICE
        ) from None
    except msgspec.DecodeError:
        raise UnavailableError(
            "the local service did not start: see its messages above", kind=FailureKind.LOCAL_SERVICE
        ) from None
    if "error" in fields:
        raise UsageError(f"the local service cannot start: {fields['error']}", kind=FailureKind.LOCAL_SERVICE)
    return fields["base_url"]


async def _stop(child: Process) -> None:
    """Close its input, which it takes for the sign to stop; kill it if it does not."""
    assert child.stdin
    child.stdin.close()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()
