"""Thirteen situations of ordinary life, each played with real child processes against a service on loopback.

    python -m tests.acceptance.situations [NAME...]

prints what each should cost and did cost, which results are lost, and how the runs ended; exits with 1 if any is
wrong.
The service is ``diarist serve`` with a double for its engine, whose transcripts name the SHA-256 of their audio.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from batch.server import app
from tests.support.places import ROOT
from tests.support.processes import Ended, end, start
from tests.support.recordings import sha256, wav
from tests.support.service import Double, start_service

FAST: Final = (
    "sweep.least_seconds=0.05", "sweep.most_seconds=0.2", "patience.base_seconds=0.02", "patience.outage_seconds=5",
    "reconcile_grace_seconds=0.2",
    "reconcile_lag_seconds=1",
)  # fmt: skip
_SETS: Final = [part for setting in FAST for part in ("--set", setting)]
DEAD_PROXY: Final = "http://127.0.0.1:9"


class Play:
    """A situation while it is played: its folder and service, what is expected of it, and what came of it."""

    def __init__(self, folder: Path, service: Double) -> None:
        self.folder, self.service, self.out = folder, service, folder / "results"
        self.pays = 0
        self.codes: list[tuple[int, int]] = []
        self.lost: list[str] = []
        self.wrong: list[str] = []

    @property
    def paid(self) -> int:
        return len(self.service.submissions)

    @property
    def is_right(self) -> bool:
        codes = all(expected == code for expected, code in self.codes)
        return self.paid == self.pays and codes and not self.lost and not self.wrong

    async def run(self, *arguments: object, code: int = 0, service: bool = True, **given: Any) -> Ended:
        """``diarist run`` into ``results``, which should end with ``code``."""
        return self.ended(await end(await self.started(*arguments, service=service, **given)), code)

    async def started(self, *arguments: object, service: bool = True, **given: Any) -> asyncio.subprocess.Process:
        named = ["--service", self.service.base_url] if service else []
        out = [] if "-o" in arguments else ["-o", self.out]
        return await start("run", *arguments, *out, *named, *_SETS, "--progress", "plain", cwd=self.folder, **given)

    def ended(self, done: Ended, code: int) -> Ended:
        self.codes.append((code, done.code))
        self.check("Traceback" not in done.said, f"a traceback: {done.said[-500:]}")
        return done

    async def command(self, *arguments: object) -> str:
        """Another command, which should end with 0; what it said."""
        child = await start(*arguments, cwd=self.folder)
        out, said = await child.communicate()
        self.codes.append((0, child.returncode or 0))
        return (out + said).decode()

    def check(self, is_so: bool, otherwise: str) -> None:
        if not is_so:
            self.wrong.append(otherwise)

    def costs(self, payments: int) -> None:
        """From here on, so many payments in all."""
        self.pays = payments
        self.check(self.paid == payments, f"{self.paid} payments instead of {payments}")

    def recording(self, name: str) -> Path:
        """A recording like no other."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wav(random.Random(name).randbytes(2000)))
        return path

    def manifest(self, name: str, *rows: Mapping[str, str]) -> Path:
        path = self.folder / name
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(column for row in rows for column in row)))
            writer.writeheader()
            writer.writerows(rows)
        return path

    def has(self, key: str, audio: Path, *, out: Path | None = None, **labels: str) -> None:
        """The result of ``key`` should be there and whole: that of its own audio, with its own labels."""
        try:
            result = json.loads(((out or self.out) / f"{key}.json").read_bytes())
            about = result["recording"]
            is_its_own = sha256(audio) in result["text"] and about["key"] == key and about["labels"] == labels
        except (OSError, ValueError, KeyError):
            is_its_own = False
        if not is_its_own:
            self.lost.append(key)

    def has_all(self, audio: Iterable[Path]) -> None:
        """Each recording of a folder should have its result, under its name."""
        for path in audio:
            self.has(path.name, path)


