"""What each step of the engine gains: the same recordings with all of it, and without one step after the other.

    python -m tests.bench.steps [--only STEP] [FOLDER...]

The folders are those of tests.bench.accuracy. Steps are left out by giving the constants that they hang on the value
that turns them off.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from batch.engine.interface import Engine
from batch.engine.registry import load
from tests.bench.accuracy import SETS, Score, pooled, report
from tests.bench.show import show


class Step(NamedTuple):
    """``off`` are the values, by module and name, that leave the step out."""

    name: str
    off: dict[str, Any]


STEPS = [
    Step("beam search", {"recognizers.moonshine.beam_search.WIDTH": 1}),
    Step("people who say little", {"diarizers.community.clustering.FAINT_SECONDS": 2.0}),
    Step("short tracks", {"diarizers.community.clustering.SHORT_TRACK": 1.0}),
    Step("voices of one window apart", {"diarizers.community.clustering.SAME_WINDOW": 0.3}),
    Step(
        "all three of these",
        {
            "diarizers.community.clustering.FAINT_SECONDS": 2.0,
            "diarizers.community.clustering.SHORT_TRACK": 1.0,
            "diarizers.community.clustering.SAME_WINDOW": 0.3,
        },
    ),
]


def measured(engine: Engine, folders: Iterable[Path], off: dict[str, Any]) -> dict[str, Score]:
    """The pooled score of each folder."""
    with ExitStack() as stack:
        for name, value in off.items():
            stack.enter_context(patch(f"batch.engine.{name}", value))
        return {name: pooled(name, scores) for name, scores in report(folders, engine)}


def rows(step: str, whole: dict[str, Score], without: dict[str, Score]) -> Iterator[dict[str, str]]:
    """One for each set: its rates without the step, and what the step takes off them."""
    for name, score in without.items():
        yield {
            "without": step,
            "set": name,
            "WER": _rate(score.wer),
            "gain": _gain(score.wer, whole[name].wer),
            "DER": _rate(score.der),
            "gain ": _gain(score.der, whole[name].der),
            "counts": "{}/{}".format(*score.speakers) if score.speakers else "",
        }


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:.2%}"


def _gain(without: float | None, whole: float | None) -> str:
    return "" if without is None or whole is None else f"{without - whole:+.2%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    parser.add_argument("--only", choices=[step.name for step in STEPS], metavar="STEP")
    given = parser.parse_args()
    folders = given.folders or [folder for folder in SETS if folder.is_dir()]
    engine = load("moonshine")
    whole = measured(engine, folders, {})
    table = list(rows("nothing", whole, whole))
    for step in STEPS:
        if given.only in (None, step.name):
            table += rows(step.name, whole, measured(engine, folders, step.off))
    show(table)


if __name__ == "__main__":
    main()
