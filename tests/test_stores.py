"""Object stores, against a real S3 server on loopback."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import batch
from batch import errors, manifest, stores, wiring
from batch.admission import Wish
from batch.model import Recording, Reject
from batch.service.faults import Fault, Faults, What
from batch.stores import Access
from batch.summary import Summary
from batch.window import Window
from tests.service.double import start_service
from tests.service.s3 import BUCKET, S3, named, running
from tests.test_run import settings, wav

ROOT = f"s3://{BUCKET}"


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with running() as s3:
        yield s3


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch, server: S3) -> Iterator[S3]:
    server.count_anew()
    with named(monkeypatch, server):
        yield server
        for key in server.keys(""):
            server.client.delete_object(Bucket=BUCKET, Key=key)


def filled(s3: S3, count: int, prefix: str = "calls") -> None:
    for number in range(count):
        s3.put(f"{prefix}/{number:03}.wav", wav(random.Random(number).randbytes(2000)))


def read(*named: str) -> list[Recording | Reject]:
    return list(manifest.read(named, defaults={}, cwd=Path("/")))


def test_a_prefix_and_a_glob_list_recordings_with_their_stamps_and_keys_below_it(s3: S3) -> None:
    filled(s3, 3)
    s3.put("calls/deep/a b ü.mp3", b"ID3")
    s3.put("calls/notes.txt", b"no recording")
    rows = read(f"{ROOT}/calls/")
    assert [row.key for row in rows] == ["000.wav", "001.wav", "002.wav", "deep/a b ü.mp3"]
    first = rows[0]
    assert isinstance(first, Recording)
    assert first.source == f"{ROOT}/calls/000.wav"
    assert first.stamp == stores.look(first.source)[1:]
    assert [row.key for row in read(f"{ROOT}/calls/*2.wav")] == ["002.wav"]


def test_a_manifest_in_a_store_names_what_lies_beside_it(s3: S3) -> None:
    s3.put("in/m.csv", b"audio,customer\na.wav,ACME\n../b.wav,X\ns3://other/c.wav,Y\nhttps://example.com/d.wav,Z\n")
    rows = read(f"{ROOT}/in/m.csv")
    assert [row.source for row in rows if isinstance(row, Recording)] == [
        f"{ROOT}/in/a.wav", f"{ROOT}/b.wav", "s3://other/c.wav", "https://example.com/d.wav",
    ]  # fmt: skip
    assert [row.key for row in rows] == ["a.wav", f"{BUCKET}/b.wav", "other/c.wav", "example.com/d.wav"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://nowhere/calls/", "cannot list s3://nowhere/calls/"),
        (f"{ROOT}/missing.csv", "is not there"),
        ("s3:///calls/", "names no bucket"),
        (f"{ROOT}/empty/", "nothing is listed"),
    ],
)
def test_what_cannot_be_listed_or_read_is_told(s3: S3, url: str, said: str) -> None:
    with pytest.raises(errors.Usage, match=said):
        read(url)


@pytest.mark.parametrize(
    ("answer", "reach", "kind"),
    [
        (
            "Server returned non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code>",
            errors.Permanent,
            "forbidden",
        ),
        (
            "Server returned non-2xx status code: 400: <Code>ExpiredToken</Code>",
            errors.Unavailable,
            "store_credentials",
        ),
        ("403 <Code>InvalidAccessKeyId</Code>", errors.Unavailable, "store_credentials"),
        ("Server returned non-2xx status code: 404 Not Found", errors.Permanent, "missing"),
        ("error trying to connect", errors.Unavailable, "store"),
    ],
)
def test_one_object_is_told_apart_from_credentials_that_nobody_accepts(
    answer: str, reach: type[errors.DiaristError], kind: str
) -> None:
    from obstore.exceptions import GenericError

    with pytest.raises(reach) as caught, stores._explained(f"{ROOT}/a.wav"):
        raise GenericError(answer)
    assert caught.value.kind == kind


async def ran(base_url: str, out: Path | str, *named: str, **given: Any) -> Summary:
    return await batch.run([*named], out, settings=settings(base_url, **given))


async def test_the_service_reads_stored_recordings_by_itself_and_no_byte_passes_through_us(
    tmp_path: Path, s3: S3
) -> None:
    filled(s3, 40)
    async with start_service(tmp_path / "service", private=True) as service:
        summary = await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/")
        assert (summary.exit_code, summary.collected) == (0, 40)
        assert s3.bytes_sent["client"] == 0
        assert s3.bytes_sent["link"] == 40 * 2044
        assert not [request for request in service.requests if request == ("POST", "/v2/upload")]
        asked = len(service.requests)
        again = await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/")
        assert (again.skipped["done"], len(service.requests)) == (40, asked)
        s3.put("calls/007.wav", wav(b"other" * 1000))
        changed = await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/")
        assert (changed.collected, changed.skipped["done"]) == (1, 39)


async def test_they_are_uploaded_through_us_where_that_is_asked_for(tmp_path: Path, s3: S3) -> None:
    filled(s3, 5)
    async with start_service(tmp_path / "service") as service:
        summary = await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/", stores=Access(by="upload"))
    assert summary.exit_code == 0
    assert s3.bytes_sent["link"] == 0
    result = json.loads((tmp_path / "out" / "003.wav.json").read_bytes())
    assert result["recording"]["sha256"] in result["text"]


async def test_without_credentials_that_can_sign_they_are_uploaded(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(s3, 2)
    monkeypatch.setattr("batch.pipeline.link", lambda source, seconds: None)
    async with start_service(tmp_path / "service") as service:
        summary = await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/")
    assert (summary.exit_code, service.requests.count(("POST", "/v2/upload"))) == (0, 2)


async def test_a_link_that_the_service_cannot_read_any_more_is_signed_again_and_never_told(
    tmp_path: Path, s3: S3
) -> None:
    filled(s3, 2)
    broken = "Download error, unable to download {url}"
    faults = Faults((Fault(What.JOB_ERROR, "submit", at=(1,), error=broken),), random.Random(1))
    async with start_service(tmp_path / "service", private=True, faults=faults) as service:
        summary = await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/")
    assert (summary.exit_code, len(service.submissions)) == (0, 3)


async def test_a_failure_names_the_object_and_not_its_signed_link(tmp_path: Path, s3: S3) -> None:
    filled(s3, 1)
    async with start_service(tmp_path / "service") as service:  # which fetches nothing from private addresses
        summary = await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/")
    (failure,) = summary.failures.values()
    assert f"{ROOT}/calls/000.wav" in failure.reason
    assert "X-Amz-Signature" not in failure.reason
    assert "X-Amz-Signature" not in (tmp_path / "out" / "failed.jsonl").read_text()


async def test_objects_that_are_gone_fail_alone(tmp_path: Path, s3: S3) -> None:
    filled(s3, 3)
    (tmp_path / "m.txt").write_text("".join(f"{ROOT}/calls/{name}.wav\n" for name in ("000", "gone", "002")))
    async with start_service(tmp_path / "service", private=True) as service:
        summary = await ran(service.base_url, tmp_path / "out", str(tmp_path / "m.txt"))
    assert (summary.exit_code, summary.collected, summary.failures["missing"].count) == (3, 2, 1)


async def test_results_are_written_to_a_store_too_before_they_count_as_collected(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(s3, 3)
    async with start_service(tmp_path / "service", private=True) as service:
        put = stores.put
        monkeypatch.setattr(stores, "put", refusing)
        stopped = await ran(service.base_url, f"{ROOT}/results/", f"{ROOT}/calls/")
        assert stopped.exit_code == 5
        monkeypatch.setattr(stores, "put", put)
        summary = await ran(service.base_url, f"{ROOT}/results/", f"{ROOT}/calls/")
        assert summary.exit_code == 0
        assert len(service.submissions) == 3, "nothing is paid twice for a store that does not take results"
    local = tmp_path / "results" / BUCKET / "results"
    assert s3.keys("results/") == [f"results/00{n}.wav.json" for n in range(3)]
    assert s3.get("results/001.wav.json") == (local / "001.wav.json").read_bytes()


def refusing(url: str, content: bytes) -> None:
    raise errors.Unavailable(f"cannot write {url}", kind="store")


async def test_a_plan_reads_headers_only(tmp_path: Path, s3: S3) -> None:
    for number in range(3):
        s3.put(f"calls/{number}.wav", wav(bytes(4_000_000)))
    async with wiring.planning(
        [f"{ROOT}/calls/"], tmp_path / "out", settings=settings("http://127.0.0.1:9"), wish=Wish(), window=Window(),
        environ={},
    ) as planner:  # fmt: skip
        rows = [row async for row in planner.rows()]
    assert [row.seconds for row in rows] == [500.0] * 3
    assert s3.bytes_sent["client"] < 100_000
    assert (s3.requests["GET client"], s3.requests["HEAD client"]) == (4, 0), "a list, and one look at each"


async def test_a_thousand_objects_are_listed_as_a_stream(tmp_path: Path, s3: S3) -> None:
    await asyncio.gather(*(asyncio.to_thread(s3.put, f"many/{n:04}.wav", b"RIFF") for n in range(1200)))
    before = s3.requests["GET client"]
    rows = manifest.read([f"{ROOT}/many/"], defaults={}, cwd=tmp_path)
    next(rows)
    assert s3.requests["GET client"] == before + 1, "the first page is enough for the first row"
    assert len(list(rows)) == 1199


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_other_stores_are_told_apart_by_their_scheme(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    stores._store.cache_clear()
    opened, path = stores._opened(f"{scheme}://bucket/calls/1.wav")
    assert type(opened).__name__ == {"gs": "GCSStore", "az": "AzureStore"}[scheme]
    assert path == "calls/1.wav"
    link = stores.link(f"{scheme}://bucket/calls/1.wav", 60)
    assert (link or "").startswith("https://account.blob") if scheme == "az" else link is None
    stores._store.cache_clear()
