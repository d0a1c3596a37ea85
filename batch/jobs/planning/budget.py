"""How much a run may cost: what is promised to recordings on their way, and what those that ended have cost."""

from __future__ import annotations

from typing import NamedTuple

from batch.config import BudgetSettings
from batch.model import ENDED, Job, State
from batch.providers.interface import LIKELY_CHANNELS, Pricing
from batch.storage.audio import ANY_AUDIO, AudioLimits
from batch.storage.audio_headers import Probe, probe
from batch.storage.locations import is_url
from batch.telemetry.events import Event, JobMoved


class _Reservation(NamedTuple):
    seconds: float
    channels: int
    usd_per_second: float

    @property
    def usd(self) -> float:
        return self.seconds * self.channels * self.usd_per_second


class BudgetTracker:
    """``pricing`` None: nothing is charged, and only hours count."""

    def __init__(self, budget: BudgetSettings, pricing: Pricing | None, limits: AudioLimits = ANY_AUDIO) -> None:
        self._budget, self._pricing, self._limits = budget, pricing, limits
        self._reserved: dict[str, _Reservation] = {}
        self.usd = self.seconds = self._spent = 0.0

    @property
    def spent(self) -> float | None:
        """USD for what was collected; None if nothing is charged."""
        return self._spent if self._pricing else None

    @property
    def is_bounded(self) -> bool:
        return bool(self._budget.max_cost or self._budget.max_hours)

    def reserve(self, job: Job) -> str:
        """Count the job in; else say which limit it does not fit into, and leave it out. Blocks: looks at the
        file's header."""
        source = job.recording.source
        found = Probe() if is_url(source) else probe(source, limits=self._limits, sent=False)  # which may be any size
        unknown = 0.0 if found.problem else self._budget.unknown_seconds  # what fails is free
        channels = self._billed_channels(job, found.channels)
        asked = _Reservation(found.seconds or unknown, channels, self._usd_per_second(job))
        if wrong := self._exceeded(asked.usd, asked.seconds):
            return wrong
        self._reserved[job.key] = asked
        self.usd += asked.usd
        self.seconds += asked.seconds
        return ""

    def settle(self, event: Event) -> None:
        """Correct a reservation by what became of the job: what failed, or is shared, costs nothing."""
        if not isinstance(event, JobMoved) or not (event.job.state in ENDED or event.job.shared_with):
            return
        job = event.job
        promised = self._reserved.pop(job.key, None)
        charged = job.state is State.COLLECTED and job.shared_with is None
        if charged and self._pricing:
            channels = promised.channels if promised else self._billed_channels(job, LIKELY_CHANNELS)
            self._spent += _Reservation(job.audio_seconds or 0.0, channels, self._usd_per_second(job)).usd
        if promised:
            cost = promised._replace(seconds=(job.audio_seconds or 0.0) if charged else 0.0)
            self.usd, self.seconds = (
                self.usd + cost.usd - promised.usd,
                self.seconds + cost.seconds - promised.seconds,
            )

    def _usd_per_second(self, job: Job) -> float:
        return self._pricing.quote(job.recording.options).usd(1.0) if self._pricing else 0.0

    def _billed_channels(self, job: Job, channels: int | None) -> int:
        return self._pricing.billed_channels(job.recording.options, channels) if self._pricing else 1

    def _exceeded(self, usd: float, seconds: float) -> str:
        most, hours = self._budget.max_cost, self._budget.max_hours
        if most and self.usd + usd > most:
            return f"--max-cost {most:g}: ${self.usd:.2f} are spent or promised, and the next costs ${usd:.2f}"
        if hours and self.seconds + seconds > hours * 3600:
            so_far, more = self.seconds / 3600, seconds / 3600
            return f"--max-hours {hours:g}: {so_far:.2f} h are done or under way, and the next has {more:.2f} h"
        return ""
