"""Every documented parameter of a submission: honoured, refused by name, or without effect on any transcript.

None that changes the result is ever ignored in silence.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from batch.engine.interface import EngineRequest, EngineTranscript
from batch.model import Word
from batch.providers.assemblyai import options
from batch.server import schemas
from batch.server.responses import BadRequest
from tests.support.spec import resolved, specification

AUDIO = {"audio_url": "http://a/a.wav"}
LABELS = {"speaker_labels": True}


class Honoured(NamedTuple):
    """The engine is asked for it: ``field`` of its request is then ``value``."""

    asked: dict[str, Any]
    field: str
    value: Any


HONOURED = {
    "audio_end_at": Honoured({"audio_end_at": 900}, "audio_end_at", 900),
    "audio_start_from": Honoured({"audio_start_from": 100}, "audio_start_from", 100),
    "disfluencies": Honoured({"disfluencies": True}, "disfluencies", True),
    "format_text": Honoured({"format_text": False}, "format_text", False),
    "keyterms_prompt": Honoured({"keyterms_prompt": ["Diarist"]}, "keyterms", ("Diarist",)),
    "multichannel": Honoured({"multichannel": True}, "multichannel", True),
    "punctuate": Honoured({"punctuate": False}, "punctuate", False),
    "speaker_labels": Honoured(LABELS, "speaker_labels", True),
    "speaker_options": Honoured(
        LABELS | {"speaker_options": {"min_speakers_expected": 2, "max_speakers_expected": 4}}, "max_speakers", 4
    ),
    "speakers_expected": Honoured(LABELS | {"speakers_expected": 3}, "speakers_expected", 3),
}
BY_THE_SERVICE = {
    "audio_url": "it is what is fetched: tests of the routes",
    "custom_spelling": "the service respells what the engine wrote: below",
    "language_code": "English is honoured, anything else refused: below",
    "webhook_url": "sent: tests of webhooks",
    "webhook_auth_header_name": "sent: tests of webhooks",
    "webhook_auth_header_value": "sent: tests of webhooks",
}
REFUSED: dict[str, Any] = {
    "auto_chapters": True,
    "auto_highlights": True,
    "content_safety": True,
    "domain": "medical-v1",
    "entity_detection": True,
    "filter_profanity": True,
    "iab_categories": True,
    "language_codes": ["en", "es"],
    "language_confidence_threshold": 0.5,
    "language_detection": True,
    "language_detection_options": {"expected_languages": ["en"]},
    "prompt": "A call about soup.",
    "redact_pii": True,
    "redact_pii_audio": True,
    "redact_pii_return_unredacted": True,
    "redact_static_entities": {"soup": ["minestrone"]},
    "sentiment_analysis": True,
    "speech_threshold": 0.5,
    "speech_understanding": {"request": {"translation": {"target_languages": ["es"]}}},
    "summarization": True,
}
OLDER: dict[str, Any] = {
    "dual_channel": True,
    "keyterms_prompt_options": {"keyterms_match_strictness": "high"},
    "word_boost": ["diarist"],
}
"""Not in the specification, but the vendor's SDKs still send them: refused too."""
WITHOUT_EFFECT: dict[str, Any] = {
    "content_safety_confidence": 50,  # needs content_safety
    "custom_topics": True,  # has no function at the vendor's either
    "redact_pii_audio_options": {"return_redacted_no_speech_audio": True},  # needs redact_pii_audio
    "redact_pii_audio_quality": "wav",  # needs redact_pii_audio
    "redact_pii_policies": ["person_name"],  # needs redact_pii
    "redact_pii_sub": "hash",  # needs redact_pii
    "remove_audio_tags": "all",  # the engine writes no tags
    "speech_model": "best",  # speech_model_used says whose words these are
    "speech_models": ["universal-2"],  # speech_model_used says whose words these are
    "summary_model": "informative",  # needs summarization
    "summary_type": "bullets",  # needs summarization
    "temperature": 0.7,  # only takes effect on one of the vendor's models
    "topics": ["soup"],  # has no function at the vendor's either
}
PAIRS = {"summary_model": {"summary_type": "bullets"}, "summary_type": {"summary_model": "informative"}}
DOCUMENTED = HONOURED.keys() | BY_THE_SERVICE.keys() | REFUSED.keys() | WITHOUT_EFFECT.keys()