Situation = Callable[[Play], Awaitable[None]]
SITUATIONS: Final[dict[str, Situation]] = {}


def situation(function: Situation) -> Situation:
    SITUATIONS[getattr(function, "__name__", "").replace("_", " ")] = function
    return function


@situation
async def a_new_folder_each_night(play: Play) -> None:
    """The same file names every night, without and with a prefix; and a manifest a day with ids 1, 2, 3."""
    nights = {
        day: {f"call-{n}.wav": play.recording(f"rec/{day}/call-{n}.wav") for n in (1, 2, 3)}
        for day in ("2026-11-23", "2026-11-24")
    }
    await play.run("rec/2026-11-23")
    refused = await play.run("rec/2026-11-24", code=3)
    for name, audio in nights["2026-11-24"].items():
        play.check(str(audio) in refused.said or name != "call-1.wav", f"{audio} is not named as refused")
    for named in (str(nights["2026-11-23"]["call-1.wav"]), "--prefix"):
        play.check(named in refused.said, f"the refusal does not name {named}")
    await play.run("rec/2026-11-23")
    play.costs(3)
    for name, audio in nights["2026-11-23"].items():
        play.has(name, audio)
    prefixed = play.folder / "prefixed"
    for again in (False, True):
        for day in nights:
            await play.run(f"rec/{day}", "--prefix", "{name}", "-o", prefixed)
        play.check(again or play.paid == 9, f"{play.paid} payments instead of 9")
    play.costs(9)
    for day, recordings in nights.items():
        for name, audio in recordings.items():
            play.has(f"{day}/{name}", audio, out=prefixed)
    for day in (23, 24):
        rows = [{"id": str(n), "audio": f"rec/2026-11-{day}/call-{n}.wav"} for n in (1, 2, 3)]
        play.manifest(f"{day}.csv", *rows)
        await play.run(f"{day}.csv", "-o", play.folder / "daily", code=0 if day == 23 else 3)
    play.costs(12)
    play.has("1", nights["2026-11-23"]["call-1.wav"], out=play.folder / "daily")


@situation
async def a_cron_job_without_the_key(play: Play) -> None:
    """The recordings were transcribed by a service that wants a key, and cron's environment has none."""
    audio = [play.recording(f"rec/{n}.wav") for n in range(3)]
    address = {"ASSEMBLYAI_BASE_URL": play.service.base_url}
    await play.run("rec", service=False, ASSEMBLYAI_API_KEY="secret", **address)
    audio.append(play.recording("rec/3.wav"))
    before = _content(play.out)
    for environ in ({}, address):
        done = await play.run("rec", service=False, code=4, **environ)
        play.check("ASSEMBLYAI_API_KEY" in done.said, f"the key is not named: {done.said}")
        play.check(_content(play.out) == before, "results were touched")
    play.costs(3)
    vendors = play.folder / "vendors"  # as the vendor has transcribed them
    shutil.copytree(play.out, vendors, ignore=shutil.ignore_patterns(".diarist"))
    for path in vendors.glob("*.json"):
        path.write_text(path.read_text().replace(f'"service":"{play.service.base_url}"', '"service":"assemblyai"'))
    before = _content(vendors, hidden=True)
    await play.run("rec", "-o", vendors, service=False, code=4)
    play.check(_content(vendors, hidden=True) == before, "the vendor's results were touched")
    await play.run("rec", service=False, ASSEMBLYAI_API_KEY="secret")
    play.costs(4)
    play.has_all(audio)


@situation
async def results_copied_to_another_disk(play: Play) -> None:
    """Results without ``.diarist``, and then the recordings, too, somewhere else."""
    audio = [play.recording(f"rec/{n}.wav") for n in range(4)]
    await play.run("rec")
    other = play.folder / "other-disk"
    shutil.copytree(play.out, other / "results", ignore=shutil.ignore_patterns(".diarist"))
    await play.run("rec", "-o", other / "results")
    shutil.copytree(play.folder / "rec", other / "rec")
    await play.run(other / "rec", "-o", other / "results")
    again = play.folder / "third-disk"
    shutil.copytree(other / "results", again, ignore=shutil.ignore_patterns(".diarist"))
    await play.run(other / "rec", "-o", again)
    play.costs(4)
    for path in audio:
        play.has(path.name, path, out=other / "results")
        play.has(path.name, path, out=again)


