"""Words by sherpa-onnx, from whatever kind of offline model lies in a directory.

The kind is told by the names of the files, which sherpa-onnx's own model releases keep to; a single ``model.onnx``
by the ``model_type`` in its metadata. Source: sherpa-onnx 2.0 (``OfflineRecognizer.from_*``).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import sherpa_onnx

from batch.engine.alignment import Alignment, shared
from batch.engine.interface import EngineCapabilities, EngineMissing, EngineRequest
from batch.engine.spans import PER_MS, RATE, Audio, SampleSpan, seconds
from batch.model import Word

LONGEST_LAST: Final = 0.4  # seconds: a word whose end no token tells lasts no longer
NO_CONFIDENCE: Final = "This model does not tell how sure it is: all confidences are 0."

KINDS: Final = (
    ("transducer", {"encoder": "encoder", "decoder": "decoder", "joiner": "joiner"}),
    ("moonshine", {"preprocessor": "preprocess", "encoder": "encode", "uncached_decoder": "uncached_decode",
                   "cached_decoder": "cached_decode"}),
    ("moonshine_v2", {"encoder": "encoder_model", "decoder": "decoder_model_merged"}),
    ("whisper", {"encoder": "encoder", "decoder": "decoder"}),
)  # fmt: skip
"""For each kind the parts of its file names, by the names of the arguments; the first that fits is it."""

ALONE: Final = {
    "paraformer": ("paraformer", "paraformer"),
    "sense_voice": ("sense_voice", "model"),
    "EncDecCTC": ("nemo_ctc", "model"),
    "EncDecHybrid": ("nemo_ctc", "model"),
    "zipformer2_ctc": ("zipformer_ctc", "model"),
    "wenet_ctc": ("wenet_ctc", "model"),
    "telespeech": ("telespeech_ctc", "model"),
    "omnilingual": ("omnilingual_asr_ctc", "model"),
}
"""Kinds of one file, by how its ``model_type`` begins: the constructor, and its argument for the file."""


class Found(NamedTuple):
    """What lies in a directory: ``OfflineRecognizer.from_<kind>``, and the files for its arguments."""

    kind: str
    files: dict[str, str]


class Token(NamedTuple):
    """A piece of a word; one that begins a word begins with a blank. Seconds; None where the model tells none."""

    text: str
    start: float | None
    end: float | None
    log_prob: float | None


class SherpaRecognizer:
    """A recogniser, loaded from a directory. It speaks what its model was made for."""

    def __init__(self, model: str = "", device: str = "auto") -> None:
        """Loads the model. Raises EngineMissing."""
        runs_on_gpu = on_gpu(device)
        self.abilities = EngineCapabilities(None, on_gpu=runs_on_gpu)
        self._found = found(Path(model).expanduser() if model else None)
        self._recognizer = cache(lambda language: _loaded(self._found, language, "cuda" if runs_on_gpu else "cpu"))
        self._recognizer("en")
        self._alignment = Alignment()

    def words(self, sound: Audio, speech: Sequence[SampleSpan], request: EngineRequest) -> list[Word]:
        recognizer = self._recognizer(request.language if self._found.kind in ("whisper", "sense_voice") else "en")
        stream = recognizer.create_stream()
        stream.accept_waveform(RATE, sound.astype(np.float32) / 32768)
        recognizer.decode_stream(stream)
        groups = grouped(tokens(stream.result))
        if any(token.start is None for group in groups for token in group):
            return self._timed(groups, sound, speech, request.language)
        ends = [*(group[0].start or 0.0 for group in groups[1:]), len(sound) / RATE]
        return [_word(group, end) for group, end in zip(groups, ends, strict=False)]

    def _timed(
        self, groups: list[list[Token]], sound: Audio, speech: Sequence[SampleSpan], language: str
    ) -> list[Word]:
        """For a model that tells no times: by forced alignment in English, else shared out by syllables."""
        texts = [_text(group) for group in groups]
        spans = self._alignment.spans(sound, texts, speech) if language == "en" else shared(texts, speech)
        return [
            Word(text, span.start // PER_MS, span.end // PER_MS, _confidence(group))
            for text, span, group in zip(texts, spans, groups, strict=True)
        ]

    def warnings(self, words: Sequence[Word]) -> tuple[str, ...]:
        return (NO_CONFIDENCE,) if words and not any(word.confidence for word in words) else ()


def found(folder: Path | None) -> Found:
    """Which kind of model is in the directory. Raises EngineMissing."""
    if folder is None or not folder.is_dir():
        named = f"There is no directory {folder}" if folder else "sherpa-onnx brings no model"
        raise EngineMissing(f"{named}: give one with an offline model for it, as sherpa-onnx:DIRECTORY")
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".onnx", ".ort"))
    words = next(iter(sorted(folder.glob("*tokens.txt"))), None)
    if words is None:
        raise EngineMissing(f"{folder} lacks tokens.txt: it must hold a whole offline model of sherpa-onnx")
    for kind, parts in KINDS:
        files = {argument: _chosen(paths, part) for argument, part in parts.items()}
        if all(files.values()):
            return Found(kind, {**{name: str(path) for name, path in files.items()}, "tokens": str(words)})
    return _alone(folder, paths, words)


def _chosen(paths: Iterable[Path], part: str) -> Path | None:
    """The file whose name has the part as a word of its own; of several, the one with 8-bit weights."""
    fitting = [path for path in paths if part in path.name.replace("-", ".").split(".")]
    return min(fitting, key=lambda path: ("int8" not in path.name, path.name), default=None)


def _alone(folder: Path, paths: Sequence[Path], words: Path) -> Found:
    model = _chosen(paths, "model")
    if model is None:
        needed = "encoder and decoder (and joiner), or model.onnx"
        raise EngineMissing(f"{folder} has no model that sherpa-onnx reads offline: {needed} beside tokens.txt")
    said = model_type(model)
    for begins, (kind, argument) in ALONE.items():
        if said.startswith(begins):
            return Found(kind, {argument: str(model), "tokens": str(words)})
    raise EngineMissing(f"{model} is of a kind that is not known here: its model_type is {said or 'missing'!r}")


def model_type(path: Path) -> str:
    """The ``model_type`` in an ONNX file's metadata, a protobuf entry of key and value; else empty."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
        at = model.rfind(_MODEL_TYPE) + len(_MODEL_TYPE)
        if not len(_MODEL_TYPE) <= at < len(model):
            return ""
        return bytes(model[at + 1 : at + 1 + model[at]]).decode(errors="replace")


