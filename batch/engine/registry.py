"""Engines and diarizers by name: those that come with diarist, and plug-ins.

Nothing heavy is imported before `load`: a service that only hands jobs to its workers stays light.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import msgspec

from batch.config import Device
from batch.engine.interface import Engine, EngineMissing


def install_command(*extras: str) -> str:
    """The one command that installs what these extras name, wherever diarist itself came from."""
    wanted = re.compile("|".join(rf"extra == .{re.escape(extra)}\W" for extra in ("local", *extras)))
    needed = (line.partition(";") for line in importlib.metadata.requires("diarist") or [])
    return "pip install " + " ".join(f"'{name.strip()}'" for name, _, when in needed if wanted.search(when))


class EngineChoice(msgspec.Struct, frozen=True):
    """Which engine. ``engine`` and ``speakers`` are NAME or NAME:MODEL, as settings and flags have them."""

    engine: str = "moonshine"
    speakers: str = "community-1"
    device: Device = "auto"

    @property
    def is_plugin(self) -> bool:
        return self.engine.partition(":")[0] not in ENGINES

    @property
    def label(self) -> str:
        """What is told to whoever reads its words: no more of a directory than its name."""
        name, colon, model = self.engine.partition(":")
        return self.engine if self.is_plugin else f"{name}{colon}{Path(model).name}"


class Factory(NamedTuple):
    """Where a part of an engine comes from: a module here, its factory, and an extra beside ``local``."""

    module: str
    factory: str
    extra: str = ""


ENGINES: Final = {
    "moonshine": Factory("recognizers.moonshine.recognizer", "MoonshineRecognizer"),
    "faster-whisper": Factory("recognizers.faster_whisper", "WhisperRecognizer", "faster-whisper"),
    "sherpa-onnx": Factory("recognizers.sherpa_onnx", "SherpaRecognizer", "sherpa-onnx"),
}
SPEAKERS: Final = {
    "community-1": Factory("diarizers.community.diarizer", "community"),
    "pyannote": Factory("diarizers.pyannote", "PyannoteDiarizer", "pyannote"),
    "sherpa-onnx": Factory("diarizers.sherpa_onnx", "SherpaDiarizer", "sherpa-onnx"),
}


def load(engine: str = "moonshine", speakers: str = "community-1", device: Device = "auto") -> Engine:
    """The engine of a ``EngineChoice``; ``some.module:factory`` calls a plug-in's factory.

    Takes a second or two and some 300 MB for the built-in one. Raises EngineMissing.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime >= 1.29 sends telemetry unless told not to before import
    name, _, model = engine.partition(":")
    if name not in ENGINES:
        return _plugin(engine, speakers)
    os.environ["HF_HUB_OFFLINE"] = "1"  # models are here or they are missing: nothing is fetched behind one's back
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    voice, _, voices_model = speakers.partition(":")
    if voice not in SPEAKERS:
        raise EngineMissing(f"Nobody called {voice!r} tells speakers apart: there are {', '.join(SPEAKERS)}.")
    words = _made(name, ENGINES[name], model, device)
    voices = _made(voice, SPEAKERS[voice], voices_model, device)
    return cast(Engine, _imported(name, "partition", "PartitionedPipeline", "")(name, words, voices))


def _made(name: str, origin: Factory, model: str, device: Device) -> Any:
    return _imported(name, origin.module, origin.factory, origin.extra)(model, device)


def _imported(name: str, module: str, factory: str, extra: str) -> Any:
    try:
        return getattr(importlib.import_module(f"batch.engine.{module}"), factory)
    except ImportError as error:
        if (error.name or "").startswith("batch"):
            raise  # a mistake of ours, not a missing package
        cure = install_command(*([extra] if extra else []))
        raise EngineMissing(f"{name!r} cannot be loaded ({error}): install it with: {cure}") from error


def _plugin(engine: str, speakers: str) -> Engine:
    module, colon, factory = engine.partition(":")
    if not (module and colon and factory):
        raise EngineMissing(
            f"There is no engine called {engine!r}: use {', '.join(ENGINES)}, or some.module:factory."
        )
    if speakers != "community-1":
        raise EngineMissing(f"The plug-in {engine!r} tells speakers apart itself: leave `speakers` as it is.")
    try:
        return cast(Engine, getattr(importlib.import_module(module), factory)())
    except ImportError as error:
        cure = "install the plug-in, or correct its name."
        raise EngineMissing(f"The engine {engine!r} cannot be loaded ({error}): {cure}") from error
    except AttributeError as error:
        raise EngineMissing(f"The module {module!r} of engine {engine!r} has no {factory!r}.") from error
