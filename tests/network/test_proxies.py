"""Whatever goes out goes through the proxy that the environment names, and trusts the authorities that it names."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from batch import errors
from batch.engine.interface import BadAudio
from batch.network import http_client
from batch.providers.assemblyai import client
from batch.providers.assemblyai.protocol import Status
from batch.server import download, outbound
from batch.server.store import Store
from batch.server.webhooks import WebhookSender
from tests.support.preflight import findings
from tests.support.processes import diarist
from tests.support.recordings import archive, check_results
from tests.support.service import start_service
from tests.support.watchdog import watchdog

NAMES = [f"{name}_PROXY" for name in ("HTTP", "HTTPS", "ALL", "NO")]
BUNDLES = ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
NETRC = "default login netrc password netrc\n"
Port = int


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of whoever runs the tests names no proxy and no authorities."""
    for name in (*NAMES, *map(str.lower, NAMES), *BUNDLES):
        monkeypatch.delenv(name, raising=False)


class Proxy:
    """A proxy that alone knows where ``names`` are, all on this machine. It answers ``refusal``, if it has one, to
    everybody, and with a ``password`` 407 to all who do not give it."""

    def __init__(self, names: dict[str, Port], *, password: str = "", refusal: str = "", hangs: bool = False) -> None:
        self.names, self.refusal, self.hangs = names, refusal, hangs
        self.secret = base64.b64encode(f"me:{password}".encode()).decode() if password else ""
        self.asked: list[str] = []
        """``METHOD host`` of each connection's first request."""
        self.heads: list[bytes] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n")[0].decode().split()
            host = target.rpartition(":")[0] if method == "CONNECT" else str(URL(target).host)
            self.asked.append(f"{method} {host}")
            self.heads.append(head)
            if self.hangs:
                await asyncio.sleep(60)
            if status := self._refused(head, host):
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.names[host])
            with contextlib.closing(inner_writer):
                if method == "CONNECT":
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    inner_writer.write(head)
                await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))

    def _refused(self, head: bytes, host: str) -> str:
        if self.secret and f"Proxy-Authorization: Basic {self.secret}\r\n".encode() not in head:
            return "407 Proxy Authentication Required"
        return self.refusal or ("" if host in self.names else "502 Bad Gateway")


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy(names: dict[str, Port], tls: ssl.SSLContext | None = None, **given: Any) -> AsyncIterator[Proxy]:
    made = Proxy(names, **given)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield made
    finally:
        server.close()


@contextlib.asynccontextmanager
async def in_tls(port: Port, tls: ssl.SSLContext) -> AsyncIterator[Port]:
    """What listens on ``port``, in TLS."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.closing(writer), contextlib.closing(inner_writer):
            await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class House:
    """Certificate authorities of a house: ``ca`` is a file, ``folder`` the same as OpenSSL wants a directory."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.folder = folder / "ca.pem", folder / "hashed"
        key, asked, cert, names = folder / "key.pem", folder / "asked.pem", folder / "cert.pem", folder / "names"
        new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _openssl(*new, "-x509", "-keyout", folder / "ca.key", "-out", self.ca, "-subj", "/CN=House", "-days", "2")
        _openssl(*new, "-keyout", key, "-out", asked, "-subj", "/CN=service.test")
        names.write_text("subjectAltName=DNS:service.test,IP:127.0.0.1\n")
        _openssl("x509", "-req", "-in", asked, "-CA", self.ca, "-CAkey", folder / "ca.key", "-CAcreateserial",
                 "-extfile", names, "-out", cert, "-days", "2")  # fmt: skip
        self.folder.mkdir()
        digest = _openssl("x509", "-hash", "-noout", "-in", self.ca).strip()
        (self.folder / f"{digest}.0").write_bytes(self.ca.read_bytes())
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(cert, key)


def _openssl(*arguments: object) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    yield House(tmp_path_factory.mktemp("house"))


