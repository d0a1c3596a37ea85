"""What stands before the keys of a run, so that each night's recordings have keys of their own."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Final

from batch.errors import UsageError
from batch.manifest import dialects, discovery
from batch.manifest.web import without_secrets
from batch.storage.locations import is_stored, is_url

NAME: Final = "{name}"
"""Stands in a prefix for what the manifest is called."""


def prefix_of(prefix: str, named: str, cwd: Path) -> str:
    """The prefix of the keys of a manifest, which ends in a slash; empty if there is none.

    Raises ``UsageError`` if it asks for the name of a manifest that has none.
    """
    if NAME in prefix:
        prefix = prefix.replace(NAME, _name(named, cwd))
    return f"{prefix.strip('/')}/" if prefix.strip("/") else ""


def _name(named: str, cwd: Path) -> str:
    """What a manifest is called: the last folder's name, or that of a manifest file, without its extension."""
    if named == "-":
        raise UsageError(
            f"the prefix {NAME} is the manifest's name, and standard input has none: write the prefix out"
        )
    far = is_stored(named) or is_url(named)
    place = without_secrets(named).partition("://")[2] if far else os.path.abspath(cwd / named)  # noqa: PTH100
    parts = PurePosixPath(place).parts
    fixed = next((n for n, part in enumerate(parts) if discovery.is_glob(part)), len(parts))
    last = parts[fixed - 1] if fixed else ""
    if fixed == len(parts) and discovery.is_recording(last):
        last = parts[-2] if len(parts) > 1 else ""
    return (dialects.plain_name(last) if dialects.is_manifest(last) else last).strip("/")