@situation
async def a_journal_from_an_older_backup(play: Play) -> None:
    """Restored from before the last nights: their results are known by themselves."""
    audio = [play.recording(f"rec/{n}.wav") for n in range(2)]
    await play.run("rec")
    backup = play.folder / "backup"
    shutil.copytree(play.out / ".diarist", backup)
    audio += [play.recording(f"rec/{n}.wav") for n in range(2, 5)]
    await play.run("rec")
    play.costs(5)
    shutil.rmtree(play.out / ".diarist")
    shutil.copytree(backup, play.out / ".diarist")
    await play.run("rec")
    await play.run("rec")
    play.costs(5)
    play.has_all(audio)


@situation
async def urls_that_are_signed_anew(play: Play) -> None:
    """The same objects under links that were signed last night, and again tonight."""
    audio = [play.recording(f"rec/{n}.wav") for n in range(3)]
    async with _serving(play.folder / "rec") as address:
        for night in range(3):
            signed = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=2026112{night}T000000Z&X-Amz-Signature={night}beef"
            rows = [{"id": f"call/{n}", "audio": f"{address}/{n}.wav?{signed}"} for n in range(3)]
            play.manifest("urls.csv", *rows)
            await play.run("urls.csv")
    play.costs(3)
    for n, path in enumerate(audio):
        play.has(f"call/{n}", path)


@situation
async def the_same_options_written_another_way(play: Play) -> None:
    """What comes to the same is no change; what does not is paid for only if somebody agrees."""
    audio = play.recording("1.wav")
    ways: list[dict[str, Any]] = [
        {"keyterms_prompt": ["roof", "north side"], "language_code": "en_us", "speakers_expected": 2},
        {"keyterms_prompt": ["north  side ", "roof"], "language_code": "EN_US", "num_speakers": "2"},
        {"keyterms_prompt": ["roof", "north side"], "language_code": "en-US", "speakers_expected": 2,
         "punctuate": True, "format_text": True, "disfluencies": False, "custom_spelling": []},
        {"speakers_expected": 2.0, "keyterms_prompt": "roof; north side", "language_code": "en_us",
         "speech_model": None, "redact_pii_policies": [], "speech_threshold": 0},
    ]  # fmt: skip
    for way in ways:
        _json_lines(play.folder / "m.jsonl", {"id": "call/1", "audio": "1.wav", **way})
        await play.run("m.jsonl")
    play.costs(1)
    _json_lines(play.folder / "m.jsonl", {"id": "call/1", "audio": "1.wav", **ways[0], "disfluencies": True})
    await play.run("m.jsonl", code=8)
    play.costs(1)
    await play.run("m.jsonl", "--yes")
    play.costs(2)
    for way in (ways[1], ways[0] | {"disfluencies": True}, ways[2]):  # back, and forth, and back: both are paid
        _json_lines(play.folder / "m.jsonl", {"id": "call/1", "audio": "1.wav", **way})
        await play.run("m.jsonl")
    play.costs(2)
    play.has("call/1", audio)