def port_of(url: str) -> Port:
    return URL(url).port or 0


# ── Whole runs ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tls_run_through_a_proxy_pays_once_and_guards_the_key(tmp_path: Path, house: House) -> None:
    """A run in TLS through a proxy pays once and shows the key to the service only."""
    manifest = archive(tmp_path / "audio", 5)
    (tmp_path / "netrc").write_text(NETRC)
    async with (
        start_service(tmp_path / "service", key="the-key") as service,
        in_tls(port_of(service.base_url), house.tls) as port,
        proxy({"service.test": port}, password="s3cret") as way,
    ):
        ended = await diarist(
            "run", manifest, "--out", tmp_path / "out", "--service", "https://service.test",
            ASSEMBLYAI_API_KEY="the-key", HTTPS_PROXY=way.url.replace("//", "//me:s3cret@"),
            SSL_CERT_FILE=str(house.ca), NETRC=str(tmp_path / "netrc"), HOME=str(tmp_path),
        )  # fmt: skip
    assert ended.code == 0, ended.said
    assert "s3cret" not in ended.said
    check_results(tmp_path / "audio", tmp_path / "out", 5)
    assert len(service.submissions) == 5
    assert set(way.asked) == {"CONNECT service.test"}
    assert not [head for head in way.heads if b"the-key" in head]


async def test_plain_http_run_works_if_only_the_proxy_knows_the_name(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 3)
    (tmp_path / "netrc").write_text(NETRC)
    async with (
        start_service(tmp_path / "service", key="the-key") as service,
        proxy({"service.test": port_of(service.base_url)}, password="s3cret") as way,
    ):
        ended = await diarist(
            "run", manifest, "--out", tmp_path / "out", "--service", "http://service.test",
            ASSEMBLYAI_API_KEY="the-key", all_proxy=f"me:s3cret@127.0.0.1:{port_of(way.url)}",
            NETRC=str(tmp_path / "netrc"),
        )  # fmt: skip
    assert ended.code == 0, ended.said
    check_results(tmp_path / "audio", tmp_path / "out", 3)
    assert {asked.split()[1] for asked in way.asked} == {"service.test"}
    assert len([asked for asked in way.asked if asked.startswith("POST")]) >= 3


async def test_this_machine_is_never_reached_through_a_proxy(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 2)
    async with start_service(tmp_path / "service") as service, proxy({}) as way, watchdog() as (check, heard):
        for number, host in enumerate(("127.0.0.1", "localhost")):
            ended = await diarist(
                "run", manifest, "--out", tmp_path / f"out{number}",
                "--service", f"http://{host}:{port_of(service.base_url)}",
                HTTP_PROXY=way.url, HTTPS_PROXY=way.url, ALL_PROXY=way.url, NO_PROXY="", DIARIST_PING__URL=check,
            )  # fmt: skip
            assert ended.code == 0, ended.said
    assert not way.asked
    assert len(heard) == 4


async def test_proxy_that_is_down_ends_a_run_like_a_network_down(tmp_path: Path, unused_tcp_port: int) -> None:
    ended = await diarist(
        "run", archive(tmp_path / "audio", 1), "--out", tmp_path / "out", "--service", "https://service.test",
        "--set", "patience.outage_seconds=0.5", HTTPS_PROXY=f"http://me:s3cret@127.0.0.1:{unused_tcp_port}",
    )  # fmt: skip
    assert ended.code == 5, ended.said
    assert f"no connection to the proxy http://127.0.0.1:{unused_tcp_port} (HTTPS_PROXY)" in ended.said
    assert "s3cret" not in ended.said


@pytest.mark.parametrize("variable", BUNDLES)
async def test_unreadable_authorities_are_one_line_and_exit_code_2(tmp_path: Path, variable: str) -> None:
    ended = await diarist(
        "run", archive(tmp_path / "audio", 1), "--out", tmp_path / "out", "--service", "https://service.test",
        **{variable: str(tmp_path / "absent.pem")},
    )  # fmt: skip
    assert ended.code == 2, ended.said
    assert f"{variable} names no certificate authorities: {tmp_path}/absent.pem: No such file" in ended.said
    assert "Traceback" not in ended.said


