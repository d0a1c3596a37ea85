"""Jobs as a run has them."""

from __future__ import annotations

from batch.model import Job, Recording, State
from batch.telemetry.events import Event, JobMoved


def numbered_job(number: int, state: State, **facts: object) -> Job:
    """The job of ``calls/NUMBER.wav``, in a state."""
    recording = Recording(key=f"calls/{number}.wav", source="/a", manifest="m.csv", line=number + 2)
    return Job(recording=recording, service="local", state=state, **facts)  # type: ignore[arg-type]


def job(key: str, **facts: object) -> Job:
    """A job that is listed, with an option and a label."""
    recording = Recording(
        key=key, source=f"/audio/{key}", manifest="m.csv", line=2, options={"speakers_expected": 2}, labels={"a": "é"}
    )
    return Job(recording=recording, service="local", **facts)  # type: ignore[arg-type]


def collected(number: int) -> Event:
    return JobMoved(numbered_job(number, State.COLLECTED, audio_seconds=60.0, speakers=2))


def failed(number: int) -> Event:
    return JobMoved(numbered_job(number, State.FAILED, kind="bad_audio", reason="no audio in it"))
