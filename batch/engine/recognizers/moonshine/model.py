"""Sound to words with their confidences: the Moonshine recogniser, decoded by beam search.

Moonshine (N. Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands", 2024) is an
encoder-decoder over raw sound; its text has case and punctuation. It is English only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from batch.engine import onnx, weights
from batch.engine.recognizers.moonshine import beam_search
from batch.engine.recognizers.moonshine.keyterms import Keyterms
from batch.engine.spans import RATE, Audio, Floats, seconds

LAYERS = 6
HEADS = 8
HEAD_WIDTH = 36
BEGIN, END = 1, 2
TOKENS_PER_SECOND = 6.5  # the model's authors cap decoding here: more is a loop, not speech
LOUDNESS = 0.06  # RMS every chunk is brought to: the model was trained on speech near this level
SHORTEST = seconds(1)  # the model is unsure of less: such chunks are padded with silence


class Token(NamedTuple):
    """A piece of a word and its log-probability."""

    piece: bytes
    log_prob: float


class Heard(NamedTuple):
    """A word as the model wrote it, with punctuation, and how sure the model was, 0 to 1."""

    text: str
    confidence: float


class MoonshineModel:
    """The recogniser, loaded."""

    def __init__(self) -> None:
        self._encoder = onnx.session("encoder_model.ort")
        self._decoder = onnx.session("decoder_model_merged.ort")
        self._pieces = vocabulary(weights.read("tokenizer.bin"))

    def keyterms(self, terms: Sequence[str]) -> Keyterms | None:
        """The terms as ``words`` wants them; None if there are none."""
        return Keyterms(terms, self._pieces) if terms else None

    def words(self, audio: Audio, keyterms: Keyterms | None = None) -> list[Heard]:
        """The words in one chunk of speech, at most half a minute of sound, keyterms favoured."""
        waveform = loudness_set(audio)
        mask = np.ones(waveform.shape, np.int64)
        (states,) = self._encoder.run(None, {"input_values": waveform, "attention_mask": mask})
        return words(self._decode(states, mask, keyterms))

    def _decode(self, states: Floats, mask: Any, keyterms: Keyterms | None) -> list[Token]:
        """The likeliest tokens until the model ends, goes round in circles or says more than can be said."""
        limit = math.ceil(mask.shape[1] / RATE * TOKENS_PER_SECOND)
        text = beam_search.search(_Steps(self._decoder, states, mask), BEGIN, END, limit, keyterms)
        return [
            Token(self._pieces[token], log_prob) for token, log_prob in zip(text.tokens, text.log_probs, strict=True)
        ]


class _Steps:
    """The decoder over one chunk of sound. Each call is a step; what it remembers of a text moves with the text."""

    def __init__(self, decoder: onnxruntime.InferenceSession, states: Floats, mask: Any) -> None:
        self._decoder = decoder
        self._outputs = [output.name for output in decoder.get_outputs()]
        self._feeds: dict[str, Any] = {
            "encoder_attention_mask": mask,
            "encoder_hidden_states": states,
            **_empty_cache(),
        }
        self._first = True

    def __call__(self, tokens: Sequence[int], parents: Sequence[int]) -> Floats:
        """Log-probabilities, shape (texts, vocabulary): see beam.Step."""
        self._carry_over(parents)
        self._feeds["input_ids"] = np.array(tokens, np.int64)[:, None]
        self._feeds["use_cache_branch"] = np.array([not self._first])
        outputs = dict(zip(self._outputs, self._decoder.run(None, self._feeds), strict=True))
        self._feeds |= _cache(outputs, first=self._first)
        self._first = False
        return _log_softmax(outputs["logits"][:, -1])

    def _carry_over(self, parents: Sequence[int]) -> None:
        """What is of the sound is the same for all texts: it is only copied when their number changes."""
        grown = len(parents) != len(self._feeds["encoder_hidden_states"])
        for name, array in self._feeds.items():
            if ".decoder." in name or (grown and "encoder" in name):
                self._feeds[name] = array[list(parents)]


def vocabulary(tokenizer: bytes) -> list[bytes]:
    """The pieces of the vocabulary, by token. In the file each has its length before it, in one or two bytes."""
    pieces: list[bytes] = []
    position = 0
    while position < len(tokenizer):
        length = tokenizer[position]
        position += 1
        if length >= 128:
            length += (tokenizer[position] - 1) * 128
            position += 1
        pieces.append(tokenizer[position : position + length])
        position += length
    return pieces


def loudness_set(audio: Audio) -> Floats:
    """The sound at the loudness that the model likes: shape (1, samples), float, mostly within -1 to 1."""
    waveform = audio.astype(np.float32) / 32768
    rms = float(np.sqrt(np.mean(waveform**2))) if len(waveform) else 0.0
    if rms > 0:
        waveform = np.clip(waveform * (LOUDNESS / rms), -1, 1)
    padding = max(0, SHORTEST - len(waveform))
    return np.pad(waveform, (0, padding))[None].astype(np.float32)


def words(tokens: list[Token]) -> list[Heard]:
    """Tokens joined to words: a piece that starts with the vocabulary's blank begins one."""
    groups: list[list[Token]] = []
    for token in tokens:
        if token.piece.startswith(b"<<ST_"):
            continue  # the vocabulary's unused special tokens
        if token.piece.startswith(_BLANK) or not groups:
            groups.append([])
        groups[-1].append(token)
    return [word for group in groups if (word := _word(group)).text]


def _word(tokens: list[Token]) -> Heard:
    text = b"".join(token.piece for token in tokens).replace(_BLANK, b" ").decode(errors="ignore").strip()
    return Heard(text, math.exp(sum(token.log_prob for token in tokens) / len(tokens)))


_BLANK = "▁".encode()


def _log_softmax(logits: Floats) -> Floats:
    shifted: Floats = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float32)


def _empty_cache() -> dict[str, Floats]:
    empty = np.zeros((1, HEADS, 0, HEAD_WIDTH), np.float32)
    return {
        f"past_key_values.{layer}.{side}.{part}": empty
        for layer in range(LAYERS)
        for side in ("decoder", "encoder")
        for part in ("key", "value")
    }


def _cache(outputs: dict[str, Any], *, first: bool) -> dict[str, Any]:
    """What the decoder remembers. The encoder's part is made in the first step only and stays."""
    return {
        name.replace("present", "past_key_values"): array
        for name, array in outputs.items()
        if name.startswith("present") and (first or ".decoder." in name)
    }
