"""The vendor's own SDK for Python, unchanged, against a real service with the real engine.

pip install '.[local,test,sdk]' && pytest -m sdk
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.places import DEMO
from tests.support.sdk import KEY, Calls, served, tell

pytestmark = [pytest.mark.sdk, pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

MEETING, CALL = DEMO / "planning-meeting.mp3", DEMO / "support-call.ogg"
TALK, INTERVIEW = DEMO / "kitchen-talk.m4a", DEMO / "radio-interview.flac"


@pytest.fixture(scope="module")
def calls(request: pytest.FixtureRequest) -> Iterator[Calls]:
    made = Calls()
    yield made
    from assemblyai import __version__

    tell(
        request.config, f"assemblyai {__version__} for Python: {made.made} calls, {made.as_documented} as documented"
    )


@pytest.fixture(scope="module")
def aai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The SDK, set up as its documentation says: a key and a base URL."""
    assemblyai = pytest.importorskip("assemblyai")
    before = assemblyai.settings.copy()
    with served(tmp_path_factory.mktemp("service")) as base_url:
        assemblyai.settings.base_url, assemblyai.settings.api_key = base_url, KEY
        assemblyai.settings.polling_interval = 0.1
        yield assemblyai
        assemblyai.Client.get_default().http_client.close()
    assemblyai.settings.base_url, assemblyai.settings.api_key = before.base_url, before.api_key


@pytest.fixture(scope="module")
def meeting(aai: Any, calls: Calls) -> Any:
    """A recording of 45 s with three speakers, transcribed."""
    with calls():
        done = aai.Transcriber().transcribe(str(MEETING), aai.TranscriptionConfig(speaker_labels=True))
        assert done.status == aai.TranscriptStatus.completed
    return done


def part(aai: Any, **options: Any) -> Any:
    """Options for the first seconds of a recording: enough to see what an option does."""
    return aai.TranscriptionConfig(**{"audio_end_at": 7000} | options)


def test_a_transcript_has_words_utterances_and_speakers(meeting: Any, aai: Any) -> None:
    assert "old library building" in meeting.text
    assert [utterance.speaker for utterance in meeting.utterances][:3] == ["A", "B", "C"]
    assert {word.speaker for word in meeting.words} == {"A", "B", "C"}
    assert (meeting.audio_duration, meeting.error, meeting.speech_model_used) == (45, None, "moonshine")
    assert 0.5 < meeting.confidence <= 1
    assert meeting.config.speaker_labels is True
    assert meeting.json_response["id"] == meeting.id


@pytest.mark.parametrize("kind", ["path", "Path", "bytes", "file", "URL"])
def test_audio_is_taken_in_every_form(aai: Any, calls: Calls, kind: str) -> None:
    transcriber = aai.Transcriber(config=part(aai))
    with calls(), INTERVIEW.open("rb") as file:
        forms = {"path": str(INTERVIEW), "Path": INTERVIEW, "bytes": INTERVIEW.read_bytes(), "file": file}
        source = transcriber.upload_file(str(INTERVIEW)) if kind == "URL" else forms[kind]
        done = transcriber.transcribe(source)
        assert done.text.startswith("Our guest")


def test_submit_returns_at_once_and_can_be_waited_for(aai: Any, calls: Calls) -> None:
    transcriber = aai.Transcriber(config=part(aai))
    with calls():
        submitted = transcriber.submit(str(TALK))
        assert submitted.status in ("queued", "processing")
        assert submitted.text is None
    with calls():
        assert submitted.wait_for_completion().status == "completed"
    with calls():
        assert aai.Transcript.get_by_id(submitted.id).text == submitted.text
    with calls():
        assert aai.Transcript.get_by_id_async(submitted.id).result().text == submitted.text
    with calls(), pytest.raises(aai.TranscriptError, match="did not finish within 0"):
        transcriber.transcribe(str(MEETING), poll_timeout=0)


def test_the_futures_of_the_sdk_resolve(aai: Any, calls: Calls) -> None:
    transcriber = aai.Transcriber(config=part(aai), max_workers=2)
    with calls():
        link = transcriber.upload_file_async(str(TALK)).result()
        assert link.startswith(aai.settings.base_url + "/upload/")
    with calls():
        assert transcriber.transcribe_async(link).result().status == "completed"
    with calls():
        assert transcriber.list_transcripts_async().result().transcripts