async def test_each_submission_has_its_own_tunnel_and_others_share(
    tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each submission has a tunnel of its own, and the other requests share theirs."""
    monkeypatch.setenv("SSL_CERT_FILE", str(house.ca))
    async with (
        start_service(tmp_path / "service", key="the-key") as service,
        in_tls(port_of(service.base_url), house.tls) as port,
        proxy({"service.test": port}) as way,
    ):
        monkeypatch.setenv("HTTPS_PROXY", way.url)
        async with client.connect("https://service.test", "the-key", connections=4) as api:
            for _ in range(3):
                await api.page()
            assert len(way.asked) == 1
            for _ in range(3):
                await api.submit("http://127.0.0.1/upload/none", {})
    assert way.asked == ["CONNECT service.test"] * 4


# ── What a proxy says ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("base_url", "given", "error", "kind", "says"),
    [
        ("https://service.test", {"password": "s3cret"}, errors.UnavailableError, "unavailable",
         r"the proxy {} lets nobody through to https://service.test/?: it answered 407 .*USER:PASSWORD@"),
        ("https://service.test", {"refusal": "403 Forbidden"}, errors.UnavailableError, "unavailable",
         r"the proxy {} lets nobody through to https://service.test/?: it answered 403 Forbidden.*NO_PROXY"),
        ("https://service.test", {"refusal": "503 Busy"}, errors.NoEffectError, "not_connected",
         r"the proxy {} does not reach https://service.test/?: it answered 503 Busy"),
        ("https://elsewhere.test", {}, errors.NoEffectError, "not_connected", "the proxy {} does not reach .*502"),
        ("http://service.test", {"password": "s3cret"}, errors.UnavailableError, "proxy_refused",
         "the proxy {} answered 407 to submit.*USER:PASSWORD@"),
        ("http://service.test", {"refusal": "403 Forbidden"}, errors.NoEffectError, "throttled",
         "the service, or the proxy {}, answered 403 to submit"),
        ("http://elsewhere.test", {}, errors.UnknownOutcomeError, "server_error",
         "the service, or the proxy {}, answered 502 to submit"),
    ],
)  # fmt: skip
async def test_what_a_proxy_refuses_is_told_as_the_proxys(
    base_url: str,
    given: dict[str, str],
    error: type[errors.DiaristError],
    kind: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with proxy({"service.test": 9}, **given) as way:
        monkeypatch.setenv("ALL_PROXY", way.url.replace("//", "//somebody:wr0ng@"))
        async with client.connect(base_url, "a-key", connections=1) as api:
            with pytest.raises(error, match=says.format(rf"{way.url} \(ALL_PROXY\)")) as caught:
                await api.submit("http://a/b", {})
    assert caught.value.kind == kind
    assert "wr0ng" not in str(caught.value)


async def test_a_proxy_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "_TUNNEL_SECONDS", 0.3)
    async with proxy({"service.test": 9}, hangs=True) as way:
        monkeypatch.setenv("HTTPS_PROXY", way.url)
        async with client.connect("https://service.test", "a-key", connections=1) as api, asyncio.timeout(20):
            with pytest.raises(
                errors.NoEffectError, match=r"no connection to https://service.test/? through the proxy"
            ):
                await api.submit("http://a/b", {})


async def test_a_proxy_may_be_spoken_to_in_tls(tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        start_service(tmp_path / "service", key="the-key") as service,
        in_tls(port_of(service.base_url), house.tls) as port,
        proxy({"service.test": port}, house.tls, password="s3cret") as way,
    ):
        monkeypatch.setenv("HTTPS_PROXY", way.url.replace("//", "//me:s3cret@"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(house.ca))
        async with client.connect("https://service.test", "the-key", connections=1) as api:
            assert (await api.page()).transcripts == ()
    assert way.asked == ["CONNECT service.test"]


# ── Which proxy ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("environ", "url", "proxied"),
    [
        ({}, "https://a.example", None),
        ({"HTTPS_PROXY": "http://p:3128"}, "https://a.example", "http://p:3128 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://p:3128"}, "http://a.example", None),
        ({"http_proxy": "http://p:3128/"}, "http://a.example", "http://p:3128 (HTTP_PROXY)"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:2"}, "https://a.example", "http://q:2 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, "https://a.example", None),
        ({"ALL_PROXY": "http://p:3128"}, "https://a.example", "http://p:3128 (ALL_PROXY)"),
        ({"ALL_PROXY": "socks5://p:1", "HTTPS_PROXY": "q:2"}, "https://a.example", "http://q:2 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://me:s3cret@p:3128/x?y"}, "https://a.example", "http://p:3128 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "https://p:3128"}, "https://a.example", "https://p:3128 (HTTPS_PROXY)"),
    ],
)
def test_the_environment_names_the_proxy(
    environ: dict[str, str], url: str, proxied: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = http_client.proxy_for(URL(url))
    assert (str(found) if found else None) == proxied


@pytest.mark.parametrize(
    ("names", "url", "proxied"),
    [
        ("", "http://a.example", True),
        ("*", "http://a.example", False),
        ("b.example,*", "http://a.example", False),
        ("a.example", "http://a.example", False),
        ("A.Example", "http://a.example", False),
        ("example", "http://a.example", False),
        (".a.example", "http://a.example", False),
        ("*.a.example", "http://b.a.example.", False),
        ("a.example", "http://ba.example", True),
        ("a.example:81, b.example", "http://a.example", True),
        ("b.example  a.example:80", "http://a.example", False),
        ("10.0.0.0/8", "http://10.1.2.3", False),
        ("10.0.0.0/8", "http://11.1.2.3", True),
        ("10.1.2.3", "http://10.1.2.3:8080", False),
        ("10.1.2.3:8080", "http://10.1.2.3:8080", False),
        ("10.1.2.3:8080", "http://10.1.2.3:8081", True),
        ("fd00::/8", "http://[fd00::1]", False),
        ("[fd00::1]", "http://[fd00::1]", False),
        ("fd00::/8", "http://a.example", True),
        (",", "http://a.example", True),
        ("", "http://127.0.0.1:8517", False),
        ("", "http://127.8.9.10:8517", False),
        ("", "http://[::1]:8517", False),
        ("", "http://LocalHost:8517", False),
    ],
)
def test_no_proxy_hosts_and_this_machine_are_reached_directly(
    names: str, url: str, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_PROXY names who is reached without a proxy, and this machine always is."""
    monkeypatch.setenv("HTTP_PROXY", "http://p:3128")
    monkeypatch.setenv("no_proxy", names)
    assert (http_client.proxy_for(URL(url)) is not None) == proxied


@pytest.mark.parametrize("given", ["socks5://me:s3cret@p:1080", "http://", "http://p:99999", "http://a%3Ab:s3cret@p"])
async def test_unusable_proxy_is_reported_without_its_password(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", given)
    with pytest.raises(errors.UsageError, match="HTTPS_PROXY names no proxy that can be used") as caught:
        async with client.connect("https://service.test", "a-key", connections=1):
            pass
    assert "s3cret" not in str(caught.value)


# ── Whom TLS trusts ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        *((bundle, "ca") for bundle in BUNDLES if bundle != "SSL_CERT_DIR"),
        ("SSL_CERT_DIR", "folder"),
        ("REQUESTS_CA_BUNDLE", "folder"),
    ],
)
async def test_each_variable_gives_the_authorities(
    tmp_path: Path, house: House, variable: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(getattr(house, path)))
    async with (
        start_service(tmp_path / "service") as service,
        in_tls(port_of(service.base_url), house.tls) as port,
        client.connect(f"https://127.0.0.1:{port}", None, connections=1) as api,
    ):
        assert (await api.page()).transcripts == ()


