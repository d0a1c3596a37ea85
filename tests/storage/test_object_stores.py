"""Object stores, against a real S3 server on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import itertools
import json
import random
import shutil
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import pytest

import batch
from batch import errors, jobs
from batch.config import ObjectStoreSettings
from batch.jobs.planning.admission import Rerun
from batch.jobs.planning.planner import PlanRow
from batch.jobs.planning.selection import Selection
from batch.manifest import discovery
from batch.manifest import reader as manifests
from batch.manifest.left_out import LeftOut
from batch.model import Recording, Reject
from batch.providers.assemblyai.options import SCHEMA
from batch.server.faults import Fault, FaultKind, Faults
from batch.storage import buckets, object_stores
from batch.telemetry.progress import Progress
from tests.support.object_store import BUCKET, S3, named, running
from tests.support.recordings import settings, wav
from tests.support.service import start_service

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
        while keys := server.keys(""):  # a thousand at once
            for key in keys:
                server.client.delete_object(Bucket=BUCKET, Key=key)


def filled(s3: S3, count: int, prefix: str = "calls") -> None:
    for number in range(count):
        s3.put(f"{prefix}/{number:03}.wav", wav(random.Random(number).randbytes(2000)))


def read(*named: str) -> list[Recording | Reject]:
    return list(manifests.read(named, options=SCHEMA, defaults={}, cwd=Path("/")))


def test_prefix_and_glob_list_recordings_with_stamps_and_keys(s3: S3) -> None:
    """A prefix and a glob list recordings with their stamps, and with the keys below it."""
    filled(s3, 3)
    s3.put("calls/deep/a b ü.mp3", b"ID3")
    s3.put("calls/notes.txt", b"no recording")
    rows = read(f"{ROOT}/calls/")
    assert [row.key for row in rows] == ["000.wav", "001.wav", "002.wav", "deep/a b ü.mp3"]
    first = rows[0]
    assert isinstance(first, Recording)
    assert first.source == f"{ROOT}/calls/000.wav"
    assert first.stamp == object_stores.look(first.source)[1:]
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
    with pytest.raises(errors.UsageError, match=said):
        read(url)


NAMED_LIKE_TROUBLE = "403 404 <Code>ExpiredToken</Code> credential.wav"


class Answers:
    """A store that answers everything alike; its first ``broken`` answers break off."""

    def __init__(self, status: int, code: str, monkeypatch: pytest.MonkeyPatch, broken: int = 0) -> None:
        body = f"<Error><Code>{code}</Code><Message>as of 404 and 403</Message></Error>".encode() if code else b""

        answers = itertools.count()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[: 10 if next(answers) < broken else None])

            do_HEAD = do_PUT = do_GET

            def log_message(self, *said: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{self._server.server_port}")
        monkeypatch.setattr(buckets, "TRIES", 1)
        object_stores._store.cache_clear()

    def __enter__(self) -> None:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()
        object_stores._store.cache_clear()


def by_obstore(scheme: str, name: str) -> buckets.Bucket:
    """The client of the other stores, at work on this one."""
    return buckets.Obstore(f"s3://{name}", client_options={"allow_http": True})


@pytest.fixture(params=["boto3", "obstore"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "obstore":
        monkeypatch.setattr(buckets, "opened", by_obstore)
    object_stores._store.cache_clear()
    return str(request.param)


@pytest.mark.parametrize(
    ("status", "code", "reach", "kind"),
    [
        (403, "AccessDenied", errors.RecordingError, "forbidden"),
        (403, "", errors.RecordingError, "forbidden"),
        (403, "InvalidObjectState", errors.RecordingError, "forbidden"),
        (404, "NoSuchKey", errors.RecordingError, "missing"),
        (404, "NoSuchBucket", errors.RecordingError, "missing"),
        (400, "InvalidRequest", errors.RecordingError, "unreadable"),
        (416, "InvalidRange", errors.RecordingError, "changed"),
        (400, "ExpiredToken", errors.UnavailableError, "store_credentials"),
        (403, "InvalidAccessKeyId", errors.UnavailableError, "store_credentials"),
        (401, "", errors.UnavailableError, "store_credentials"),
        (403, "RequestTimeTooSkewed", errors.UnavailableError, "store"),
        (503, "SlowDown", errors.UnavailableError, "store"),
        (500, "", errors.UnavailableError, "store"),
    ],
)
def test_store_trouble_is_told_by_code_and_not_by_object_name(
    s3: S3, client: str, monkeypatch: pytest.MonkeyPatch, status: int, code: str, reach: type[Exception], kind: str
) -> None:
    """Trouble is recognised by the store's own word and never by the name of the object."""
    url = f"{ROOT}/{NAMED_LIKE_TROUBLE}"
    reader = object_stores.reader(url, 100)
    with Answers(status, code, monkeypatch):
        for ask in (object_stores.look, object_stores.get, lambda url: object_stores.reader(url, 100).read(10)):
            with pytest.raises(reach) as caught:
                ask(url)
            assert getattr(caught.value, "kind", "") == kind
    reader.close()