_MODEL_TYPE = b"\x0a\x0amodel_type\x12"


def on_gpu(device: str) -> bool:
    """Whether sherpa-onnx is to use a GPU, which only its own CUDA builds can. Raises EngineMissing."""
    there = any((Path(sherpa_onnx.__file__).parent / "lib").glob("libonnxruntime_providers_cuda*"))
    if device == "cuda" and not there:
        raise EngineMissing("This sherpa-onnx is built for the CPU: use `device` cpu or auto, or its CUDA build")
    return there and device != "cpu"


def _loaded(model: Found, language: str, provider: str) -> Any:
    make: Callable[..., Any] = getattr(sherpa_onnx.OfflineRecognizer, f"from_{model.kind}")
    asked: dict[str, dict[str, Any]] = {
        "whisper": {"language": language},
        "sense_voice": {"language": language, "use_itn": True},
    }
    try:
        return make(**model.files, num_threads=1, provider=provider, **asked.get(model.kind, {}))
    except (RuntimeError, ValueError) as error:
        raise EngineMissing(f"The model in {Path(model.files['tokens']).parent} cannot be loaded: {error}") from error


def tokens(result: Any) -> list[Token]:
    """The tokens of a result, with what it tells of each."""
    count = len(result.tokens)
    starts, lasting, sure = (
        list(told) if len(told) == count else [None] * count
        for told in (result.timestamps, result.durations, result.ys_log_probs)
    )
    ends = [_sum(start, length) for start, length in zip(starts, lasting, strict=True)]
    return [Token(*facts) for facts in zip(result.tokens, starts, ends, sure, strict=True)]


def _sum(start: float | None, length: float | None) -> float | None:
    return None if start is None or length is None else start + length


def grouped(pieces: Iterable[Token]) -> list[list[Token]]:
    """The tokens of each word. Where a script has no blanks (Chinese, Japanese) each is a word."""
    groups: list[list[Token]] = []
    for piece in pieces:
        begins = piece.text.startswith((" ", "\u2581")) or _ideographic(piece.text)
        if begins or not groups or (_ideographic(groups[-1][-1].text) and piece.text.isalnum()):
            groups.append([])
        groups[-1].append(piece)
    return [group for group in groups if _text(group)]


def _ideographic(text: str) -> bool:
    return any("\u3040" <= letter <= "\u9fff" for letter in text)


def _text(group: Sequence[Token]) -> str:
    return "".join(token.text for token in group).replace("\u2581", " ").strip()


def _confidence(group: Sequence[Token]) -> float:
    sure = [token.log_prob for token in group if token.log_prob is not None]
    return round(min(1.0, math.exp(sum(sure) / len(sure))), 5) if sure else 0.0


def _word(group: Sequence[Token], before: float) -> Word:
    """A word whose tokens have times; it ends ``before`` the next one begins."""
    start, last = group[0].start or 0.0, group[-1]
    end = last.end if last.end is not None else min(before, (last.start or 0.0) + LONGEST_LAST)
    return Word(_text(group), seconds(start) // PER_MS, seconds(end) // PER_MS, _confidence(group))