async def test_untrusted_certificate_is_reported_with_the_authorities(
    tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no authority vouches for is reported with the authorities that were asked."""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(House(other).ca))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(house.ca))
    async with (
        start_service(tmp_path / "service") as service,
        in_tls(port_of(service.base_url), house.tls) as port,
        client.connect(f"https://127.0.0.1:{port}", None, connections=1) as api,
    ):
        with pytest.raises(errors.UnavailableError, match=r"authorities: .*/other/ca.pem \(SSL_CERT_FILE\)"):
            await api.page()


@pytest.mark.parametrize(
    ("variable", "content", "why"),
    [
        ("SSL_CERT_FILE", "no certificate", "there are no certificates in it"),
        ("CURL_CA_BUNDLE", "", "there are no certificates in it"),
        ("SSL_CERT_DIR", None, "No such file or directory"),
    ],
)
def test_authorities_that_are_none_are_refused(
    tmp_path: Path, variable: str, content: str | None, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "named"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(errors.UsageError, match=f"{variable} names no certificate authorities: .*/named: {why}"):
        http_client.context()


# ── The others who go out ───────────────────────────────────────────────────────────────────────────────────────


@contextlib.asynccontextmanager
async def audio_server() -> AsyncIterator[tuple[Port, list[str]]]:
    """A server with audio everywhere but under /to?URL, which leads there; its port, and what it was asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            asked.append(target)
            moved = f"302 Found\r\nLocation: {URL(target).query_string}" if URL(target).path == "/to" else "200 OK"
            writer.write(f"HTTP/1.1 {moved}\r\nContent-Length: 5\r\nConnection: close\r\n\r\naudio".encode())
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], asked
    finally:
        server.close()


