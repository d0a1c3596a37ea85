"""Manifests behind http(s) URLs, fetched anew for each reading."""

from __future__ import annotations

import base64
import contextlib
import http.client
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO, Any, Final
from urllib.parse import quote, unquote, urlsplit

from batch.errors import UsageError
from batch.network.addresses import is_loopback

_LOGIN: Final = re.compile(r"://[^/@]*@")
_MEANT: Final = "%:/?#[]@!$&'()*+,;=~"
"""What a URL says with them; everything else that is not plain is to be escaped in it."""
_SILENCE_SECONDS: Final = 30.0
_WHOLE_SECONDS: Final = 600.0
_CHUNK_BYTES: Final = 1 << 18


def without_secrets(url: str) -> str:
    """The URL without what signs it or logs in."""
    return _LOGIN.sub("://", url.partition("#")[0].partition("?")[0])


def escaped(reference: str) -> str:
    """A URL or a part of one, with blanks and letters that are not ASCII as a URL has them."""
    return quote(reference, safe=_MEANT)


@contextlib.contextmanager
def fetched(url: str) -> Iterator[IO[bytes]]:
    """What is behind ``url``, in a temporary file. Proxies and certificates are those that the environment names; a
    service on this machine is asked directly. Raises ``UsageError`` that says what went wrong, without the URL."""
    with tempfile.TemporaryFile() as file:
        try:
            with _opened(url) as answer:
                _copy(answer, file)
        except urllib.error.HTTPError as error:
            error.close()
            raise UsageError(
                f"the manifest cannot be fetched: {error.code} {error.reason}{_advice(error.code)}"
            ) from None
        except urllib.error.URLError as error:
            raise UsageError(f"the manifest cannot be fetched: {error.reason}") from None
        except http.client.InvalidURL:
            raise UsageError("the manifest cannot be fetched: this is not a URL") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise UsageError(f"the manifest cannot be fetched: {error or type(error).__name__}") from None
        file.seek(0)
        yield file


def _opened(url: str) -> Any:
    parts = urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    asked = urllib.request.Request(escaped(parts._replace(netloc=place, fragment="").geturl()))
    asked.add_header("User-Agent", "diarist")
    if login:
        asked.add_unredirected_header("Authorization", f"Basic {base64.b64encode(unquote(login).encode()).decode()}")
    direct = [urllib.request.ProxyHandler({})] if is_loopback(parts.hostname) else []
    return urllib.request.build_opener(*direct).open(asked, timeout=_SILENCE_SECONDS)


def _copy(answer: Any, file: IO[bytes]) -> None:
    until = time.monotonic() + _WHOLE_SECONDS
    while chunk := answer.read1(_CHUNK_BYTES):
        file.write(chunk)
        if time.monotonic() > until:
            raise OSError(f"it took more than {_WHOLE_SECONDS:.0f} s")
    promised = answer.headers.get("Content-Length")
    if promised and promised.isdigit() and file.tell() != int(promised):
        raise OSError(f"it ended after {file.tell()} of {promised} bytes")


def _advice(status: int) -> str:
    return ": sign its URL anew, or look at its query" if status in (401, 403) else ""
