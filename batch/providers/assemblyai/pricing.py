"""What a recording costs at the vendor, by the price table of the settings: an estimate. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from batch.config import PriceTable
from batch.providers.interface import Quote

FREE: Final = frozenset(
    """audio_end_at audio_start_from content_safety_confidence custom_spelling disfluencies filter_profanity
    format_text keyterms_prompt language_code language_codes language_confidence_threshold language_detection
    language_detection_options multichannel prompt punctuate redact_pii_audio_options redact_pii_audio_quality
    redact_pii_policies redact_pii_sub remove_audio_tags speaker_options speakers_expected speech_model speech_models
    speech_threshold summary_model summary_type temperature""".split()
)
"""Options that cost nothing by themselves."""


class VendorPricing:
    """The prices of a table: one of the model, and one of each extra."""

    def __init__(self, prices: PriceTable) -> None:
        self._prices = prices

    @property
    def as_of(self) -> str:
        return self._prices.as_of

    @property
    def table(self) -> Mapping[str, float]:
        return {**self._prices.models, **self._prices.extras}

    def quote(self, options: Mapping[str, Any]) -> Quote:
        prices = self._prices
        model = next(iter(options.get("speech_models") or ()), None) or options.get("speech_model") or prices.model
        asked = sorted(name for name, value in options.items() if value not in (None, False) and name not in FREE)
        charged = {model: prices.models.get(model, 0.0)}
        charged |= {name: prices.extras[name] for name in asked if name in prices.extras}
        unknown = [name for name in asked if name not in prices.extras]
        if model not in prices.models:
            unknown.append(f"model {model}")
        return Quote(charged, tuple(unknown))

    def billed_channels(self, options: Mapping[str, Any], channels: int | None) -> int:
        return channels or 1 if options.get("multichannel") and self._prices.each_channel else 1
