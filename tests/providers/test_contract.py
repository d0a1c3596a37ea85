"""What any provider must do, whoever it is. A new provider is added to ``SORTS``, and passes as it is."""

from __future__ import annotations

import asyncio
import io
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batch import errors
from batch.config import PriceTable
from batch.errors import FailureKind
from batch.providers.interface import AudioStream, Connection, ConnectionRequest, Fetched, Provider, Submission
from batch.providers.registry import resolve
from tests.providers.stand_ins.service import PlugIn, serving
from tests.support.recordings import wav
from tests.support.service import start_service

SORTS = ("assemblyai", "at-once", "by-id")
OTHER_OPTIONS: dict[str, dict[str, Any]] = {"assemblyai": {"disfluencies": True}}
AUDIO = wav(random.Random(1).randbytes(4000))


@asynccontextmanager
async def reached(sort: str, folder: Path, plug_in: PlugIn) -> AsyncIterator[tuple[Provider, Connection]]:
    request = ConnectionRequest(connections=4, folder=folder)
    if sort == "assemblyai":
        async with start_service(folder / "service", seconds=0.02) as double:
            provider = resolve(double.base_url, {})
            async with provider.connect(request) as connection:
                yield provider, connection
        return
    async with serving(seconds=0.02) as service:
        provider = resolve(sort, plug_in(service))
        async with provider.connect(request) as connection:
            yield provider, connection


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    file = io.BytesIO(content)
    while chunk := file.read(1000):
        yield chunk


async def submitted(provider: Provider, connection: Connection, options: dict[str, Any]) -> Submission:
    audio = AudioStream(chunks(AUDIO), len(AUDIO))
    return await connection.submit(
        await connection.upload(audio) if provider.capabilities.uploads else audio, options
    )


async def ended(connection: Connection, submission: Submission) -> Fetched:
    if submission.fetched:
        return submission.fetched
    async with asyncio.timeout(10):
        while not (fetched := await connection.fetch(submission.job.id)).job.has_ended:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return fetched


@pytest.mark.parametrize("sort", SORTS)
async def test_what_is_submitted_comes_back_as_its_transcript(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    async with reached(sort, tmp_path, plug_in) as (provider, connection):
        await connection.check()
        options = provider.options.read({}, {"speaker_labels": True})
        submission = await submitted(provider, connection, options)
        fetched = await ended(connection, submission)
    assert fetched.job.id == submission.job.id
    assert isinstance(msgspec.json.decode(fetched.body), dict), "results hold a JSON object"
    assert provider.restore(fetched.body) == fetched
    outline = provider.outline(fetched.body)
    assert (outline.job_id, outline.audio_seconds) == (submission.job.id, fetched.audio_seconds)
    result = b'{"recording":{"key":"a"},' + fetched.body.strip()[1:]
    transcript = provider.read("a", result)
    assert (transcript.key, transcript.recording, transcript.transcript_id) == ("a", {"key": "a"}, submission.job.id)
    assert transcript.utterances
    assert len(transcript.speakers) == outline.speakers
    assert all(0 <= word.start <= word.end for each in transcript.utterances for word in each.words)
    assert provider.matches(fetched.body, options)


@pytest.mark.parametrize("sort", SORTS)
async def test_jobs_are_listed_with_links_and_times_or_not_at_all(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    async with reached(sort, tmp_path, plug_in) as (provider, connection):
        can = provider.capabilities
        if not can.lists_jobs:
            assert can.lookup == "never", "a lost submission is looked for in the list"
            return
        submissions = [await submitted(provider, connection, {}) for _ in range(3)]
        first = await connection.jobs(limit=2)
        assert len(first.jobs) == 2
        rest = await connection.jobs(older=first.older)
        listed = {job.id: job for job in (*first.jobs, *rest.jobs)}
        assert rest.older is None
        assert listed.keys() == {submission.job.id for submission in submissions}
        for submission in submissions:
            job = listed[submission.job.id]
            assert job.link == submission.job.link
            assert job.created_at is not None
            assert math.isclose(job.created_at, time.time(), abs_tol=can.zone_seconds + 60)


@pytest.mark.parametrize("sort", SORTS)
async def test_a_job_that_nobody_knows_is_not_found(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    async with reached(sort, tmp_path, plug_in) as (_, connection):
        with pytest.raises(errors.TranscriptNotFoundError) as caught:
            await connection.fetch("6f9b2d34-0000-4000-8000-000000000000")
    assert caught.value.kind is FailureKind.UNKNOWN_ID


@pytest.mark.parametrize("sort", SORTS)
async def test_only_our_errors_come_out_when_nobody_is_there(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    async with reached(sort, tmp_path, plug_in) as (provider, _):
        pass
    async with provider.connect(ConnectionRequest(connections=1, folder=tmp_path)) as connection:
        with pytest.raises(errors.NoEffectError):
            await connection.check()
        with pytest.raises(errors.NoEffectError):
            await submitted(provider, connection, {})


@pytest.mark.parametrize("sort", SORTS)
async def test_options_have_one_form(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    async with reached(sort, tmp_path, plug_in) as (provider, connection):
        schema, other = provider.options, OTHER_OPTIONS.get(sort, {"tongue": "de"})
        read = schema.read(other, {"speaker_labels": True})
        assert schema.canonical(schema.canonical(read)) == schema.canonical(read)
        assert schema.differing(read, read) == []
        assert schema.differing(read, {}) == schema.differing({}, read) != []
        assert all(map(schema.is_option, schema.columns))
        assert schema.language("de")
        assert schema.names_language({name: str(value) for name, value in schema.language("de").items()})
        assert not schema.is_excerpt(read)
        fetched = await ended(connection, await submitted(provider, connection, read))
        assert provider.matches(fetched.body, read)
        assert not provider.matches(fetched.body, {})


@pytest.mark.parametrize("sort", SORTS)
async def test_a_provider_says_who_it_is_and_not_its_key(tmp_path: Path, plug_in: PlugIn, sort: str) -> None:
    async with reached(sort, tmp_path, plug_in) as (provider, _):
        assert provider.name
        assert provider.schema
        assert provider.key is None or provider.key in provider.secrets
        assert provider.key is None or provider.key not in f"{provider.name} {provider.address} {provider.schema}"
        assert provider.classify(None).kind in FailureKind
        assert provider.read_notice(b"no notice") is None
        assert provider.notice_secret({}) == ""
        provider.pricing(PriceTable())
        assert isinstance(list(provider.alternatives()), list)