def test_object_of_any_name_is_read_or_reported_as_missing(s3: S3, client: str) -> None:
    with pytest.raises(errors.RecordingError) as caught:
        object_stores.look(f"{ROOT}/{NAMED_LIKE_TROUBLE}")
    assert caught.value.kind == "missing"
    s3.put(NAMED_LIKE_TROUBLE, b"0123456789")
    s3.put("empty", b"")
    assert object_stores.get(f"{ROOT}/{NAMED_LIKE_TROUBLE}") == b"0123456789"
    assert object_stores.head(f"{ROOT}/{NAMED_LIKE_TROUBLE}", 4) == b"0123"
    assert object_stores.head(f"{ROOT}/{NAMED_LIKE_TROUBLE}", 400) == b"0123456789"
    assert object_stores.head(f"{ROOT}/empty", 400) == b""
    for ask in (object_stores.get, lambda url: object_stores.head(url, 4)):
        with pytest.raises(errors.RecordingError, match="is not there"):
            ask(f"{ROOT}/none")
    with pytest.raises(errors.RecordingError, match="there is no bucket s3://nowhere"):
        object_stores.look("s3://nowhere/a.wav")


def test_object_is_known_by_its_etag_and_its_time_fits_64_bits(s3: S3, client: str) -> None:
    s3.put("calls/1.wav", b"0123456789")
    listed, looked = next(object_stores.listed(f"{ROOT}/calls/")), object_stores.look(f"{ROOT}/calls/1.wav")
    assert listed == looked
    assert looked.etag == hashlib.md5(b"0123456789").hexdigest()
    for year, kept in ((1601, False), (1700, True), (1969, True), (2261, True), (2263, False), (9999, False)):
        modified = datetime(year, 1, 1, tzinfo=UTC)
        ns = object_stores._found("s3://a/b", buckets.Meta("b", 1, modified, None)).mtime_ns
        assert -(2**63) <= ns < 2**63
        assert (ns == int(modified.timestamp()) * 10**9) == kept


ODD = (
    *("odd//a.wav", "odd/tab\tb.wav", "odd/./c.wav", "odd/../d.wav", "odd/back\\slash.wav", "odd/ünï 😀.wav"),
    *("odd/%2F%41.wav", "odd/a#b?c*[d]~+.wav", "odd/\x7f.wav", "odd/\x01.wav", "/odd.wav", "odd/folder.wav/"),
)


def test_every_key_that_a_bucket_may_have_is_listed_and_read(s3: S3) -> None:
    for key in ODD:
        s3.put(key, f"this is {key!r}".encode())
    s3.put("odd/folder/", b"")
    listed = list(object_stores.listed_all(f"{ROOT}/"))
    assert {each.url for each in listed} == {f"{ROOT}/{key}" for key in ODD}
    for key in ODD:
        assert object_stores.get(f"{ROOT}/{key}") == f"this is {key!r}".encode()
        assert object_stores.look(f"{ROOT}/{key}") in listed
        link = object_stores.link(f"{ROOT}/{key}", 60)
        if "/." in key:
            assert link is None, "dots would be resolved by whoever reads the link"
        else:
            with urllib.request.urlopen(link or "") as answer:
                assert answer.read() == f"this is {key!r}".encode()


