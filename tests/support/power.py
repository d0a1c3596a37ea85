"""What a power cut leaves: every call of a program that changes a disk is recorded below it, SQLite's own included,
and for any moment the disk is made as it may be found when the machine comes back.

``strace`` records (`recorded`). ``Disk`` replays: what was written is there for sure once its file was synced, a name
once its directory was; of all else any part may be there, in any order, and a write may be torn. Only a
``rename`` is there or not. Names of files that were made, and their content, are two things.

    python -m tests.support.power run MANIFEST OUT SERVICE     children that are recorded
    python -m tests.support.power serve FOLDER
    python -m tests.support.power recover OUT
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.places import ROOT

CALLS: Final = (
    "openat,close,lseek,write,pwrite64,ftruncate,fallocate,sendfile,copy_file_range,fsync,fdatasync,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,sendto,sendmsg"
)


# ── recording ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Call:
    """A call that ended at ``place`` in the recording, and had begun at ``began``."""

    name: str
    numbers: tuple[int, ...]
    strings: tuple[bytes, ...]
    flags: str
    answer: int
    began: int
    place: int


_LINE: Final = re.compile(r"^(\d+) +(.*)$")
_CALL: Final = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)")
_STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


def can_record() -> bool:
    return shutil.which("strace") is not None


async def recording(log: Path, *arguments: str) -> asyncio.subprocess.Process:
    """``tests.support.power`` with these arguments, recorded into ``log``; a service ends with its standard input."""
    return await asyncio.create_subprocess_exec(
        "strace", "-f", "-qq", "--seccomp-bpf", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-e", "signal=none",
        "-o", str(log), sys.executable, "-m", "tests.support.power", *arguments, cwd=ROOT,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


def recorded(log: Path) -> Iterator[Call]:
    """The calls that went well, in the order in which they ended; what is sent, in that in which it began."""
    begun: dict[str, tuple[int, str]] = {}
    for place, line in enumerate(log.read_text("ascii", "replace").splitlines()):
        thread, text = _LINE.match(line).groups()  # type: ignore[union-attr]
        began = place
        if text.endswith("<unfinished ...>"):
            begun[thread] = place, text.removesuffix("<unfinished ...>")
            if text.startswith("send"):
                yield Call("send", (), _strings(text), "", 0, place, place)
            continue
        if text.startswith("<..."):
            began, head = begun.pop(thread, (place, ""))
            text = head + text.partition("resumed>")[2]
        elif text.startswith("send"):
            yield Call("send", (), _strings(text), "", 0, place, place)
        if (call := _CALL.match(text)) and not call[1].startswith("send") and int(call[3]) >= 0:
            plain = _STRING.sub("", call[2])
            numbers = tuple(int(part) for part in re.findall(r"(?<![\w|])-?\d+(?![\w|])", plain))
            yield Call(call[1], numbers, _strings(call[2]), plain, int(call[3]), began, place)


def _strings(text: str) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(found.replace("\\x", "")) for found in _STRING.findall(text))


# ── the disk ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class File:
    """``safe`` is what is on disk for good; ``loose`` are the writes since: where, what (None: cut there), when."""

    safe: bytearray = field(default_factory=bytearray)
    loose: list[tuple[int, bytes | None, int]] = field(default_factory=list)
    size: int = 0

    def sync(self, before: int) -> None:
        done = [each for each in self.loose if each[2] < before]
        self.loose = self.loose[len(done) :]
        for at, data, _ in done:
            _put(self.safe, at, data)


@dataclass
class Folder:
    """``safe`` are the names for good; ``loose`` those that have changed since, each change there or not: name and
    what it leads to (None: removed)."""

    safe: dict[str, File | Folder] = field(default_factory=dict)
    loose: list[tuple[tuple[tuple[str, File | Folder | None], ...], int]] = field(default_factory=list)
    now: dict[str, File | Folder] = field(default_factory=dict)

    def change(self, place: int, *changes: tuple[str, File | Folder | None]) -> None:
        self.loose.append((changes, place))
        _apply(self.now, changes)

    def sync(self, before: int) -> None:
        done = [each for each in self.loose if each[1] < before]
        self.loose = self.loose[len(done) :]
        for changes, _ in done:
            _apply(self.safe, changes)


def _apply(names: dict[str, Any], changes: tuple[tuple[str, Any], ...]) -> None:
    for name, leads_to in changes:
        if leads_to is None:
            names.pop(name, None)
        else:
            names[name] = leads_to


def _put(content: bytearray, at: int, data: bytes | None) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    if data is None:
        del content[at:]
    else:
        content[at : at + len(data)] = data


class Disk:
    """Everything below ``root``, which was there, or not, before anything was recorded; its own name is safe."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.top = _as_it_is(root)
        self._open: dict[int, tuple[File | Folder | None, int, bool]] = {}

    def take(self, call: Call) -> bool:
        """Whether it may have changed what a power cut leaves."""
        act = getattr(self, f"_{call.name}", None)
        return bool(act and act(call))

    def _openat(self, call: Call) -> bool:
        path, changed = self._path(call.strings[0]), False
        found = self._find(path)
        if "O_TMPFILE" in call.flags:
            found = None  # a file without a name
        elif found is None and path is not None and "O_CREAT" in call.flags:
            found, changed = File(), True
            self._folder(path).change(call.place, (path.name, found))
        if isinstance(found, File) and "O_TRUNC" in call.flags and found.size:
            found.loose.append((0, None, call.place))
            found.size, changed = 0, True
        self._open[call.answer] = found, 0, "O_APPEND" in call.flags
        return changed

    def _close(self, call: Call) -> bool:
        self._open.pop(call.numbers[0], None)
        return False

    def _lseek(self, call: Call) -> bool:
        found, _, appends = self._open.get(call.numbers[0], (None, 0, False))
        self._open[call.numbers[0]] = found, call.answer, appends
        return False

    def _write(self, call: Call) -> bool:
        found, at, appends = self._open.get(call.numbers[0], (None, 0, False))
        if not isinstance(found, File):
            return False
        at = found.size if appends else at
        self._open[call.numbers[0]] = found, at + call.answer, appends
        return self._written(found, at, call.strings[0][: call.answer], call.place)

    def _pwrite64(self, call: Call) -> bool:
        found, _, _ = self._open.get(call.numbers[0], (None, 0, False))
        return isinstance(found, File) and self._written(
            found, call.numbers[-1], call.strings[0][: call.answer], call.place
        )

    def _written(self, file: File, at: int, data: bytes, place: int) -> bool:
        file.loose.append((at, data, place))
        file.size = max(file.size, at + len(data))
        return True

    def _ftruncate(self, call: Call) -> bool:
        found, _, _ = self._open.get(call.numbers[0], (None, 0, False))
        if isinstance(found, File):
            found.loose.append((call.numbers[1], None, call.place))
            found.size = call.numbers[1]
        return isinstance(found, File)

    def _sendfile(self, call: Call) -> bool:
        raise AssertionError("a copy that the recording does not see: write what is to last")

    def _copy_file_range(self, call: Call) -> bool:
        return self._sendfile(call)

    def _fsync(self, call: Call) -> bool:
        found, _, _ = self._open.get(call.numbers[0], (None, 0, False))
        if found is not None:
            found.sync(call.began)
        return found is not None

    _fdatasync = _fsync

    def _rename(self, call: Call) -> bool:
        old, new = map(self._path, call.strings[:2])
        if old is None or new is None or (found := self._find(old)) is None:
            return False
        if old.parent == new.parent:
            self._folder(old).change(call.place, (old.name, None), (new.name, found))
        else:
            self._folder(new).change(call.place, (new.name, found))
            self._folder(old).change(call.place, (old.name, None))
        return True

    _renameat = _renameat2 = _rename

    def _link(self, call: Call) -> bool:
        old, new = map(self._path, call.strings[:2])
        if new is not None:
            self._folder(new).change(call.place, (new.name, self._find(old)))
        return new is not None

    _linkat = _link

    def _unlink(self, call: Call) -> bool:
        if (path := self._path(call.strings[0])) is None:
            return False
        self._folder(path).change(call.place, (path.name, None))
        return True

    _unlinkat = _rmdir = _unlink

    def _mkdir(self, call: Call) -> bool:
        if (path := self._path(call.strings[0])) is None or path == self.root:
            return False
        self._folder(path).change(call.place, (path.name, Folder()))
        return True

    _mkdirat = _mkdir

    def _path(self, named: bytes) -> Path | None:
        path = Path(named.decode("utf-8", "surrogateescape"))
        return path if path.is_relative_to(self.root) else None

    def _find(self, path: Path | None) -> File | Folder | None:
        if path is None:
            return None
        found: File | Folder | None = self.top
        for part in path.relative_to(self.root).parts:
            found = found.now.get(part) if isinstance(found, Folder) else None
        return found

    def _folder(self, path: Path) -> Folder:
        found = self._find(path.parent)
        assert isinstance(found, Folder), f"{path.parent} was not made"
        return found

    def leave(self, place: Path, keep: Callable[[str], bool], torn: Callable[[], float] = lambda: 1.0) -> None:
        """Make a directory of what is left, of whose loose changes of ``name`` or ``data`` those are kept of which
        ``keep`` says so, and of a write only a part if it is ``torn``."""
        _leave(self.top, place, keep, torn)


