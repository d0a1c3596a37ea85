"""What an engine is asked, what it answers, and what it has to be.

An engine of one's own implements ``Engine`` and is named as ``module:factory``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec

from batch.model import Utterance, Word

ENGLISH: Final = frozenset({"en"})


class EngineCapabilities(NamedTuple):
    """What an engine can: ``languages`` without regions (None: whatever its model was made for), ``keyterms`` whether
    it honours those, ``on_gpu`` where it runs."""

    languages: frozenset[str] | None = ENGLISH
    keyterms: bool = False
    on_gpu: bool = False


BUILT_IN: Final = EngineCapabilities(keyterms=True)


class EngineRequest(msgspec.Struct, frozen=True):
    """What to do with one recording. Names and meanings are those of v2; times are milliseconds."""

    speaker_labels: bool = False
    speakers_expected: int | None = None
    min_speakers: int | None = None
    max_speakers: int | None = None
    multichannel: bool = False
    audio_start_from: int | None = None
    audio_end_at: int | None = None
    punctuate: bool = True
    format_text: bool = True
    disfluencies: bool = False
    keyterms: tuple[str, ...] = ()
    language_code: str = "en"

    @property
    def language(self) -> str:
        """The code without its region: ``de`` for ``de_ch``."""
        return language(self.language_code)


def language(code: str) -> str:
    return code.lower().partition("_")[0]


class Engine(Protocol):
    """A speech engine. One lives in each worker process and transcribes one recording at a time.

    One that can more than tell English words has ``abilities``.
    """

    name: str

    def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript:
        """What was said in the audio or video file at ``path``. Raises BadAudio if that cannot be told."""
        ...


@runtime_checkable
class Partitionable(Protocol):
    """An engine that can share a long recording out among its like in other processes, which meet in a folder."""

    def transcribe(self, path: Path, request: EngineRequest) -> EngineTranscript: ...

    def prepare(self, path: Path, request: EngineRequest, folder: Path) -> EngineTranscript | int:
        """The number of parts there are to be heard, all else in ``folder``; a short recording's transcript at once.

        Raises BadAudio.
        """
        ...

    def hear_part(self, folder: Path, number: int) -> None:
        """Hear one part, by its number from 0, and leave it in ``folder``. Done again, it does no harm."""
        ...

    def join(self, folder: Path) -> EngineTranscript:
        """The transcript, once all parts are heard."""
        ...


class BadAudio(Exception):
    """The file cannot be transcribed. The message is the text of the job's ``error`` field, in v2's own words."""


class EngineMissing(Exception):
    """The engine, or a file it needs, is not on this machine. The message says what to do."""


class EngineTranscript(msgspec.Struct, frozen=True):
    """What an engine heard in one recording.

    ``utterances`` is None when neither speakers nor channels were asked for; ``channels`` is the number of audio
    channels transcribed separately, None unless asked for; ``confidence`` is the words' mean (0 without words).
    """

    text: str
    words: tuple[Word, ...]
    utterances: tuple[Utterance, ...] | None
    confidence: float
    audio_seconds: float
    channels: int | None = None
    warnings: tuple[str, ...] = ()