async def test_odd_object_key_fails_only_its_own_recording(tmp_path: Path, s3: S3) -> None:
    """Odd keys are one recording's trouble, and the others are transcribed."""
    filled(s3, 3, "odd")
    for number, key in enumerate(ODD):
        s3.put(key, wav(random.Random(100 + number).randbytes(2000)))
    async with start_service(tmp_path / "service", private=True) as service:
        summary = await ran(service.base_url, tmp_path / "out", f"{ROOT}/odd/")
    keys = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.wav.json")}
    names = ("%2F/a", "%2E/c", "%2E%2E/d", "back%5Cslash", "ünï 😀", "%2F%41", "a#b?c*[d]~+", "000", "001", "002")
    assert keys == {f"{name}.wav.json" for name in names}
    assert (summary.exit_code, summary.collected, summary.rejected) == (3, 10, 3)


def test_what_a_listing_leaves_out_is_told(s3: S3) -> None:
    filled(s3, 2)
    s3.put("calls/a.txt", b"notes")
    s3.put("calls/b", b"notes")
    s3.put("calls/folder/", b"")
    told: list[str] = []
    assert (
        len(list(manifests.read([f"{ROOT}/calls/"], options=SCHEMA, defaults={}, cwd=Path(), on_warning=told.append)))
        == 2
    )
    (said,) = told
    assert "2 files were left out" in said
    assert f"{ROOT}/calls/a.txt" in said


def test_a_key_that_obstore_cannot_spell_is_one_objects_trouble(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "opened", by_obstore)
    object_stores._store.cache_clear()
    for key in ("calls//1.wav", "/calls/000.wav", "calls/000.wav/", "calls/../1.wav"):
        with pytest.raises(errors.RecordingError) as caught:
            object_stores.look(f"{ROOT}/{key}")
        assert caught.value.kind == "unreadable"
        assert object_stores.link(f"{ROOT}/{key}", 60) is None


def test_an_answer_that_breaks_off_is_asked_for_again(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    with Answers(200, "x" * 100, monkeypatch, broken=2):
        monkeypatch.setattr(buckets, "TRIES", 3)
        assert len(object_stores.get(f"{ROOT}/a.wav")) > 100
    with Answers(200, "x" * 100, monkeypatch, broken=2):
        monkeypatch.setattr(buckets, "TRIES", 2)
        with pytest.raises(errors.UnavailableError, match="cannot be reached"):
            object_stores.get(f"{ROOT}/a.wav")


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (403, "InvalidAccessKeyId"), (0, "")])
async def test_store_failing_everybody_stops_the_run_once(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int, status: int, code: str
) -> None:
    """A store that fails everybody stops the run once and is charged to nobody."""
    filled(s3, 20)
    manifest_file = tmp_path / "m.txt"
    manifest_file.write_text("".join(f"{ROOT}/calls/{number:03}.wav\n" for number in range(20)))
    out, asked = tmp_path / "out", (str(manifest_file), f"{ROOT}/calls/")
    async with start_service(tmp_path / "service", private=True) as service:
        with Answers(status or 500, code, monkeypatch), monkeypatch.context() as patch:
            if not status:
                patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")
            stopped = await ran(service.base_url, out, asked[0])
            for what in (ran(service.base_url, out, asked[1]), planned(out, asked[0]), planned(out, asked[1])):
                with pytest.raises(errors.UnavailableError):
                    await what
        assert (stopped.exit_code, stopped.failed, stopped.rejected) == (5, 0, 0)
        kind = "store_credentials" if code == "InvalidAccessKeyId" else "store"
        assert stopped.stopped_kind == kind
        assert not service.submissions
        assert not (out / "failed.jsonl").exists()
        monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
        assert (await ran(service.base_url, out, asked[0])).collected == 20


async def ran(base_url: str, out: Path | str, *named: str, **given: Any) -> Progress:
    return await batch.run([*named], out, settings=settings(base_url, **given))


async def planned(out: Path, *named: str, **given: Any) -> list[PlanRow]:
    async with jobs.open_planner(
        named, out, settings=settings("http://127.0.0.1:9", **given), rerun=Rerun(), select=Selection(), environ={}
    ) as planner:
        return [row async for row in planner.rows()]


