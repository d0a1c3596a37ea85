"""Runs as child processes, started as a user or a cron job starts them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.service import Double


class Ended(NamedTuple):
    code: int
    said: str
    """What it wrote to standard error."""


async def start(*arguments: object, cwd: Path | None = None, **environ: str) -> asyncio.subprocess.Process:
    """``python -m batch ...`` with no key in its environment but what is given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ASSEMBLYAI_", "DIARIST_"))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "batch", *map(str, arguments), cwd=cwd, env=clean | environ,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def end(child: asyncio.subprocess.Process, *, seconds: float = 60) -> Ended:
    async with asyncio.timeout(seconds):
        out, said = await child.communicate()
    assert out == b""
    return Ended(child.returncode or 0, said.decode())


async def diarist(*arguments: object, **given: Any) -> Ended:
    return await end(await start(*arguments, **given))


CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("ASSEMBLYAI_", "DIARIST_"))}


def started(*arguments: object, environ: dict[str, str] | None = None, **given: Any) -> subprocess.Popen[bytes]:
    """A child that stands apart, with the streams and descriptors that ``given`` says."""
    command = [sys.executable, "-W", "error", "-m", "batch", *map(str, arguments)]
    streams: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
    } | given
    return subprocess.Popen(command, env=CLEAN | (environ or {}), **streams)


async def ended(child: subprocess.Popen[bytes]) -> int:
    return await asyncio.to_thread(child.wait, 60)


def running(manifest: Path, out: Path, service: Double, *more: object) -> tuple[object, ...]:
    return "run", manifest, "--out", out, "--service", service.base_url, "--set", "sweep.least_seconds=0.05", *more
