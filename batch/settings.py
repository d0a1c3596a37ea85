"""Settings: built-in defaults < a TOML file < the environment (``DIARIST_*``) < ``--set`` and flags.

``configs/default.toml`` lists every one with its default and its meaning; a test keeps the two alike.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from batch.budget import Budget
from batch.client import Deadlines
from batch.errors import Usage
from batch.formats import FORMATS
from batch.metrics import Metrics
from batch.options import read_options
from batch.ping import Ping
from batch.prices import Prices
from batch.service.engine import Device
from batch.slots import Limits, Order
from batch.stores import Access
from batch.throttle import Patience, Rate
from batch.watch import Pace
from batch.webhooks import Webhook

_PREFIX: Final = "DIARIST_"
_SERVICES_KEY: Final = "DIARIST_SERVICE_KEY"
"""The key of `diarist serve`: no setting."""
Count = Annotated[int, Meta(ge=1)]


class Local(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The local service: which engine (see ``Choice``), and in how many worker processes (0: one a core)."""

    engine: str = "moonshine"
    speakers: str = "community-1"
    device: Device = "auto"
    workers: Annotated[int, Meta(ge=0)] = 0


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    service: str = "auto"
    dialect: str = ""
    prefix: str = ""
    journal_dir: str = ""
    replaced_days: Annotated[float, Meta(ge=0)] = 0.0
    concurrency: Count = 64
    uploads: Count = 8
    ahead_bytes: Count = 20_000_000_000
    order: Order = "longest"
    formats: list[str] = []
    search: bool = True
    progress: Literal["auto", "live", "plain", "json", "off"] = "auto"
    log_file: str = ""
    drain_seconds: Annotated[float, Meta(ge=0)] = 8.0
    reconcile_grace_seconds: Annotated[float, Meta(ge=0)] = 300.0
    reconcile_patience_seconds: Annotated[float, Meta(ge=0)] = 600.0
    reconcile_lag_seconds: Annotated[float, Meta(ge=0)] = 3600.0
    unknown_seconds: Annotated[float, Meta(ge=0)] = 180.0
    options: dict[str, Any] = msgspec.field(default_factory=lambda: {"speaker_labels": True})
    local: Local = Local()
    patience: Patience = Patience()
    deadlines: Deadlines = Deadlines()
    sweep: Pace = Pace()
    rate: Rate = Rate()
    budget: Budget = Budget()
    prices: Prices = Prices()
    webhook: Webhook = Webhook()
    stores: Access = Access()
    metrics: Metrics = Metrics()
    ping: Ping = Ping()

    @property
    def limits(self) -> Limits:
        return Limits(self.concurrency, self.uploads, self.ahead_bytes, self.order)


def load(
    config: Path | None = None, *, environ: Mapping[str, str], sets: Iterable[str] = (), flags: Mapping[str, Any]
) -> Settings:
    """The settings from all their places, later ones over earlier ones. Flags that are None are not given.

    Raises ``Usage`` naming the place, the setting and what is wrong with it.
    """
    tree: dict[str, Any] = msgspec.to_builtins(Settings())
    for place, layer in (
        (f"--config {config}", _file(config)),
        ("the environment", _environment(environ)),
        ("--set", _dotted(_pairs(sets))),
        ("the command line", {name: value for name, value in flags.items() if value is not None}),
    ):
        tree = _over(tree, layer)
        _checked(tree, place)
    return _checked(tree, "settings")


def _checked(tree: dict[str, Any], place: str) -> Settings:
    try:
        settings = msgspec.convert(tree, Settings, strict=False)
        _check_formats(settings.formats)
        return msgspec.structs.replace(settings, options=read_options(settings.options))
    except (msgspec.ValidationError, ValueError) as error:
        raise Usage(f"{place}: {error}{_nearest(str(error))}. See configs/default.toml for all settings") from None


def _check_formats(formats: Iterable[str]) -> None:
    for name in formats:
        if name not in FORMATS:
            close = difflib.get_close_matches(name, FORMATS, 1)
            meant = f" (did you mean {close[0]!r}?)" if close else ""
            known = ", ".join(FORMATS)
            raise ValueError(f"there is no format {name!r} of single recordings{meant}; there are {known}")
        if missing := FORMATS[name].missing():
            raise ValueError(missing)


def _nearest(message: str) -> str:
    """A hint for a misspelt setting."""
    if "unknown field" not in message:
        return ""
    wrong = message.partition("unknown field `")[2].partition("`")[0]
    kinds = (Settings, Local, Patience, Deadlines, Pace, Rate, Budget, Prices, Webhook, Access, Metrics, Ping)
    names = [name for kind in kinds for name in kind.__struct_fields__]
    close = difflib.get_close_matches(wrong, names, 1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Usage(f"cannot read the settings in {path}: {error}") from None


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """``DIARIST_LOCAL__WORKERS=2`` is ``local.workers = 2``."""
    ours = (name for name in environ if name.startswith(_PREFIX) and name != _SERVICES_KEY)
    mine = {name[len(_PREFIX) :]: environ[name] for name in ours}
    return _dotted({name.lower().replace("__", "."): value for name, value in mine.items()})


def _pairs(sets: Iterable[str]) -> dict[str, str]:
    pairs = {}
    for given in sets:
        name, equals, value = given.partition("=")
        if not equals:
            raise Usage(f"--set {given}: write it as KEY=VALUE, for example --set uploads=4")
        pairs[name.strip()] = value.strip()
    return pairs


def _dotted(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *outer, last = name.split(".", 1) if name.startswith("options.") else name.split(".")
        branch = tree
        for part in outer:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree


def _over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        merged[name] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
