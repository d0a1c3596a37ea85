"""What a source is, and what stays the same of it when it is named anew. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_SIGNATURES: Final = (
    (frozenset({"X-Amz-Signature"}), frozenset[str]()),
    (frozenset({"X-Goog-Signature"}), frozenset[str]()),
    (frozenset({"Signature", "Key-Pair-Id"}), frozenset({"Signature", "Key-Pair-Id", "Policy", "Expires"})),
    (frozenset({"Signature", "Expires"}), frozenset({"Signature", "Expires", "AWSAccessKeyId", "GoogleAccessId"})),
    (frozenset({"sig", "sv"}), frozenset("sig sv ss srt sp sr st se sip spr sdd ses si saoid suoid scid skoid sktid "
                                         "skt ske sks skv".split())),
)  # fmt: skip
"""By which parameters a signed URL is known, and which others sign it: those of S3 and of Google Cloud Storage
(version 4), of CloudFront, of both stores' older version, and Azure's shared access signatures."""
_WEB: Final = ("http://", "https://")
_STORES: Final = ("s3://", "gs://", "az://")
_VENDORS: Final = ("X-Amz-", "x-amz-", "X-Goog-")


def is_url(source: str) -> bool:
    """Whether a source is behind an http(s) URL: the provider reads it itself."""
    return source.startswith(_WEB) or source[:8].lower().startswith(_WEB)


def is_stored(source: str) -> bool:
    """Whether a source is an object, or a prefix, in a store."""
    return source.lower().startswith(_STORES)


def is_file(source: str) -> bool:
    """Whether a source is a path on this machine."""
    return not (is_url(source) or is_stored(source))


def identity(source: str) -> str:
    """What stays the same of a source when it is named anew: a URL without its login and without what signs it;
    a path or a stored object as it is."""
    if not is_url(source) or ("?" not in source and "@" not in source):
        return source
    url = urlsplit(source)
    given = parse_qsl(url.query, keep_blank_values=True)
    signing = _signing({name for name, _ in given})
    query = urlencode([pair for pair in given if pair[0] not in signing]) if signing else url.query
    return urlunsplit((url.scheme.lower(), url.netloc.rpartition("@")[2].lower(), url.path, query, ""))


def _signing(names: set[str]) -> set[str]:
    """Which of a URL's parameters sign it; none if it is not signed."""
    for marks, own in _SIGNATURES:
        if names >= marks:
            return {name for name in names if name in own or name.startswith(_VENDORS)}
    return set()
