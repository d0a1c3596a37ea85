"""Options: the parameters of a transcription request that a row or the configuration may set.

Source: the TranscriptOptionalParams schema of the AssemblyAI v2 specification (August 2026). Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from batch.providers.assemblyai import option_rules

Fraction = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[int, Meta(ge=0)]


class SpeakerOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    min_speakers_expected: Positive | UnsetType = UNSET
    max_speakers_expected: Positive | UnsetType = UNSET


class LanguageDetectionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    expected_languages: list[str] | UnsetType = UNSET
    fallback_language: str | UnsetType = UNSET
    code_switching: bool | UnsetType = UNSET
    code_switching_confidence_threshold: Fraction | UnsetType = UNSET


class RedactPiiAudioOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    return_redacted_no_speech_audio: bool | UnsetType = UNSET
    override_audio_redaction_method: Literal["silence"] | UnsetType = UNSET


class CustomSpelling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    from_: list[str]
    to: str


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every documented request parameter that a row may set, named and typed as on the wire.

    Left out on purpose: ``audio_url`` (the recording itself), ``webhook_*`` (the run's, not a row's, and one of
    them a secret), and ``topics``/``custom_topics``, which have no function.
    """

    audio_end_at: Milliseconds | UnsetType = UNSET
    audio_start_from: Milliseconds | UnsetType = UNSET
    auto_chapters: bool | UnsetType = UNSET
    auto_highlights: bool | UnsetType = UNSET
    content_safety: bool | UnsetType = UNSET
    content_safety_confidence: Annotated[int, Meta(ge=25, le=100)] | UnsetType = UNSET
    custom_spelling: list[CustomSpelling] | UnsetType = UNSET
    disfluencies: bool | UnsetType = UNSET
    domain: Literal["medical-v1"] | UnsetType | None = UNSET
    entity_detection: bool | UnsetType = UNSET
    filter_profanity: bool | UnsetType = UNSET
    format_text: bool | UnsetType = UNSET
    iab_categories: bool | UnsetType = UNSET
    keyterms_prompt: Annotated[list[str], Meta(max_length=1000)] | UnsetType = UNSET
    language_code: str | UnsetType | None = UNSET
    language_codes: Annotated[list[str], Meta(max_length=2)] | UnsetType | None = UNSET
    language_confidence_threshold: Fraction | UnsetType = UNSET
    language_detection: bool | UnsetType = UNSET
    language_detection_options: LanguageDetectionOptions | UnsetType = UNSET
    multichannel: bool | UnsetType = UNSET
    prompt: str | UnsetType = UNSET
    punctuate: bool | UnsetType = UNSET
    redact_pii: bool | UnsetType = UNSET
    redact_pii_audio: bool | UnsetType = UNSET
    redact_pii_audio_options: RedactPiiAudioOptions | UnsetType = UNSET
    redact_pii_audio_quality: Literal["mp3", "wav"] | UnsetType = UNSET
    redact_pii_policies: list[str] | UnsetType = UNSET
    redact_pii_return_unredacted: bool | UnsetType = UNSET
    redact_pii_sub: Literal["entity_name", "hash"] | UnsetType | None = UNSET
    redact_static_entities: dict[str, list[str]] | UnsetType = UNSET
    remove_audio_tags: Literal["all", "speaker"] | UnsetType | None = UNSET
    sentiment_analysis: bool | UnsetType = UNSET
    speaker_labels: bool | UnsetType = UNSET
    speaker_options: SpeakerOptions | UnsetType = UNSET
    speakers_expected: Positive | UnsetType | None = UNSET
    speech_model: str | UnsetType | None = UNSET
    speech_models: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    speech_threshold: Fraction | UnsetType | None = UNSET
    speech_understanding: dict[str, Any] | UnsetType = UNSET
    summarization: bool | UnsetType = UNSET
    summary_model: Literal["informative", "conversational", "catchy"] | UnsetType = UNSET
    summary_type: Literal["bullets", "bullets_verbose", "gist", "headline", "paragraph"] | UnsetType = UNSET
    temperature: Fraction | UnsetType = UNSET


OPTION_NAMES: Final = frozenset(Options.__struct_fields__)
ALIASES: Final[Mapping[str, str]] = {
    "num_speakers": "speakers_expected",
    "min_speakers": "speaker_options.min_speakers_expected",
    "max_speakers": "speaker_options.max_speakers_expected",
}
"""Column names of the field's manifests, and the option that each one means."""
_PARTS: Final[Mapping[str, type[msgspec.Struct]]] = {
    "language_detection_options": LanguageDetectionOptions,
    "redact_pii_audio_options": RedactPiiAudioOptions,
    "speaker_options": SpeakerOptions,
}
_FREE_PARTS: Final = frozenset({"redact_static_entities", "speech_understanding"})
"""Options whose parts the specification leaves open."""
COLUMNS: Final = (
    *sorted(OPTION_NAMES),
    *ALIASES,
    *(f"{outer}.{inner}" for outer, parts in _PARTS.items() for inner in parts.__struct_fields__),
)
"""Every column name that is an option."""