@situation
async def a_dot_in_a_path(play: Play) -> None:
    """A hidden folder in a key: whatever a run writes, export, search, report and recover find."""
    audio = play.recording("vol/.snapshot/1.wav")
    play.manifest("m.csv", {"audio": "vol/.snapshot/1.wav"})
    await play.run("m.csv")
    key = "vol/.snapshot/1.wav"
    exported = await play.command("export", play.out, "--to", "srt", "-o", play.folder / "captions")
    play.check((play.folder / "captions" / f"{key}.srt").exists(), f"export does not find it: {exported}")
    found = await play.command("search", play.out, "sha256")
    play.check(key in found, f"search does not find it: {found}")
    (play.out / ".diarist" / "search.db").unlink()
    found = await play.command("search", play.out, "sha256")
    play.check(key in found, f"a search that makes its index anew does not find it: {found}")
    reported = await play.command("report", play.out)
    play.check("1 recordings" in reported, f"report does not find it: {reported}")
    recovered = await play.command("recover", play.out)
    play.check("1 recordings from results" in recovered, f"recover does not find it: {recovered}")
    await play.run("m.csv")
    play.costs(1)
    play.has(key, audio)


@situation
async def files_of_the_user_beside_the_results(play: Play) -> None:
    """Results go where the recordings are, and where their owner has files of such names."""
    audio = [play.recording(f"rec/call{n}.wav") for n in (1, 2, 3)]
    out = play.folder / "rec"
    own = {name: f"the user's own {name}\n" for name in ("call1.wav.json", "call2.wav.txt", "failed.jsonl")}
    own["call3.rttm"] = "SPEAKER call3 1 0.0 2.5 <NA> <NA> someone <NA> <NA>\n"
    for name, text in own.items():
        (out / name).write_text(text)
    for _ in range(2):
        done = await play.run("rec", "-o", out, "--format", "txt,rttm", code=3)
        play.check("call1.wav.json" in done.said, f"the row is not told: {done.said}")
    for command in (("export", out, "--to", "txt,rttm"), ("report", out)):
        child = await start(*command, cwd=play.folder)
        await child.communicate()
    play.costs(2)
    for name, text in own.items():
        play.check((out / name).exists() and (out / name).read_text() == text, f"{name} is not as its owner left it")
    for path in audio[1:]:
        play.has(path.name, path, out=out)
    (out / "call1.wav.json").unlink()
    await play.run("rec", "-o", out)
    play.costs(3)
    play.has("call1.wav", audio[0], out=out)


@situation
async def a_corrected_label(play: Play) -> None:
    """It reaches a result that is done, for free."""
    audio = [play.recording(f"{n}.wav") for n in range(2)]
    for customer in ("Acme", "ACME Ltd"):
        rows = [{"id": f"call/{n}", "audio": f"{n}.wav", "customer": customer} for n in range(2)]
        play.manifest("m.csv", *rows)
        await play.run("m.csv", "--format", "txt")
        play.costs(2)
        for n, path in enumerate(audio):
            play.has(f"call/{n}", path, customer=customer)


@situation
async def a_result_cut_in_half(play: Play) -> None:
    """Cut, emptied, or not JSON any more: fetched again, never paid again."""
    audio = [play.recording(f"rec/{n}.wav") for n in range(5)]
    await play.run("rec")
    for harm in (_cut, _empty, _spoil, Path.unlink):
        for path in play.out.glob("*.json"):
            harm(path)
        await play.run("rec")
        play.has_all(audio)
    play.costs(5)


@situation
async def force_that_is_stopped_and_given_again(play: Play) -> None:
    """20 recordings forced, stopped after 8 by Ctrl-C, killed after 4 more, and given again: 20 payments."""
    audio = [play.recording(f"rec/{n:02}.wav") for n in range(20)]
    await play.run("rec")
    play.costs(20)
    refused = await play.run("rec", "--force", code=8)
    play.check("--yes" in refused.said, f"it is not told how to agree: {refused.said}")
    play.costs(20)
    forced = ("rec", "--force", "--yes", "-c", "2")
    for number, after in ((signal.SIGINT, 8), (signal.SIGKILL, 12)):
        child = await play.started(*forced)
        while play.paid < 20 + after and child.returncode is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        play.check(child.returncode is None and play.paid < 40, "it was stopped too late to tell")
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)
        play.ended(await end(child), 130 if number == signal.SIGINT else -number)
    await play.run(*forced)
    play.costs(40)
    await play.run("rec")
    play.costs(40)
    play.has_all(audio)


