"""lhotse: a line of a RecordingSet or a CutSet as a row of our columns.

A cut that is not its whole recording becomes the options of an excerpt. Fields stay
labels, those of ``custom`` beside them (or options, if they are named so); of the supervisions, which may be many,
only a single one gives its ``text``, ``speaker`` and ``language``. What only lhotse itself could make into audio
(commands, mixed cuts, one channel of several, perturbed recordings) is refused.

Source: the JSON that lhotse 1.33 writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from batch.manifest.line_lists import not_run
from batch.manifest.option_schema import OptionSchema
from batch.manifest.rows import AUDIO_COLUMNS, EMPTY

_CUTS: Final = frozenset({"Cut", "MonoCut", "MultiCut", "MixedCut", "PaddingCut"})
_STRUCTURE: Final = frozenset(
    {"sources", "recording", "supervisions", "features", "custom", "tracks", "transforms", "type"}
)
_SUPERVISED: Final = ("text", "speaker", "language")
_TOLERANCE_SECONDS: Final = 0.001


def is_lhotse(cells: Mapping[str, Any]) -> bool:
    """Whether a row is a recording or a cut of lhotse's, and not one with columns of its own for the audio."""
    sources, recording = cells.get("sources"), cells.get("recording")
    if sources is None and recording is None and cells.get("type") is None:
        return False
    if any(cells.get(name) not in EMPTY for name in AUDIO_COLUMNS):
        return False
    return (
        (isinstance(sources, list) and "sampling_rate" in cells)
        or (isinstance(recording, dict) and "sources" in recording)
        or (isinstance(cells.get("type"), str) and cells["type"] in _CUTS and "id" in cells)
    )


def columns(cells: Mapping[str, Any], options: OptionSchema) -> dict[str, Any]:
    """The row as one of our columns. Raises ``ValueError`` for what is not one recording or a part of one."""
    if cells.get("type") in ("MixedCut", "PaddingCut") or "tracks" in cells:
        raise ValueError("a mixed or padded cut is not a part of one recording: list the cuts that it is made of")
    is_cut = "sources" not in cells
    recording = cells.get("recording") if is_cut else cells
    if not isinstance(recording, dict):
        raise ValueError("not a row of lhotse's: it has neither sources nor a recording")
    if recording.get("transforms"):
        raise ValueError(
            "the recording is changed by lhotse as it is read (transforms): save it and list what was saved"
        )
    custom = cells.get("custom") if isinstance(cells.get("custom"), dict) else {}
    given = {**_supervised(cells.get("supervisions")), **(custom or {})}
    given |= {name: value for name, value in cells.items() if name not in _STRUCTURE}
    if is_cut:
        given |= {"recording_id": recording.get("id"), **_part(cells, recording, options)}
    return given | {"audio": _source(recording)}


def _source(recording: Mapping[str, Any]) -> str:
    sources = recording.get("sources")
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        raise ValueError("sources: expected a list of objects")
    if len(sources) != 1:
        raise ValueError(f"the recording consists of {len(sources)} files: mix them into one and list that")
    kind, source = sources[0].get("type"), sources[0].get("source")
    if kind == "command":
        raise ValueError(not_run(str(source)))
    if kind not in ("file", "url"):
        raise ValueError(f"its audio is of the type {kind!r}, and only file and url can be read: write it to a file")
    if not isinstance(source, str) or not source:
        raise ValueError(f"the source: expected a path or a URL, got {source!r:.60}")
    return source


def _part(cut: Mapping[str, Any], recording: Mapping[str, Any], options: OptionSchema) -> Mapping[str, Any]:
    """The options for the part of the recording that the cut is; none if it is the whole."""
    _check_channels(cut, recording)
    start, length = _number(cut, "start"), _number(cut, "duration")
    whole = _number(recording, "duration")
    begin = round(start * 1000) if start else None
    if length is None or (whole is not None and (start or 0) + length >= whole - _TOLERANCE_SECONDS):
        return options.excerpt(begin, None) if begin else {}
    return options.excerpt(begin, round(((start or 0) + length) * 1000))


def _check_channels(cut: Mapping[str, Any], recording: Mapping[str, Any]) -> None:
    channel, all_of_them = cut.get("channel"), recording.get("channel_ids")
    if all_of_them is None:
        sources = recording.get("sources")
        all_of_them = sources[0].get("channels") if isinstance(sources, list) and len(sources) == 1 else None
    chosen = channel if isinstance(channel, list) else [channel]
    if channel is not None and isinstance(all_of_them, list) and {*map(str, chosen)} != {*map(str, all_of_them)}:
        raise ValueError(
            f"the cut takes channel {channel} of {all_of_them}, and a recording can only be sent whole: list it once "
            "with multichannel = true, or save the channel to a file"
        )


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"{name}: expected seconds, got {value!r:.60}")
    return float(value)


def _supervised(supervisions: Any) -> dict[str, Any]:
    if not isinstance(supervisions, list) or len(supervisions) != 1 or not isinstance(supervisions[0], dict):
        return {}
    return {name: supervisions[0][name] for name in _SUPERVISED if supervisions[0].get(name) not in EMPTY}
