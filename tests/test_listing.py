"""Directories, globs and lists: what is listed, in which name, and that nothing is left out in silence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import batch
from batch import manifest
from batch.model import Recording, Reject
from tests.service.double import start_service
from tests.test_run import settings, wav


def listed(folder: Path, *manifests: str) -> tuple[list[Recording | Reject], list[str]]:
    told: list[str] = []
    return list(manifest.read(manifests, defaults={}, cwd=folder, notice=told.append)), told


def tree(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(wav(os.fsencode(name) * 200))


# ── odd names ───────────────────────────────────────────────────────────────────────────────────────────────────


def odd_tree(folder: Path) -> str:
    """Names that are not UTF-8, and one with a tab; the name of the odd directory."""
    tree(folder, "rec/ok.wav", "rec/a\tb.wav")
    odd = os.fsdecode(b"rec/caf\xe9")
    tree(folder, f"{odd}/1.wav", os.fsdecode(b"rec/x\xe9.wav"))
    return odd


def test_a_name_that_is_not_utf_8_or_holds_a_tab_is_its_own_rows_trouble(tmp_path: Path) -> None:
    odd = odd_tree(tmp_path)
    rows, _ = listed(tmp_path, "rec", odd)
    assert [row.key for row in rows if isinstance(row, Recording)] == ["ok.wav"]
    said = [f"{row.where} {row.reason}" for row in rows if isinstance(row, Reject)]
    assert len(said) == 4
    assert all(text.encode().isascii() or text.isprintable() for text in said)
    assert any(r"x\xe9.wav' is not UTF-8" in text for text in said)
    assert any(r"a\tb.wav' holds control characters" in text for text in said)
    assert any(text.startswith(r"rec/caf\xe9:1 ") for text in said)


async def test_a_run_over_odd_names_does_the_others_and_ends_with_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = odd_tree(tmp_path)
    async with start_service(tmp_path / "service") as service:
        summary = await batch.run(["rec", odd], "out", settings=settings(service.base_url))
    assert (summary.exit_code, summary.collected, summary.rejected) == (3, 1, 4)
    assert b"caf\\\\xe9" in (tmp_path / "out" / ".diarist" / "summary.json").read_bytes()


def test_a_name_that_is_too_long_to_look_at_is_told(tmp_path: Path) -> None:
    with pytest.raises(batch.errors.Usage, match="cannot look at x+: File name too long"):
        listed(tmp_path, "x" * 5000)
