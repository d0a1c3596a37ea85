"""diarist: a manifest of recordings in, who said what and when out.

    import batch

    outcome = await batch.run("calls.csv", "results")
    for transcript in batch.Archive("results").transcripts():
        ...

All that is in ``__all__`` is described in ``docs/reference/python.md`` and kept; everything else is private. Names
are imported when they are asked for, so importing ``batch`` alone costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from batch.archive import Archive
    from batch.archive.export import Exported
    from batch.archive.recovery import Recovered
    from batch.archive.report.build import Reported
    from batch.archive.search.query import Hit, SearchAnswer
    from batch.archive.status import Status
    from batch.config import (
        BudgetSettings,
        HealthcheckSettings,
        LocalServiceSettings,
        MetricsSettings,
        ObjectStoreSettings,
        PriceTable,
        RateSettings,
        RetrySettings,
        Settings,
        SweepSettings,
        TimeoutSettings,
        WebhookSettings,
    )
    from batch.engine.interface import BadAudio, Engine, EngineRequest, EngineTranscript
    from batch.errors import (
        AskedToWaitError,
        AuthenticationError,
        BudgetExceededError,
        DiaristError,
        ExpiredLinkError,
        FailureKind,
        InsufficientFundsError,
        NoEffectError,
        PostponedError,
        RecordingError,
        RunError,
        ThrottledError,
        TranscriptNotFoundError,
        TransientError,
        UnavailableError,
        UnknownOutcomeError,
        UsageError,
        WrongServiceError,
    )
    from batch.jobs.planning.decision import Rerun
    from batch.jobs.planning.planner import Plan, PlanRow, plan
    from batch.jobs.planning.selection import Selection
    from batch.jobs.recovering import recover
    from batch.jobs.runner import run
    from batch.jobs.validation import load_settings
    from batch.model import Job, Recording, Reject, State, Utterance, Word
    from batch.providers.interface import Capabilities, Connection, Provider
    from batch.telemetry.events import (
        BudgetReached,
        BytesSent,
        Event,
        JobMoved,
        JobPostponed,
        Notice,
        ProviderStatus,
        RequestEnded,
        RequestRetried,
        RequestStarted,
        RowAdmitted,
        RowRejected,
        RowsCounted,
        RowSkipped,
    )
    from batch.telemetry.progress import Progress
    from batch.transcripts.transcript import Transcript

_MODULES: Final = {
    # doing
    "jobs.runner": ["run"],
    "jobs.planning.planner": ["plan", "Plan", "PlanRow"],
    "jobs.recovering": ["recover"],
    "archive": ["Archive"],
    # asking
    "config": [
        "Settings", "LocalServiceSettings", "RetrySettings", "TimeoutSettings", "SweepSettings", "RateSettings",
        "BudgetSettings", "PriceTable", "WebhookSettings", "ObjectStoreSettings", "MetricsSettings",
        "HealthcheckSettings",
    ],
    "jobs.validation": ["load_settings"],
    "jobs.planning.selection": ["Selection"],
    "jobs.planning.decision": ["Rerun"],
    # getting
    "telemetry.progress": ["Progress"],
    "archive.status": ["Status"],
    "archive.recovery": ["Recovered"],
    "archive.export": ["Exported"],
    "archive.search.query": ["SearchAnswer", "Hit"],
    "archive.report.build": ["Reported"],
    # reading
    "transcripts.transcript": ["Transcript"],
    "model": ["Utterance", "Word", "Recording", "Reject", "Job", "State"],
    # hearing
    "telemetry.events": [
        "Event", "JobMoved", "JobPostponed", "RowAdmitted", "RowSkipped", "RowRejected", "RowsCounted",
        "BudgetReached", "RequestStarted", "RequestEnded", "RequestRetried", "BytesSent",
        "ProviderStatus", "Notice",
    ],
    # failing
    "errors": [
        "DiaristError", "TransientError", "NoEffectError", "ThrottledError", "UnknownOutcomeError", "PostponedError",
        "ExpiredLinkError", "RecordingError", "TranscriptNotFoundError", "RunError", "UsageError",
        "WrongServiceError", "AuthenticationError", "UnavailableError", "AskedToWaitError", "InsufficientFundsError",
        "BudgetExceededError", "FailureKind",
    ],
    # extending
    "providers.interface": ["Provider", "Connection", "Capabilities"],
    "engine.interface": ["Engine", "EngineRequest", "EngineTranscript", "BadAudio"],
}  # fmt: skip
_MODULE_OF: Final = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Archive",
    "AskedToWaitError",
    "AuthenticationError",
    "BadAudio",
    "BudgetExceededError",
    "BudgetReached",
    "BudgetSettings",
    "BytesSent",
    "Capabilities",
    "Connection",
    "DiaristError",
    "Engine",
    "EngineRequest",
    "EngineTranscript",
    "Event",
    "ExpiredLinkError",
    "Exported",
    "FailureKind",
    "HealthcheckSettings",
    "Hit",
    "InsufficientFundsError",
    "Job",
    "JobMoved",
    "JobPostponed",
    "LocalServiceSettings",
    "MetricsSettings",
    "NoEffectError",
    "Notice",
    "ObjectStoreSettings",
    "Plan",
    "PlanRow",
    "PostponedError",
    "PriceTable",
    "Progress",
    "Provider",
    "ProviderStatus",
    "RateSettings",
    "Recording",
    "RecordingError",
    "Recovered",
    "Reject",
    "Reported",
    "RequestEnded",
    "RequestRetried",
    "RequestStarted",
    "Rerun",
    "RetrySettings",
    "RowAdmitted",
    "RowRejected",
    "RowSkipped",
    "RowsCounted",
    "RunError",
    "SearchAnswer",
    "Selection",
    "Settings",
    "State",
    "Status",
    "SweepSettings",
    "ThrottledError",
    "TimeoutSettings",
    "Transcript",
    "TranscriptNotFoundError",
    "TransientError",
    "UnavailableError",
    "UnknownOutcomeError",
    "UsageError",
    "Utterance",
    "WebhookSettings",
    "Word",
    "WrongServiceError",
    "__version__",
    "load_settings",
    "plan",
    "recover",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"batch.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULE_OF])
