"""What a manifest knows of options: which columns are some, what they may say, when two rows ask for the same.

A provider hands it in, so that manifests are read without knowing whose options they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol


class OptionSchema(Protocol):
    """The options that a provider takes; see ``batch.providers.interface``."""

    @property
    def columns(self) -> Collection[str]:
        """The names of the columns that are options."""

    def is_option(self, column: str) -> bool:
        """Whether a manifest's column is an option."""

    def read(self, cells: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a row, which replace the ``defaults``, checked and typed. Raises ``ValueError`` with a
        message for people."""

    def excerpt(self, start_ms: int | None, end_ms: int | None) -> Mapping[str, Any]:
        """The options that ask for a part of the audio, by their names. Raises ``ValueError`` if none can."""

    def is_excerpt(self, options: Mapping[str, Any]) -> bool:
        """Whether the options ask for a part of the audio only."""

    def language(self, code: str) -> Mapping[str, Any]:
        """The options that name a spoken language; none for one that the provider does not know."""

    def names_language(self, cells: Mapping[str, Any]) -> bool:
        """Whether the cells of a row already choose the language."""

    def canonical(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """What the options ask for, however they are written: equal if and only if the same is asked for."""

    def differing(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
        """The names of the options in which two requests differ."""
