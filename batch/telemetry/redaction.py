"""Texts made harmless to show: without what opens a door, and without what moves a terminal or forges a line.

What comes from outside (names of files, labels, speakers, the service's words) is shown through ``harmless`` wherever
a person reads it. JSON is only made ``redact``: it escapes by itself what has to be.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, Final

_QUERY: Final = re.compile(r"(://[^?#\"'<>\n]*)[?#][^\s\"'<>]+")
_LOGIN: Final = re.compile(r"://[^\s/?#\"'<>]*@")
_MOVING: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Controls, marks of direction and other formats, halves of characters, ends of lines and paragraphs."""
_JOINERS: Final = frozenset("\u200c\u200d")
"""Formats that words of some scripts, and many emoji, are written with."""


def harmless(text: str) -> str:
    """``text`` as a person may see it, on one line."""
    return plain(redact(text))


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """``text`` without ``secrets`` and without what signs a URL: its query, its fragment, its user and password."""
    for secret in secrets:
        text = text.replace(secret, "…")
    if "://" not in text:
        return text
    return _LOGIN.sub("://…@", _QUERY.sub(r"\1?…", text))


def redact_tree(tree: Any, secrets: tuple[str, ...] = ()) -> Any:
    """The same for every text in a tree of plain values."""
    if isinstance(tree, str):
        return redact(tree, secrets)
    if isinstance(tree, dict):
        return {name: redact_tree(value, secrets) for name, value in tree.items()}
    return [redact_tree(value, secrets) for value in tree] if isinstance(tree, list | tuple) else tree


def plain(text: str) -> str:
    """``text`` with each character that moves what is shown, or that nobody sees, as its number: ``\\x1b``,
    ``\\u202e``; a byte of a file's name that is not UTF-8 as ``\\xe9``."""
    return text if text.isprintable() else "".join(map(_shown, text))


def plain_lines(text: str) -> str:
    """The same of a text of several lines, such as a traceback: none of them looks like the beginning of another."""
    return "\n  ".join(map(plain, text.split("\n")))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _MOVING or character in _JOINERS:
        return character
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"
