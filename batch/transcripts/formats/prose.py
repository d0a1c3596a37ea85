"""Text to read: plain and Markdown, a paragraph for each turn and no paragraph without its time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from batch.transcripts.segmentation import paragraphs
from batch.transcripts.timecodes import clock
from batch.transcripts.transcript import Transcript, joined, speaker_label

_MARKS: Final = re.compile(r"([\\`*_{}\[\]<>#|~])")


def txt(spoken: Transcript) -> str:
    """``[0:00:05] Speaker B: The roof is the first problem.``"""
    lines = (f"[{clock(start)}] {name + ': ' if name else ''}{text}\n" for start, name, text in _paragraphs(spoken))
    return "\n".join(lines)


def md(spoken: Transcript) -> str:
    facts = [f"length {clock(round(1000 * spoken.seconds))}"]
    if names := [speaker_label(speaker) for speaker in spoken.speakers if speaker]:
        facts.append(f"speakers: {', '.join(map(_escaped, names))}")
    parts = [f"# {_escaped(spoken.key)}\n", " · ".join(facts) + "\n"]
    for start, name, text in _paragraphs(spoken):
        parts.append(f"**{f'{_escaped(name)} ' if name else ''}[{clock(start)}]** {_escaped(text)}\n")
    return "\n".join(parts)


def _paragraphs(spoken: Transcript) -> Iterator[tuple[int, str, str]]:
    """Start in milliseconds, who speaks, and the text."""
    for utterance in spoken.utterances:
        for words in paragraphs(utterance.words):
            yield words[0].start, speaker_label(utterance.speaker), joined(words)


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\1", text)
