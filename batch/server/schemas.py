"""What the service says: transcript objects, list lines and refusals, in v2's shapes. Pure.

Source: the Transcript, TranscriptListItem and Error schemas of the AssemblyAI v2 specification (August 2026). Every
field that the schema requires is always there, and a field without a value is null rather than missing.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from batch.engine.interface import BUILT_IN, ENGLISH, EngineCapabilities, EngineRequest, EngineTranscript, language
from batch.providers.assemblyai import options
from batch.providers.assemblyai.protocol import BAD_AUDIO_URL_TEXT, DELETED_TEXT, DELETED_URL, Status
from batch.server import custom_spelling
from batch.server.responses import BadRequest
from batch.server.webhooks import HEADER_NAME, HEADER_VALUE

CLOUD_ONLY: Final = frozenset(
    """auto_chapters auto_highlights content_safety domain dual_channel entity_detection filter_profanity
    iab_categories keyterms_prompt_options language_codes language_confidence_threshold
    language_detection language_detection_options prompt redact_pii redact_pii_audio redact_pii_return_unredacted
    redact_static_entities sentiment_analysis speech_threshold speech_understanding summarization
    word_boost""".split()
)
"""Parameters that would change the result and that the local engine cannot honour: asking for one is refused by name,
never pretended. Those that stand in no specification are older ones, or the vendor's SDKs' own."""
ENGLISHES: Final = frozenset({"en", "en_us", "en_uk", "en_au"})

_EMPTY: Final[Mapping[str, Any]] = {
    "language_model": "assemblyai_default",
    "acoustic_model": "assemblyai_default",
    "speech_model": None,
    "language_code": "en",
    "language_confidence": None,
    "language_confidence_threshold": None,
    "webhook_auth": False,
    "webhook_url": None,
    "webhook_status_code": None,
    "auto_highlights": False,
    "redact_pii": False,
    "summarization": False,
    "punctuate": True,
    "format_text": True,
    "speaker_labels": False,
    "multichannel": False,
    "throttled": False,
    "text": None,
    "words": None,
    "utterances": None,
    "confidence": None,
    "audio_duration": None,
}
_BOOLEANS: Final = frozenset(
    name for name, kind in typing.get_type_hints(options.Options).items() if bool in typing.get_args(kind)
)
_WEBHOOK: Final[Mapping[str, re.Pattern[str]]] = {
    "webhook_url": re.compile(r"https?://[^\s/]\S*"),
    HEADER_NAME: re.compile(r"[A-Za-z0-9_-]{1,1000}"),
    HEADER_VALUE: re.compile(r"[^\r\n]{1,1000}"),
}


def read_request(body: Any, able: EngineCapabilities = BUILT_IN) -> dict[str, Any]:
    """The parameters of a submission that this service knows, checked. Raises BadRequest.

    Unknown keys are ignored: the vendor's SDKs send several that the specification does not have.
    """
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object")
    url = body.get("audio_url")
    if not isinstance(url, str) or not url.startswith("http"):
        raise BadRequest(BAD_AUDIO_URL_TEXT)
    cannot = CLOUD_ONLY if able.keyterms else CLOUD_ONLY | {"keyterms_prompt"}
    refused = sorted(name for name in cannot if body.get(name))
    if refused:
        raise BadRequest(f"Not available on the local service: {', '.join(refused)}")
    given = {name: value for name, value in body.items() if name in options.OPTION_NAMES and value is not None}
    return {"audio_url": url, **_checked(given, able.languages), **_webhook(body)}


def _webhook(body: Mapping[str, Any]) -> dict[str, str]:
    """The ``webhook_*`` parameters that are set, checked as the specification has them."""
    given = {name: body[name] for name in _WEBHOOK if body.get(name) is not None}
    for name, value in given.items():
        if not isinstance(value, str) or not _WEBHOOK[name].fullmatch(value):
            raise BadRequest(f"{name} is not valid")
    if given and ("webhook_url" not in given or len(given) == 2):
        raise BadRequest(f"{' and '.join(_WEBHOOK)} go together, or the first alone")
    return given


def _checked(given: dict[str, Any], languages: frozenset[str] | None) -> dict[str, Any]:
    for name in sorted(given.keys() & _BOOLEANS):
        if not isinstance(given[name], bool):
            raise BadRequest(f"{name} must be a Boolean")
    try:
        asked = options.read_options(given)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    if not _speaks(languages, code := asked.get("language_code", "en").lower()):
        known = "English" if languages == ENGLISH else ", ".join(sorted(languages or ()))
        raise BadRequest(f"Not available on the local service: language_code {code} (only {known})")
    return asked


def _speaks(languages: frozenset[str] | None, code: str) -> bool:
    if language(code) == "en" and code not in ENGLISHES:
        return False
    return languages is None or language(code) in languages


def engine_request(request: Mapping[str, Any]) -> EngineRequest:
    """What the engine is asked for."""
    bounds = request.get("speaker_options") or {}
    return EngineRequest(
        speaker_labels=request.get("speaker_labels", False),
        speakers_expected=request.get("speakers_expected"),
        min_speakers=bounds.get("min_speakers_expected"),
        max_speakers=bounds.get("max_speakers_expected"),
        multichannel=request.get("multichannel", False),
        audio_start_from=request.get("audio_start_from"),
        audio_end_at=request.get("audio_end_at"),
        punctuate=request.get("punctuate", True),
        format_text=request.get("format_text", True),
        disfluencies=request.get("disfluencies", False),
        language_code=request.get("language_code", "en"),
        keyterms=tuple(request.get("keyterms_prompt", ())),
    )


def waiting(transcript_id: str, request: Mapping[str, Any], status: Status = Status.QUEUED) -> dict[str, Any]:
    """The object of a job that has not ended: the request echoed but for its secret, all results null."""
    echoed = {name: value for name, value in request.items() if name != HEADER_VALUE}
    return {"id": transcript_id, "status": status, **_EMPTY, **echoed, "webhook_auth": HEADER_VALUE in request}


def completed(
    transcript_id: str, request: Mapping[str, Any], transcript: EngineTranscript, engine: str
) -> dict[str, Any]:
    """The object of a transcribed job. ``audio_duration`` is whole seconds, and never 0."""
    transcript = custom_spelling.respelt(transcript, request.get("custom_spelling", ()))
    fields = msgspec.to_builtins(transcript)
    results = {name: fields[name] for name in ("text", "words", "utterances", "confidence")}
    ended = waiting(transcript_id, request, Status.COMPLETED) | results
    ended |= {"audio_duration": max(1, round(transcript.audio_seconds)), "speech_model_used": engine}
    if transcript.channels:
        ended["audio_channels"] = transcript.channels
    if transcript.warnings:
        ended["metadata"] = {"warnings": [{"message": warning} for warning in transcript.warnings]}
    return ended


def failed(transcript_id: str, request: Mapping[str, Any], error: str) -> dict[str, Any]:
    return waiting(transcript_id, request, Status.ERROR) | {"error": error}


def deleted(transcript_id: str, status: Status) -> dict[str, Any]:
    """What is left of a deleted transcript. One that was not completed never will be: nobody need wait for it."""
    ended = {"status": status} if status is Status.COMPLETED else {"status": Status.ERROR, "error": DELETED_TEXT}
    nothing = {"audio_url": DELETED_URL, "webhook_url": DELETED_URL, "text": DELETED_TEXT}
    left = {name: value for name, value in _EMPTY.items() if name != "language_code"}
    return {"id": transcript_id, **left, **nothing, **ended}
