"""Which key a transcript was asked for with, told without the key: whoever reads a journal learns nothing of use."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

_ROUNDS: Final = 200_000
"""Some tens of milliseconds, once a run: so that a weak key cannot be guessed from its fingerprint either."""
_BYTES: Final = 6


def new_salt() -> str:
    return secrets.token_hex(16)


def fingerprint(key: str | None, salt: str) -> str | None:
    """Twelve hexadecimal digits that tell keys apart within one directory, whose ``salt`` it is; None for no key.

    Blocks for a moment.
    """
    if not key:
        return None
    return hashlib.pbkdf2_hmac("sha256", key.encode(), bytes.fromhex(salt), _ROUNDS, dklen=_BYTES).hex()