def test_a_group_is_transcribed_together(aai: Any, calls: Calls) -> None:
    transcriber = aai.Transcriber(config=part(aai))
    recordings = [str(path) for path in (MEETING, CALL, TALK, INTERVIEW)]
    with calls():
        group = transcriber.transcribe_group(recordings)
        assert group.status == "completed"
        assert len({transcript.text for transcript in group}) == 4
    with calls():
        group, failures = transcriber.transcribe_group([str(TALK), b""], return_failures=True)
        assert [transcript.status for transcript in group] == ["completed"]
        assert "Upload failed, please try again." in str(failures[0])
        assert failures[0].status_code == 422
    with calls():
        submitted = transcriber.submit_group([str(TALK), b"no audio"])
        assert len(submitted.transcripts) == 2
    with calls():
        assert submitted.wait_for_completion().status == "error"
    with calls():
        ids = [transcript.id for transcript in submitted]
        assert {transcript.id for transcript in aai.TranscriptGroup.get_by_ids(ids)} == set(ids)


def test_sentences_paragraphs_and_captions_are_exported(meeting: Any, calls: Calls) -> None:
    with calls():
        sentences = meeting.get_sentences()
        assert sentences[0].text == "Let us begin."
        assert {sentence.speaker for sentence in sentences} == {"A", "B", "C"}
        assert [word for sentence in sentences for word in sentence.words] == meeting.words
    with calls():
        paragraphs = meeting.get_paragraphs()
        assert " ".join(paragraph.text for paragraph in paragraphs) == meeting.text
    with calls():
        srt = meeting.export_subtitles_srt()
        assert srt.startswith("1\n00:00:00,484 --> 00:00:0")
    with calls():
        short = meeting.export_subtitles_srt(chars_per_caption=20)
        assert max(len(line) for line in short.splitlines() if "-->" not in line) <= 20
    with calls():
        assert meeting.export_subtitles_vtt().startswith("WEBVTT\n\n00:00.484 --> 00:0")
    with calls():
        assert meeting.export_subtitles_vtt(chars_per_caption=20).count("-->") == short.count("-->")


def test_words_are_found(meeting: Any, calls: Calls) -> None:
    with calls():
        matches = {match.text: match for match in meeting.word_search(["the", "Library building", "unsaid"])}
        assert matches.keys() == {"the", "Library building"}
        found = matches["Library building"]
        assert meeting.words[found.indexes[0]].text == "library"
        assert found.timestamps[0][0] == meeting.words[found.indexes[0]].start
        assert matches["the"].count == sum(word.text.lower() == "the" for word in meeting.words)


def test_the_list_is_walked_page_by_page(aai: Any, calls: Calls, meeting: Any) -> None:
    transcriber = aai.Transcriber()
    made = [transcriber.submit(b"not audio").wait_for_completion().id for _ in range(5)]
    params = aai.ListTranscriptParameters(limit=2, status="error")
    seen: list[str] = []
    while True:
        with calls():
            page = transcriber.list_transcripts(params)
            assert page.page_details.limit == 2
            assert page.page_details.result_count == len(page.transcripts) <= 2
        seen += [item.id for item in page.transcripts]
        if page.page_details.before_id_of_prev_url is None:
            break
        params.before_id = page.page_details.before_id_of_prev_url
    assert seen[:5] == made[::-1]
    with calls():
        newer = transcriber.list_transcripts(aai.ListTranscriptParameters(after_id=made[2]))
        assert [item.id for item in newer.transcripts][:2] == made[:2:-1]
    with calls():
        today = datetime.now(UTC).date().isoformat()
        assert transcriber.list_transcripts(aai.ListTranscriptParameters(created_on=today, limit=200)).transcripts
    with calls():
        assert not transcriber.list_transcripts(aai.ListTranscriptParameters(created_on="2001-01-01")).transcripts
    with calls():
        listed = transcriber.list_transcripts(aai.ListTranscriptParameters(limit=200, status="completed"))
        [item] = [item for item in listed.transcripts if item.id == meeting.id]
        assert (item.status, item.error, item.resource_url.rpartition("/")[2]) == ("completed", None, meeting.id)
        assert item.completed >= item.created
    with calls(), pytest.raises(aai.AssemblyAIError, match="limit must be between 1 and 200"):
        transcriber.list_transcripts(aai.ListTranscriptParameters(limit=201))


