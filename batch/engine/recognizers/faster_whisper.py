"""Whisper's words by faster-whisper, from a model that is on this machine: many languages, and a GPU if there is one.

Source: faster-whisper 1.2 (``WhisperModel``), which runs models in CTranslate2's format.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import ctranslate2
import faster_whisper
import numpy as np

from batch.engine.interface import EngineCapabilities, EngineMissing, EngineRequest
from batch.engine.spans import Audio, SampleSpan
from batch.model import Word

DEFAULT: Final = "turbo"
FILES: Final = ("model.bin", "config.json", "tokenizer.json")  # without the last, it would be looked for in the net
VOCABULARY: Final = ("vocabulary.json", "vocabulary.txt")
UNSPACED: Final = frozenset({"zh", "yue", "ja", "th", "lo", "my"})  # each token of these is a word of its own


class Piece(NamedTuple):
    """What Whisper takes for a word. One that begins a word begins with a blank. Times are seconds."""

    word: str
    start: float
    end: float
    probability: float


class WhisperRecognizer:
    """The model, loaded. ``model`` is a directory, or a name (``large-v3``) in Hugging Face's cache."""

    def __init__(self, model: str = "", device: str = "auto") -> None:
        """Loads the model. Raises EngineMissing."""
        runs_on_gpu = on_gpu(device)
        self._model = _loaded(checked(model or DEFAULT), "cuda" if runs_on_gpu else "cpu")
        self.abilities = EngineCapabilities(
            frozenset(self._model.supported_languages), keyterms=True, on_gpu=runs_on_gpu
        )

    def words(self, sound: Audio, speech: Sequence[SampleSpan], request: EngineRequest) -> list[Word]:
        """Without sampling (temperature 0), so that a chunk's words never depend on what came before it."""
        segments, _ = self._model.transcribe(
            sound.astype(np.float32) / 32768, language=request.language, word_timestamps=True, vad_filter=False,
            temperature=0.0, condition_on_previous_text=False, hotwords=", ".join(request.keyterms) or None,
        )  # fmt: skip
        pieces = (Piece(*piece[:4]) for segment in segments for piece in map(_facts, segment.words or ()))
        return [
            _word(piece) for piece in joined(pieces, spaced=request.language not in UNSPACED) if piece.word.strip()
        ]

    def warnings(self, words: Sequence[Word]) -> tuple[str, ...]:
        return ()


def _facts(word: Any) -> tuple[str, float, float, float]:
    return word.word, float(word.start), float(word.end), float(word.probability)


def joined(pieces: Iterable[Piece], *, spaced: bool) -> Iterator[Piece]:
    """Pieces without a blank before them are the rest of a word: ``50`` and ``%``, ``well`` and ``-known``."""
    last: Piece | None = None
    for piece in pieces:
        if last is not None and spaced and not piece.word.startswith(" "):
            surest = min(last.probability, piece.probability)
            last = Piece(last.word + piece.word, last.start, piece.end, surest)
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def _word(piece: Piece) -> Word:
    confidence = round(min(1.0, max(0.0, piece.probability)), 5)
    return Word(piece.word.strip(), round(piece.start * 1000), round(piece.end * 1000), confidence)


def on_gpu(device: str) -> bool:
    """Whether the model is to run on a GPU. Raises EngineMissing if one is asked for and not there."""
    there = False
    with contextlib.suppress(RuntimeError, ValueError):  # no driver, or a build without CUDA
        there = ctranslate2.get_cuda_device_count() > 0
    if device == "cuda" and not there:
        raise EngineMissing("No CUDA device is usable here: use `device` cpu or auto, or see to driver and CUDA 12")
    return there and device != "cpu"


def checked(model: str) -> str:
    """``model`` itself if it is a whole directory or a plain name. Raises EngineMissing naming the file."""
    path = Path(model).expanduser()
    if not path.is_dir():
        if path.name != model:
            raise EngineMissing(
                f"There is no directory {model}: give one with a Whisper model in CTranslate2's format"
            )
        return model
    missing = [name for name in FILES if not (path / name).is_file()]
    if not any((path / name).is_file() for name in VOCABULARY):
        missing.append(VOCABULARY[0])
    if missing:
        raise EngineMissing(
            f"{model} lacks {', '.join(missing)}: it must hold a Whisper model in CTranslate2's format "
            "(those of Systran on Hugging Face are, others are made by ct2-transformers-converter "
            "--copy_files tokenizer.json preprocessor_config.json)"
        )
    return str(path)


def _loaded(model: str, device: str) -> faster_whisper.WhisperModel:
    try:
        loaded = faster_whisper.WhisperModel(
            model, device=device, compute_type="auto", cpu_threads=1, local_files_only=True
        )
    except (RuntimeError, ValueError) as error:  # a broken file, or a name that is none
        raise EngineMissing(f"The Whisper model {model} cannot be loaded: {error}") from error
    except OSError as error:  # Hugging Face's: not in its cache
        raise EngineMissing(
            f"The Whisper model {model!r} is not on this machine: with a network, run "
            f'`python -c "import faster_whisper; faster_whisper.download_model({model!r})"`, '
            "or give a directory: faster-whisper:DIRECTORY"
        ) from error
    if loaded.model.n_mels != loaded.feature_extractor.mel_filters.shape[0]:
        raise EngineMissing(f"{model} lacks preprocessor_config.json, which tells how many bands the model hears")
    return loaded