def is_option(column: str) -> bool:
    """Whether a manifest column of this name is an option: a parameter, a dotted part of one, or an alias."""
    return column in ALIASES or column.partition(".")[0] in OPTION_NAMES


def read_options(cells: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The canonical options of one row: checked, typed, keys sorted, only what is set.

    ``cells`` maps option columns to values as the manifest gives them: typed ones from JSON, text from CSV, where
    an empty cell means "not given", lists and objects are JSON, and a list may also be ``a; b; c``. The row wins
    over ``defaults``. Raises ValueError naming the option, what is wrong and what would be right.
    """
    given = {name: value for name, value in cells.items() if value is not None and value != ""}
    row = _checked(_nested(_by_option(given)))
    merged = _without_rivals(dict(defaults or {}), row) | row
    option_rules.check(merged)
    return dict(sorted(merged.items()))


_OPEN: Final = frozenset({"language_detection"})
"""Switches for which the specification states no default."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    **{
        name: False
        for name, kind in Options.__annotations__.items()
        if kind == "bool | UnsetType" and name not in _OPEN
    },
    "punctuate": True,
    "format_text": True,
    "content_safety_confidence": 50,
    "language_confidence_threshold": 0,
    "speech_threshold": 0,
    "audio_start_from": 0,
    "temperature": 0,
    "redact_pii_sub": "hash",
    "redact_pii_audio_quality": "mp3",
    "remove_audio_tags": "all",
    "summary_model": "informative",
    "summary_type": "bullets",
}
"""What the specification says of options that are not sent. The models are not among them: which ones the vendor uses
where none is named may change."""
_NOTHING: Final[tuple[Any, ...]] = (None, "", [], {})
_UNORDERED: Final = frozenset({"keyterms_prompt", "redact_pii_policies", "language_codes", "expected_languages"})
_LANGUAGES: Final = frozenset({"language_code", "language_codes", "expected_languages", "fallback_language"})


def canonical(options: Mapping[str, Any]) -> dict[str, Any]:
    """What ``options`` ask for, however they are written: two sets of options ask for the same transcript if and only
    if their canonical forms are equal. The one notion of *asked with the same options*; pure.

    Nothing is in it that comes to the same as being left out: nulls, empty lists and objects, documented defaults.
    Language codes are lower case, a single model is a list, keyterms have neither order nor superfluous blanks.
    """
    given = dict(options)
    if (model := given.pop("speech_model", None)) and not given.get("speech_models"):
        given["speech_models"] = [model]
    plain = {name: _plain(name, value) for name, value in given.items()}
    kept = ((name, value) for name, value in plain.items() if value not in _NOTHING and value != _DEFAULTS.get(name))
    return dict(sorted(kept))


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names of the options in which two requests differ."""
    mine, theirs = canonical(one), canonical(other)
    return sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))


_ENGLISH: Final = frozenset({None, "en", "en_us"})
"""What the service takes a recording to be in if no language is named, and how it may write that."""


def unlike(asked: Mapping[str, Any], said: Mapping[str, Any]) -> list[str]:
    """The names of the options by which a transcript object that the service gives was asked for otherwise. What it
    does not say was not asked for; what it fills in by itself, where nothing is asked, does not count."""
    echoed = {name: said.get(name) for name in OPTION_NAMES}
    try:
        names, mine, theirs = differing(asked, echoed), canonical(asked), canonical(echoed)
    except (TypeError, AttributeError):
        return sorted(OPTION_NAMES)  # no option of ours looks like that
    return [name for name in names if not _filled_in(name, mine, theirs)]


def _filled_in(name: str, asked: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    """Whether an option that differs is only what the service makes of what was asked."""
    mine, theirs = asked.get(name), said.get(name)
    match name:
        case "speech_models":
            return mine is None
        case "language_code":
            return (mine is None and "language_detection" in asked) or {mine, theirs} <= _ENGLISH
        case "speech_understanding":  # the answer is put beside the request
            return isinstance(mine, dict) and isinstance(theirs, dict) and mine.items() <= theirs.items()
    return False


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        inner = {part: _plain(part, each) for part, each in sorted(value.items())}
        return {part: each for part, each in inner.items() if each not in _NOTHING}
    if isinstance(value, list):
        items = [_plain(name, each) for each in value]
        return sorted({each for each in items if each}) if name in _UNORDERED else items
    if isinstance(value, str):
        text = " ".join(value.split()) if name in _UNORDERED else value.strip()
        return text.lower().replace("-", "_") if name in _LANGUAGES else text
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _by_option(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the name of the option; two columns that mean the same one must agree."""
    flat: dict[str, Any] = {}
    column: dict[str, str] = {}
    for name, value in given.items():
        option = ALIASES.get(name, name)
        if option in flat and not _agree(flat[option], value):
            both = f"{column[option]} is {flat[option]!r} and {name} is {value!r}"
            raise ValueError(f"options contradict each other: {both}: keep one")
        flat[option] = value
        column[option] = name
    return flat


