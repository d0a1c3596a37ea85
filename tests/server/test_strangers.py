"""What strangers may do to the local service: nothing to the house behind it, and nothing to others who use it.

Each check of where a stranger may send the service has a test here that fails without that check alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.resolver import ThreadedResolver

from batch.engine.interface import BadAudio
from batch.providers.assemblyai.protocol import Status
from batch.server import app, download, outbound
from batch.server.main import ServeOptions, _for_webhooks
from batch.server.store import Store
from batch.server.webhooks import WebhookRetry, WebhookSender
from tests.support.caller import calling
from tests.support.service import start_service

Handler = Callable[[web.Request], Any]
PUBLIC, INSIDE = "93.184.216.34", "10.0.0.7"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(tmp_path / "store")) as made:
        yield made


@contextlib.asynccontextmanager
async def elsewhere(handler: Handler, host: str = "127.0.0.1") -> AsyncIterator[tuple[str, list[str]]]:
    """A server of somebody else, and what it was asked for."""
    asked: list[str] = []

    async def noting(request: web.Request) -> web.StreamResponse:
        asked.append(request.path_qs)
        answer: web.StreamResponse = await handler(request)
        return answer

    served = web.Application()
    served.router.add_route("*", "/{any:.*}", noting)
    async with app.listening(served, host, 0) as url:
        yield url, asked


async def audio(request: web.Request) -> web.Response:
    if "to" in request.query:
        raise web.HTTPFound(request.query["to"])
    return web.Response(body=b"audio")


def knowing(monkeypatch: pytest.MonkeyPatch, **names: list[str]) -> None:
    """Let names (without .test) have these addresses."""

    async def resolve(self: ThreadedResolver, host: str, port: int = 0, family: Any = None) -> list[dict[str, Any]]:
        found = names[host.removesuffix(".test")]
        return [{"host": each, "hostname": host, "port": port, "family": 2, "proto": 0, "flags": 0} for each in found]

    monkeypatch.setattr(ThreadedResolver, "resolve", resolve)


def only(*allowed: str) -> outbound.May:
    """The rule for public addresses, and these of our own, on which the tests have servers."""
    return lambda address: str(address) in allowed or outbound.public(address)


# ── Where audio may lie ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "link", ["ftp://{}/a.wav", "file://{}/etc/passwd", "gopher://{}/", "unix://{}/x", "ws://{}/"]
)
async def test_only_http_is_spoken(store: Store, link: str) -> None:
    async with elsewhere(audio) as (url, asked), download.session(private=True) as ways:
        where = link.format(url.removeprefix("http://"))
        with pytest.raises(BadAudio, match="Download error"):
            await download.Fetcher(store, ways).locate(where)
        with pytest.raises(BadAudio, match="Download error"):
            await download.Fetcher(store, ways).locate(f"{url}/?to={where}")
    assert len(asked) == 1


async def test_an_address_inside_is_not_asked(store: Store) -> None:
    async with elsewhere(audio) as (url, asked), download.session() as ways:
        with pytest.raises(BadAudio, match="Download error"):
            await download.Fetcher(store, ways).locate(f"{url}/a.wav")
    assert not asked


@pytest.mark.parametrize("written", ["localhost", "127.1", "2130706433", "0x7f000001", "LOCALHOST."])
async def test_a_name_is_judged_by_the_addresses_that_it_has(store: Store, written: str) -> None:
    async with elsewhere(audio) as (url, asked), download.session() as ways:
        with pytest.raises(BadAudio, match="Download error"):
            await download.Fetcher(store, ways).locate(f"{url.replace('127.0.0.1', written)}/a.wav")
    assert not asked


async def test_only_public_addresses_of_a_name_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    knowing(monkeypatch, mixed=[INSIDE, PUBLIC, "::1"], inside=[INSIDE])
    resolver = outbound._Resolver(outbound.public)
    assert [found["host"] for found in await resolver.resolve("mixed.test")] == [PUBLIC]
    with pytest.raises(outbound.Inside):
        await resolver.resolve("inside.test")


@pytest.mark.parametrize("host", ["127.0.0.2", "inside.test"])
async def test_a_redirect_leads_nowhere_inside(store: Store, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    knowing(monkeypatch, inside=["127.0.0.2"])
    async with (
        elsewhere(audio, "127.0.0.2") as (inside, asked),
        elsewhere(audio) as (outside, _),
        outbound.ways(only("127.0.0.1")) as ways,
    ):
        found = await download.Fetcher(store, ways).locate(f"{outside}/?to={outside}/a.wav")
        assert found.read_bytes() == b"audio"
        there = inside.replace("127.0.0.2", host)
        with pytest.raises(BadAudio, match="Download error"):
            await download.Fetcher(store, ways).locate(f"{outside}/?to={there}/secret")
    assert not asked


async def test_redirects_without_end_are_given_up(store: Store) -> None:
    async def onward(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.path)

    async with elsewhere(onward) as (url, asked), download.session(private=True) as ways:
        with pytest.raises(BadAudio, match="Download error"):
            await download.Fetcher(store, ways).locate(f"{url}/a.wav")
    assert len(asked) == 5


@pytest.mark.parametrize("is_told", [True, False])
async def test_oversized_audio_is_refused_with_or_without_a_size(
    store: Store, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """Audio may only be so large, whether its size is stated or not."""
    monkeypatch.setattr(download, "FETCH_LIMIT_BYTES", 1000)
    sent = 0

    async def large(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse(headers={"Content-Length": "1001"} if is_told else {})
        await answer.prepare(request)
        if is_told:
            await asyncio.sleep(0.3)
        with contextlib.suppress(ConnectionError):
            await answer.write(b"x" * 1001)
            sent += 1001
        return answer

    async with elsewhere(large) as (url, _), download.session(private=True) as ways:
        with pytest.raises(BadAudio, match="Download error"):
            await download.Fetcher(store, ways).locate(f"{url}/a.wav")
    assert [*store.uploads.directory.iterdir()] == []
    if is_told:
        assert not sent


async def test_inside_address_is_not_asked_for_through_a_proxy(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a proxy, what is known here as inside is not asked for."""
    knowing(monkeypatch, inside=[INSIDE], mixed=[PUBLIC, INSIDE], outside=[PUBLIC])
    async with elsewhere(audio) as (proxy, asked), download.session() as ways:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert await ways.to(download.URL("http://outside.test/")) is ways.proxied
        for host in ("inside.test", "mixed.test", INSIDE, "[::ffff:10.0.0.7]", "169.254.169.254"):
            with pytest.raises(BadAudio, match="Download error"):
                await download.Fetcher(store, ways).locate(f"http://{host}/a.wav")
        monkeypatch.setenv("NO_PROXY", "inside.test")
        with pytest.raises(BadAudio, match="Download error"):
            await download.Fetcher(store, ways).locate("http://inside.test/a.wav")
    assert not asked


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        (PUBLIC, True), ("2606:2800:220:1::1", True), ("::ffff:93.184.216.34", True), ("64:ff9b::5db8:d822", True),
        ("10.0.0.1", False), ("172.16.0.1", False), ("192.168.1.1", False), ("127.0.0.1", False), ("0.0.0.0", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("100.100.100.200", False), ("192.0.0.8", False),
        ("224.0.1.1", False), ("255.255.255.255", False), ("::", False), ("::1", False), ("fd00:ec2::254", False),
        ("fe80::1", False), ("fec0::1", False), ("ff0e::1", False), ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False), ("64:ff9b:1::a00:1", False), ("2002:a00:1::", False), ("::10.0.0.1", False),
    ],
)  # fmt: skip
def test_what_a_public_address_is(address: str, is_public: bool) -> None:
    assert outbound.public(ipaddress.ip_address(address)) is is_public


