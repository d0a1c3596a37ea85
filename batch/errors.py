"""What can go wrong, as one tree drawn by reach, with the exit code beside what ends a run.

    DiaristError
    ├── Again              transient: try later, with backoff
    │   ├── Refused        the service certainly did not act (connection refused, no room)
    │   │   └── Throttled  it was asked too often; never the recording's fault
    │   └── Unanswered     no clear answer came: the service may have acted
    ├── Postponed          this recording cannot go on in this run, and stays as it is for the next one
    ├── StaleLink          the audio must be staged again before it can be submitted
    ├── Permanent          this recording cannot be done; the others go on
    │   └── UnknownId      the service does not know this transcript (deleted, or made with another key)
    └── Fatal              the run ends, once, with one message
        ├── Usage          2  command line, settings or manifest
        │   └── WrongAddress  2  nothing that speaks v2 answers there
        ├── KeyRefused     4  the service does not accept the key
        ├── Unavailable    5  something that a later run of the same command can fix
        │   └── AskedToWait   5  the service wants to be left alone for longer than we are patient
        ├── NoFunds        6  the account has no money left
        └── OverBudget     8  it would cost more than was allowed

``kind`` is the error class's stable name in the journal, the summary and the log. It never changes once released.
"""

from __future__ import annotations

from typing import ClassVar, Final


class DiaristError(Exception):
    """The root: every error that diarist raises on purpose."""

    def __init__(self, message: str, *, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind or type(self).__name__.lower()


class Again(DiaristError):
    """Transient. ``retry_after_seconds`` is the service's own word on when to come back, if it gave one."""

    def __init__(self, message: str, *, kind: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message, kind=kind)
        self.retry_after_seconds = retry_after_seconds


class Refused(Again):
    """The request had no effect at the service, so repeating it costs nothing."""


class Throttled(Refused):
    """The service was asked too often, by whomever: no request of ours is to blame for it."""


class Unanswered(Again):
    """The request may have had its effect: whoever pays for it must look before repeating it."""


class Postponed(DiaristError):
    """Not now: what is recorded stays as it is (a paid transcript above all), and a later run goes on from there."""


class StaleLink(DiaristError):
    """The service can no longer read the staged audio: stage it again, then submit."""


class Permanent(DiaristError):
    """This recording cannot be done as it is. Says which, what is wrong and what to do."""


class UnknownId(Permanent):
    """The service does not know the transcript: it was deleted, or it was made with another key."""


class Fatal(DiaristError):
    """Ends the run. Everything recorded so far stays, and the same command continues."""

    exit_code: ClassVar[int] = 1


class Usage(Fatal):
    exit_code = 2


class WrongAddress(Usage):
    """What answers at the service's address does not speak v2."""


class KeyRefused(Fatal):
    exit_code = 4


class Unavailable(Fatal):
    exit_code = 5


class AskedToWait(Unavailable):
    """The service wants to be left alone for longer than we are patient."""


class NoFunds(Fatal):
    exit_code = 6


class OverBudget(Fatal):
    exit_code = 8


TRIED_ANYWAY: Final = frozenset(
    {
        *("missing", "unreadable", "empty", "too_large", "changed"),
        *("not_connected", "broken_connection", "timeout", "bad_answer", "server_error"),
        *("wrong_address", "key_refused"),  # of a few answers: what is so for all ends the run
        *("throttled", "upload_failed", "link_refused", "forbidden", "download_error", "internal_error"),
    }
)
"""Failures that cost nothing and that time or the user may have mended: the next run tries them unasked."""