def _agree(one: Any, other: Any) -> bool:
    try:
        return one == other or float(one) == float(other)
    except (TypeError, ValueError):
        return False


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``; text that should be a list or an object, parsed."""
    tree = {name: _parsed(name, value) for name, value in flat.items() if "." not in name}
    for outer in _PARTS.keys() & tree.keys():
        for inner in tree[outer] if isinstance(tree[outer], dict) else ():
            _check_part(outer, inner)
    for name, value in flat.items():
        outer, dot, inner = name.partition(".")
        if dot:
            _check_part(outer, inner)
            _put(tree, outer, inner, _parsed(name, value))
    return tree


def _put(tree: dict[str, Any], outer: str, inner: str, value: Any) -> None:
    parts = tree.setdefault(outer, {})
    if not isinstance(parts, dict) or (inner in parts and not _agree(parts[inner], value)):
        raise ValueError(
            f"options contradict each other: {outer} is {parts!r} and {outer}.{inner} is {value!r}: keep one"
        )
    tree[outer] = {**parts, inner: value}


def _check_part(outer: str, inner: str) -> None:
    if outer in _FREE_PARTS:
        return
    if outer not in _PARTS:
        raise ValueError(f"option {outer}.{inner}: {outer} has no parts: name the column {outer}")
    parts = _PARTS[outer].__struct_fields__
    if inner not in parts:
        close = difflib.get_close_matches(inner, parts, 1, cutoff=0.5)
        meant = f"did you mean {outer}.{close[0]}? " if close else ""
        raise ValueError(f"option {outer}.{inner}: unknown; {meant}{outer} has {', '.join(parts)}")


def _parsed(name: str, value: Any) -> Any:
    if not isinstance(value, str) or not _is_container(name):
        return value
    if value.lstrip().startswith(("[", "{")):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise ValueError(f"option {name}: not valid JSON: {error}") from None
    if name.startswith("speech_understanding."):
        return value
    return [part.strip() for part in value.split(";") if part.strip()]


def _is_container(name: str) -> bool:
    """Whether an option, or a part of one, is a list or an object, and so JSON in a cell of text."""
    outer, _, inner = name.partition(".")
    if inner and outer in _FREE_PARTS:
        return True
    kinds = str((_PARTS[outer] if inner else Options).__annotations__.get(inner or outer, ""))
    return any(word in kinds for word in ("list[", "dict[", *(kind.__name__ for kind in _PARTS.values())))


def _checked(tree: dict[str, Any]) -> dict[str, Any]:
    try:
        options = msgspec.convert(tree, Options, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(_in_words(str(error), tree)) from None
    typed: dict[str, Any] = msgspec.to_builtins(options)
    return typed


_KINDS: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
    "object": "an object",
}


def _in_words(message: str, tree: Mapping[str, Any]) -> str:
    """A complaint of msgspec's for a person: which option, what it should be, what it is."""
    reason, _, where = message.partition(" - at `$.")
    name = where.rstrip("`")
    reason = re.sub(r"`(\w+)( \| null)?`", lambda kind: _KINDS.get(kind[1], kind[0]), reason.partition(", got ")[0])
    if not name:
        return f"options: {reason[0].lower()}{reason[1:]}"
    return f"option {name}: {reason[0].lower()}{reason[1:]}, got {_pick(tree, name)!r}"


def _pick(tree: Any, path: str) -> Any:
    for part in path.partition("[")[0].split("."):
        tree = tree.get(part) if isinstance(tree, dict) else tree
    return tree


def _without_rivals(defaults: dict[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults that the row's own choice of speakers replaces: the two ways exclude each other."""
    for one, other in (("speakers_expected", "speaker_options"), ("language_code", "language_detection")):
        if row.get(one) is not None:
            defaults.pop(other, None)
        if row.get(other) is not None:
            defaults.pop(one, None)
    return defaults


class V2Options:
    """The options of v2 as ``providers.interface.OptionSchema``."""

    columns = COLUMNS
    is_option = staticmethod(is_option)
    read = staticmethod(read_options)
    canonical = staticmethod(canonical)
    differing = staticmethod(differing)

    def excerpt(self, start_ms: int | None, end_ms: int | None) -> Mapping[str, int]:
        given = {"audio_start_from": start_ms, "audio_end_at": end_ms}
        return {name: value for name, value in given.items() if value is not None}

    def is_excerpt(self, options: Mapping[str, Any]) -> bool:
        return bool(_EXCERPT & options.keys())

    def language(self, code: str) -> Mapping[str, str]:
        plain = code.lower().replace("-", "_")
        return {"language_code": plain} if plain in option_rules.LANGUAGE_CODES else {}

    def names_language(self, cells: Mapping[str, Any]) -> bool:
        return any(cells.get(name) not in (None, "") for name in _CHOOSE_LANGUAGE)


_EXCERPT: Final = frozenset({"audio_start_from", "audio_end_at"})
_CHOOSE_LANGUAGE: Final = ("language_code", "language_codes", "language_detection")
SCHEMA: Final = V2Options()
