"""Each format is read back, from real results, by the reader that its users use, and looks as it always has."""

from __future__ import annotations

import io
import json
import sys
import xml.etree.ElementTree as ET
from itertools import groupby
from pathlib import Path

import av
import numpy as np
import pysubs2
import pytest
import webvtt
from praatio import textgrid
from pyannote.core import Segment, Timeline
from pyannote.database.util import load_rttm
from pyannote.metrics.diarization import DiarizationErrorRate

from batch import errors
from batch.archive.export import read_formats
from batch.transcripts.formats import corpora, png
from batch.transcripts.formats.registry import FORMATS
from batch.transcripts.formats.svg import COLOURS
from batch.transcripts.speech_spans import speech_spans
from batch.transcripts.talk_stats import talk_stats
from batch.transcripts.transcript import Transcript, speaker_label
from tests.support.demo_results import of

GOLDEN = Path(__file__).parent / "golden"


def text_of(said: Transcript) -> list[str]:
    return [word.text for utterance in said.utterances for word in utterance.words]


def content(name: str, said: Transcript) -> bytes:
    return FORMATS[name].content(said)


def test_lhotse_supervisions_are_as_when_lhotse_read_them() -> None:
    assert corpora.lhotse(of("support-call")).decode() == (GOLDEN / "support-call.lhotse.jsonl").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {"png"}))
def test_every_format_is_as_it_was_when_a_person_looked_at_it(name: str) -> None:
    """To look again: ``diarist export tests/support/demo_archive --to ... --out ...``."""
    golden = GOLDEN / f"support-call.{FORMATS[name].suffix}"
    assert content(name, of("support-call")).decode() == golden.read_text("utf-8")


def test_webvtt_py_reads_captions_with_every_word_and_speaker(said: Transcript) -> None:
    captions = list(webvtt.from_string(content("vtt", said).decode()))
    assert " ".join(caption.text.replace("\n", " ") for caption in captions).split() == text_of(said)
    assert {caption.voice for caption in captions} == {speaker_label(speaker) for speaker in said.speakers}
    assert all(caption.start_in_seconds <= caption.end_in_seconds for caption in captions)


def test_pysubs2_reads_the_subrip_captions_whole_and_in_order(said: Transcript) -> None:
    events = list(pysubs2.SSAFile.from_string(content("srt", said).decode(), "srt"))
    turns = [list(own) for _, own in groupby(said.utterances, lambda utterance: utterance.speaker)]
    heard = [f"{speaker_label(own[0].speaker)}: {' '.join(one.text for one in own)}" for own in turns]
    assert " ".join(event.plaintext.replace("\n", " ") for event in events) == " ".join(heard)
    assert [event.start for event in events] == sorted(event.start for event in events)
    assert all(event.start < event.end for event in events)


def test_timeline_picture_is_coloured_by_each_speakers_share(said: Transcript) -> None:
    """The picture of the timeline has as much colour of each speaker as they talk."""
    with av.open(io.BytesIO(content("png", said))) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
    shares = {measure.speaker: measure.share for measure in talk_stats(said)}
    painted = [np.all(pixels == bytearray.fromhex(colour[1:]), axis=2).sum() for colour in COLOURS[: len(shares)]]
    assert [area / sum(painted) for area in painted] == pytest.approx([*shares.values()], abs=0.02)