# ── What is slow ────────────────────────────────────────────────────────────────────────────────────────────────


def dripping(seconds: float = 0.02, head: float = 0.0) -> Handler:
    """Audio without an end, a byte at a time, whose beginning takes so long."""

    async def drip(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(head)
        answer = web.StreamResponse(headers={"Content-Length": "1000000"})
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b"x")
                await asyncio.sleep(seconds)
        return answer

    return drip


async def test_audio_that_drips_in_holds_up_nobody_and_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_PATIENCE_SECONDS", 1.0)
    async with elsewhere(dripping()) as (url, _), calling(tmp_path, private=True, slots=2) as api:
        slow = [
            (await api.call("POST", "/v2/transcript", json={"audio_url": f"{url}/{n}"}))[1]["id"] for n in range(8)
        ]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(0.8):
            assert (await api.ended((await api.submit())["id"]))["status"] == "completed"
        _, waiting = await api.call("GET", "/v2/transcript?status=queued")
        assert {line["id"] for line in waiting["transcripts"]} == set(slow)
        async with asyncio.timeout(10):
            for each in slow:
                assert "too slowly" in (await api.ended(each))["error"]


async def test_audio_that_does_not_begin_is_given_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_BEGIN_SECONDS", 0.3)
    async with elsewhere(dripping(head=30)) as (url, _), download.session(private=True) as ways:
        async with asyncio.timeout(5):
            with pytest.raises(BadAudio, match="too slowly"):
                await download.Fetcher(store, ways).locate(f"{url}/a.wav")


