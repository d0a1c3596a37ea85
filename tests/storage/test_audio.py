"""Sources: what is wrong with a file is told before it costs anything, and what was sent is what was digested."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from batch.errors import RecordingError
from batch.storage import audio
from batch.storage.audio import AudioFile, AudioLimits


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


async def test_the_digest_is_that_of_the_bytes_that_were_given(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    content = os.urandom(1_000_000)
    (tmp_path / "a.wav").write_bytes(content)
    told: list[int] = []
    with closing(AudioFile(str(tmp_path / "a.wav"), executor, told.append)) as file:
        assert b"".join([chunk async for chunk in file.chunks()]) == content
        assert file.sha256() == hashlib.sha256(content).hexdigest() == audio.digest(file.path)
    assert sum(told) == len(content)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: None, "missing"),
        (lambda path: path.touch(), "empty"),
        (lambda path: path.mkdir(), "unreadable"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2_300_000_000), "too_large"),
    ],
)
def test_a_file_that_cannot_be_uploaded_is_told(
    tmp_path: Path, executor: ThreadPoolExecutor, make: object, kind: str
) -> None:
    path = tmp_path / "a.wav"
    make(path)  # type: ignore[operator]
    with pytest.raises(RecordingError, match=r"a\.wav") as caught:
        AudioFile(str(path), executor, limits=AudioLimits(largest_bytes=2_200_000_000))
    assert caught.value.kind == kind


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told(tmp_path: Path, executor: ThreadPoolExecutor) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(RecordingError, match="permission denied"):
        AudioFile(str(path), executor)


@pytest.mark.parametrize("change", [b"longer than it was", b"x"])
async def test_a_file_that_changes_while_it_is_uploaded_is_told(
    tmp_path: Path, executor: ThreadPoolExecutor, change: bytes
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"x" * 10)
    with closing(AudioFile(str(path), executor)) as file:
        path.write_bytes(change)
        with pytest.raises(RecordingError, match="was changed"):
            _ = [chunk async for chunk in file.chunks()]
            file.sha256()
