"""What a file that is not audio seems to be, in the words of file(1), for an error message. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

HEAD = 4096  # how much of a file is enough to tell


class FileType(NamedTuple):
    """A media type and its description."""

    mime: str
    description: str

    def __str__(self) -> str:
        return f"{self.mime} ({self.description})"


_MAGIC = (
    (b"\x1aE\xdf\xa3", FileType("video/x-matroska", "Matroska data")),
    (b"OggS", FileType("application/ogg", "Ogg data")),
    (b"fLaC", FileType("audio/flac", "FLAC audio bitstream data")),
    (b"ID3", FileType("audio/mpeg", "Audio file with ID3")),
    (b"%PDF-", FileType("application/pdf", "PDF document")),
    (b"PK\x03\x04", FileType("application/zip", "Zip archive data")),
    (b"\x1f\x8b", FileType("application/gzip", "gzip compressed data")),
    (b"\x89PNG\r\n\x1a\n", FileType("image/png", "PNG image data")),
    (b"\xff\xd8\xff", FileType("image/jpeg", "JPEG image data")),
    (b"GIF8", FileType("image/gif", "GIF image data")),
)
_RIFF = {
    b"WAVE": FileType("audio/x-wav", "RIFF (little-endian) data, WAVE audio"),
    b"AVI ": FileType("video/x-msvideo", "RIFF (little-endian) data, AVI"),
}
_BRANDS = {
    b"M4A ": FileType("audio/x-m4a", "ISO Media, Apple iTunes ALAC/AAC-LC (.M4A) Audio"),
    b"qt  ": FileType("video/quicktime", "ISO Media, Apple QuickTime movie"),
}
_MP4 = FileType("video/mp4", "ISO Media, MP4 Base Media")
_DATA = FileType("application/octet-stream", "data")
_EMPTY = FileType("inode/x-empty", "empty")
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\b\x1b")


def sniff(head: bytes) -> FileType:
    """The type of a file that begins with ``head``, its first HEAD bytes."""
    if not head:
        return _EMPTY
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], _DATA)
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], _MP4)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return _text(head) or _DATA


def _text(head: bytes) -> FileType | None:
    encoding = _encoding(head)
    if encoding is None:
        return None
    start = head.lstrip()[:100].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return FileType("text/html", f"HTML document, {encoding} text{_line_ends(head)}")
    if start.startswith(b"<?xml"):
        return FileType("text/xml", f"XML document, {encoding} text{_line_ends(head)}")
    if start.startswith((b"{", b"[")) and _is_json(head):
        return FileType("application/json", "JSON text data")
    return FileType("text/plain", f"{encoding} text{_line_ends(head)}")


def _encoding(head: bytes) -> str | None:
    if any(byte < 32 and byte not in _TEXT_CONTROLS for byte in head):
        return None
    if head.isascii():
        return "ASCII"
    try:
        head[: len(head) - 3].decode()  # the last character may be cut in two
    except UnicodeDecodeError:
        return None
    return "Unicode text, UTF-8"


def _line_ends(head: bytes) -> str:
    if b"\r\n" in head:
        return ", with CRLF line terminators"
    return "" if b"\n" in head else ", with no line terminators"


def _is_json(head: bytes) -> bool:
    try:
        json.loads(head)
    except json.JSONDecodeError as error:
        return len(head) >= HEAD and error.pos >= len(head.rstrip()) - 64  # it ends inside the document
    return True