@pytest.mark.parametrize("by", ["link", "upload"])
async def test_plan_reports_unreadable_objects_as_the_run_will(
    tmp_path: Path, s3: S3, by: Literal["link", "upload"]
) -> None:
    filled(s3, 1)
    sources = (
        f"{ROOT}/calls/000.wav",
        f"{ROOT}/calls/gone.wav",
        "s3://nowhere/1.wav",
        "s3://no@bucket/1.wav",
    )
    rows = [{"id": str(number), "audio": source} for number, source in enumerate(sources)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out, how = tmp_path / "out", ObjectStoreSettings(by=by)
    plan = {row.key: (row.why, row.reason) for row in await planned(out, str(tmp_path / "m.jsonl"), stores=how)}
    async with start_service(tmp_path / "service", private=True) as service:
        summary = await ran(service.base_url, out, str(tmp_path / "m.jsonl"), stores=how)
    failed = [json.loads(line) for line in (out / "failed.jsonl").read_text().splitlines()]
    assert (summary.exit_code, summary.collected) == (3, 1)
    assert {row["id"]: (row["_failed"]["kind"], row["_failed"]["reason"]) for row in failed} == {
        key: said for key, said in plan.items() if key != "0"
    }
    assert [plan[key][0] for key in "123"] == ["missing", "missing", "unreadable"]


# ── credentials ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's AWS files; no credentials in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "config").write_text(
        "[profile kept]\nregion = eu-west-1\n"
        f"[profile made]\ncredential_process = {sys.executable} {tmp_path}/made.py\n"
        f"[profile broken]\ncredential_process = {sys.executable} -c 'raise SystemExit(1)'\n"
        "[profile expired]\nsso_session = s\nsso_account_id = 1\nsso_role_name = r\n"
        "[sso-session s]\nsso_start_url = https://example.com/start\nsso_region = eu-west-1\n"
    )
    (tmp_path / "credentials").write_text("[kept]\naws_access_key_id = KEPT\naws_secret_access_key = secret\n")
    made = {"Version": 1, "AccessKeyId": "MADE", "SecretAccessKey": "secret", "SessionToken": "token"}
    (tmp_path / "made.py").write_text(f"print({json.dumps(made)!r})")
    object_stores._store.cache_clear()
    return tmp_path


@pytest.mark.parametrize(("profile", "key", "region"), [("kept", "KEPT", "eu-west-1"), ("made", "MADE", "us-east-1")])
def test_profile_gives_credentials_as_to_the_clouds_own_tools(
    home: Path, s3: S3, monkeypatch: pytest.MonkeyPatch, profile: str, key: str, region: str
) -> None:
    monkeypatch.setenv("AWS_PROFILE", profile)
    s3.put("calls/1.wav", b"0123")
    assert object_stores.look(f"{ROOT}/calls/1.wav").size_bytes == 4
    signed = parse_qs(urlsplit(object_stores.link(f"{ROOT}/calls/1.wav", 60) or "").query)
    assert signed["X-Amz-Credential"][0].startswith(f"{key}/")
    assert f"/{region}/" in signed["X-Amz-Credential"][0]


@pytest.mark.parametrize(
    ("profile", "reach", "said"),
    [
        ("nobody", errors.UsageError, "AWS_PROFILE: The config profile .nobody. could not be found"),
        ("broken", errors.UnavailableError, "credentials.*custom-process"),
        ("expired", errors.UnavailableError, "SSO"),
        ("", errors.UnavailableError, "no credentials for S3: set AWS_ACCESS_KEY_ID"),
    ],
)
def test_unavailable_credentials_are_reported_with_their_source(
    home: Path, monkeypatch: pytest.MonkeyPatch, profile: str, reach: type[Exception], said: str
) -> None:
    if profile:
        monkeypatch.setenv("AWS_PROFILE", profile)
    with pytest.raises(reach, match=said):
        object_stores.look(f"{ROOT}/calls/1.wav")
    with pytest.raises(reach, match=said):
        next(object_stores.listed(f"{ROOT}/calls/"))


