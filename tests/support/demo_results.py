"""Results of the demo recordings, as the local service gave them, and transcripts made up of words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from batch.providers import registry
from batch.transcripts.transcript import Transcript

ARCHIVE = Path(__file__).parent / "demo_archive"


KEYS = sorted(path.stem for path in ARCHIVE.glob("*.json"))


def of(key: str) -> Transcript:
    return registry.read(key, (ARCHIVE / f"{key}.json").read_bytes())


def copied(directory: Path) -> Path:
    """The results in a directory of their own, those of calls in a folder."""
    (directory / "calls").mkdir(parents=True)
    for key in KEYS:
        shutil.copy(ARCHIVE / f"{key}.json", directory / ("calls" if "call" in key else "."))
    return directory


def stored(key: str = "calls/1", **transcript: Any) -> Transcript:
    """What is read of a result that holds just this."""
    return registry.read(key, json.dumps({"recording": {"key": key}, **transcript}).encode())


def words(text: str, speaker: str | None = None, start: int = 0, each: int = 400) -> list[dict[str, Any]]:
    """A v2 word for each word of a text, ``each`` milliseconds long, without pauses."""
    return [
        {"text": one, "start": start + each * place, "end": start + each * (place + 1), "confidence": 0.9}
        | ({"speaker": speaker} if speaker else {})
        for place, one in enumerate(text.split())
    ]


def utterance(text: str, speaker: str, start: int = 0, each: int = 400) -> dict[str, Any]:
    own = words(text, speaker, start, each)
    return {"text": text, "speaker": speaker, "start": start, "end": own[-1]["end"], "confidence": 0.9, "words": own}