@situation
async def a_log_reader_that_leaves(play: Play) -> None:
    """``diarist run ... 2>&1 | head -1``, and both streams closed from the start."""
    audio = [play.recording(f"rec/{n}.wav") for n in range(6)]
    child = await play.started("rec")
    assert child.stderr
    await child.stderr.readline()
    child.stderr._transport.close()  # type: ignore[attr-defined]
    play.codes.append((0, await asyncio.wait_for(child.wait(), 60)))
    play.costs(6)
    play.has_all(audio)
    audio.append(play.recording("rec/6.wav"))
    command = f'{sys.executable} -m batch "$@" >&- 2>&- <&-'
    child = await asyncio.create_subprocess_exec(
        "sh", "-c", command, "sh", "run", "rec", "-o", str(play.out), "--service", play.service.base_url, *_SETS,
        cwd=play.folder,
    )  # fmt: skip
    play.codes.append((0, await asyncio.wait_for(child.wait(), 60)))
    play.costs(7)
    play.has_all(audio)


@situation
async def a_proxy(play: Play) -> None:
    """The environment names one, and the service is on this machine, which is never reached through one."""
    audio = [play.recording(f"rec/{n}.wav") for n in range(2)]
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
    await play.run("rec", **dict.fromkeys(names, DEAD_PROXY))
    named = play.service.base_url.replace("127.0.0.1", "localhost")
    await play.run("rec", "--service", f"{named}/", service=False, **dict.fromkeys(names, DEAD_PROXY))
    play.costs(2)
    play.has_all(audio)


def _content(folder: Path, *, hidden: bool = False) -> dict[str, bytes]:
    """All files below a folder; of ``.diarist``, which notes how runs ended, only if it is asked for."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    names = {str(path.relative_to(folder)): path for path in files}
    return {name: path.read_bytes() for name, path in names.items() if hidden or not name.startswith(".diarist")}


def _json_lines(path: Path, *rows: Mapping[str, Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _spoil(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-20] + b"\0" * 20)


@contextlib.asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[str]:
    """Files of a folder behind HTTP, whatever signs the URLs."""
    files = web.Application()
    files.router.add_static("/", folder)
    async with app.listening(files, "127.0.0.1", 0) as address:
        yield address


async def played(name: str, folder: Path) -> Play:
    """A situation from its beginning to its end."""
    key = "secret" if "key" in name else None
    seconds = 0.3 if "force" in name else 0.05
    (folder / "scene").mkdir(parents=True)
    async with start_service(folder / "service", seconds=seconds, key=key, private=True) as service:
        play = Play(folder / "scene", service)
        await SITUATIONS[name](play)
    return play


def told(name: str, play: Play) -> str:
    """A line of the table, and one for whatever is wrong."""
    codes = " ".join(str(code) if code == expected else f"{code}(!{expected})" for expected, code in play.codes)
    verdict = "right" if play.is_right else "WRONG"
    lines = [f"{name:<42}{play.pays:>8}{play.paid:>6}{len(play.lost):>6}  {verdict:<7}{codes}"]
    lines += [f"    no result, or another's: {key}" for key in play.lost]
    return "\n".join([*lines, *(f"    {what.strip()}" for what in play.wrong)])


async def main(names: list[str]) -> int:
    print(f"{'situation':<42}{'to pay':>8}{'paid':>6}{'lost':>6}  {'':<7}exit codes")
    all_right = True
    for number, name in enumerate(name for name in SITUATIONS if not names or any(part in name for part in names)):
        with tempfile.TemporaryDirectory(prefix="diarist-situation-") as folder:
            play = await played(name, Path(folder) / str(number))
        print(told(name, play), flush=True)
        all_right &= play.is_right
    return 0 if all_right else 1


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(asyncio.run(main(sys.argv[1:])))
