"""``custom_spelling``: the caller's own spelling of words and phrases, whatever the engine wrote. Pure.

Source: the TranscriptCustomSpelling schema of the AssemblyAI v2 specification (August 2026): phrases of up to five
words are found whatever their case, and replaced by one word as it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from batch.engine.interface import EngineTranscript
from batch.model import Utterance, Word
from batch.providers.assemblyai.option_rules import SPELLED_WORDS
from batch.transcripts.sentences import mean_confidence

_PARTS: Final = re.compile(r"([\"'(\[\u2018\u201c]*)(.*?)([.,?!;:…\"')\]\u2019\u201d]*)", re.DOTALL)


def respelt(transcript: EngineTranscript, spellings: Iterable[Mapping[str, Any]]) -> EngineTranscript:
    """The transcript with the caller's spellings. Its text is made anew from its words."""
    wanted = {tuple(map(_bare, one.split())): str(each["to"]) for each in spellings for one in each["from"]}
    if not wanted:
        return transcript
    words = tuple(_words(transcript.words, wanted))
    utterances = transcript.utterances and tuple(_utterance(each, wanted) for each in transcript.utterances)
    return msgspec.structs.replace(transcript, text=_text(words), words=words, utterances=utterances)


def _utterance(utterance: Utterance, wanted: Mapping[tuple[str, ...], str]) -> Utterance:
    words = tuple(_words(utterance.words, wanted))
    return msgspec.structs.replace(utterance, text=_text(words), words=words)


def _text(words: Iterable[Word]) -> str:
    return " ".join(word.text for word in words)


def _words(words: Sequence[Word], wanted: Mapping[tuple[str, ...], str]) -> Iterator[Word]:
    """The words, the longest phrase that is wanted first; a phrase is said by one voice and has no marks inside."""
    bare = [_bare(word.text) for word in words]
    at = 0
    while at < len(words):
        ends = range(min(at + SPELLED_WORDS, len(words)), at, -1)
        end = next((end for end in ends if tuple(bare[at:end]) in wanted and _is_one(words[at:end])), None)
        yield _joined(words[at:end], wanted[tuple(bare[at:end])]) if end else words[at]
        at = end or at + 1


def _bare(text: str) -> str:
    return _split(text)[1].casefold()


def _split(text: str) -> tuple[str, str, str]:
    """The marks before a word, the word itself, and the marks after it."""
    found = _PARTS.fullmatch(text)
    return (found[1], found[2], found[3]) if found else ("", text, "")


def _is_one(words: Sequence[Word]) -> bool:
    voices = {(word.channel, word.speaker) for word in words}
    return len(voices) == 1 and not any(_split(word.text)[2] for word in words[:-1])


def _joined(words: Sequence[Word], text: str) -> Word:
    return msgspec.structs.replace(
        words[0],
        text=_split(words[0].text)[0] + text + _split(words[-1].text)[2],
        end=max(word.end for word in words),
        confidence=mean_confidence(words),
    )
