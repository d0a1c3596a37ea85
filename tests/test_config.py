"""Settings come from four places, and a mistake in any of them is told with its place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from batch.config import Settings
from batch.errors import UsageError
from batch.jobs.validation import load_settings
from tests.support.places import ROOT

CONFIGS = ROOT / "configs"


def test_the_default_file_lists_every_setting_with_its_default() -> None:
    written = tomllib.loads((CONFIGS / "default.toml").read_text("utf-8"))
    assert written == msgspec.to_builtins(Settings())


def test_later_places_win(tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("uploads = 2\nconcurrency = 3\n[options]\nlanguage_code = 'en'\n")
    environ = {"DIARIST_CONCURRENCY": "4", "DIARIST_LOCAL__WORKERS": "1", "PATH": "/bin"}
    sets = ["concurrency=5", "options.speakers_expected=2"]
    settings = load_settings(config, environ=environ, sets=sets, flags={"concurrency": 6, "service": None})
    assert (settings.uploads, settings.concurrency, settings.local.workers) == (2, 6, 1)
    assert settings.options == {"language_code": "en", "speaker_labels": True, "speakers_expected": 2}


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["concurency=4"], "--set: .*unknown field `concurency`.*did you mean 'concurrency'"),
        (["concurrency=many"], "--set: .*concurrency"),
        (["concurrency=0"], "--set: .*>= 1"),
        (["concurrency"], "KEY=VALUE"),
        (["options.speakers_expected=two"], "--set: option speakers_expected"),
        (["options.speaker_label=true"], "speaker_label"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_a_hint(sets: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings(environ={}, sets=sets, flags={})


def test_a_settings_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("concurrency = = 3")
    for name in ("absent.toml", "broken.toml"):
        with pytest.raises(UsageError, match=name):
            load_settings(tmp_path / name, environ={}, flags={})


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("nightly", {"progress": "plain", "concurrency": 200}),
        ("backfill", {"order": "longest", "uploads": 16}),
        ("contact-center", {"options": {"multichannel": True, "speaker_labels": False}}),
        ("meetings", {"concurrency": 64}),
        ("medical", {"service": "auto"}),
        ("eu", {"service": "assemblyai-eu"}),
    ],
)
def test_every_profile_loads_is_explained_and_is_not_default(name: str, facts: dict[str, object]) -> None:
    """Every profile loads, is explained, and differs from the defaults."""
    path = CONFIGS / f"{name}.toml"
    settings = load_settings(path, environ={}, flags={})
    assert {key: getattr(settings, key) for key in facts} == facts
    assert settings != Settings()
    assert path.read_text("utf-8").startswith("# ")
    assert len(path.read_text("utf-8").splitlines()) < 30


def test_every_profile_is_tested() -> None:
    named = {path.stem for path in CONFIGS.glob("*.toml")} - {"default"}
    assert named == {"nightly", "backfill", "contact-center", "meetings", "medical", "eu"}
