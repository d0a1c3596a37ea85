"""What other speech tools take over: the JSON of Whisper and WhisperX, lhotse's supervisions. Times are seconds."""

from __future__ import annotations

from typing import Any

import msgspec

from batch.model import Word
from batch.transcripts.segmentation import Words, end_ms, segmented
from batch.transcripts.transcript import Transcript, joined


def whisper(spoken: Transcript) -> bytes:
    """``openai-whisper``'s result: segments of at most 30 s and their words, each word with the space before it;
    ``speaker``, ``score`` and ``word_segments`` as WhisperX adds them."""
    made = [_segment(number, speaker, words) for number, (speaker, words) in enumerate(segmented(spoken))]
    whole = {
        "text": "".join(segment["text"] for segment in made),
        "segments": made,
        "word_segments": [word for segment in made for word in segment["words"]],
        "language": language(spoken),
    }
    return msgspec.json.encode(whole) + b"\n"


def lhotse(spoken: Transcript) -> bytes:
    """A line for each segment, as a ``SupervisionSegment`` of lhotse is written; channels count from 0 there."""
    encode = msgspec.json.encode
    lines = [
        encode(_supervision(spoken, number, *segment)) + b"\n" for number, segment in enumerate(segmented(spoken))
    ]
    return b"".join(lines)


def language(spoken: Transcript) -> str | None:
    """The language alone, as these tools write it: ``en`` of ``en_us``."""
    return spoken.language.replace("-", "_").partition("_")[0] if spoken.language else None


def _segment(number: int, speaker: str, words: Words) -> dict[str, Any]:
    return {
        "id": number,
        "start": words[0].start / 1000,
        "end": end_ms(words) / 1000,
        "text": " " + joined(words),
        "words": [_word(word) for word in words],
        **({"speaker": speaker} if speaker else {}),
    }


def _word(word: Word) -> dict[str, Any]:
    segment = {
        "word": " " + word.text, "start": word.start / 1000, "end": word.end / 1000,
        "probability": word.confidence, "score": word.confidence,
    }  # fmt: skip
    return segment | ({"speaker": word.speaker} if word.speaker else {})


def _supervision(spoken: Transcript, number: int, speaker: str, words: Words) -> dict[str, Any]:
    start, channel = words[0].start, words[0].channel or "1"
    facts = {
        "id": f"{spoken.key}-{number:05}",
        "recording_id": spoken.key,
        "start": start / 1000,
        "duration": max(1, end_ms(words) - start) / 1000,
        "channel": int(channel) - 1 if channel.isdecimal() and int(channel) else 0,
        "text": joined(words),
        "language": language(spoken),
        "speaker": speaker or None,
        "custom": spoken.recording.get("labels") or None,
    }
    aligned = [[word.text, word.start / 1000, (word.end - word.start) / 1000, word.confidence] for word in words]
    return {name: fact for name, fact in facts.items() if fact is not None} | {"alignment": {"word": aligned}}
