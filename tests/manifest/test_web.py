"""A manifest behind a URL is fetched and read, never sent as audio, and what signs its URL is told to nobody."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import batch
from batch import errors
from batch.manifest import reader
from batch.model import Recording, Reject
from batch.providers.assemblyai.options import SCHEMA
from batch.telemetry.events import Event
from tests.support.recordings import settings, wav
from tests.support.service import start_service

SIGNED = "X-Signature=s3cret&part=1"


class Web(ThreadingHTTPServer):
    """Serves ``pages`` by path, and remembers what it was asked: a proxy is asked for whole URLs."""

    daemon_threads = True

    def __init__(self, pages: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages, self.asked = pages, []
        self.logins: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.logins.append(self.headers.get("Authorization"))
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(page.removesuffix(b"CUT")) + 3 * page.endswith(b"CUT")))
        self.end_headers()
        self.wfile.write(page.removesuffix(b"CUT"))

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def web(pages: dict[str, bytes], context: ssl.SSLContext | None = None) -> Iterator[Web]:
    with Web(pages) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.url = server.url.replace("http", "https")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def read(url: str, folder: Path, **given: Any) -> list[Recording | Reject]:
    return list(reader.read([url], options=SCHEMA, defaults={}, cwd=folder, **given))


CSV = b"audio,id\ncalls/1 a.wav,\n/top.wav,top\nhttps://example.com/x.mp3,\ns3://bucket/y.wav,\n../up.wav,\n"


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_web_manifest_is_read_with_its_paths_below_its_url(tmp_path: Path, packed: str) -> None:
    with web({f"/m/list.csv{packed}": gzip.compress(CSV) if packed else CSV}) as server:
        rows = read(f"{server.url}/m/list.csv{packed}?{SIGNED}", tmp_path)
        host = server.url.partition("://")[2]
        assert [(row.key, row.source) for row in rows if isinstance(row, Recording)] == [
            ("calls/1 a.wav", f"{server.url}/m/calls/1%20a.wav"),
            ("top", f"{server.url}/top.wav"),
            ("example.com/x.mp3", "https://example.com/x.mp3"),
            ("bucket/y.wav", "s3://bucket/y.wav"),
            (f"{host}/up.wav", f"{server.url}/up.wav"),
        ]
        assert {row.manifest for row in rows} == {f"{server.url}/m/list.csv{packed}"}
        assert server.asked == [f"/m/list.csv{packed}?{SIGNED}"]


DIALECTS = {
    "csv": b"audio\na.wav\n",
    "tsv": b"audio\tid\na.wav\ta.wav\n",
    "jsonl": b'{"audio": "a.wav"}\n',
    "ndjson": b'{"audio": "a.wav"}\n',
    "json": b'[{"audio": "a.wav"}]',
    "txt": b"a.wav\n",
    "scp": b"a.wav a.wav\n",
}


@pytest.mark.parametrize("extension", DIALECTS)
def test_every_dialect_is_read_from_the_web(tmp_path: Path, extension: str) -> None:
    with web({f"/list.{extension.upper()}": DIALECTS[extension]}) as server:
        (row,) = read(f"{server.url}/list.{extension.upper()}", tmp_path)
        assert isinstance(row, Recording)
        assert (row.key, row.source) == ("a.wav", f"{server.url}/a.wav")


def test_parquet_is_read_from_the_web(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as pq

    pq.write_table(pa.table({"audio": ["a.wav", "b.wav"]}), tmp_path / "m.parquet")
    with web({"/m.parquet": (tmp_path / "m.parquet").read_bytes()}) as server:
        assert [row.key for row in read(f"{server.url}/m.parquet", tmp_path)] == ["a.wav", "b.wav"]


def test_url_without_an_extension_is_a_manifest_given_a_dialect(
    tmp_path: Path,
) -> None:
    """A URL without an extension is a manifest if a dialect is given, and a recording's URL is not."""
    with web({"/export": b'{"audio": "a.wav"}\n'}) as server:
        assert [row.source for row in read(f"{server.url}/export", tmp_path) if isinstance(row, Recording)] == [
            f"{server.url}/export"
        ]
        assert server.asked == []
        (row,) = read(f"{server.url}/export", tmp_path, dialect="jsonl")
        assert row.key == "a.wav"
        (row,) = read(f"{server.url}/b.wav", tmp_path, dialect="jsonl")
        assert isinstance(row, Recording)
        assert row.source == f"{server.url}/b.wav"
        assert server.asked == ["/export"]


