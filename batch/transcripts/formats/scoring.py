"""What scorers read: RTTM, CTM and STM of NIST, and the SegLST of CHiME and meeteval.

The first three are columns between spaces, so a space in a name becomes an underscore there. Times are seconds.
"""

from __future__ import annotations

from typing import Final

import msgspec

from batch.model import Word
from batch.transcripts.segmentation import Words, end_ms, segmented
from batch.transcripts.speech_spans import speech_spans
from batch.transcripts.transcript import Transcript, estimate_times, joined

NOBODY: Final = "unknown"
_STM_MARKS: Final = str.maketrans("{}()<>", "[][][]")
"""In an STM text, braces are alternatives, parentheses optional words, and what begins with ``<`` is a label."""


def rttm(spoken: Transcript) -> str:
    """Who speaks when: a line for each stretch of speech, words less than half a second apart joined.

    NIST's evaluation plan RT-09, appendix A.
    """
    name = field(spoken.key)
    return "".join(
        f"SPEAKER {name} {field(span.channel)} {_seconds(span.start)} {_seconds(span.end - span.start)} <NA> <NA> "
        f"{field(span.speaker or NOBODY)} <NA> <NA>\n"
        for span in speech_spans(spoken)
    )


def ctm(spoken: Transcript) -> str:
    """A line for each word, by channel and time (https://github.com/usnistgov/SCTK, doc/infmts.htm)."""
    name = field(spoken.key)
    words = [word for utterance in spoken.utterances for whole in utterance.words for word in _tokens(whole)]
    words.sort(key=lambda word: (word.channel or "1", word.start))
    return "".join(
        f"{name} {field(word.channel or '1')} {_seconds(word.start)} {_seconds(word.end - word.start)} "
        f"{word.text} {word.confidence:.3f}\n"
        for word in words
    )


def stm(spoken: Transcript) -> str:
    """A line for each segment, by channel and time (the same document)."""
    name = field(spoken.key)
    lines = sorted(
        ((words[0].channel or "1", words[0].start, _until(words), speaker, joined(words).translate(_STM_MARKS))
         for speaker, words in segmented(spoken)),
        key=lambda line: line[:2],
    )  # fmt: skip
    return "".join(
        f"{name} {field(channel)} {field(speaker or NOBODY)} {_seconds(start)} {_seconds(end)} {text}\n"
        for channel, start, end, speaker, text in lines
    )


def seglst(spoken: Transcript) -> bytes:
    """A JSON list of segments (https://github.com/fgnt/meeteval)."""
    rows = [
        {
            "session_id": spoken.key,
            "speaker": speaker or NOBODY,
            "start_time": words[0].start / 1000,
            "end_time": _until(words) / 1000,
            "words": joined(words),
            "channel": words[0].channel or "1",
        }
        for speaker, words in segmented(spoken)
    ]
    return b"[" + b",".join(b"\n" + msgspec.json.encode(row) for row in rows) + b"\n]\n"


def field(text: str) -> str:
    """Text as one column: no spaces, no quotes that readers of tables would take for their own, no comment mark."""
    plain = "_".join(text.split()).replace('"', "'")
    return plain.replace(";;", "__", 1) if plain.startswith(";;") else plain or "_"


def _tokens(word: Word) -> list[Word]:
    """The word as scorers count words: one that holds spaces is several."""
    if " " not in word.text:
        return [word]
    return [
        msgspec.structs.replace(part, speaker=word.speaker, channel=word.channel)
        for part in estimate_times(word.text, word.start, word.end, word.confidence)
    ]


def _until(words: Words) -> int:
    """At least a millisecond after the start: scorers refuse segments without length."""
    return max(words[0].start + 1, end_ms(words))


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}"
