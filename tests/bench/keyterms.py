"""What keyterms gain and what they harm: expected words found, absent ones written, and the word error rate.

    python -m tests.bench.keyterms [--absent N] [FOLDER...]

The terms of a recording are the words of six letters and more in its reference, and so many (100) words out of the
aligner's dictionary that are not in it; then the absent ones alone.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pocketsphinx

from batch.engine.interface import Engine, EngineRequest
from batch.engine.registry import load
from tests.bench.accuracy import SETS, normalise, recordings
from tests.bench.show import show

LETTERS = 6


def dictionary() -> list[str]:
    path = Path(pocketsphinx.get_model_path()) / "en-us" / "cmudict-en-us.dict"
    words = {line.split()[0] for line in path.read_text("utf-8").splitlines()}
    return sorted(word for word in words if word.isalpha() and len(word) >= LETTERS)


def measured(engine: Engine, chosen: list[Path], name: str, own: bool, absent: int) -> dict[str, Any]:
    there = found = written = edits = words = 0
    for number, recording in enumerate(chosen):
        reference = normalise(recording.with_suffix(".txt").read_text("utf-8"))
        said = Counter(reference.split())
        terms = {word for word in said if len(word) >= LETTERS}
        others = [word for word in np.random.default_rng(number).permutation(dictionary()) if word not in said][
            :absent
        ]
        asked = (*sorted(terms if own else ()), *map(str, others))
        heard = normalise(engine.transcribe(recording, EngineRequest(keyterms=asked)).text)
        result = jiwer.process_words(reference, heard)
        edits += result.substitutions + result.deletions + result.insertions
        words += sum(said.values())
        counted = Counter(heard.split())
        there += sum(said[term] for term in terms)
        found += sum(min(said[term], counted[term]) for term in terms)
        written += sum(counted[str(term)] for term in others)
    return {
        "keyterms": name,
        "long words found": f"{found}/{there}",
        "absent ones written": written,
        "WER": f"{edits / words:.2%}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    parser.add_argument("--absent", type=int, default=100)
    given = parser.parse_args()
    folders = given.folders or [folder for folder in SETS if folder.is_dir()]
    chosen = [path for folder in folders for path in recordings(folder) if path.with_suffix(".txt").is_file()]
    engine = load("moonshine")
    runs = [("none", False, 0), ("those and absent ones", True, given.absent), ("absent ones", False, given.absent)]
    show([measured(engine, chosen, *run) for run in runs])


if __name__ == "__main__":
    main()
