"""Options are checked and typed before a cent is spent, and a mistake is told in words."""

from __future__ import annotations

from typing import Any

import pytest

from batch.providers.assemblyai.option_rules import LANGUAGE_CODES, PII_POLICIES
from batch.providers.assemblyai.options import is_option, read_options
from tests.support.spec import specification

LABELS = {"speaker_labels": True}


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        ({}, {}),
        ({"speakers_expected": "2"}, {"speakers_expected": 2}),
        ({"num_speakers": 3}, {"speakers_expected": 3}),
        ({"multichannel": "TRUE", "punctuate": ""}, {"multichannel": True}),
        ({"min_speakers": "2", "max_speakers": "4"},
         {"speaker_options": {"min_speakers_expected": 2, "max_speakers_expected": 4}}),
        ({"speaker_options.max_speakers_expected": "4"}, {"speaker_options": {"max_speakers_expected": 4}}),
        ({"speaker_options": '{"min_speakers_expected": 2}'}, {"speaker_options": {"min_speakers_expected": 2}}),
        ({"keyterms_prompt": "angina; heart rate"}, {"keyterms_prompt": ["angina", "heart rate"]}),
        ({"keyterms_prompt": '["a; b"]'}, {"keyterms_prompt": ["a; b"]}),
        ({"num_speakers": 2, "speakers_expected": "2.0"}, {"speakers_expected": 2}),
        ({"max_speakers": "4", "speaker_options": '{"min_speakers_expected": 2}'},
         {"speaker_options": {"min_speakers_expected": 2, "max_speakers_expected": 4}}),
        ({"language_detection_options.expected_languages": "en; es"},
         {"language_detection_options": {"expected_languages": ["en", "es"]}}),
        ({"speech_understanding.request": '{"translation": {"target_languages": ["de"]}}'},
         {"speech_understanding": {"request": {"translation": {"target_languages": ["de"]}}}}),
        ({"redact_pii": "true", "redact_static_entities.NAME": "Ann; Bob"},
         {"redact_pii": True, "redact_static_entities": {"NAME": ["Ann", "Bob"]}}),
        ({"temperature": "0.5", "language_code": None}, {"temperature": 0.5}),
        ({"custom_spelling": '[{"from": ["gettleman"], "to": "Gettleman"}]'},
         {"custom_spelling": [{"from": ["gettleman"], "to": "Gettleman"}]}),
    ],
)  # fmt: skip
def test_cells_become_typed_options_over_the_defaults(cells: dict[str, Any], options: dict[str, Any]) -> None:
    assert read_options(cells, LABELS) == dict(sorted((LABELS | options).items()))


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"speakers_expected": "two"}, "option speakers_expected: expected a whole number, got 'two'"),
        ({"speakers_expected": 0}, "option speakers_expected: expected a whole number >= 1, got 0"),
        ({"multichannel": "perhaps"}, "option multichannel: expected true or false, got 'perhaps'"),
        ({"keyterms_prompt": {"a": 1}}, "option keyterms_prompt: expected a list"),
        ({"keyterms_prompt": "[1"}, "option keyterms_prompt: not valid JSON"),
        ({"temperature": 3}, "option temperature: expected a number <= 1.0, got 3"),
        ({"domain": "legal"}, "option domain: invalid enum value 'legal'"),
        ({"speaker_options.most": 2}, "speaker_options has min_speakers_expected, max_speakers_expected"),
        ({"speaker_options.max_speakers": 2}, "did you mean speaker_options.max_speakers_expected?"),
        ({"speaker_options": '{"max_speakers": 2}'}, "did you mean speaker_options.max_speakers_expected?"),
        ({"speakers_expected.max": 2}, "speakers_expected has no parts"),
        ({"num_speakers": 2, "speakers_expected": "3"}, "num_speakers is 2 and speakers_expected is '3': keep one"),
        ({"max_speakers": 2, "speaker_options.max_speakers_expected": 3}, "keep one"),
        ({"max_speakers": 2, "speaker_options": '{"max_speakers_expected": 3}'}, "keep one"),
        ({"speaker_options": "2; 3", "max_speakers": 3}, "keep one"),
        ({"min_speakers": 3, "max_speakers": 2}, "min_speakers 3 is greater than max_speakers 2"),
        ({"num_speakers": 2, "max_speakers": 2}, "not both"),
        ({"punctuate": "false"}, "speaker_labels needs punctuate"),
        ({"language_code": "en", "language_detection": True}, "not both"),
        ({"audio_start_from": 5000, "audio_end_at": 1000}, "is not before"),
        ({"speaker_labels": False, "num_speakers": 2}, "needs speaker_labels"),
        ({"summary_type": "gist"}, "go together"),
        ({"auto_chapters": True, "summarization": True}, "give auto_chapters or summarization, not both"),
        ({"summarization": True, "format_text": False}, "summarization needs format_text = true"),
        ({"redact_pii": True, "format_text": False}, "redact_pii needs format_text = true"),
        ({"redact_pii_audio": True}, "redact_pii_audio needs redact_pii = true"),
        ({"redact_static_entities.NAME": "Ann"}, "redact_static_entities needs redact_pii = true"),
        ({"language_confidence_threshold": 0.5}, "needs language_detection = true"),
        ({"language_detection": False}, "needs a language_code"),
        ({"language_codes": "es; en_us"}, "one of them must be en"),
        ({"language_codes": "en; spanish"}, "unknown 'spanish'"),
        ({"redact_pii": True, "redact_pii_policies": "person_nam"}, "'person_nam'; did you mean person_name?"),
        ({"keyterms_prompt": "one two three four five six seven"}, "6 words a term at most"),
        ({"prompt": "word " * 1501}, "1500 words at most, got 1501"),
        ({"custom_spelling": '[{"from": ["a"], "to": "two words"}]'}, "to must be a single word"),
        ({"custom_spelling": '[{"from": ["a b c d e f"], "to": "A"}]'}, "phrases of 1 to 5 words"),
        ({"custom_spelling": '[{"from": [" "], "to": "A"}]'}, "phrases of 1 to 5 words"),
        ({"custom_spelling": '[{"from": [], "to": "A"}]'}, "phrases of 1 to 5 words"),
        ({"redact_pii": True, "redact_static_entities": {"N*": ["Ann"]}}, "got 'N*'"),
        ({"redact_pii": True, "redact_static_entities": {"N": ["x" * 201]}}, "200 characters at most"),
    ],
)
def test_a_mistake_is_told_in_words(cells: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=r"^option") as caught:
        read_options(cells, LABELS)
    assert says in str(caught.value)


def test_what_the_specification_lists_is_what_is_known() -> None:
    schemas = specification()["components"]["schemas"]
    assert set(schemas["PiiPolicy"]["enum"]) == PII_POLICIES
    codes = {"no" if code is False else code for code in schemas["TranscriptLanguageCode"]["enum"]}  # YAML's Norway
    assert codes == LANGUAGE_CODES


def test_speaker_count_option_of_a_row_replaces_the_default_one() -> None:
    """The row's own way of counting speakers replaces the default one."""
    assert read_options({"max_speakers": 4}, LABELS | {"speakers_expected": 2}) == {
        "speaker_labels": True,
        "speaker_options": {"max_speakers_expected": 4},
    }


@pytest.mark.parametrize(
    ("column", "option"),
    [("speakers_expected", True), ("num_speakers", True), ("speaker_options.x", True), ("topic", False),
     ("topics", False), ("webhook_url", False), ("audio_url", False)],
)  # fmt: skip
def test_columns_are_told_apart(column: str, option: bool) -> None:
    assert is_option(column) is option
