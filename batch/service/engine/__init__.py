"""The speech engine behind the local service: what it is asked, what it answers, and how to get one by name.

Nothing heavy is imported before `load`: a service that only hands jobs to its workers stays light.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from batch.model import Transcript


def install_command() -> str:
    """The one command that installs what the built-in engine needs, wherever diarist itself came from."""
    needed = importlib.metadata.requires("diarist") or []
    packages = [name for name, _, when in (line.partition(";") for line in needed) if "local" in when]
    return "pip install " + " ".join(f"'{name.strip()}'" for name in packages)


class Request(msgspec.Struct, frozen=True):
    """What to do with one recording. Names and meanings are those of v2; times are milliseconds."""

    speaker_labels: bool = False
    speakers_expected: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    multichannel: bool = False
    audio_start_from: int | None = None
    audio_end_at: int | None = None
    punctuate: bool = True
    format_text: bool = True
    disfluencies: bool = False
    keyterms: tuple[str, ...] = ()


class Engine(Protocol):
    """A speech engine. One lives in each worker process and transcribes one recording at a time."""

    name: str

    def transcribe(self, path: Path, request: Request) -> Transcript:
        """What was said in the audio or video file at ``path``. Raises BadAudio if that cannot be told."""
        ...


class BadAudio(Exception):
    """The file cannot be transcribed. The message is the text of the job's ``error`` field, in v2's own words."""


class EngineMissing(Exception):
    """The engine, or a file it needs, is not on this machine. The message says what to do."""


def load(name: str) -> Engine:
    """The engine called ``name``: ``moonshine`` is built in, ``some.module:factory`` calls a plug-in's factory.

    Takes a second or two and some 300 MB for the built-in one. Raises EngineMissing.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime >= 1.29 sends telemetry unless told not to before import
    module, colon, factory = name.partition(":")
    if name == "moonshine":
        module, factory = "batch.service.engine.moonshine", "Moonshine"
    elif not (module and colon and factory):
        raise EngineMissing(f"There is no engine called {name!r}: use moonshine, or some.module:factory.")
    return cast(Engine, _imported(name, module, factory)())


def _imported(name: str, module: str, factory: str) -> Any:
    try:
        return getattr(importlib.import_module(module), factory)
    except ImportError as error:
        if name == "moonshine" and (error.name or "").startswith("batch"):
            raise  # a mistake of ours, not a missing package
        cure = (
            f"install it with: {install_command()}"
            if name == "moonshine"
            else "install the plug-in, or correct its name."
        )
        raise EngineMissing(f"The engine {name!r} cannot be loaded ({error}): {cure}") from error
    except AttributeError as error:
        raise EngineMissing(f"The module {module!r} of engine {name!r} has no {factory!r}.") from error
