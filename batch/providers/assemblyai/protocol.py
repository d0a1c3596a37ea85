"""The v2 language, spoken by client and service alike: routes, shapes, and what each refusal means.

Source of every fact here: the AssemblyAI v2 specification (August 2026) and documentation. Pure: no input or output.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from batch import errors
from batch.errors import FailureKind
from batch.providers.interface import Operation, Reaction

PAGE_LIMIT: Final = 200
"""The most transcripts that one page of the list holds."""
UPLOAD_LIMIT_BYTES: Final = 2_200_000_000
SHORTEST_SECONDS: Final = 0.16
LONGEST_SECONDS: Final = 36_000.0
"""Recordings that are shorter or longer end in an error."""
UPLOAD_LIFE_SECONDS: Final = 22 * 3600.0
"""An upload is deleted from 24 h after it was made; two hours are kept for the queue."""


class Status(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    COMPLETED = "completed"
    ERROR = "error"


DONE: Final = frozenset({Status.COMPLETED, Status.ERROR})


class Upload(msgspec.Struct, frozen=True):
    upload_url: str


class Head(msgspec.Struct, frozen=True):
    """The part of a transcript object that carrying a job needs; whatever else the service says is kept as bytes."""

    id: str
    status: Status
    audio_url: str | None = None
    error: str | None = None
    audio_duration: float | None = None


class Item(msgspec.Struct, frozen=True):
    """One line of the list. ``created`` is a naive ISO time, whose zone the vendor does not state."""

    id: str
    status: Status
    audio_url: str | None = None
    created: str | None = None
    completed: str | None = None
    error: str | None = None


class PageDetails(msgspec.Struct, frozen=True):
    """``prev_url`` leads to older transcripts and is null at the end, ``next_url`` to newer ones."""

    limit: int
    result_count: int
    current_url: str
    prev_url: str | None = None
    next_url: str | None = None


class Page(msgspec.Struct, frozen=True):
    page_details: PageDetails
    transcripts: tuple[Item, ...]


class _OddPage(msgspec.Struct):
    page_details: PageDetails
    transcripts: list[Any]


def read_page(body: bytes) -> tuple[Page, str]:
    """A page of the list, and what was odd about a line of it (empty: nothing).

    Lines are read one by one, for most of them are other people's: a status that v2 does not know means not ended,
    and a line without an id is nobody's. Raises ``msgspec.DecodeError`` for what is no page at all.
    """
    try:
        return msgspec.json.decode(body, type=Page), ""
    except msgspec.ValidationError as error:
        odd = msgspec.json.decode(body, type=_OddPage)
        items = tuple(item for line in odd.transcripts if (item := _item(line)))
        if len(odd.transcripts) > 1 and not items:
            raise
        return Page(odd.page_details, items), str(error)


def _item(line: Any) -> Item | None:
    if not isinstance(line, dict) or not isinstance(line.get("id"), str):
        return None
    texts = {name: line[name] for name in _TEXTS_OF_ITEM if isinstance(line.get(name), str)}
    status = line.get("status")
    known = status if isinstance(status, str) and status in _STATUSES else Status.PROCESSING
    return Item(status=Status(known), **texts)


def read_head(body: bytes) -> Head:
    """The head of a transcript object. What is odd in it counts as not said, unless it is its id or its status.

    Raises ``msgspec.DecodeError`` for what is no transcript object at all.
    """
    try:
        return msgspec.json.decode(body, type=Head)
    except msgspec.ValidationError:
        least = msgspec.json.decode(body, type=_Least)
        fields = msgspec.json.decode(body)
        texts = {name: fields[name] for name in ("audio_url", "error") if isinstance(fields.get(name), str)}
        seconds = fields.get("audio_duration")
        return Head(
            least.id, least.status, **texts, audio_duration=seconds if isinstance(seconds, int | float) else None
        )


class _Least(msgspec.Struct):
    id: str
    status: Status


_STATUSES: Final = frozenset(status.value for status in Status)
_TEXTS_OF_ITEM: Final = tuple(name for name in Item.__struct_fields__ if name != "status")


# ── What a refusal means ────────────────────────────────────────────────────────────────────────────────────────


KEY_REFUSED_TEXT: Final = "Authentication error, API token missing/invalid"
NO_FUNDS_TEXT: Final = "Your current account balance is negative. Please top up to continue using the API."
LINK_REFUSED_TEXT: Final = "Cannot access uploaded file"
UNKNOWN_ID_TEXT: Final = "Transcript lookup error, transcript id not found"
NOT_FOUND_TEXT: Final = "Not found"
THROTTLED_TEXT: Final = "Too Many Requests"
UPLOAD_FAILED_TEXT: Final = (
    "Upload failed, please try again. If you continue to have issues please reach out to support@assemblyai.com"
)
SERVER_ERROR_TEXT: Final = (
    "Internal server error. Please retry your request. If the error persists, "
    "please contact support@assemblyai.com for more information."
)
DELETED_URL: Final = "http://deleted_by_user"
"""The ``audio_url`` of a transcript that was deleted; all else in it is empty."""
DELETED_TEXT: Final = "Deleted by user."
BAD_AUDIO_URL_TEXT: Final = "Transcript creation error, audio_url should start with http"


class Refusal(NamedTuple):
    """A row of the table of refusals: which answers it covers, and what they mean."""

    kind: FailureKind
    reach: type[errors.DiaristError]
    statuses: frozenset[int]
    text: str = ""
    routes: frozenset[Operation] = frozenset(Operation)


_SERVER = frozenset(range(500, 600))
_UPLOAD, _SUBMIT = frozenset({Operation.UPLOAD}), frozenset({Operation.SUBMIT})
REFUSALS: Final = (
    Refusal(FailureKind.KEY_REFUSED, errors.AuthenticationError, frozenset({401})),
    Refusal(
        FailureKind.PROXY_REFUSED, errors.UnavailableError, frozenset({407})
    ),  # said by a proxy, never by a service
    Refusal(
        FailureKind.NO_FUNDS, errors.InsufficientFundsError, frozenset({400, 402, 403}), text="balance is negative"
    ),
    Refusal(FailureKind.NO_FUNDS, errors.InsufficientFundsError, frozenset({402})),
    Refusal(
        FailureKind.LINK_REFUSED, errors.ExpiredLinkError, frozenset({403}), "cannot access uploaded file", _SUBMIT
    ),
    Refusal(
        FailureKind.UPLOAD_FAILED, errors.NoEffectError, frozenset({403}), "cannot access uploaded file", _UPLOAD
    ),
    Refusal(FailureKind.THROTTLED, errors.ThrottledError, frozenset({429})),
    Refusal(
        FailureKind.THROTTLED, errors.NoEffectError, frozenset({403})
    ),  # as some have seen it; a firewall may mean one recording
    Refusal(FailureKind.UPLOAD_FAILED, errors.NoEffectError, frozenset({422}), routes=_UPLOAD),
    Refusal(
        FailureKind.UNKNOWN_ID, errors.TranscriptNotFoundError, frozenset({400, 404}), text="transcript id not found"
    ),
    Refusal(
        FailureKind.NO_ROOM, errors.NoEffectError, frozenset({507})
    ),  # our own service, until a job has ended; never the vendor
    Refusal(FailureKind.SERVER_ERROR, errors.UnknownOutcomeError, _SERVER),
    Refusal(FailureKind.TIMEOUT, errors.UnknownOutcomeError, frozenset({408, 425})),
    Refusal(FailureKind.TOO_LARGE, errors.RecordingError, frozenset({413})),
    Refusal(FailureKind.WRONG_ADDRESS, errors.WrongServiceError, frozenset({404, 405, 421, 301, 302, 303, 307, 308})),
    Refusal(FailureKind.REQUEST_REJECTED, errors.RecordingError, frozenset(range(300, 500))),
)
"""First row that fits wins. 5xx counts as unanswered: the service may have accepted the job before it failed."""


def refusal(operation: Operation, status: int, text: str) -> Refusal:
    """The row of ``REFUSALS`` for an answer that is not a 200. Raises LookupError for a status below 300."""
    for row in REFUSALS:
        if status in row.statuses and operation in row.routes and row.text in text.lower():
            return row
    raise LookupError(f"no refusal: {status}")


class JobError(NamedTuple):
    kind: FailureKind
    text: str
    reaction: Reaction


JOB_ERRORS: Final = (
    JobError(FailureKind.NO_SPEECH, "no spoken audio", Reaction.EMPTY_RESULT),
    JobError(FailureKind.TOO_SHORT, "duration is too short", Reaction.GIVE_UP),
    JobError(FailureKind.TOO_LONG, "duration is too long", Reaction.GIVE_UP),
    JobError(FailureKind.BAD_AUDIO, "does not appear to contain audio", Reaction.GIVE_UP),
    JobError(FailureKind.DOWNLOAD_ERROR, "download error", Reaction.STAGE_AGAIN),
    JobError(FailureKind.SPEECH_THRESHOLD, "below the requested speech threshold", Reaction.GIVE_UP),
    JobError(FailureKind.LANGUAGE_CONFIDENCE, "below the requested confidence threshold", Reaction.GIVE_UP),
    JobError(FailureKind.SERVER_ERROR, "server error", Reaction.SUBMIT_ANEW),
    JobError(FailureKind.DELETED, "deleted by user", Reaction.GIVE_UP),
    JobError(FailureKind.JOB_ERROR, "", Reaction.GIVE_UP),
)
"""The ``error`` of a failed job, matched by substring, first row that fits wins. Failed jobs are not billed."""


def job_error(text: str | None) -> JobError:
    """The row of ``JOB_ERRORS`` for a failed job's ``error`` text."""
    return next(row for row in JOB_ERRORS if row.text in (text or "").lower())


def error_text(body: bytes) -> str:
    """What an error body says, in one line: its JSON ``error``, else its first 200 characters, whatever it is."""
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        content = body.decode("utf-8", "replace")
    if isinstance(content, dict):
        content = content.get("error", content)
    return " ".join(str(content).split())[:200]