def test_what_is_deleted_is_gone(aai: Any, calls: Calls) -> None:
    done = aai.Transcriber(config=part(aai)).transcribe(str(TALK))
    with calls():
        gone = aai.Transcript.delete_by_id(done.id)
        assert (gone.text, gone.words, gone.audio_url) == ("Deleted by user.", None, "http://deleted_by_user")
    with calls():
        assert aai.Transcript.delete_by_id_async(done.id).result().text == "Deleted by user."
    with calls():
        assert aai.Transcript.get_by_id(done.id).text == "Deleted by user."
    with calls(), pytest.raises(aai.TranscriptError, match="deleted"):
        done.get_sentences()
    with calls():
        running = aai.Transcriber().submit(str(MEETING))
        aai.Transcript.delete_by_id(running.id)
        assert running.wait_for_completion().status == "error"


def test_options_do_what_they_say(aai: Any, calls: Calls) -> None:
    transcriber = aai.Transcriber()
    with calls():
        done = transcriber.transcribe(str(INTERVIEW), part(aai, audio_start_from=3000))
        assert 3000 <= done.words[0].start < done.words[-1].end <= 7000
    with calls():
        config = aai.TranscriptionConfig().set_audio_slice(end=4000).set_casing_and_formatting(False)
        done = transcriber.transcribe(str(INTERVIEW), config)
        assert done.text == done.text.lower()
        assert "." not in done.text
    with calls():
        done = transcriber.transcribe(str(CALL), part(aai, multichannel=True))
        assert {word.channel for word in done.words} == {"1", "2"}
        assert {(said.speaker, said.channel) for said in done.utterances} == {("1", "1"), ("2", "2")}
        assert done.json_response["audio_channels"] == 2
    with calls():
        done = transcriber.transcribe(str(CALL), part(aai, multichannel=True, speaker_labels=True))
        assert {said.speaker for said in done.utterances} == {"1A", "2A"}
    with calls():
        assert {sentence.channel for sentence in done.get_sentences()} == {"1", "2"}
    with calls():
        config = aai.TranscriptionConfig().set_speaker_diarization(True, speakers_expected=2)
        assert len({said.speaker for said in transcriber.transcribe(str(MEETING), config).utterances}) == 2
    with calls():
        bounds = aai.SpeakerOptions(min_speakers_expected=4, max_speakers_expected=4)
        config = aai.TranscriptionConfig(speaker_labels=True, speaker_options=bounds)
        done = transcriber.transcribe(str(MEETING), config)
        assert len({said.speaker for said in done.utterances}) == 4
        assert done.config.speaker_options.min_speakers_expected == 4
    with calls():
        done = transcriber.transcribe(str(TALK), part(aai, custom_spelling={"Dinner!": ["dinner"], "THAT": "that"}))
        assert done.text.startswith("THAT smells wonderful. What are you making for Dinner!?")
    with calls():
        done = transcriber.transcribe(str(TALK), part(aai, disfluencies=True, language_code="en_us"))
        assert (done.status, done.config.disfluencies, done.language_code) == ("completed", True, "en_us")
    with calls():
        done = transcriber.transcribe(str(TALK), part(aai, speech_models=["universal-3-5-pro", "universal-2"]))
        assert (done.status, done.speech_model_used) == ("completed", "moonshine")
    with calls():
        done = transcriber.transcribe(str(TALK), part(aai, speech_model=aai.SpeechModel.best, temperature=0.2))
        assert done.status == "completed"


@pytest.mark.parametrize(
    "options",
    [
        {"sentiment_analysis": True},
        {"summarization": True, "summary_model": "informative", "summary_type": "bullets"},
        {"redact_pii": True, "redact_pii_policies": ["person_name"]},
        {"language_detection": True},
        {"language_code": "de"},
        {"dual_channel": True},
        {"word_boost": ["library"]},
        {"filter_profanity": True},
        {"speech_threshold": 0.5},
    ],
)
def test_what_only_the_cloud_can_do_is_refused_by_name(aai: Any, calls: Calls, options: dict[str, Any]) -> None:
    says = rf"Not available on the local service: {next(iter(options))}"
    with calls(), pytest.raises(aai.TranscriptError, match=says) as refused:
        aai.Transcriber().transcribe(str(TALK), aai.TranscriptionConfig(**options))
    assert refused.value.status_code == 400


