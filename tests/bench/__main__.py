"""Every benchmark that the pages quote, one after the other: ``python -m tests.bench``. Forty minutes, two cores."""

from __future__ import annotations

import subprocess
import sys

QUOTED = (
    ("makespan", "--in-flight", "16", "--recordings", "160"),
    ("makespan", "--in-flight", "64", "--recordings", "640"),
    ("makespan", "--in-flight", "200", "--rivals"),
    ("makespan", "--in-flight", "1000", "--recordings", "3000", "--seconds", "60"),
    ("throttling",),
    ("scale",),
    ("upload", "--to", "service"),
    ("stores",),
    ("planning",),
    ("exporting",),
    ("outside",),
    ("searching",),
    ("reporting",),
    ("accuracy",),
    ("engine_speed",),
    ("steps",),
    ("confidence",),
    ("nobody",),
    ("keyterms",),
    ("long",),
)


def main() -> None:
    for name, *arguments in QUOTED:
        print(f"\n$ python -m tests.bench.{' '.join((name, *arguments))}", flush=True)
        subprocess.run([sys.executable, "-m", f"tests.bench.{name}", *arguments], check=True)


if __name__ == "__main__":
    main()