async def knows_one_name(
    self: ThreadedResolver, host: str, port: int = 0, family: Any = None
) -> list[dict[str, Any]]:
    if host != "inside.test":
        raise OSError(f"{host} is known to the proxy only")
    return [{"host": "10.0.0.1", "hostname": host, "port": port, "family": family, "proto": 0, "flags": 0}]


async def test_service_fetches_through_the_proxy_but_never_from_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ThreadedResolver, "resolve", knows_one_name)
    async with audio_server() as (port, asked), proxy(dict.fromkeys(("a.test", "inside.test"), port)) as way:
        monkeypatch.setenv("HTTP_PROXY", way.url)
        with contextlib.closing(Store(tmp_path)) as store:
            async with download.session() as ways:
                fetcher = download.Fetcher(store, ways)
                found = await fetcher.locate("http://a.test/a.wav")
                assert found.read_bytes() == b"audio"
                for inside in (
                    "http://10.0.0.1/a.wav", "http://[fd00::1]/a.wav", "http://169.254.169.254/", "http://127.0.0.1/",
                    "http://inside.test/a.wav", "http://a.test/to?http://10.0.0.1/a.wav",
                    "http://a.test/to?http://inside.test/a.wav", "http://a.test/to?http://localhost/a.wav",
                ):  # fmt: skip
                    with pytest.raises(BadAudio, match="Download error"):
                        await fetcher.locate(inside)
                monkeypatch.setenv("NO_PROXY", "inside.test")
                with pytest.raises(BadAudio, match="Download error"):
                    await fetcher.locate("http://inside.test/a.wav")
    assert set(way.asked) == {"GET a.test"}
    assert len(asked) == 4