async def test_so_much_is_fetched_at_once_and_ahead_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.server.queue._BRINGING", 3)
    async with elsewhere(audio) as (url, asked), calling(tmp_path, private=True, slots=1, seconds=0.5) as api:
        made = [
            (await api.call("POST", "/v2/transcript", json={"audio_url": f"{url}/{n}"}))[1]["id"] for n in range(6)
        ]
        done = 0
        while done < len(made):
            fetched = len(asked)
            done = len((await api.call("GET", "/v2/transcript?status=completed"))[1]["transcripts"])
            assert fetched <= done + 4  # one at work, three ahead of it
            await asyncio.sleep(0.02)
        assert len(asked) == len(made)


async def test_no_link_makes_a_slot_wait_for_a_network(tmp_path: Path) -> None:
    async with elsewhere(dripping()) as (url, _), calling(tmp_path, private=True, slots=1) as api:
        ours = (await api.upload()).rpartition("/")[2]
        for odd in (f"{url}/?/upload/{ours}", f"{url}/#/upload/{ours}", f"{url}/upload/{'0' * 32}"):
            await api.call("POST", "/v2/transcript", json={"audio_url": odd})
        async with asyncio.timeout(5):
            assert (await api.ended((await api.submit())["id"]))["status"] == "completed"


async def test_slow_upload_takes_no_room_from_others(tmp_path: Path) -> None:
    """An upload that promises much and drips takes no room from others."""
    async with calling(tmp_path, budget=100_000) as api:
        port = int(api.service.base_url.rpartition(":")[2])
        held = []
        for _ in range(5):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v2/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\nx")
            held.append(writer)
        await asyncio.sleep(0.2)
        for _ in range(3):
            await api.upload(b"y" * 30_000)
        for writer in held:
            writer.close()
        await asyncio.sleep(0.2)
        await api.upload(b"z" * 10_000)


# ── Where webhooks may go ───────────────────────────────────────────────────────────────────────────────────────


async def told(ways: outbound.Ways, url: str) -> int | None:
    manner = WebhookRetry(tries=2, answer_seconds=1, pause_seconds=0.01)
    said = {"webhook_url": url, "webhook_auth_header_name": "X-Mine", "webhook_auth_header_value": "secret"}
    return await WebhookSender(ways, manner).send(said, "t1", Status.COMPLETED)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_a_webhook_reaches_nothing_inside(host: str, caplog: pytest.LogCaptureFixture) -> None:
    async with elsewhere(audio) as (url, asked), outbound.ways() as ways:
        with caplog.at_level(logging.WARNING):
            assert await told(ways, f"{url.replace('127.0.0.1', host)}/hook") is None
    assert not asked
    assert "--private-network" in caplog.text


async def test_a_webhook_follows_no_redirect() -> None:
    async with (
        elsewhere(audio) as (inside, asked),
        elsewhere(audio) as (outside, _),
        outbound.ways(outbound.public_or_here) as ways,
    ):
        assert await told(ways, f"{outside}/?to={inside}/hook") == 302
    assert not asked


@pytest.mark.parametrize(
    ("key", "allowed", "reached"),
    [
        (None, False, {PUBLIC, "127.0.0.1"}),
        ("a key", False, {PUBLIC}),
        (None, True, {PUBLIC, "127.0.0.1", INSIDE, "169.254.169.254"}),
        ("a key", True, {PUBLIC, "127.0.0.1", INSIDE, "169.254.169.254"}),
    ],
)
def test_webhooks_reach_this_machine_without_key_all_with_flag(
    key: str | None, allowed: bool, reached: set[str]
) -> None:
    """Without a key webhooks reach this machine, and with the flag every address."""
    may = _for_webhooks(ServeOptions(host="127.0.0.1", port=0, data="data", private_network=allowed), key)
    tried = (PUBLIC, "127.0.0.1", INSIDE, "169.254.169.254")
    assert {address for address in tried if may(ipaddress.ip_address(address))} == reached
    of_a_run = ServeOptions(host="127.0.0.1", port=0, data="data", until_stdin_closes=True)
    assert _for_webhooks(of_a_run, key)(ipaddress.ip_address(INSIDE)), "a run's webhooks are its own"


# ── What is no key ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_key_that_is_no_text_is_refused_as_any_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with start_service(tmp_path, key="right") as service:
        port = int(service.base_url.rpartition(":")[2])
        for given in (b"\xff\xfe", b"Bearer \xe9", "schlüssel".encode("latin-1")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /v2/transcript HTTP/1.1\r\nHost: x\r\nAuthorization: " + given + b"\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 401")
            writer.close()
    assert "Traceback" not in caplog.text


async def test_refusal_of_a_private_address_names_the_switch(tmp_path: Path) -> None:
    async with elsewhere(audio) as (url, asked), download.session() as ways:
        with contextlib.closing(Store(tmp_path)) as store, pytest.raises(BadAudio) as refused:
            await download.Fetcher(store, ways).locate(str(url))
    assert "is not a public address" in str(refused.value)
    assert "--private-network" in str(refused.value) and "local.private_network=true" in str(refused.value)
    assert "internet" not in str(refused.value)
    assert asked == []
