"""What can go wrong, as one tree drawn by reach, with the exit code beside what ends a run.

    DiaristError
    ├── TransientError               try later, with backoff
    │   ├── NoEffectError            the service certainly did not act (connection refused, no room)
    │   │   └── ThrottledError       it was asked too often; never the recording's fault
    │   └── UnknownOutcomeError      no clear answer came: the service may have acted
    ├── PostponedError               this recording cannot go on in this run, and stays as it is for the next one
    ├── ExpiredLinkError             the audio must be uploaded again before it can be submitted
    ├── RecordingError               this recording cannot be done; the others go on
    │   └── TranscriptNotFoundError  the service does not know this transcript (deleted, or made with another key)
    └── RunError                     the run ends, once, with one message
        ├── UsageError            2  command line, settings or manifest
        │   └── WrongServiceError 2  nothing that speaks the service's language answers there
        ├── AuthenticationError   4  the service does not accept the key
        ├── UnavailableError      5  something that a later run of the same command can fix
        │   └── AskedToWaitError  5  the service wants to be left alone for longer than we are patient
        ├── InsufficientFundsError 6 the account has no money left
        └── BudgetExceededError   8  it would cost more than was allowed

``FailureKind`` lists what is written as ``kind`` in the journal, the summary and the log.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final


class FailureKind(StrEnum):
    """Every kind of failure, by the name that is written down. A name never changes once it is released.

    What becomes of each is decided by the sets below: ``RETRIED_UNASKED``, ``RECORDINGS_OWN``, ``LINE_DOWN`` and
    ``GIVEN_UP``.
    """

    # The recording's audio, before anything is sent.
    MISSING = "missing"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    CHANGED = "changed"

    # A request, or the answer to it.
    NOT_CONNECTED = "not_connected"
    BROKEN_CONNECTION = "broken_connection"
    TIMEOUT = "timeout"
    BAD_ANSWER = "bad_answer"
    SERVER_ERROR = "server_error"
    THROTTLED = "throttled"
    NO_ROOM = "no_room"
    UPLOAD_FAILED = "upload_failed"
    LINK_REFUSED = "link_refused"
    REQUEST_REJECTED = "request_rejected"
    UNKNOWN_ID = "unknown_id"
    UNANSWERED = "unanswered"

    # What the service says of a job that it took.
    NO_SPEECH = "no_speech"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    BAD_AUDIO = "bad_audio"
    DOWNLOAD_ERROR = "download_error"
    SPEECH_THRESHOLD = "speech_threshold"
    LANGUAGE_CONFIDENCE = "language_confidence"
    DELETED = "deleted"
    JOB_ERROR = "job_error"

    # The result, the journal, the disk.
    RESULT_BEHIND = "result_behind"
    UNWRITABLE = "unwritable"
    JOURNAL_UNWRITABLE = "journal_unwritable"
    JOURNAL_UNREADABLE = "journal_unreadable"
    JOURNAL_DAMAGED = "journal_damaged"
    JOURNAL_VANISHED = "journal_vanished"
    LOCKED = "locked"
    UNLOCKABLE = "unlockable"
    NO_COPY = "no_copy"
    DISK = "disk"
    OPEN_FILES = "open_files"
    OUTPUT = "output"

    # What ends a run.
    KEY_REFUSED = "key_refused"
    OTHER_KEY = "other_key"
    PROXY_REFUSED = "proxy_refused"
    NO_FUNDS = "no_funds"
    WRONG_ADDRESS = "wrong_address"
    LOCAL_SERVICE = "local_service"
    STORE = "store"
    STORE_CREDENTIALS = "store_credentials"
    TEMPORARY = "temporary"
    FORBIDDEN = "forbidden"
    INTERNAL_ERROR = "internal_error"

    # An error that was given no other kind is of its class.
    ERROR = "diaristerror"
    TRANSIENT = "again"
    NO_EFFECT = "refused"
    POSTPONED = "postponed"
    EXPIRED_LINK = "stalelink"
    RECORDING = "permanent"
    RUN = "fatal"
    USAGE = "usage"
    UNAVAILABLE = "unavailable"
    ASKED_TO_WAIT = "askedtowait"
    OVER_BUDGET = "overbudget"
    WRONG_SERVICE = "wrongaddress"
    AUTHENTICATION = "keyrefused"
    INSUFFICIENT_FUNDS = "nofunds"
    TRANSCRIPT_NOT_FOUND = "unknownid"


class DiaristError(Exception):
    """The root: every error that diarist raises on purpose. ``kind`` is what is written down of it."""

    default_kind: ClassVar[FailureKind] = FailureKind.ERROR

    def __init__(self, message: str, *, kind: FailureKind | None = None) -> None:
        super().__init__(message)
        self.kind = kind or self.default_kind


class TransientError(DiaristError):
    """It may go well later. ``retry_after_seconds`` is when to come back, if the service has said so."""

    default_kind = FailureKind.TRANSIENT

    def __init__(
        self, message: str, *, kind: FailureKind | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, kind=kind)
        self.retry_after_seconds = retry_after_seconds


class NoEffectError(TransientError):
    """The request had no effect at the service, so repeating it costs nothing."""

    default_kind = FailureKind.NO_EFFECT


class ThrottledError(NoEffectError):
    """The service was asked too often, by whomever: no request of ours is to blame for it."""

    default_kind = FailureKind.THROTTLED


class UnknownOutcomeError(TransientError):
    """The request may have had its effect: whoever pays for it must look before repeating it."""

    default_kind = FailureKind.UNANSWERED


class PostponedError(DiaristError):
    """Not now: what is recorded stays as it is (a paid transcript above all), and a later run goes on from there."""

    default_kind = FailureKind.POSTPONED


class ExpiredLinkError(DiaristError):
    """The service can no longer read the staged audio: stage it again, then submit."""

    default_kind = FailureKind.EXPIRED_LINK


class RecordingError(DiaristError):
    """This recording cannot be done as it is. Says which, what is wrong and what to do."""

    default_kind = FailureKind.RECORDING


class TranscriptNotFoundError(RecordingError):
    """The service does not know the transcript: it was deleted, or it was made with another key."""

    default_kind = FailureKind.TRANSCRIPT_NOT_FOUND


class RunError(DiaristError):
    """Ends the run. Everything recorded so far stays, and the same command continues."""

    default_kind = FailureKind.RUN
    exit_code: ClassVar[int] = 1


class UsageError(RunError):
    default_kind = FailureKind.USAGE
    exit_code = 2


class WrongServiceError(UsageError):
    """What answers at the service's address does not speak v2."""

    default_kind = FailureKind.WRONG_SERVICE


