"""The command line as a child process, waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def diarist(
    *arguments: str, cwd: Path | None = None, stdin: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m batch`` with no key in its environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ASSEMBLYAI_", "DIARIST_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "batch", *arguments],
        cwd=cwd, env=clean | environ, input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
