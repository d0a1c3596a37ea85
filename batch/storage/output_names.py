"""Names in an output directory that also those know who list directories, or name results."""

from __future__ import annotations

from typing import Final

INNER: Final = ".diarist"
"""The directory of all that diarist keeps for itself."""
FAILED_LIST: Final = "failed.jsonl"
REPORT: Final = "report.html"