def engine_request(asked: dict[str, Any]) -> EngineRequest:
    return schemas.engine_request(schemas.read_request(AUDIO | asked))


def test_every_parameter_of_a_row_is_in_one_of_the_tables() -> None:
    assert options.OPTION_NAMES <= DOCUMENTED
    assert len(DOCUMENTED) == sum(map(len, (HONOURED, BY_THE_SERVICE, REFUSED, WITHOUT_EFFECT)))


def test_every_parameter_of_the_specification_is_in_a_table() -> None:
    parts = specification()["components"]["schemas"]["TranscriptParams"]["allOf"]
    assert {name for part in parts for name in resolved(part)["properties"]} == DOCUMENTED


@pytest.mark.parametrize("name", HONOURED)
def test_an_honoured_parameter_reaches_the_engine(name: str) -> None:
    asked, field, value = HONOURED[name]
    assert name in asked
    assert getattr(engine_request(asked), field) == value != getattr(EngineRequest(), field)


@pytest.mark.parametrize("name", REFUSED | OLDER)
def test_unsupported_option_is_refused_by_name_and_may_be_off(name: str) -> None:
    value = (REFUSED | OLDER)[name]
    with pytest.raises(BadRequest, match=rf"Not available on the local service: {name}\b"):
        schemas.read_request(AUDIO | {name: value})
    for off in (None, type(value)()):
        company = {"language_code": "en"} if name == "language_detection" else {}
        assert engine_request({name: off} | company) == EngineRequest()


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_what_is_accepted_without_effect_changes_nothing(name: str) -> None:
    assert engine_request({name: WITHOUT_EFFECT[name]} | PAIRS.get(name, {})) == EngineRequest()


def test_only_english_is_spoken() -> None:
    for code in ("en", "en_us", "en_uk", "en_au", "EN"):
        assert schemas.read_request(AUDIO | {"language_code": code})["language_code"] == code
    with pytest.raises(BadRequest, match=r"language_code de \(only English\)"):
        schemas.read_request(AUDIO | {"language_code": "de"})
    with pytest.raises(BadRequest, match="language_detection = false needs a language_code"):
        schemas.read_request(AUDIO | {"language_detection": False})


def test_words_are_spelt_as_the_caller_wishes() -> None:
    asked = schemas.read_request(AUDIO | {"custom_spelling": [{"from": ["sequel"], "to": "SQL"}]})
    heard = EngineTranscript("Sequel.", (Word("Sequel.", 0, 9, 1.0),), None, 1.0, 1.0)
    done = schemas.completed("t", asked, heard, "an engine")
    assert (done["text"], done["words"][0]["text"]) == ("SQL.", "SQL.")
    assert done["custom_spelling"] == [{"from": ["sequel"], "to": "SQL"}]
    assert done["speech_model_used"] == "an engine"
    with pytest.raises(BadRequest, match="to must be a single word"):
        schemas.read_request(AUDIO | {"custom_spelling": [{"from": ["sequel"], "to": "S Q L"}]})


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"audio_start_from": -1}, "audio_start_from"),
        ({"audio_start_from": 5, "audio_end_at": 5}, "audio_start_from 5 is not before audio_end_at 5"),
        ({"speakers_expected": 2}, "needs speaker_labels"),
        (LABELS | {"speakers_expected": 0}, "speakers_expected"),
        (LABELS | {"speakers_expected": 1e300}, "speakers_expected"),
        (LABELS | {"speakers_expected": 2, "speaker_options": {"min_speakers_expected": 1}}, "not both"),
        (LABELS | {"speaker_options": {"min_speakers_expected": 3, "max_speakers_expected": 2}}, "is greater than"),
        (LABELS | {"speaker_options": {"use_two_stage_clustering": True}}, "use_two_stage_clustering"),
        (LABELS | {"punctuate": False}, "speaker_labels needs punctuate"),
        ({"language_code": 5}, "language_code"),
        ({"custom_spelling": "sequel"}, "custom_spelling"),
        ({"multichannel": "yes"}, "multichannel must be a Boolean"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        schemas.read_request(AUDIO | asked)