class AuthenticationError(RunError):
    default_kind = FailureKind.AUTHENTICATION
    exit_code = 4


class UnavailableError(RunError):
    default_kind = FailureKind.UNAVAILABLE
    exit_code = 5


class AskedToWaitError(UnavailableError):
    """The service wants to be left alone for longer than we are patient."""

    default_kind = FailureKind.ASKED_TO_WAIT


class InsufficientFundsError(RunError):
    default_kind = FailureKind.INSUFFICIENT_FUNDS
    exit_code = 6


class BudgetExceededError(RunError):
    default_kind = FailureKind.OVER_BUDGET
    exit_code = 8


RETRIED_UNASKED: Final = frozenset(
    {
        FailureKind.MISSING, FailureKind.UNREADABLE, FailureKind.EMPTY, FailureKind.TOO_LARGE, FailureKind.CHANGED,
        FailureKind.NOT_CONNECTED, FailureKind.BROKEN_CONNECTION, FailureKind.TIMEOUT, FailureKind.BAD_ANSWER,
        FailureKind.SERVER_ERROR, FailureKind.THROTTLED, FailureKind.UPLOAD_FAILED, FailureKind.LINK_REFUSED,
        FailureKind.FORBIDDEN, FailureKind.DOWNLOAD_ERROR, FailureKind.INTERNAL_ERROR,
        FailureKind.WRONG_ADDRESS, FailureKind.KEY_REFUSED,  # of a few answers: what is so for all ends the run
    }
)  # fmt: skip
"""Failures that cost nothing and that time or the user may have mended: the next run tries them unasked."""

RECORDINGS_OWN: Final = frozenset({FailureKind.UPLOAD_FAILED})
"""Refusals that speak of one recording, however the service does otherwise."""

LINE_DOWN: Final = frozenset({FailureKind.NOT_CONNECTED, FailureKind.TIMEOUT, FailureKind.NO_ROOM})
"""Misfortunes that are never one recording's."""

GIVEN_UP: Final = frozenset({FailureKind.UNKNOWN_ID, FailureKind.DELETED})
"""The service no longer has what was paid for: to have it again, it must be paid for again, if somebody says so."""
