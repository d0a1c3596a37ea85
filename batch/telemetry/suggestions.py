"""Commands that diarist suggests: what a run was asked, once more, with what has to be different."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from batch.errors import RETRIED_UNASKED, BudgetExceededError
from batch.telemetry.progress import Progress
from batch.telemetry.summary import RunContext

_BARE: Final = frozenset({"--force", "--yes", "--keep-done", "--verbose", "--quiet"})
_PAYING: Final = frozenset({"--force", "--yes"})
"""Flags of ``run`` without a value, and those of them that a suggestion does not have, for it never pays again, nor
unasked: but for the one to go on with a forced pass, which is paid for once however often it is given."""
_HIDDEN: Final = "…"
"""What ``harmless.discreet`` leaves of a secret."""


def again(
    stage: RunContext, here: Path | None, *, retry: bool = False, listed: str = "", goes_on: bool = False
) -> str:
    """The command of a run once more, as a shell takes it; empty if the run was not asked by what a command can say.

    It names the service that the run took and the directory that it wrote into, whatever the environment says by
    then. ``goes_on``: it goes on with a forced pass. ``retry``: failed recordings, too. ``listed``: the file that
    lists them, for a run whose rows came from standard input. ``here``: where it will be typed (None: anywhere).
    """
    command = stage.command or _older(stage)
    if not command:
        return ""
    manifests, flags = _parts(command)
    forced = goes_on and ("--force", "") in flags
    flags = [flag for flag in flags if forced or flag[0] not in _PAYING]
    changed: dict[str, str] = {"--out": stage.out, "--service": stage.service}
    if "-" in manifests and listed:
        manifests, changed = [listed], {**changed, "--dialect": "jsonl"}
    if retry:
        changed["--retry"] = "failed"
    return _shown(["diarist", "run", *manifests, *_with(flags, changed)], stage.cwd, here)


def settings_flags(stage: RunContext) -> dict[str, object]:
    """The flags of a run by which settings were given to it: ``profile``, ``config`` and ``sets``."""
    if not stage.command:
        return {}
    flags = _parts(stage.command)[1]
    given: dict[str, object] = {name[2:]: value for name, value in flags if name in ("--profile", "--config")}
    if "config" in given:
        given["config"] = str(Path(stage.cwd, str(given["config"])))
    if sets := tuple(value for name, value in flags if name == "--set" and _HIDDEN not in value):
        given["sets"] = sets
    return given


def _older(stage: RunContext) -> tuple[str, ...]:
    """The command of a run whose diarist did not record it, as far as it is known."""
    return ("diarist", "run", *stage.manifests) if stage.manifests and not stage.cwd else ()


def _parts(command: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The manifests of a command, and its flags with their values (none: empty)."""
    words = iter(command[2:])
    manifests, flags = [], []
    for word in words:
        if not word.startswith("--"):
            manifests.append(word)
        else:
            flags.append((word, "" if word in _BARE else next(words)))
    return manifests, flags


def _with(flags: Sequence[tuple[str, str]], changed: Mapping[str, str]) -> Iterator[str]:
    """The words of ``flags``, each of ``changed`` in its place, or behind them."""
    kept = [(flag, changed.get(flag) or value) for flag, value in flags]
    added = [(flag, value) for flag, value in changed.items() if value and flag not in dict(kept)]
    return (word for flag in (*kept, *added) for word in flag if word or flag[0] not in _BARE)


def _shown(words: Sequence[str], cwd: str, here: Path | None) -> str:
    """The words for a shell, from another directory with a ``cd`` before them."""
    line = shlex.join(words)
    if cwd and (here is None or str(here) != cwd):
        line = f"cd {shlex.quote(cwd)} && {line}"
    return f"{line}  # {_HIDDEN} stands for what must stay secret" if _HIDDEN in line else line


def advice(now: Progress, here: Path | None) -> Iterator[str]:
    """What to do about a run that has ended, or was killed: a sentence each."""
    if now.collected or now.failed:
        yield f"for the report: {_report(now, here)}"
    listed = now.failed_list
    if listed:
        earlier = f", {listed.earlier:,} of them of earlier runs" if listed.earlier else ""
        path = listed.path if now.stage.cwd in ("", str(here)) else str(Path(now.stage.cwd, listed.path))
        yield f"what failed is listed in {path} ({listed.lines:,} line{'s' * (listed.lines != 1)}{earlier})"
    if now.failed or now.skipped.get("failed before"):
        retry = bool(now.skipped.get("failed before")) or any(kind not in RETRIED_UNASKED for kind in _kinds(now))
        command = again(now.stage, here, retry=retry, listed=listed.path if listed else "")
        yield f"to try them again: {command or 'the same command' + ' with --retry failed' * retry}"
    if now.rejected and not now.left and now.exit_code == 3:
        yield f"rows that were rejected must be mended first, then: {again(now.stage, here) or 'the same command'}"
    if refused := now.exit_code == BudgetExceededError.exit_code and (now.stopped_by or now.skipped.get("held")):
        yield f"to leave what is done as it is: {_also(again(now.stage, here), '--keep-done')}"
        yield f"to pay for it again: {_also(again(now.stage, here), '--yes')}"
    elsewhere = now.failures.get("elsewhere")
    if elsewhere and not now.left:
        yield f"what another service has is to be collected first: {elsewhere.reason}"
    elif not refused and (now.left or now.exit_code not in (0, 2, 3)):
        more = ", with the same list on standard input" if "-" in now.stage.manifests else ""
        command = again(now.stage, here, goes_on=True)
        yield f"to go on with what is left: {command or 'the same command'}{more}"


def _report(now: Progress, here: Path | None) -> str:
    return _shown(["diarist", "report", now.stage.out], now.stage.cwd, here)


def _also(command: str, flag: str) -> str:
    return f"{command} {flag}" if command else f"the same command with {flag}"


def _kinds(now: Progress) -> set[str]:
    """Of failures; a few may be of recordings that were put off."""
    return now.failures.keys() - {"bad_row", "elsewhere"}
