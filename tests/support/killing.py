"""``diarist run`` as a child process that a test kills, or waits for."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.support.service import Double

FAST = (
    "sweep.least_seconds=0.05", "sweep.most_seconds=0.2", "patience.base_seconds=0.02",
    "reconcile_grace_seconds=0.2", "reconcile_lag_seconds=1", "concurrency=50",
)  # fmt: skip


async def start(manifest: Path, out: Path, service: Double) -> asyncio.subprocess.Process:
    """``diarist run`` as a child process against the double."""
    sets = [part for setting in FAST for part in ("--set", setting)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ASSEMBLYAI_", "DIARIST_"))}
    arguments = ["run", str(manifest), "--out", str(out), "--service", service.base_url, "--progress", "off", *sets]
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "batch", *arguments, env=environ, stderr=asyncio.subprocess.PIPE
    )


async def finish(child: asyncio.subprocess.Process) -> tuple[int, str]:
    _, said = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode is not None
    return child.returncode, said.decode()
