"""Breaks each promise by a small slip, and shows the test that notices.

    python -m tests.mutations [NAME ...] [--list]

One copy of the tree is made, and broken in one place at a time. Each test also runs on the unbroken copy, where it
must pass. Ends with 1 unless every mutation is noticed. Fifteen minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.mutations import trial
from tests.mutations.table import MUTATIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of them only")
    parser.add_argument("--list", action="store_true", help="tell them, and break nothing")
    given = parser.parse_args()
    if unknown := set(given.names) - {each.name for each in MUTATIONS}:
        parser.error(f"there is no mutation {', '.join(sorted(unknown))}")
    chosen = [each for each in MUTATIONS if not given.names or each.name in given.names]
    if given.list:
        for each in chosen:
            print(f"{each.name}: batch.{each.module}, noticed by {each.test}")
        return
    failures = 0
    with tempfile.TemporaryDirectory(prefix="diarist-mutations-") as folder:
        copy = trial.copied(Path(folder))
        for each in chosen:
            outcome = trial.tried(each, copy)
            failures += not outcome.is_noticed
            print(outcome, flush=True)
    print(f"{len(chosen) - failures} of {len(chosen)} are noticed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
