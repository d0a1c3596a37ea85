"""An answer that would end a run, from a service that has spoken v2 in it: believed if it repeats.

While a load balancer changes its servers, a single 404, redirect or 401 may come from one that is no service yet.
"""

from __future__ import annotations

import asyncio
from typing import Final

from batch import errors

_TIMES: Final = 4
ENDING: Final = (errors.WrongServiceError, errors.AuthenticationError)


class Doubt:
    """What one route has answered since its last good answer. Believed is what came ``_TIMES`` times over
    ``seconds``, of more than one transcript where it was asked for transcripts."""

    def __init__(self, seconds: float) -> None:
        self._pause = seconds / (_TIMES - 1)
        self.went_well()

    def went_well(self) -> None:
        self._since: float | None = None
        self._next_at, self._times, self._ids = 0.0, 0, set[str | None]()

    async def turn(self) -> None:
        """While in doubt, one asks at a time: a key that was withdrawn is no reason for hundreds of requests."""
        while self._since is not None and (wait := self._next_at - _now()) > 0:  # noqa: ASYNC110 (it may move)
            await asyncio.sleep(wait)
        if self._since is not None:
            self._next_at = _now() + self._pause

    def met(self, error: errors.RunError, transcript_id: str | None) -> errors.DiaristError:
        """``error`` if it is believed, else that the request had no effect, and is to be tried again."""
        now = _now()
        if self._since is None:
            self._since, self._next_at = now, now + self._pause
        self._times += 1
        self._ids.add(transcript_id)
        is_one_transcripts = transcript_id is not None and len(self._ids) == 1
        long_enough = now - self._since >= 0.99 * self._pause * (_TIMES - 1)
        if self._times >= _TIMES and long_enough and not is_one_transcripts:
            return error
        message = f"{error}. It has spoken v2 before: this has to repeat to be believed"
        return errors.NoEffectError(message, kind=error.kind)


def _now() -> float:
    return asyncio.get_running_loop().time()
