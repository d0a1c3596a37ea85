"""The real engine on real sound: what it hears, when, and what it does not hear."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from batch.engine import weights
from batch.engine.interface import BadAudio, EngineMissing, EngineRequest
from batch.engine.pipeline import bounds, styled
from batch.engine.registry import load
from tests.support.transcripts import TRIED, assert_well_formed, plain, wrong_words

RATE = 16_000
RNG = np.random.default_rng(1)
SILENCES = {
    "silence": np.zeros(4 * RATE),
    "white noise": RNG.uniform(-0.2, 0.2, 12 * RATE),
    "tone": 0.3 * np.sin(2 * np.pi * 440 * np.arange(12 * RATE) / RATE),
    "keypad": 0.2
    * (np.sin(2 * np.pi * 697 * np.arange(16 * RATE) / RATE) + np.sin(2 * np.pi * 1209 * np.arange(16 * RATE) / RATE))
    * (np.arange(16 * RATE) % 8000 < 3200),
    "throbbing noise": RNG.uniform(-0.1, 0.1, 16 * RATE) * (1 + np.sin(2 * np.pi * 4 * np.arange(16 * RATE) / RATE)),
}


@pytest.mark.parametrize("name", SILENCES)
def test_where_nobody_speaks_there_are_no_words(engine, record, name: str) -> None:
    transcript = engine.transcribe(record("a.wav", SILENCES[name]), EngineRequest(speaker_labels=True))
    assert (transcript.text, transcript.words, transcript.utterances) == ("", (), ())
    assert transcript.confidence == 0
    assert transcript.warnings == ()


def test_speech_is_heard_with_times_and_confidences(engine, record, speech) -> None:
    sound = np.concatenate([np.zeros(3 * RATE, np.int16), speech("beckett")])
    transcript = engine.transcribe(record("a.flac", sound, "flac"), EngineRequest())
    assert wrong_words(TRIED, transcript.text) <= 0.25
    assert 3000 <= transcript.words[0].start <= 4500
    assert transcript.audio_seconds == pytest.approx(len(sound) / RATE, abs=0.01)
    assert transcript.confidence > 0.6
    assert (transcript.utterances, transcript.channels, transcript.warnings) == (None, None, ())
    assert {word.speaker for word in transcript.words} == {None}
    assert_well_formed(transcript)


def test_one_voice_is_one_utterance_of_speaker_a(engine, record, speech) -> None:
    transcript = engine.transcribe(record("a.wav", speech("beckett")), EngineRequest(speaker_labels=True))
    assert [one.speaker for one in transcript.utterances] == ["A"]
    assert transcript.utterances[0].text == transcript.text
    assert transcript.utterances[0].words == transcript.words


def test_two_voices_are_told_apart(engine, record, speech) -> None:
    path = record("a.wav", speech("endgame_nagg_nell"))
    transcript = engine.transcribe(path, EngineRequest(speaker_labels=True))
    said = transcript.utterances
    assert [one.speaker for one in said[:2]] == ["A", "B"]
    assert {one.speaker for one in said} == {"A", "B"}
    assert all(one.speaker != other.speaker for one, other in pairwise(said))
    assert (said[1].text, said[1].start) == ("Yes.", pytest.approx(1580, abs=300))
    assert tuple(word for one in said for word in one.words) == transcript.words
    assert_well_formed(transcript)


def test_the_number_of_speakers_can_be_given(engine, record, speech) -> None:
    path = record("a.wav", speech("endgame_nagg_nell"))
    for count in (1, 2):
        request = EngineRequest(speaker_labels=True, speakers_expected=count)
        assert len({one.speaker for one in engine.transcribe(path, request).utterances}) == count


def test_each_channel_is_heard_by_itself(engine, record, speech) -> None:
    one, silence = speech("beckett"), np.zeros(12 * RATE, np.int16)
    left, right = np.concatenate([one, silence]), np.concatenate([silence, one])
    path = record("call.wav", np.stack([left, right]))
    transcript = engine.transcribe(path, EngineRequest(multichannel=True))
    assert transcript.channels == 2
    assert [(said.channel, said.speaker) for said in transcript.utterances] == [("1", "1"), ("2", "2")]
    assert wrong_words(TRIED, transcript.utterances[1].text) <= 0.25
    assert_well_formed(transcript)
    both = engine.transcribe(path, EngineRequest(multichannel=True, speaker_labels=True))
    assert [(said.channel, said.speaker) for said in both.utterances] == [("1", "1A"), ("2", "2A")]


def test_channels_that_talk_at_once_are_merged_by_time(engine, record, speech) -> None:
    one = speech("beckett")
    path = record("call.wav", np.stack([one, np.roll(one, RATE)]))
    transcript = engine.transcribe(path, EngineRequest(multichannel=True))
    assert {word.channel for word in transcript.words} == {"1", "2"}
    assert_well_formed(transcript)


def test_a_part_keeps_the_times_of_the_whole(engine, record, speech) -> None:
    sound = np.concatenate([speech("two_cities")[: 6 * RATE], speech("beckett")])
    path = record("a.wav", sound)
    transcript = engine.transcribe(path, EngineRequest(audio_start_from=6000, audio_end_at=11_000))
    assert plain(transcript.text)[:2] == ["ever", "tried"]
    assert all(6000 <= word.start < word.end <= 11_000 for word in transcript.words)
    assert transcript.audio_seconds == pytest.approx(len(sound) / RATE, abs=0.01)
    with pytest.raises(BadAudio, match="Audio duration is too short"):
        engine.transcribe(path, EngineRequest(audio_start_from=60_000))


def test_fillers_are_left_out_unless_they_are_asked_for(engine, record, speech) -> None:
    path = record("a.flac", speech("clone-test"), "flac")
    spoken = engine.transcribe(path, EngineRequest(disfluencies=True))
    assert "Um," in spoken.text.split()
    fluent = engine.transcribe(path, EngineRequest())
    assert fluent.text == spoken.text.replace(" Um,", "")
    assert fluent.words == tuple(word for word in spoken.words if word.text != "Um,")


def test_case_and_punctuation_can_be_left_out(engine, record, speech) -> None:
    request = EngineRequest(punctuate=False, format_text=False)
    text = engine.transcribe(record("a.wav", speech("beckett")), request).text
    assert text == text.lower()
    assert not set(text) & set(".,?!")


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        ("Hello,", "Hello"),
        ('"No!"', "No"),
        ("don't", "don't"),
        ("50%.", "50%"),
        ("$5.", "$5"),
        ("3.5,", "3.5"),
        ("well-known", "well-known"),
        ("...", ""),
        ("dogs'", "dogs'"),
    ],
)
def test_punctuation_is_stripped_from_around_words(written: str, bare: str) -> None:
    from batch.model import Word

    assert styled(Word(written, 0, 1, 1.0), EngineRequest(punctuate=False)).text == bare


@pytest.mark.parametrize(
    ("request_", "seconds", "allowed"),
    [
        (EngineRequest(), 60, (None, None)),
        (EngineRequest(), 300, (None, 10)),
        (EngineRequest(), 3600, (None, 30)),
        (EngineRequest(speakers_expected=4), 3600, (4, 4)),
        (EngineRequest(min_speakers=2, max_speakers=6), 60, (2, 6)),
        (EngineRequest(min_speakers=12), 300, (12, 12)),
    ],
)
def test_the_number_of_speakers_is_bounded_as_v2_documents(request_, seconds: float, allowed) -> None:
    assert bounds(request_, seconds) == allowed


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, batch.engine.registry;"
        "print(sorted({'numpy', 'av', 'onnxruntime', 'pocketsphinx'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"


def test_a_plug_in_is_loaded_by_its_name(monkeypatch) -> None:
    import types

    plug_in = types.ModuleType("made_up_engine")
    plug_in.factory = lambda: "an engine"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "made_up_engine", plug_in)
    assert load("made_up_engine:factory") == "an engine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("whisper", "no engine called 'whisper'"),
        ("no_such_package:factory", "cannot be loaded"),
        ("json:no_such_factory", "has no 'no_such_factory'"),
    ],
)
def test_an_engine_that_is_not_there_is_named(name: str, message: str) -> None:
    with pytest.raises(EngineMissing, match=message):
        load(name)


def test_without_its_packages_the_message_gives_the_command(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    for module in [name for name in sys.modules if name.startswith("batch.engine.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(EngineMissing, match=r"pip install 'av.*'moonshine-voice==0\.1\.0'"):
        load("moonshine")


@pytest.mark.parametrize("model", weights.HASHES)
def test_a_model_with_other_contents_is_refused(monkeypatch, model: str) -> None:
    monkeypatch.setitem(weights.HASHES, model, "0" * 64)
    with pytest.raises(EngineMissing, match=r"moonshine-voice==0\.1\.0"):
        weights.read(model)


def test_a_package_without_models_is_refused(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(weights, "package_folder", lambda: tmp_path)
    (tmp_path / "libmoonshine.so").write_bytes(b"not a library")
    for model in weights.HASHES:
        with pytest.raises(EngineMissing, match="is not there"):
            weights.read(model)