def _leave(found: File | Folder, place: Path, keep: Callable[[str], bool], torn: Callable[[], float]) -> None:
    if isinstance(found, File):
        content = bytearray(found.safe)
        for at, data, _ in found.loose:
            if keep("data"):
                _put(content, at, data if data is None else data[: int(len(data) * torn())])
        place.write_bytes(content)
        return
    place.mkdir()
    names = dict(found.safe)
    for changes, _ in found.loose:
        if keep("name"):
            _apply(names, changes)
    for name, leads_to in names.items():
        if not name.endswith("-shm"):  # SQLite's shared memory: it is made anew
            _leave(leads_to, place / name, keep, torn)


def _as_it_is(path: Path) -> Folder:
    found = Folder()
    for each in path.iterdir() if path.exists() else ():
        found.safe[each.name] = _as_it_is(each) if each.is_dir() else _file(each.read_bytes())
    found.now = dict(found.safe)
    return found


def _file(content: bytes) -> File:
    return File(bytearray(content), [], len(content))


def outcomes(seed: int) -> Iterator[tuple[str, Callable[[str], bool], Callable[[], float]]]:
    """Ways in which a disk may be left: by name, what is kept, and how torn."""
    whole = lambda: 1.0  # noqa: E731
    rng = random.Random(seed)
    yield "only what is safe", lambda what: False, whole
    yield "names without their content", lambda what: what == "name", whole
    yield "content without its names", lambda what: what == "data", whole
    yield "any of it", lambda what: rng.random() < 0.5, lambda: rng.choice((1.0, 1.0, 0.5))


def cuts(disk: Disk, log: Path, writes: int = 1) -> Iterator[list[bytes]]:
    """Each moment at which a cut may leave something else than before (of writes, every so many), with all that was
    sent until then. ``disk`` is as it was at that moment."""
    sent: list[bytes] = []
    written = 0
    for call in recorded(log):
        if call.name == "send":
            sent += call.strings
        elif not disk.take(call):
            continue
        written += call.name in ("write", "pwrite64")
        if call.name not in ("write", "pwrite64") or written % writes == 0:
            yield sent


# ── children ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _serve(folder: Path) -> None:
    from tests.support.service import start_service

    async with start_service(folder, seconds=0.01) as service:
        print(service.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    how, *given = sys.argv[1:]
    if how == "serve":
        asyncio.run(_serve(Path(given[0])))
    elif how == "recover":
        from tests.support.rebuilding import recover

        recover(Path(given[0]))
    else:
        import batch
        from tests.support.recordings import settings

        summary = asyncio.run(batch.run(given[0], given[1], settings=settings(given[2], search=False), environ={}))
        sys.exit(summary.exit_code)


if __name__ == "__main__":
    main()
