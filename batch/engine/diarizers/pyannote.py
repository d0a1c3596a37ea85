"""Who speaks when by a pipeline of pyannote.audio, from weights that are on this machine; on a GPU if there is one.

Source: pyannote.audio 4.0 (``Pipeline.from_pretrained``, ``SpeakerDiarization``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pyannote.audio import Pipeline

from batch.engine.diarizers.community.clustering import Bounds
from batch.engine.interface import EngineMissing
from batch.engine.segmentation import Stretch
from batch.engine.spans import RATE, Audio, Floats, SampleSpan, Turn, seconds

DEFAULT: Final = "pyannote/speaker-diarization-community-1"
ADVICE: Final = (
    "give a directory that has its config.yaml, as pyannote:DIRECTORY, or with a network download it once "
    f"(`hf download {DEFAULT}`, after you have agreed to its terms)"
)


class PyannoteDiarizer:
    """The pipeline, loaded. See ``composition.Voices``. It looks at the whole recording in one go."""

    def __init__(self, model: str = "", device: str = "auto") -> None:
        """``model``: a directory, its ``config.yaml``, or a name in Hugging Face's cache. Raises EngineMissing."""
        there = torch.cuda.is_available()
        if device == "cuda" and not there:
            raise EngineMissing("PyTorch finds no CUDA device here: use `device` cpu or auto, or see to the driver")
        self.on_gpu = there and device != "cpu"
        torch.set_num_threads(1)  # worker processes are the unit of parallelism
        self._pipeline = _loaded(model or DEFAULT)
        self._pipeline.to(torch.device("cuda" if self.on_gpu else "cpu"))

    def pieces(self, stretches: Sequence[Stretch]) -> list[SampleSpan]:
        return []

    def vectors(self, audio: Audio, pieces: Sequence[SampleSpan]) -> Floats:
        return np.zeros((len(pieces), 0), np.float32)

    def turns(self, audio: Audio, stretches: Sequence[Stretch], vectors: Floats, bounds: Bounds) -> list[Turn]:
        waveform = torch.from_numpy(audio.astype(np.float32)[None] / 32768)
        limits = {"min_speakers": bounds.fewest, "max_speakers": bounds.most}
        output = self._pipeline({"waveform": waveform, "sample_rate": RATE}, **limits)
        annotation = getattr(output, "speaker_diarization", output)  # before 4.0 the pipeline gave just this
        numbers = {name: number for number, name in enumerate(annotation.labels())}
        return sorted(
            Turn(SampleSpan(seconds(segment.start), seconds(segment.end)), numbers[name])
            for segment, _, name in annotation.itertracks(yield_label=True)
        )


def _loaded(model: str) -> Any:
    path = Path(model).expanduser()
    if path.is_absolute() and not path.exists():
        raise EngineMissing(f"There is no pyannote pipeline in {model}: {ADVICE}")
    if path.is_dir() and not (path / "config.yaml").is_file():
        raise EngineMissing(f"{model} lacks config.yaml: {ADVICE}")
    try:
        pipeline = Pipeline.from_pretrained(str(path) if path.exists() else model)
    except (OSError, RuntimeError, ValueError) as error:  # Hugging Face's errors are OSErrors
        raise EngineMissing(f"The pyannote pipeline {model} cannot be loaded ({error}): {ADVICE}") from error
    if pipeline is None:
        raise EngineMissing(f"The pyannote pipeline {model} is not on this machine: {ADVICE}")
    return pipeline
