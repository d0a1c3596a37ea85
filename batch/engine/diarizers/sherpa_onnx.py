"""Who speaks when by sherpa-onnx, from two ONNX models in a directory: segmentation and speaker embedding.

Source: sherpa-onnx 2.0 (``OfflineSpeakerDiarization``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import sherpa_onnx

from batch.engine.diarizers.community.clustering import Bounds
from batch.engine.interface import EngineMissing
from batch.engine.recognizers.sherpa_onnx import on_gpu
from batch.engine.segmentation import Stretch
from batch.engine.spans import Audio, Floats, SampleSpan, Turn, seconds

THRESHOLD: Final = 0.5  # sherpa-onnx's own: the distance beyond which voices are different people


class SherpaDiarizer:
    """The two models, loaded. See ``composition.Voices``. They look at the whole recording in one go."""

    def __init__(self, model: str = "", device: str = "auto") -> None:
        """``model`` is a directory. Raises EngineMissing."""
        self._segmentation, self._embedding = found(Path(model).expanduser() if model else None)
        self.on_gpu = on_gpu(device)
        config = self._config(Bounds())
        if not config.validate():
            raise EngineMissing(f"The speaker models in {model} cannot be used: see the lines above")
        self._diarization = sherpa_onnx.OfflineSpeakerDiarization(config)

    def pieces(self, stretches: Sequence[Stretch]) -> list[SampleSpan]:
        return []

    def vectors(self, audio: Audio, pieces: Sequence[SampleSpan]) -> Floats:
        return np.zeros((len(pieces), 0), np.float32)

    def turns(self, audio: Audio, stretches: Sequence[Stretch], vectors: Floats, bounds: Bounds) -> list[Turn]:
        self._diarization.set_config(self._config(bounds))
        segments = self._diarization.process(audio.astype(np.float32) / 32768).sort_by_start_time()
        return [Turn(SampleSpan(seconds(turn.start), seconds(turn.end)), turn.speaker) for turn in segments]

    def _config(self, bounds: Bounds) -> sherpa_onnx.OfflineSpeakerDiarizationConfig:
        """A number of speakers can only be told exactly; a range is left to the threshold."""
        provider = "cuda" if self.on_gpu else "cpu"
        exactly = bounds.most if bounds.most and bounds.most == bounds.fewest else -1
        pyannote = sherpa_onnx.OfflineSpeakerSegmentationPyannoteModelConfig(model=str(self._segmentation))
        return sherpa_onnx.OfflineSpeakerDiarizationConfig(
            segmentation=sherpa_onnx.OfflineSpeakerSegmentationModelConfig(
                pyannote=pyannote, num_threads=1, provider=provider
            ),
            embedding=sherpa_onnx.SpeakerEmbeddingExtractorConfig(
                model=str(self._embedding), num_threads=1, provider=provider
            ),
            clustering=sherpa_onnx.FastClusteringConfig(num_clusters=exactly, threshold=THRESHOLD),
        )


def found(folder: Path | None) -> tuple[Path, Path]:
    """The segmentation and the embedding model in the directory. Raises EngineMissing."""
    advice = "give a directory with segmentation.onnx and embedding.onnx, as sherpa-onnx:DIRECTORY"
    if folder is None or not folder.is_dir():
        raise EngineMissing(
            f"{f'There is no directory {folder}' if folder else 'sherpa-onnx brings no models'}: {advice}"
        )
    models = folder / "segmentation.onnx", folder / "embedding.onnx"
    if missing := [path.name for path in models if not path.is_file()]:
        raise EngineMissing(f"{folder} lacks {' and '.join(missing)}: {advice}")
    return models
