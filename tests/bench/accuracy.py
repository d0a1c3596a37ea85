"""How well the engine hears: word error rate and diarization error rate, for each recording and pooled.

    python -m tests.bench.accuracy [--json] [FOLDER...]

measures configs/demo, and ../shared/audio where it is there; or every folder given, which holds recordings with
``.txt`` (the words), ``.rttm`` (who speaks when) and ``.uem`` (the part that is annotated) beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jiwer
from pyannote.core import Annotation, Segment, Timeline
from pyannote.database.util import load_rttm, load_uem
from pyannote.metrics.diarization import DiarizationErrorRate

from batch.engine.interface import Engine, EngineRequest, EngineTranscript
from batch.engine.pronunciation import spoken
from batch.engine.registry import load
from batch.manifest.discovery import is_recording
from batch.model import Word
from tests.support.places import ROOT

DEMO = ROOT / "configs" / "demo"
SETS = [DEMO, *(ROOT.parent / "shared" / "audio" / name for name in ("read", "dialogues", "meetings"))]
COLLAR_SECONDS = 0.5
"""The whole width that pyannote.metrics leaves out around each boundary: a quarter of a second on either side."""
JOIN_SECONDS = 0.5
MULTICHANNEL = {"support-call"}


class Score(NamedTuple):
    """One recording's. Rates are fractions; None where there is no reference. Speakers: heard, and really there."""

    name: str
    seconds: float
    took_seconds: float
    words: int | None
    wer: float | None
    talk_seconds: float | None
    der: float | None
    speakers: tuple[int, int] | None


def normalise(text: str) -> str:
    """Lower case, numbers as words, no punctuation."""
    return " ".join(part.replace("'", "") for word in text.split() for part in spoken(word))


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Substitutions, deletions and insertions by the words of the reference (jiwer), after ``normalise``."""
    return float(jiwer.wer(normalise(reference), normalise(hypothesis)))


def annotation(words: Iterable[Word]) -> Annotation:
    """Who speaks when, by the words: a v2 utterance goes on through pauses, a reference does not. Words of one
    speaker less than half a second apart are one stretch of speech."""
    said = Annotation()
    for number, word in enumerate(words):
        said[Segment(word.start / 1000, word.end / 1000), number] = word.speaker or "?"
    return said.support(JOIN_SECONDS)


def diarization(recording: Path, words: Iterable[Word]) -> dict[str, float]:
    """pyannote's components against the ``.rttm`` beside the recording: its collar, and overlap scored."""
    reference, annotated = _reference(recording)
    metric = DiarizationErrorRate(collar=COLLAR_SECONDS, skip_overlap=False)
    said = annotation(words)
    whole = Timeline([reference.get_timeline().extent() | said.get_timeline().extent()])
    components: dict[str, float] = metric(reference, said, uem=annotated or whole, detailed=True)
    return components


def _reference(recording: Path) -> tuple[Annotation, Timeline | None]:
    reference = next(iter(load_rttm(recording.with_suffix(".rttm")).values()))
    uem = recording.with_suffix(".uem")
    return reference, next(iter(load_uem(uem).values())) if uem.is_file() else None


def measure(engine: Engine, recording: Path) -> Score:
    """Transcribe one recording, speakers unknown, and score it against what stands beside it."""
    multichannel = recording.stem in MULTICHANNEL
    began = time.monotonic()
    transcript = engine.transcribe(
        recording, EngineRequest(speaker_labels=not multichannel, multichannel=multichannel)
    )
    took = time.monotonic() - began
    return Score(recording.stem, transcript.audio_seconds, took, *_of_words(recording, transcript),
                 *_of_speakers(recording, transcript))  # fmt: skip


def _of_words(recording: Path, transcript: EngineTranscript) -> tuple[int | None, float | None]:
    text = recording.with_suffix(".txt")
    if not text.is_file():
        return None, None
    reference = text.read_text("utf-8")
    return len(normalise(reference).split()), word_error_rate(reference, transcript.text)


def _of_speakers(
    recording: Path, transcript: EngineTranscript
) -> tuple[float | None, float | None, tuple[int, int] | None]:
    if not recording.with_suffix(".rttm").is_file():
        return None, None, None
    found = diarization(recording, transcript.words)
    there = len(_reference(recording)[0].labels())
    heard = len({word.speaker for word in transcript.words})
    return found["total"], found["diarization error rate"], (heard, there)


def pooled(name: str, scores: list[Score]) -> Score:
    """All words, and all time, as if of one recording; speakers: recordings with the right number, of how many."""
    with_words = [score for score in scores if score.words]
    with_turns = [score for score in scores if score.talk_seconds]
    words, talk = (
        sum(score.words or 0 for score in with_words),
        sum(score.talk_seconds or 0.0 for score in with_turns),
    )
    wrong = sum((score.wer or 0.0) * (score.words or 0) for score in with_words)
    mistaken = sum((score.der or 0.0) * (score.talk_seconds or 0.0) for score in with_turns)
    counted = [score.speakers for score in scores if score.speakers]
    right = (sum(heard == there for heard, there in counted), len(counted))
    seconds, took = sum(score.seconds for score in scores), sum(score.took_seconds for score in scores)
    return Score(name, seconds, took, words or None, wrong / words if words else None, talk or None,
                 mistaken / talk if talk else None, right if counted else None)  # fmt: skip


def recordings(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if is_recording(path.name)]


def row(score: Score) -> str:
    wer = f"{score.wer:7.1%}" if score.wer is not None else "      -"
    der = f"{score.der:7.1%}" if score.der is not None else "      -"
    speakers = "{}/{}".format(*score.speakers) if score.speakers else "-"
    speed = score.took_seconds / score.seconds
    return f"{score.name:<28} {score.seconds:7.1f} {wer} {der} {speakers:>8} {speed:6.3f}"


def report(folders: Iterable[Path], engine: Engine) -> Iterator[tuple[str, list[Score]]]:
    for folder in folders:
        yield folder.name, [measure(engine, recording) for recording in recordings(folder)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    parser.add_argument("--json", action="store_true", help="a line of JSON at the end")
    given = parser.parse_args()
    folders = given.folders or [folder for folder in SETS if folder.is_dir()]
    print(f"{'recording':<28} {'seconds':>7} {'WER':>7} {'DER':>7} {'speakers':>8} {'RTF':>6}")
    figures: dict[str, Any] = {}
    for name, scores in report(folders, load("moonshine")):
        whole = pooled(f"= {name}, pooled", scores)
        print(*map(row, [*scores, whole]), sep="\n", flush=True)
        figures[name] = {"pooled": whole._asdict(), "recordings": [score._asdict() for score in scores]}
    if given.json:
        json.dump(figures, sys.stdout)
        print()


if __name__ == "__main__":
    main()