async def test_audio_kept_back_by_a_proxy_is_reported_as_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """Audio that a proxy keeps from the service is reported as the proxy's failure."""
    monkeypatch.setattr(ThreadedResolver, "resolve", knows_one_name)
    async with proxy({}, refusal="403 Forbidden") as way:
        with contextlib.closing(Store(tmp_path)) as store:
            async with download.session() as ways:
                for named, says in (
                    (way.url, "The proxy on the way answered 403"),
                    (f"http://127.0.0.1:{unused_tcp_port}", "The proxy on the way cannot be reached"),
                    ("socks5://p:1080", "HTTPS_PROXY names no proxy that can be used"),
                ):
                    monkeypatch.setenv("HTTPS_PROXY", named)
                    with pytest.raises(BadAudio, match=f"Download error, unable to download .*a.wav. {says}"):
                        await download.Fetcher(store, ways).locate("https://a.test/a.wav")


async def test_webhooks_go_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with audio_server() as (port, asked), proxy({"hook.test": port}) as way:
        monkeypatch.setenv("HTTP_PROXY", way.url)
        async with outbound.ways() as ways:
            sent = await WebhookSender(ways).send({"webhook_url": "http://hook.test/told"}, "t1", Status.COMPLETED)
    assert (sent, way.asked, len(asked)) == (200, ["POST hook.test"], 1)


async def test_a_redirect_is_followed_by_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with audio_server() as (port, asked), proxy({"hook.test": port}, password="s3cret") as way:
        monkeypatch.setenv("HTTP_PROXY", way.url.replace("//", "//me:s3cret@"))
        here = f"http://127.0.0.1:{port}/a.wav"
        async with http_client.session() as session, session.get(f"http://hook.test/to?{here}") as answer:
            assert await answer.read() == b"audio"
            assert "Proxy-Authorization" not in answer.request_info.headers
    assert (way.asked, asked[1:]) == (["GET hook.test"], ["/a.wav"])


async def test_pings_go_through_the_proxy_and_a_bad_one_harms_nothing(tmp_path: Path) -> None:
    manifest = archive(tmp_path / "audio", 1)
    async with (
        start_service(tmp_path / "service") as service,
        watchdog() as (check, heard),
        proxy({"watchdog.test": port_of(check)}) as way,
    ):
        url = str(URL(check).with_host("watchdog.test").with_port(None))
        for number, (named, count) in enumerate(((way.url, 2), ("socks5://p:1080", 2))):
            ended = await diarist(
                "run", manifest, "--out", tmp_path / f"out{number}", "--service", service.base_url,
                HTTP_PROXY=named, DIARIST_PING__URL=url,
            )  # fmt: skip
            assert ended.code == 0, ended.said
            assert len(heard) == count
    assert way.asked
    assert "the ping to watchdog.test failed: HTTP_PROXY names no proxy" in ended.said


async def test_the_doctor_tells_the_way_and_the_authorities(
    tmp_path: Path, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        start_service(tmp_path / "service", key="k") as service,
        proxy({"service.test": port_of(service.base_url)}) as way,
    ):
        monkeypatch.setenv("HTTP_PROXY", way.url.replace("//", "//me:s3cret@"))
        monkeypatch.setenv("SSL_CERT_FILE", str(house.ca))
        monkeypatch.setenv("SSL_CERT_DIR", str(house.folder))
        found = await findings("http://service.test", tmp_path, ASSEMBLYAI_API_KEY="k")
        assert found["proxy"].said == f"http://service.test is reached through {way.url} (HTTP_PROXY)"
        assert f"{house.ca} (SSL_CERT_FILE) and {house.folder} (SSL_CERT_DIR)" in found["tls"].said
        assert {each.exit_code for each in found.values()} == {0}
        assert "s3cret" not in json.dumps([each.said for each in found.values()])
        here = await findings(service.base_url, tmp_path, ASSEMBLYAI_API_KEY="k")
        assert here["proxy"].said == f"none on the way to {service.base_url}"
        monkeypatch.setenv("HTTP_PROXY", "socks5://p:1080")
        assert (await findings("http://service.test", tmp_path))["proxy"].exit_code == 2
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent"))
        found = await findings("http://service.test", tmp_path)
        assert (found["tls"].exit_code, "reach" in found) == (2, False)
