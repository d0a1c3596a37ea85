"""A service has one name, a region's name means its own host, and a key is sent as one or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch import errors
from batch.providers.assemblyai.endpoints import HOSTS
from batch.providers.registry import canonical, resolve
from tests.support.processes import diarist
from tests.support.recordings import archive
from tests.support.service import start_service

US, EU = HOSTS["assemblyai"], HOSTS["assemblyai-eu"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("local", "local"),
        ("assemblyai", "assemblyai"),
        ("assemblyai-eu", "assemblyai-eu"),
        (US, "assemblyai"),
        (f"{US}/", "assemblyai"),
        ("HTTPS://API.AssemblyAI.com:443//", "assemblyai"),
        ("https://api.assemblyai.com.", "assemblyai"),
        ("https://api.eu.assemblyai.com:443", "assemblyai-eu"),
        ("http://api.eu.assemblyai.com", "http://api.eu.assemblyai.com"),
        ("https://api.eu.assemblyai.com/v2", "https://api.eu.assemblyai.com/v2"),
        ("http://localhost:8517", "http://127.0.0.1:8517"),
        ("http://LocalHost:8517/", "http://127.0.0.1:8517"),
        ("http://[::1]:8517", "http://127.0.0.1:8517"),
        ("http://127.0.0.1:8517", "http://127.0.0.1:8517"),
        ("http://127.0.0.2:8517", "http://127.0.0.2:8517"),
        ("http://localhost:80/", "http://127.0.0.1"),
        ("http://localhost:443", "http://127.0.0.1:443"),
        ("http://[2001:DB8::1]:8517/", "http://[2001:db8::1]:8517"),
        ("https://Speech.Example/Team/a/", "https://speech.example/Team/a"),
        ("https://speech.example/?token=x#y", "https://speech.example"),
        ("https://user:pw@speech.example", "https://speech.example"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[no", "http://[no"),
        ("http://host:99999", "http://host:99999"),
        ("", ""),
    ],
)
def test_what_is_one_service_has_one_name(written: str, name: str) -> None:
    assert canonical(written) == name
    assert canonical(name) == name


@pytest.mark.parametrize(
    ("asked", "key", "base_url", "name", "reached_at"),
    [
        ("auto", "", "", "local", None),
        ("auto", " \n", " ", "local", None),
        ("local", "k", EU, "local", None),
        ("local", "\0", "no url", "local", None),
        ("auto", "k", "", "assemblyai", US),
        ("auto", "k", US, "assemblyai", US),
        ("auto", "k", f"{EU}/", "assemblyai-eu", EU),
        ("auto", "k", "https://api.EU.assemblyai.com:443", "assemblyai-eu", EU),
        ("auto", "", "http://localhost:8517/", "http://127.0.0.1:8517", "http://localhost:8517"),
        ("assemblyai", "k", "", "assemblyai", US),
        ("assemblyai", "k", f"{US}/", "assemblyai", US),
        ("assemblyai", "", "http://Speech.Example/a/", "http://speech.example/a", "http://speech.example/a"),
        ("assemblyai-eu", "k", "", "assemblyai-eu", EU),
        ("assemblyai-eu", "k", EU, "assemblyai-eu", EU),
        (EU, "k", "", "assemblyai-eu", EU),
        ("http://[::1]:8517", "", EU, "http://127.0.0.1:8517", "http://[::1]:8517"),
        ("https://speech.example/?token=x", "", "", "https://speech.example", "https://speech.example"),
    ],
)
def test_name_environment_and_key_decide_who_transcribes(
    asked: str, key: str, base_url: str, name: str, reached_at: str | None
) -> None:
    found = resolve(asked, {"ASSEMBLYAI_API_KEY": key, "ASSEMBLYAI_BASE_URL": base_url})
    assert (found.name, found.address) == (name, reached_at)
    assert found.capabilities.ramp == (name in HOSTS)


@pytest.mark.parametrize(
    ("asked", "base_url", "says"),
    [
        ("assemblyai-eu", US, "--service assemblyai-eu is .*, but .*_BASE_URL is .*use --service assemblyai$"),
        ("assemblyai-eu", "http://localhost:8517", "use --service http://127.0.0.1:8517"),
        ("assemblyai-eu", "http://api.eu.assemblyai.com", "but ASSEMBLYAI_BASE_URL is http://api.eu"),
        ("assemblyai", EU, "use --service assemblyai-eu"),
        ("auto", "speech.example", "ASSEMBLYAI_BASE_URL 'speech.example' is no http"),
        ("auto", "https://", "is no http"),
        ("auto", "ftp://speech.example", "is no http"),
        ("auto", "https://speech.example:99999", "is no http"),
        ("auto", "https://speech .example", "is no http"),
        ("ws://speech.example", "", "--service 'ws://speech.example' is no http"),
        ("assembly", "", "--service 'assembly': give auto, local"),
    ],
)
def test_unknown_or_mismatched_name_or_address_is_refused(asked: str, base_url: str, says: str) -> None:
    """A name or an address that is none, or that is another's, is refused."""
    with pytest.raises(errors.UsageError, match=says):
        resolve(asked, {"ASSEMBLYAI_API_KEY": "k", "ASSEMBLYAI_BASE_URL": base_url})


@pytest.mark.parametrize(
    "given",
    [
        "https://somebody:s3cret@speech.example",
        "HTTPS://s3cret@speech.example",
        "https://:s3cret@speech.example/v2",
        "https://somebody:s3cret@speech.example:99999",
        "ftp://somebody:s3cret@speech.example",
        "somebody:s3cret@speech.example",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(given: str) -> None:
    for asked, base_url in ((given, ""), ("auto", given), ("assemblyai", given)):
        with pytest.raises(errors.UsageError) as caught:
            resolve(asked, {"ASSEMBLYAI_API_KEY": "k", "ASSEMBLYAI_BASE_URL": base_url})
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t\n", "\N{NO-BREAK SPACE}"])
def test_the_end_of_a_line_is_no_part_of_a_key(end: str) -> None:
    assert resolve("assemblyai", {"ASSEMBLYAI_API_KEY": f" a key{end}"}).key == "a key"
    with pytest.raises(errors.AuthenticationError, match="is not set"):
        resolve("assemblyai", {"ASSEMBLYAI_API_KEY": end})


@pytest.mark.parametrize("within", ["\n", "\r", "\0", "\x7f", "\x85", "…", "\udc80", "\N{ZERO WIDTH SPACE}"])
def test_key_that_no_header_can_carry_is_refused_unrepeated(within: str) -> None:
    with pytest.raises(errors.AuthenticationError, match="ASSEMBLYAI_API_KEY holds characters") as caught:
        resolve("auto", {"ASSEMBLYAI_API_KEY": f"s3cret{within}key"})
    assert "s3cret" not in str(caught.value)


async def test_run_sends_a_one_line_key_and_refuses_an_unsendable_one(tmp_path: Path) -> None:
    """A run sends the key of a line, and reports in one line a key that cannot be sent."""
    manifest = archive(tmp_path / "audio", 2)
    async with start_service(tmp_path / "service", key="s3cret") as service:
        to = ("run", manifest, "--out", tmp_path / "out", "--service", service.base_url)
        for key, code in (("s3\x01cret", 4), ("s3cret…", 4), ("s3cret\r\n", 0)):
            ended = await diarist(*to, ASSEMBLYAI_API_KEY=key)
            assert ended.code == code, ended.said
            assert "s3" not in ended.said
            assert "Traceback" not in ended.said
            assert code == 0 or len(ended.said.splitlines()) == 1
        assert len(service.submissions) == 2
