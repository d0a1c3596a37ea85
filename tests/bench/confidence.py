"""Whether confidences mean what they say: of the words heard with 0.8, eight in ten should be right.

    python -m tests.bench.confidence [FOLDER...]

Each recording that has its words in a ``.txt`` is heard as it is, through a telephone and in noise. A word is right
if the alignment with the least edits (jiwer) pairs it with itself. A line a + b * log-odds is fitted to every other
recording and judged by the rest, which it has not seen: 0 and 1 say that there is nothing to correct.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jiwer
import numpy as np
from numpy.typing import NDArray

from batch.engine.decoding import decode
from batch.engine.interface import Engine, EngineRequest
from batch.engine.registry import load
from batch.engine.spans import Audio
from tests.bench.accuracy import SETS, normalise, recordings
from tests.bench.show import show
from tests.bench.sound import write

BINS = 10
Numbers = NDArray[np.float64]


class Sample(NamedTuple):
    """The confidence of each word that was heard, and whether it is right."""

    confidence: Numbers
    right: NDArray[np.bool_]


def as_it_is(audio: Audio) -> Audio:
    return audio


def telephone(audio: Audio) -> Audio:
    """8 kHz, 8 bits by the mu-law."""
    half = np.repeat(audio[: len(audio) // 2 * 2].reshape(-1, 2).mean(axis=1), 2) / 32768
    levels = np.round(np.sign(half) * np.log1p(255 * np.abs(half)) / np.log(256) * 127) / 127
    return np.asarray(np.sign(levels) * (256 ** np.abs(levels) - 1) / 255 * 32767, np.int16)


def noise(decibels: float) -> Callable[[Audio], Audio]:
    """White noise so far below the sound."""

    def noisy(audio: Audio) -> Audio:
        sound = audio.astype(np.float32)
        level = np.sqrt(np.mean(sound**2)) / 10 ** (decibels / 20)
        noise = np.random.default_rng(1).standard_normal(len(sound)) * level
        return np.asarray(np.clip(sound + noise, -32768, 32767), np.int16)

    return noisy


CONDITIONS = {"as it is": as_it_is, "telephone": telephone, "noise 15 dB": noise(15), "noise 8 dB": noise(8)}


def heard(engine: Engine, recording: Path, change: Callable[[Audio], Audio], folder: Path) -> Sample:
    path = write(folder / "a.wav", change(decode(recording).channels[0]))
    words = engine.transcribe(path, EngineRequest(disfluencies=True)).words
    parts = [(part, word.confidence) for word in words for part in normalise(word.text).split()]
    reference = normalise(recording.with_suffix(".txt").read_text("utf-8"))
    right = np.zeros(len(parts), bool)
    if parts:
        alignment = jiwer.process_words(reference, " ".join(part for part, _ in parts)).alignments[0]
        for chunk in alignment:
            right[chunk.hyp_start_idx : chunk.hyp_end_idx] = chunk.type == "equal"
    return Sample(np.array([confidence for _, confidence in parts]), right)


def joined(samples: Iterable[Sample]) -> Sample:
    given = list(samples)
    return Sample(np.concatenate([one.confidence for one in given]), np.concatenate([one.right for one in given]))


def log_odds(confidence: Numbers) -> Numbers:
    bounded = np.clip(confidence, 1e-4, 1 - 1e-4)
    return np.log(bounded / (1 - bounded))


def corrected(confidence: Numbers, line: Numbers) -> Numbers:
    return np.asarray(1 / (1 + np.exp(-(line[0] + line[1] * log_odds(confidence)))))


def fitted(sample: Sample) -> Numbers:
    """The line of log-odds under which the sample is likeliest (J. Platt's scaling), by Newton's method."""
    terms = np.stack([np.ones(len(sample.right)), log_odds(sample.confidence)])
    line = np.array([0.0, 1.0])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-line @ terms))
        curve = (terms * (chance * (1 - chance) + 1e-9)) @ terms.T
        line += np.linalg.solve(curve, terms @ (sample.right - chance))
    return line


def calibration_error(confidence: Numbers, right: NDArray[np.bool_]) -> float:
    """The expected calibration error, over ten bins with equally many words."""
    order = np.argsort(confidence, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    return float(sum(len(part) * abs(confidence[part].mean() - right[part].mean()) for part in bins) / len(order))


def area(sample: Sample) -> float:
    """How often a right word has more confidence than a wrong one (AUC)."""
    right, wrong = sample.confidence[sample.right], sample.confidence[~sample.right]
    return float(((right[:, None] > wrong).mean() + (right[:, None] >= wrong).mean()) / 2)


def figures(name: str, sample: Sample, line: Numbers) -> dict[str, Any]:
    after = corrected(sample.confidence, line)
    return {
        "held out": name,
        "words": len(sample.right),
        "right": f"{sample.right.mean():.1%}",
        "mean confidence": f"{sample.confidence.mean():.1%}",
        "calibration error": f"{calibration_error(*sample):.1%}",
        "after the fit": f"{calibration_error(after, sample.right):.1%}",
        "AUC": f"{area(sample):.3f}",
    }


def bins(sample: Sample) -> Iterator[dict[str, Any]]:
    """Ten rows with equally many words: what they claim, and what is true."""
    for part in np.array_split(np.argsort(sample.confidence, kind="stable"), BINS):
        said, true = sample.confidence[part], sample.right[part]
        yield {
            "confidence": f"{said.min():.2f}-{said.max():.2f}",
            "mean": f"{said.mean():.3f}",
            "right": f"{true.mean():.3f}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    folders = parser.parse_args().folders or [folder for folder in SETS if folder.is_dir()]
    chosen = [path for folder in folders for path in recordings(folder) if path.with_suffix(".txt").is_file()]
    engine = load("moonshine")
    with tempfile.TemporaryDirectory() as folder:
        samples = {
            name: [heard(engine, path, change, Path(folder)) for path in chosen]
            for name, change in CONDITIONS.items()
        }
    line = fitted(joined(sample for heard_ in samples.values() for sample in heard_[::2]))
    unseen = {name: joined(heard_[1::2]) for name, heard_ in samples.items()}
    whole = joined(unseen.values())
    show([figures(name, sample, line) for name, sample in {**unseen, "all": whole}.items()])
    show(list(bins(whole)))
    print(f"fitted to the others: {line[0]:+.2f} {line[1]:+.2f} * log-odds")


if __name__ == "__main__":
    main()
