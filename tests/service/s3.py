"""A real S3 server on loopback (moto), which counts what it sends and to whom."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from batch import stores

BUCKET = "archive"


class S3:
    """``bytes_sent`` counts bodies of objects by who asked: by ``link`` (a signed URL), or as a ``client``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.bytes_sent: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        keys = {"aws_access_key_id": "mine", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
        self.client: Any = boto3.client("s3", endpoint_url=url, **keys)

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def keys(self, prefix: str) -> list[str]:
        return [
            found["Key"] for found in self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        ]


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A server with one empty bucket, which the environment names as everybody's."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = DomainDispatcherApplication(create_backend_app)
    s3: S3

    def counting(environ: dict[str, Any], start: Any) -> Any:
        by = "link" if "X-Amz-Signature" in environ.get("QUERY_STRING", "") else "client"
        body = moto(environ, start)
        if environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"].count("/") > 1:
            body = list(body)
            s3.bytes_sent[by] += sum(map(len, body))
        s3.requests[f"{environ['REQUEST_METHOD']} {by}"] += 1
        return body

    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = make_server("127.0.0.1", port, counting, threaded=True)
    s3 = S3(f"http://127.0.0.1:{port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for name, value in (
        ("AWS_ENDPOINT_URL", s3.url), ("AWS_ACCESS_KEY_ID", "mine"), ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    stores._store.cache_clear()
    s3.client.create_bucket(Bucket=BUCKET)
    try:
        yield s3
    finally:
        s3.client.close()
        server.shutdown()
        server.server_close()
        thread.join()
        stores._store.cache_clear()
