"""One bucket of an object store: S3's through boto3, which finds credentials as AWS's own tools do and takes any key;
Google's and Azure's through obstore.

Both kinds have the same verbs, which block. ``failures`` are the exceptions that these raise, and ``told`` is what
such an exception means, by the store's own status and error code.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from batch import errors
from batch.errors import FailureKind

TRIES: Final = 6
"""Of a request that a store does not answer, or answers with a 5xx or a 429: half a minute at most."""
_CONNECTIONS: Final = 64
_CONNECT_SECONDS, _READ_SECONDS = 10.0, 60.0


class Trouble(StrEnum):
    """Why a store did not do what it was asked. The first two meet every object alike."""

    CREDENTIALS = "credentials"
    AWAY = "away"
    NO_BUCKET = "no bucket"
    MISSING = "missing"
    FORBIDDEN = "forbidden"
    ARCHIVED = "archived"
    BEYOND = "beyond its end"
    REFUSED = "refused"


class Explanation(NamedTuple):
    """What a failure means, what was said, and the store's code for it, empty where it gave none (to a HEAD)."""

    trouble: Trouble
    said: str
    code: str = ""


class Meta(NamedTuple):
    """What a bucket says of an object."""

    key: str
    size_bytes: int
    modified: datetime
    etag: str | None


class Odd(NamedTuple):
    """An object that cannot be listed with the others, or asked for, and why."""

    key: str
    reason: str


