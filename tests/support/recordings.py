"""Small recordings, a manifest of them, settings for a quick run, and whether each got its own result."""

from __future__ import annotations

import hashlib
import io
import json
import random
import wave
from collections import Counter
from pathlib import Path
from typing import Any

from batch.config import RetrySettings, Settings, SweepSettings

QUICK = Settings(
    concurrency=100,
    reconcile_grace_seconds=0.2,
    unknown_seconds=0.3,
    reconcile_lag_seconds=1.0,
    patience=RetrySettings(base_seconds=0.02, cap_seconds=0.2, outage_seconds=20),
    sweep=SweepSettings(least_seconds=0.05, most_seconds=0.2),
)


def settings(base_url: str, **given: Any) -> Settings:
    facts = {name: getattr(QUICK, name) for name in QUICK.__struct_fields__}
    return Settings(**facts | {"service": base_url} | given)


def agree(question: str) -> bool:
    """Whoever is asked whether to pay again for what is done."""
    return True


def archive(folder: Path, count: int, longer: int = 1) -> Path:
    """``count`` small recordings, each different and so many bytes ``longer`` than the one before, and a manifest
    with ids, an option and a label."""
    folder.mkdir(exist_ok=True)
    rows = ["id,audio,speakers_expected,customer"]
    for n in range(count):
        (folder / f"{n}.wav").write_bytes(wav(random.Random(n).randbytes(2000 + longer * n)))
        rows.append(f"calls/{n},{n}.wav,{2 if n % 2 else ''},customer {n}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n", "utf-8")
    return manifest


def wav(samples: bytes, channels: int = 1) -> bytes:
    """A recording of 8-bit samples, 8,000 a second."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(samples)
    return content.getvalue()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_results(folder: Path, out: Path, count: int) -> None:
    """Each result is that of its own audio, with its own labels and options."""
    for n in range(count):
        result = json.loads((out / "calls" / f"{n}.json").read_bytes())
        digest = sha256(folder / f"{n}.wav")
        assert digest in result["text"], f"recording {n} has another's transcript"
        assert result["recording"]["sha256"] == digest
        assert result["recording"]["labels"] == {"customer": f"customer {n}"}
        assert result["status"] == "completed"
        assert {utterance["speaker"] for utterance in result["utterances"]} == {"A", "B"}


def submitted_audio(service: Any) -> Counter[str]:
    """How often each audio (by digest) was submitted."""
    return Counter(service.digest_of(body["audio_url"]) for body in service.submissions)
