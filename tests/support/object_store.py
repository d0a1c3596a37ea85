"""A real S3 server (moto) on loopback, in a process of its own, which counts what it sends and to whom.

    python -m tests.support.object_store

serves until its standard input ends, and says first on which port. ``GET /_sent`` answers with the counts.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import sys
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from batch.storage import object_stores

BUCKET = "archive"
_COUNTS = "/_sent"


class S3:
    """The server at ``url`` as its owner sees it. What it has sent is counted by who asked: by ``link`` (a signed
    URL), or as a ``client``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._before: dict[str, Counter[str]] = {}
        keys = {"aws_access_key_id": "mine", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self.client: Any = boto3.client("s3", endpoint_url=url, **keys)

    @property
    def bytes_sent(self) -> Counter[str]:
        """Of bodies of objects, by who asked."""
        return self._counts("bytes")

    @property
    def requests(self) -> Counter[str]:
        """By method and who asked: ``GET client``."""
        return self._counts("requests")

    def count_anew(self) -> None:
        self._before = {}
        self._before = {what: self._counts(what) for what in ("bytes", "requests")}

    def _counts(self, what: str) -> Counter[str]:
        with urllib.request.urlopen(self.url + _COUNTS) as answer:
            return Counter(json.load(answer)[what]) - self._before.get(what, Counter())

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        return [
            found["Key"] for found in self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        ]


@contextlib.contextmanager
def running() -> Iterator[S3]:
    """A server with one empty bucket."""
    command = [sys.executable, "-m", "tests.support.object_store"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        s3 = S3(f"http://127.0.0.1:{int(child.stdout.readline())}")
        s3.client.create_bucket(Bucket=BUCKET)
        try:
            yield s3
        finally:
            s3.client.close()
            child.stdin.close()


@contextlib.contextmanager
def named(monkeypatch: pytest.MonkeyPatch, s3: S3) -> Iterator[None]:
    """The environment names it as everybody's."""
    for name, value in (
        ("AWS_ENDPOINT_URL", s3.url), ("AWS_ACCESS_KEY_ID", "mine"), ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    object_stores._store.cache_clear()
    yield
    object_stores._store.cache_clear()


def main() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)
    sent: Counter[str] = Counter()
    requests: Counter[str] = Counter()

    def counting(environ: dict[str, Any], start: Any) -> Any:
        if environ["PATH_INFO"] == _COUNTS:
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps({"bytes": sent, "requests": requests}).encode()]
        by = "link" if "X-Amz-Signature" in environ.get("QUERY_STRING", "") else "client"
        body = moto(environ, start)
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].count("/") > 1:
            body = list(body)
            sent[by] += sum(map(len, body))
        requests[f"{environ['REQUEST_METHOD']} {by}"] += 1
        return body

    server = make_server("127.0.0.1", 0, counting, threaded=True)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