def test_public_buckets_are_read_without_credentials(home: Path, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.client.put_object(Bucket=BUCKET, Key="calls/1.wav", Body=b"0123", ACL="public-read")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert object_stores.look(f"{ROOT}/calls/1.wav").size_bytes == 4


def test_unsupported_source_of_credentials_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=a;AccountKey=a2V5")
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    object_stores._store.cache_clear()
    with pytest.raises(errors.UsageError, match="AZURE_STORAGE_CONNECTION_STRING is not read"):
        object_stores.look("az://bucket/a.wav")


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_service_reads_stored_recordings_by_itself(tmp_path: Path, s3: S3) -> None:
    """The service reads stored recordings by itself, and no byte passes through us."""
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
        summary = await ran(
            service.base_url, tmp_path / "out", f"{ROOT}/calls/", stores=ObjectStoreSettings(by="upload")
        )
    assert summary.exit_code == 0, summary.failures
    assert s3.bytes_sent["link"] == 0
    result = json.loads((tmp_path / "out" / "003.wav.json").read_bytes())
    assert result["recording"]["sha256"] in result["text"]


async def test_without_credentials_that_can_sign_they_are_uploaded(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(s3, 2)
    monkeypatch.setattr("batch.jobs.staging.link", lambda source, seconds: None)
    async with start_service(tmp_path / "service") as service:
        summary = await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/")
    assert (summary.exit_code, service.requests.count(("POST", "/v2/upload"))) == (0, 2)


async def test_expired_link_is_signed_again_and_never_reported(tmp_path: Path, s3: S3) -> None:
    """A link that the service cannot read any more is signed again and never shown."""
    filled(s3, 2)
    broken = "Download error, unable to download {url}"
    faults = Faults((Fault(FaultKind.JOB_ERROR, "submit", at=(1,), error=broken),), random.Random(1))
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


async def test_results_reach_the_store_before_they_count_as_collected(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    filled(s3, 3)
    async with start_service(tmp_path / "service", private=True) as service:
        put = object_stores.put
        monkeypatch.setattr(object_stores, "put", refusing)
        stopped = await ran(service.base_url, f"{ROOT}/results/", f"{ROOT}/calls/")
        assert stopped.exit_code == 5
        monkeypatch.setattr(object_stores, "put", put)
        summary = await ran(service.base_url, f"{ROOT}/results/", f"{ROOT}/calls/")
        assert summary.exit_code == 0
        assert len(service.submissions) == 3, "nothing is paid twice for a store that does not take results"
    local = tmp_path / "results" / BUCKET / "results"
    assert s3.keys("results/") == [f"results/00{n}.wav.json" for n in range(3)]
    assert s3.get("results/001.wav.json") == (local / "001.wav.json").read_bytes()


def refusing(url: str, content: bytes) -> None:
    raise errors.UnavailableError(f"cannot write {url}", kind="store")


async def test_a_plan_reads_headers_only(tmp_path: Path, s3: S3) -> None:
    for number in range(3):
        s3.put(f"calls/{number}.wav", wav(bytes(4_000_000)))
    async with jobs.open_planner(
        [f"{ROOT}/calls/"], tmp_path / "out",
        settings=settings("http://127.0.0.1:9"), rerun=Rerun(), select=Selection(),
        environ={},
    ) as planner:  # fmt: skip
        rows = [row async for row in planner.rows()]
    assert [row.seconds for row in rows] == [500.0] * 3
    assert s3.bytes_sent["client"] < 100_000
    assert (s3.requests["GET client"], s3.requests["HEAD client"]) == (4, 0), "a list, and one look at each"


async def test_a_thousand_objects_are_listed_as_a_stream(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(asyncio.to_thread(s3.put, f"many/{n:04}.wav", b"RIFF") for n in range(1200)))
    before = s3.requests["GET client"]
    rows = manifests.read([f"{ROOT}/many/"], options=SCHEMA, defaults={}, cwd=tmp_path)
    next(rows)
    assert s3.requests["GET client"] == before + 1, "the first page is enough for the first row"
    assert len(list(rows)) == 1199
    s3.put("many/9\x7f\t.wav", b"x")  # which obstore cannot list
    monkeypatch.setattr(buckets, "opened", by_obstore)
    object_stores._store.cache_clear()
    *before, odd = discovery.in_store(f"{ROOT}/many/", LeftOut("many", Path()))
    assert len([row for row in before if not row.problem]) == 1000, "a page that it can"
    assert odd.cells == {"id": "9%7F%09.wav"}
    assert "neither this object, nor those after it" in odd.problem


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_other_stores_are_told_apart_by_their_scheme(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    object_stores._store.cache_clear()
    bucket, path = object_stores._opened(f"{scheme}://bucket/calls/1.wav")
    assert isinstance(bucket, buckets.Obstore)
    assert type(bucket._store).__name__ == {"gs": "GCSStore", "az": "AzureStore"}[scheme]
    assert path == "calls/1.wav"
    link = object_stores.link(f"{scheme}://bucket/calls/1.wav", 60)
    assert (link or "").startswith("https://account.blob") if scheme == "az" else link is None
    object_stores._store.cache_clear()


async def test_the_bucket_of_the_results_is_part_of_done(
    tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that is missing or cut is put back, a user's object stays, and a bucket alone is proof of payment."""
    monkeypatch.chdir(tmp_path)
    filled(s3, 4)
    s3.put("results/003.wav.json", b'{"mine": 1}')
    async with start_service(tmp_path / "service", private=True) as service:
        first = await ran(service.base_url, f"{ROOT}/results", f"{ROOT}/calls/")
        assert (first.collected, first.rejected, first.exit_code, len(service.submissions)) == (3, 1, 3, 3)
        whole = s3.get("results/000.wav.json")
        s3.client.delete_object(Bucket=BUCKET, Key="results/000.wav.json")
        s3.put("results/001.wav.json", s3.get("results/001.wav.json")[:100])
        await ran(service.base_url, f"{ROOT}/results", f"{ROOT}/calls/")
        assert s3.get("results/000.wav.json") == whole
        json.loads(s3.get("results/001.wav.json"))
        shutil.rmtree(tmp_path / "results")  # a new container
        s3.put("results/002.wav.json", s3.get("results/002.wav.json")[:700])
        again = await ran(service.base_url, f"{ROOT}/results", f"{ROOT}/calls/")
        assert (again.skipped["done"], again.collected, again.rejected) == (2, 1, 1)
        json.loads(s3.get("results/002.wav.json"))
        shutil.rmtree(tmp_path / "results")
        done = await jobs.recover(
            f"{ROOT}/results", [], settings=settings(service.base_url), environ={}, adopt=False
        )  # fmt: skip
        assert done.results == 3
        shutil.rmtree(tmp_path / "results")
        forced = await batch.run(
            [f"{ROOT}/calls/"], f"{ROOT}/results", settings=settings("auto"), environ={}, rerun=Rerun(keep_done=True)
        )
        assert (forced.skipped["done"], forced.exit_code) == (3, 3), "auto is the service of the bucket's results"
        last = await ran(service.base_url, f"{ROOT}/results", f"{ROOT}/calls/")
        assert (last.skipped["done"], last.rejected, len(service.submissions)) == (3, 1, 3)
    assert s3.get("results/003.wav.json") == b'{"mine": 1}'


async def test_an_object_that_is_named_anew_or_copied_is_not_new_audio(tmp_path: Path, s3: S3) -> None:
    filled(s3, 2)
    async with start_service(tmp_path / "service", private=True) as service:
        await ran(service.base_url, tmp_path / "out", f"{ROOT}/calls/")
        widened = await ran(service.base_url, tmp_path / "out", f"{ROOT}/")
        assert (widened.collected, widened.shared) == (2, 2), "other keys, the same objects"
        s3.client.copy_object(Bucket=BUCKET, Key="calls/000.wav", CopySource=f"{BUCKET}/calls/001.wav")
        s3.put("calls/000.wav", s3.get("calls/000.wav"))
        manifest_file = tmp_path / "m.csv"
        manifest_file.write_text(f"id,audio\nlater,{ROOT}/calls/001.wav\n")
        later = await ran(service.base_url, tmp_path / "out", str(manifest_file))
        assert (later.collected, later.shared, len(service.submissions)) == (1, 1, 2)
