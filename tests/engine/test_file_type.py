"""What a file that is not audio seems to be."""

from __future__ import annotations

import pytest

from batch.engine.file_type import sniff


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "inode/x-empty (empty)"),
        (b"hello", "text/plain (ASCII text, with no line terminators)"),
        (b"hello\nworld\n", "text/plain (ASCII text)"),
        (b"hello\r\n", "text/plain (ASCII text, with CRLF line terminators)"),
        ("h\u00e9llo\n".encode(), "text/plain (Unicode text, UTF-8 text)"),
        (b"<!DOCTYPE html>\n<p>Not found", "text/html (HTML document, ASCII text)"),
        (b"\n<html>", "text/html (HTML document, ASCII text)"),
        (b'{"error": "no"}', "application/json (JSON text data)"),
        (b"[" + b"1, " * 1400, "application/json (JSON text data)"),
        (b"[intro] then music\n", "text/plain (ASCII text)"),
        (bytes(range(200)), "application/octet-stream (data)"),
        (b"\x00\x00\x00 ftypisom", "video/mp4 (ISO Media, MP4 Base Media)"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/x-wav (RIFF (little-endian) data, WAVE audio)"),
        (b"PK\x03\x04\x14", "application/zip (Zip archive data)"),
    ],
)
def test_the_type_of_a_file_is_told_in_the_words_of_file(head: bytes, kind: str) -> None:
    assert str(sniff(head)) == kind
