"""What a recording costs, by the price table of the settings. Pure: an estimate, the vendor's bill is the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from batch.config import PriceTable
from batch.model import Job


class Price(msgspec.Struct, frozen=True):
    """``usd_per_hour`` of a request, for the ``model`` and the ``extras`` in it; ``unknown``: options or models that
    the table has no price for, though they may cost something."""

    usd_per_hour: float
    model: str
    extras: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def usd(self, seconds: float, channels: int = 1) -> float:
        return self.usd_per_hour * seconds / 3600 * channels


FREE: Final = frozenset(
    """audio_end_at audio_start_from content_safety_confidence custom_spelling disfluencies filter_profanity
    format_text keyterms_prompt language_code language_codes language_confidence_threshold language_detection
    language_detection_options multichannel prompt punctuate redact_pii_audio_options redact_pii_audio_quality
    redact_pii_policies redact_pii_sub remove_audio_tags speaker_options speakers_expected speech_model speech_models
    speech_threshold summary_model summary_type temperature""".split()
)
"""Options that cost nothing by themselves."""


def price(options: Mapping[str, Any], prices: PriceTable) -> Price:
    """The price of a request with these options."""
    model = next(iter(options.get("speech_models") or ()), None) or options.get("speech_model") or prices.model
    asked = sorted(name for name, value in options.items() if value not in (None, False) and name not in FREE)
    extras = tuple(name for name in asked if name in prices.extras)
    unknown = [name for name in asked if name not in prices.extras]
    if model not in prices.models:
        unknown.append(f"model {model}")
    rate = prices.models.get(model, 0.0) + sum(prices.extras[name] for name in extras)
    return Price(rate, model, extras, tuple(unknown))


def billed_channels(options: Mapping[str, Any], channels: int | None, prices: PriceTable) -> int:
    """How many channels of a recording are billed."""
    return channels or 1 if options.get("multichannel") and prices.each_channel else 1


def likely_channels(job: Job, prices: PriceTable) -> int:
    """Of a recording that nobody has looked into: two, where each is billed."""
    return billed_channels(job.recording.options, 2, prices)