def test_what_goes_wrong_is_told_as_documented(aai: Any, calls: Calls) -> None:
    with calls():
        done = aai.Transcriber().transcribe(b"This is not audio.")
        assert done.status == aai.TranscriptStatus.error
        assert done.error.startswith("Transcoding failed. File does not appear to contain audio. File type is text/")
        assert (done.text, done.words) == (None, None)
    with calls(), pytest.raises(aai.TranscriptError, match="This transcript has a status of 'error'"):
        done.export_subtitles_srt()
    with calls(), pytest.raises(aai.TranscriptError, match="status of 'error'"):
        done.get_paragraphs()
    with calls(), pytest.raises(aai.TranscriptError, match="status of 'error'"):
        done.word_search(["word"])
    with calls():
        done = aai.Transcriber().transcribe("http://127.0.0.1:9/a.wav")
        assert done.error.startswith("Download error, unable to download http://127.0.0.1:9/a.wav.")
    with calls(), pytest.raises(aai.TranscriptError, match="transcript id not found"):
        aai.Transcript.get_by_id("nobody")
    with calls(), pytest.raises(aai.TranscriptError, match="transcript id not found"):
        aai.Transcript.delete_by_id("nobody")
    with calls():
        done = aai.Transcriber().transcribe(str(TALK), aai.TranscriptionConfig(audio_start_from=600_000))
        assert done.error == "Audio duration is too short."
    with calls(), pytest.raises(FileNotFoundError):
        aai.Transcriber().transcribe("nothing.wav")


def test_a_wrong_key_is_refused(aai: Any, calls: Calls) -> None:
    client = aai.Client(api_key="wrong")
    wrong = aai.Transcriber(client=client)
    for call in (lambda: wrong.transcribe(str(TALK)), wrong.list_transcripts, lambda: wrong.submit("http://a/b")):
        with (
            calls(),
            pytest.raises(aai.AssemblyAIError, match="Authentication error, API token missing/invalid") as no,
        ):
            call()
        assert no.value.status_code == 401
    client.http_client.close()


async def test_the_asynchronous_client_does_the_same(aai: Any, calls: Calls, tmp_path: Path) -> None:
    labels = part(aai, speaker_labels=True)
    async with aai.AsyncTranscriber(config=labels) as transcriber:
        with calls():
            done = await transcriber.transcribe(str(INTERVIEW))
            assert done.utterances[0].speaker == "A"
        with calls():
            group = await asyncio.gather(
                transcriber.transcribe(INTERVIEW.read_bytes()), transcriber.transcribe(io.BytesIO(TALK.read_bytes()))
            )
            assert [each.status for each in group] == ["completed"] * 2
            assert group[0].text == done.text
        with calls():
            submitted = await transcriber.submit(await transcriber.upload_file(TALK))
            assert (await submitted.wait_for_completion()).text == group[1].text
        with calls():
            assert (await transcriber.get_by_id(done.id)).text == done.text
        with calls():
            assert [each.text for each in await transcriber.transcribe_group([str(TALK), str(INTERVIEW)])] == [
                group[1].text,
                done.text,
            ]
        with calls():
            good, failures = await transcriber.transcribe_group([str(TALK), b""], return_failures=True)
            assert (len(good), failures[0].status_code) == (1, 422)
        with calls():
            assert [each.id for each in await transcriber.submit_group([b"no audio"])]
        with calls():
            assert (await done.get_sentences())[0].speaker == "A"
        with calls():
            assert (await done.get_paragraphs())[0].words
        with calls():
            assert (await done.export_subtitles_srt(chars_per_caption=30)).startswith("1\n00:00:00,")
        with calls():
            assert (await done.export_subtitles_vtt()).startswith("WEBVTT\n\n")
        with calls():
            assert (await done.word_search(["guests", "guest"]))[0].count == 1
        with calls():
            page = await transcriber.list_transcripts(aai.ListTranscriptParameters(limit=1))
            assert page.page_details.before_id_of_prev_url
        with calls():
            assert (await transcriber.delete_by_id(done.id)).text == "Deleted by user."
        with calls(), pytest.raises(aai.TranscriptError, match="transcript id not found"):
            await transcriber.get_by_id("nobody")
        with calls(), pytest.raises(aai.TranscriptError, match="local service: sentiment_analysis"):
            await transcriber.transcribe(str(TALK), aai.TranscriptionConfig(sentiment_analysis=True))
    async with aai.AsyncTranscriber(api_key="wrong") as wrong:
        with calls(), pytest.raises(aai.TranscriptError, match="Authentication error"):
            await wrong.transcribe(str(TALK))
