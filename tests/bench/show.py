"""Figures as a table for people and a line of JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def show(figures: Sequence[Mapping[str, Any]]) -> None:
    """One row a measurement; all have the same columns."""
    table = Table(box=None, header_style="bold")
    for name in figures[0]:
        table.add_column(name.replace("_", " "), justify="right", overflow="fold")
    for figure in figures:
        table.add_row(*(str(value) for value in figure.values()))
    Console(width=160).print(table)
    print(json.dumps(figures))
