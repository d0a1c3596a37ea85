"""Which options go together, and what may stand in them: the rules that the types of single options cannot tell.

Source: the descriptions of TranscriptOptionalParams in the AssemblyAI v2 specification (August 2026). Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

LANGUAGE_CODES: Final = frozenset(
    """en en_au en_uk en_us es fr de it pt nl af sq am ar hy as az ba eu be bn bs br bg my ca zh hr cs da et fo fi gl
    ka el gu ht ha haw he hi hu is id ja jw kn kk km ko lo la lv ln lt lb mk mg ms ml mt mi mr mn ne no nn oc pa ps fa
    pl ro ru sa sr sn sd si sk sl so su sw sv tl tg ta tt te th bo tr tk uk ur uz vi cy yi yo""".split()
)
"""The languages of the specification. ``language_code`` alone may also be one that it does not list."""
PII_POLICIES: Final = frozenset(
    """account_number banking_information blood_type credit_card_cvv credit_card_expiration credit_card_number date
    date_interval date_of_birth drivers_license drug duration email_address event filename gender gender_sexuality
    healthcare_number injury ip_address language location location_address location_address_street location_city
    location_coordinate location_country location_state location_zip marital_status medical_condition medical_process
    money_amount nationality number_sequence occupation organization organization_medical_facility passport_number
    password person_age person_name phone_number physical_attribute political_affiliation religion sexuality
    statistics time url us_social_security_number username vehicle_id zodiac_sign""".split()
)
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "language_confidence_threshold": ("language_detection",),
    "redact_pii_audio": ("redact_pii",),
    "redact_pii_return_unredacted": ("redact_pii",),
    "redact_static_entities": ("redact_pii",),
}
"""An option, if it is on, and those that must be on with it."""
_NEEDS_UNTOUCHED: Final[Mapping[str, tuple[str, ...]]] = {
    "auto_chapters": ("punctuate",),
    "redact_pii": ("format_text",),
    "sentiment_analysis": ("punctuate",),
    "speaker_labels": ("punctuate",),
    "summarization": ("punctuate", "format_text"),
}
"""... and those, on by themselves, that must not be turned off."""
_RIVALS: Final = (
    ("language_code", "language_detection"),
    ("auto_chapters", "summarization"),
)
_TOGETHER: Final = (("summary_model", "summary_type"),)
_KEYTERM_WORDS: Final = 6
_PROMPT_WORDS: Final = 1500
SPELLED_WORDS: Final = 5
_ENTITIES: Final = 100
_ENTITY_TERMS: Final = 200
_TERM_LENGTH: Final = 200
_ENTITY_LABEL: Final = re.compile(r"[\w \-]{1,80}", re.ASCII)


def check(options: Mapping[str, Any]) -> None:
    """Raises ValueError, naming the options, if the service would refuse what is typed right."""
    for contradiction in _contradictions(options):
        raise ValueError(f"options contradict each other: {contradiction}")
    for problem in _contents(options):
        raise ValueError(f"option {problem}")


def _contradictions(options: Mapping[str, Any]) -> Iterator[str]:
    yield from _speakers(options)
    for one, other in _RIVALS:
        if options.get(one) and options.get(other):
            yield f"give {one} or {other}, not both"
    for one, other in _TOGETHER:
        if bool(options.get(one)) != bool(options.get(other)):
            yield f"{one} and {other} go together"
    for name, needed in _NEEDS.items():
        yield from (
            f"{name} needs {other} = true" for other in needed if options.get(name) and not options.get(other)
        )
    for name, needed in _NEEDS_UNTOUCHED.items():
        off = (other for other in needed if options.get(name) and options.get(other) is False)
        yield from (f"{name} needs {other} = true" for other in off)
    if options.get("language_detection") is False and not options.get("language_code"):
        yield "language_detection = false needs a language_code"
    start, end = options.get("audio_start_from"), options.get("audio_end_at")
    if start is not None and end is not None and start >= end:
        yield f"audio_start_from {start} is not before audio_end_at {end}"


def _speakers(options: Mapping[str, Any]) -> Iterator[str]:
    expected, bounds = options.get("speakers_expected"), options.get("speaker_options") or {}
    low, high = bounds.get("min_speakers_expected"), bounds.get("max_speakers_expected")
    if expected and bounds:
        yield "give speakers_expected or speaker_options (min/max), not both"
    if (expected or bounds) and not options.get("speaker_labels"):
        yield "a number of speakers needs speaker_labels = true"
    if low and high and low > high:
        yield f"min_speakers {low} is greater than max_speakers {high}"


def _contents(options: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown(options, "redact_pii_policies", PII_POLICIES)
    yield from _unknown(options, "language_codes", LANGUAGE_CODES)
    if (codes := options.get("language_codes")) and "en" not in codes:
        yield f"language_codes: one of them must be en, got {codes!r}"
    for term in options.get("keyterms_prompt") or ():
        if _words(term) > _KEYTERM_WORDS:
            yield f"keyterms_prompt: {_KEYTERM_WORDS} words a term at most, got {term!r}"
    if (words := _words(options.get("prompt") or "")) > _PROMPT_WORDS:
        yield f"prompt: {_PROMPT_WORDS} words at most, got {words}"
    for spelling in options.get("custom_spelling") or ():
        if _words(spelling["to"]) != 1:
            yield f"custom_spelling: to must be a single word, got {spelling['to']!r}"
        if not spelling["from"] or not all(0 < _words(phrase) <= SPELLED_WORDS for phrase in spelling["from"]):
            yield f"custom_spelling: from must be phrases of 1 to {SPELLED_WORDS} words, got {spelling['from']!r}"
    yield from _entities(options.get("redact_static_entities") or {})


def _unknown(options: Mapping[str, Any], name: str, known: Collection[str]) -> Iterator[str]:
    for value in options.get(name) or ():
        if value not in known:
            close = difflib.get_close_matches(value, known, 1)
            yield f"{name}: unknown {value!r}" + (f"; did you mean {close[0]}?" if close else "")


def _entities(entities: Mapping[str, list[str]]) -> Iterator[str]:
    if len(entities) > _ENTITIES:
        yield f"redact_static_entities: {_ENTITIES} labels at most, got {len(entities)}"
    for label, terms in entities.items():
        if not _ENTITY_LABEL.fullmatch(label):
            yield f"redact_static_entities: a label is 1-80 letters, digits, blanks, _ and -, got {label!r}"
        if len(terms) > _ENTITY_TERMS or any(len(term) > _TERM_LENGTH for term in terms):
            yield f"redact_static_entities.{label}: {_ENTITY_TERMS} terms of {_TERM_LENGTH} characters at most"


def _words(text: str) -> int:
    return len(text.split())