_CREDENTIALS: Final = (
    *("ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "TokenRefreshRequired"),
    *("AuthorizationHeaderMalformed", "InvalidSecurity", "NotSignedUp", "AccountProblem", "ExpiredTokenException"),
    *("AuthenticationRequired", "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"),
)
_BY_CODE: Final[Mapping[str, Trouble]] = {
    **dict.fromkeys(_CREDENTIALS, Trouble.CREDENTIALS),
    **dict.fromkeys(("SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "ServerBusy"), Trouble.AWAY),
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName", "ContainerNotFound"), Trouble.NO_BUCKET),
    **dict.fromkeys(("InvalidObjectState", "BlobArchived"), Trouble.ARCHIVED),
}
_BY_STATUS: Final[Mapping[int, Trouble]] = {
    401: Trouble.CREDENTIALS, 403: Trouble.FORBIDDEN, 404: Trouble.MISSING,
    408: Trouble.AWAY, 416: Trouble.BEYOND, 429: Trouble.AWAY,
}  # fmt: skip


_NO_CREDENTIALS: Final = (
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError"),
    *("SSOError", "LoginError", "MetadataRetrievalError", "RefreshWithMFAUnsupportedError"),
)
"""What boto3 raises before it asks for an object."""


def trouble(status: int | None, code: str = "") -> Trouble:
    """What a store's answer means. ``status`` None: there was none."""
    refused = status is not None and 400 <= status < 500
    return _BY_CODE.get(code) or _BY_STATUS.get(status or 0) or (Trouble.REFUSED if refused else Trouble.AWAY)


class Bucket(Protocol):
    failures: tuple[type[Exception], ...]

    def head(self, key: str) -> Meta: ...
    def get_range(self, key: str, start: int, length: int) -> bytes: ...
    def get(self, key: str) -> bytes: ...
    def put(self, key: str, content: bytes) -> None: ...
    def delete(self, key: str) -> None: ...
    def sign(self, key: str, seconds: float) -> str | None: ...
    def list(self, prefix: str) -> Iterator[Meta | Odd]: ...
    def explain(self, error: Exception) -> Explanation: ...


def opened(scheme: str, name: str) -> Bucket:
    """The bucket. Raises ``UsageError`` for settings that nobody can work with, ``UnavailableError`` without
    credentials."""
    return S3(name) if scheme == "s3" else Obstore(f"{scheme}://{name}")


class S3:
    """A bucket of S3, or of a store that speaks like it."""

    def __init__(self, name: str) -> None:
        self._name, self._client = name, _client_of_s3()
        self._errors = _botocore()
        self.failures: tuple[type[Exception], ...] = (self._errors.ClientError, self._errors.BotoCoreError)

    def head(self, key: str) -> Meta:
        found = self._client.head_object(Bucket=self._name, Key=key)
        return Meta(key, found["ContentLength"], found["LastModified"], found.get("ETag"))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._read(key, Range=f"bytes={start}-{start + length - 1}")

    def get(self, key: str) -> bytes:
        return self._read(key)

    def _read(self, key: str, **given: str) -> bytes:
        """boto3 repeats what was not answered, but not an answer that broke off."""
        for _ in range(TRIES - 1):
            try:
                return self._read_once(key, **given)
            except (self._errors.ResponseStreamingError, self._errors.ReadTimeoutError):
                continue
        return self._read_once(key, **given)

    def _read_once(self, key: str, **given: str) -> bytes:
        with closing(self._client.get_object(Bucket=self._name, Key=key, **given)["Body"]) as body:
            return cast(bytes, body.read())

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(Bucket=self._name, Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self._name, Key=key)

    def sign(self, key: str, seconds: float) -> str | None:
        """None also for a key with a part of dots: whoever reads its URL would resolve them first."""
        if not {".", ".."}.isdisjoint(key.split("/")):
            return None
        asked = {"Bucket": self._name, "Key": key}
        return cast(str, self._client.generate_presigned_url("get_object", Params=asked, ExpiresIn=round(seconds)))

    def list(self, prefix: str) -> Iterator[Meta | Odd]:
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix):
            for found in page.get("Contents", ()):
                yield Meta(found["Key"], found["Size"], found["LastModified"], found.get("ETag"))

    def explain(self, error: Exception) -> Explanation:
        if isinstance(error, self._errors.ClientError):
            answer = cast(Any, error).response
            status, code = answer["ResponseMetadata"].get("HTTPStatusCode"), answer["Error"].get("Code", "")
            code = "" if code.isdigit() else code
            reason = f"{code or status}: {answer['Error'].get('Message') or 'no reason given'}"
            return Explanation(trouble(status, code), reason, code)
        if isinstance(error, self._errors.ParamValidationError):
            return Explanation(Trouble.REFUSED, " ".join(str(error).split()), "ParamValidation")
        has_none = isinstance(error, tuple(getattr(self._errors, name) for name in _NO_CREDENTIALS))
        return Explanation(Trouble.CREDENTIALS if has_none else Trouble.AWAY, _first_line(error))


def _client_of_s3() -> Any:
    """As the environment, or the profile that it names, has it."""
    exceptions = _botocore()
    try:
        return _client_of_session()
    except exceptions.ProfileNotFound as error:
        message = f"AWS_PROFILE: {error}. Name a profile of ~/.aws/config or ~/.aws/credentials, or unset it"
        raise errors.UsageError(message) from None
    except (exceptions.ConfigParseError, exceptions.ConfigNotFound, exceptions.InvalidConfigError) as error:
        raise errors.UsageError(f"cannot use the AWS settings: {_first_line(error)}") from None
    except ValueError as error:
        raise errors.UsageError(f"cannot open S3 with the settings in AWS_...: {_first_line(error)}") from None
    except exceptions.BotoCoreError as error:
        raise errors.UnavailableError(
            f"no credentials for S3: {_first_line(error)}", kind=FailureKind.STORE_CREDENTIALS
        ) from None


def _client_of_session() -> Any:
    import boto3
    from botocore import UNSIGNED
    from botocore.config import Config

    session = boto3.Session()
    unsigned = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")
    if not unsigned and session.get_credentials() is None:
        raise errors.UnavailableError(
            "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or "
            "run where a role gives them; AWS_SKIP_SIGNATURE=true is for public buckets",
            kind=FailureKind.STORE_CREDENTIALS,
        )
    config = Config(
        signature_version=UNSIGNED if unsigned else "s3v4",
        max_pool_connections=_CONNECTIONS, connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        request_checksum_calculation="when_required",  # stores that speak like S3 do not know the newer ones
        response_checksum_validation="when_required",
    )  # fmt: skip
    region = os.environ.get("AWS_REGION") or session.region_name or "us-east-1"
    endpoint = os.environ.get("AWS_ENDPOINT") or None
    return session.client("s3", region_name=region, endpoint_url=endpoint, config=config)


def _botocore() -> Any:
    try:
        import boto3  # noqa: F401 (both are needed)
        import botocore.exceptions
    except ImportError:
        raise errors.UsageError("s3:// needs boto3: pip install 'diarist[stores]'") from None
    return botocore.exceptions


class Obstore:
    """A bucket of Google's or Azure's. obstore takes plain paths only, as keys and in a listing."""

    def __init__(self, url: str, **options: Any) -> None:
        self._obstore = obstore = _obstore()
        if os.environ.get("AZURE_STORAGE_CONNECTION_STRING") and not os.environ.get("AZURE_STORAGE_ACCOUNT_NAME"):
            _refuse_connection_string(url)
        try:
            self._store = obstore.store.from_url(url, retry_config={"max_retries": TRIES}, **options)
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise errors.UsageError(f"cannot open {url}: {_first_line(error)}") from None
        self.failures: tuple[type[Exception], ...] = (obstore.exceptions.BaseError, OSError, ValueError)

    def head(self, key: str) -> Meta:
        return _meta(self._obstore.head(self._store, _plain(key)))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return bytes(self._obstore.get_range(self._store, _plain(key), start=start, length=length))

    def get(self, key: str) -> bytes:
        return bytes(self._obstore.get(self._store, _plain(key)).bytes())

    def put(self, key: str, content: bytes) -> None:
        self._obstore.put(self._store, _plain(key), content)

    def delete(self, key: str) -> None:
        self._obstore.delete(self._store, _plain(key))

    def sign(self, key: str, seconds: float) -> str | None:
        try:
            return cast(str, self._obstore.sign(self._store, "GET", _plain(key), timedelta(seconds=seconds)))
        except TypeError:  # what it makes of a key that is no plain path
            return None

    def list(self, prefix: str) -> Iterator[Meta | Odd]:
        """In pages, each of which holds plain keys only; the first that does not is told, and ends the listing."""
        try:
            for chunk in self._obstore.list(self._store, prefix=prefix or None):
                yield from map(_meta, chunk)
        except self._obstore.exceptions.InvalidPathError as error:
            match = _PATH.search(_debug(error))
            yield Odd(
                _ESCAPED.sub(_unescaped, match[1]) if match else "",
                f"{_first_line(error)}: neither this object, nor those after it, nor those shortly before it can be "
                "listed. Rename it, or give the recordings in a manifest",
            )

    def explain(self, error: Exception) -> Explanation:
        exceptions = self._obstore.exceptions
        status = next((status for kinds, status in self._kinds(exceptions) if isinstance(error, kinds)), None)
        match, uri = _STATUS.search(_debug(error)), _URI.search(_debug(error))
        code = (match[2] or "") if match else ""
        status = status or (int(match[1]) if match else None)
        if uri and _gives_credentials(urlsplit(uri[1]).hostname or "") and (status or 0) < 500:
            return Explanation(Trouble.CREDENTIALS, _first_line(error), "")
        return Explanation(trouble(status, code), _first_line(error), code)

    def _kinds(self, exceptions: Any) -> Iterator[tuple[Any, int]]:
        yield exceptions.UnauthenticatedError, 401
        yield (exceptions.PermissionDeniedError, PermissionError), 403
        yield (exceptions.NotFoundError, FileNotFoundError), 404
        yield (exceptions.InvalidPathError, ValueError), 400


_STATUS: Final = re.compile(r'inner: Status \{\n +status: (\d{3}),\n +body: Some\(\n +"(?:.*?<Code>(\w+)</Code>)?')
_URI: Final = re.compile(r"\n +uri: Some\(\n +(\S+),\n")
_PATH: Final = re.compile(r'\n +path: "((?:[^"\\\n]|\\.)*)"')
"""Of what obstore appends to a message, where names and answers stand in quotes, on one line."""
_ESCAPED: Final = re.compile(r"\\u\{([0-9a-f]+)\}|\\(.)")
_LETTERS: Final = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _LETTERS.get(match[2], match[2])


def _debug(error: Exception) -> str:
    return str(error).rpartition("\n\nDebug source:\n")[2]


def _gives_credentials(host: str) -> bool:
    """Whether a request to this host asks for credentials, and not for an object."""
    return host.startswith(("169.254.", "metadata", "login.", "oauth2.", "sts.", "iamcredentials."))


def _meta(found: Mapping[str, Any]) -> Meta:
    return Meta(found["path"], found["size"], found["last_modified"], found["e_tag"])


def _plain(key: str) -> str:
    """obstore would ask for another key without its first or last slash."""
    if key.startswith("/") or key.endswith("/"):
        raise ValueError("a key that begins or ends with a slash cannot be asked for: rename it")
    return key


def _refuse_connection_string(url: str) -> None:
    if url.startswith("az://"):
        raise errors.UsageError(
            "AZURE_STORAGE_CONNECTION_STRING is not read: set AZURE_STORAGE_ACCOUNT_NAME and "
            "AZURE_STORAGE_ACCOUNT_KEY"
        )


def _obstore() -> Any:
    try:
        import obstore
        import obstore.store
    except ImportError:
        raise errors.UsageError("gs:// and az:// need obstore: pip install 'diarist[stores]'") from None
    return obstore


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