def test_picture_is_refused_at_once_without_resvg_or_a_font(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without resvg or a font the picture is refused before anything is written."""
    monkeypatch.setattr(png, "_LETTER", "<svg xmlns='http://www.w3.org/2000/svg' width='2' height='2'></svg>")
    with pytest.raises(errors.UsageError, match="needs a font"):
        read_formats("png")
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(errors.UsageError, match=r"pip install 'diarist\[png\]'"):
        read_formats("srt,png")


def test_pyannote_finds_the_same_speakers_and_times_in_the_rttm(said: Transcript, tmp_path: Path) -> None:
    (tmp_path / "said.rttm").write_bytes(content("rttm", said))
    [(key, annotation)] = load_rttm(tmp_path / "said.rttm").items()
    found = sorted(
        (segment.start, segment.end, label) for segment, _, label in annotation.itertracks(yield_label=True)
    )
    assert key == said.key
    assert [(round(1000 * start), round(1000 * end), label) for start, end, label in found] == sorted(
        (span.start, span.end, span.speaker) for span in speech_spans(said)
    )


def test_pyannote_scores_rttm_of_the_demo_recordings_as_right(said: Transcript, tmp_path: Path) -> None:
    (tmp_path / "said.rttm").write_bytes(content("rttm", said))
    [heard] = load_rttm(tmp_path / "said.rttm").values()
    reference = load_rttm(Path("configs/demo") / f"{said.key}.rttm")[said.key]
    whole = Timeline([Segment(0, said.seconds)])
    assert DiarizationErrorRate(collar=0.5)(reference, heard, uem=whole) < 0.05


def test_meeteval_finds_the_same_words_in_ctm_stm_and_seglst(said: Transcript) -> None:
    meeteval = pytest.importorskip("meeteval", reason="meeteval, which needs a compiler, is not installed")
    ctm = meeteval.io.CTM.parse(content("ctm", said).decode())
    stm = meeteval.io.STM.parse(content("stm", said).decode())
    seglst = meeteval.io.SegLST.parse(content("seglst", said).decode())
    assert sorted(line["words"] for line in ctm.to_seglst()) == sorted(text_of(said))
    for segments in (stm.to_seglst(), seglst):
        assert sorted(" ".join(s["words"] for s in segments).split()) == sorted(text_of(said))
        assert {s["speaker"] for s in segments} == set(said.speakers)
        assert {s["session_id"] for s in segments} == {said.key}
    rates = meeteval.wer.cpwer(reference=stm.to_seglst(), hypothesis=seglst)
    assert rates[said.key].error_rate == 0


def test_praatio_reads_the_textgrid_with_a_tier_for_each_speaker(said: Transcript, tmp_path: Path) -> None:
    (tmp_path / "said.TextGrid").write_bytes(content("textgrid", said))
    grid = textgrid.openTextgrid(str(tmp_path / "said.TextGrid"), includeEmptyIntervals=False, reportingMode="error")
    assert grid.tierNames == tuple(said.speakers)
    assert grid.maxTimestamp == pytest.approx(said.seconds)
    spoken_in_tiers = " ".join(entry.label for tier in grid.tiers for entry in tier.entries).split()
    assert sorted(spoken_in_tiers) == sorted(text_of(said))


def test_the_whisper_json_is_what_readers_of_whispers_take(said: Transcript) -> None:
    whisper = json.loads(content("whisper", said))
    events = list(pysubs2.load_from_whisper(whisper))
    assert " ".join(event.plaintext for event in events).split() == text_of(said)
    assert [word["word"].strip() for word in whisper["word_segments"]] == text_of(said)
    assert {segment["speaker"] for segment in whisper["segments"]} == set(said.speakers)
    assert whisper["language"] == "en"
    assert all(segment["end"] - segment["start"] <= 30 for segment in whisper["segments"])


def test_lhotse_reads_supervisions_and_trims_words_from_them(said: Transcript) -> None:
    lhotse = pytest.importorskip("lhotse", reason="lhotse, which asks for 3 GB of torch, is not installed")
    supervisions = lhotse.SupervisionSet.from_dicts(map(json.loads, corpora.lhotse(said).splitlines()))
    assert " ".join(one.text for one in supervisions).split() == text_of(said)
    assert {one.speaker for one in supervisions} == set(said.speakers)
    for one in supervisions:
        assert [item.symbol for item in one.alignment["word"]] == one.text.split()
        assert one.trim(one.end).end <= said.seconds + 0.001
    lhotse.validate(supervisions)


def test_timeline_is_xml_with_a_bar_for_each_stretch_of_speech(said: Transcript) -> None:
    root = ET.parse(io.BytesIO(content("svg", said))).getroot()
    bars = root.findall(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}rect")
    assert len(bars) == len(speech_spans(said))
    assert all(float(bar.get("x", 0)) + float(bar.get("width", 0)) <= 981 for bar in bars)


def test_markdown_and_text_hold_every_word_with_times(said: Transcript) -> None:
    for name in ("txt", "md"):
        text = content(name, said).decode().replace("**", "")
        positions = [text.find(word) for word in text_of(said)]
        assert min(positions) >= 0
        assert text.count("[0:0") == len(said.utterances)