def test_a_manifest_from_the_web_names_no_file_of_this_machine(tmp_path: Path) -> None:
    with web({"/m.txt": b"file:///etc/a.wav\nb.wav\n"}) as server:
        bad, good = read(f"{server.url}/m.txt", tmp_path)
    assert isinstance(bad, Reject)
    assert "no manifest from the web may name" in bad.reason
    assert good.key == "b.wav"


def test_unfetchable_manifest_is_reported_without_its_signature(tmp_path: Path) -> None:
    """A manifest that cannot be fetched is reported with its status and without what signs it."""
    with web({"/cut.csv": b"audio\na.wav\nCUT", "/empty.csv": b"audio\n"}) as server:
        host = server.url.partition("://")[2]
        for path, said in {
            "absent.csv": f"{server.url}/absent.csv: the manifest cannot be fetched: 404 Not Found",
            "cut.csv": f"{server.url}/cut.csv: the manifest cannot be fetched: it ended after 12 of 15 bytes",
            "empty.csv": f"nothing is listed in {server.url}/empty.csv: no recordings, no rows",
        }.items():
            with pytest.raises(errors.UsageError) as raised:
                read(f"http://me:pass@{host}/{path}?{SIGNED}", tmp_path)
            assert str(raised.value) == said
    with pytest.raises(errors.UsageError, match="cannot be fetched: .*refused") as raised:
        read(f"{server.url}/m.csv?{SIGNED}", tmp_path)
    assert "s3cret" not in str(raised.value)


def test_a_login_in_the_url_is_sent_and_not_told(tmp_path: Path) -> None:
    with web({"/m.csv": b"audio\na.wav\n"}) as server:
        (row,) = read(server.url.replace("://", "://me:pa%20ss@") + "/m.csv", tmp_path)
        assert server.logins == ["Basic bWU6cGEgc3M="]
        assert row.where == f"{server.url}/m.csv:2"


def test_environment_proxy_is_asked_but_not_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with web({"http://lists.test/m.csv": b"audio\na.wav\n"}) as proxy, web({"/m.csv": b"audio\nb.wav\n"}) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        (row,) = read("http://lists.test/m.csv", tmp_path)
        assert isinstance(row, Recording)
        assert row.source == "http://lists.test/a.wav"
        assert proxy.asked == ["http://lists.test/m.csv"]
        (row,) = read(f"{server.url}/m.csv", tmp_path)
        assert isinstance(row, Recording)
        assert row.key == "b.wav"
        assert (len(proxy.asked), len(server.asked)) == (1, 1)


def test_certificates_are_those_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certified(tmp_path / "pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")
    with web({"/m.csv": b"audio\na.wav\n"}, context) as server:
        with pytest.raises(errors.UsageError, match="cannot be fetched: .*CERTIFICATE_VERIFY_FAILED"):
            read(f"{server.url}/m.csv", tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "pem"))
        (row,) = read(f"{server.url}/m.csv", tmp_path)
        assert row.key == "a.wav"


def certified(path: Path) -> None:
    """A key and a certificate for 127.0.0.1 that only it itself vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))


async def test_run_over_a_web_manifest_never_sends_the_manifest(tmp_path: Path) -> None:
    """A run over a manifest on the web sends its recordings and never the manifest."""
    pages = {
        "/m/list.csv": b"audio,id\n1.wav,\n2.wav,two\n",
        "/m/1.wav": wav(b"x" * 3000),
        "/m/2.wav": wav(b"y" * 3000),
    }
    events: list[Event] = []
    with web(pages) as server:
        async with start_service(tmp_path / "service", private=True) as service:
            given = {"settings": settings(service.base_url), "on_event": events.append}
            url = f"{server.url}/m/list.csv?{SIGNED}"
            summary = await batch.run(url, tmp_path / "out", **given)
            assert (summary.exit_code, summary.collected) == (0, 2)
            assert {sent["audio_url"] for sent in service.submissions} == {f"{server.url}/m/{n}.wav" for n in (1, 2)}
            again = await batch.run(url, tmp_path / "out", **given)
            assert (again.exit_code, again.skipped["done"], len(service.submissions)) == (0, 2, 2)
    assert (tmp_path / "out" / "1.wav.json").is_file()
    assert (tmp_path / "out" / "two.json").is_file()
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not [path for path in written if b"s3cret" in path.read_bytes()]
    assert "s3cret" not in repr(events)
    assert "s3cret" not in repr(summary.stage)
