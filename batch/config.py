"""Settings: every one with its default and its bounds, in the order of ``configs/default.toml``.

Built-in defaults < a TOML file < the environment (``DIARIST_*``) < ``--set`` and flags. A test keeps this module and
``configs/default.toml`` alike. Spans, sizes and times are read here as people write them.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from batch.errors import UsageError

_PREFIX: Final = "DIARIST_"
_SERVICES_KEY: Final = "DIARIST_SERVICE_KEY"
"""The key of `diarist serve`: no setting."""
Count = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Order = Literal["manifest", "longest"]
Device = Literal["auto", "cpu", "cuda"]


# ── Sections ────────────────────────────────────────────────────────────────────────────────────────────────────────


class LocalServiceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The local service: which engine (see ``EngineChoice``), in how many worker processes (0: one a core), and
    whether it fetches audio from addresses that are not public."""

    engine: str = "moonshine"
    speakers: str = "community-1"
    device: Device = "auto"
    workers: Annotated[int, Meta(ge=0)] = 0
    private_network: bool = False


class RetrySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long to keep trying. ``attempts`` counts a recording's own bad luck: tries that failed while others went
    well. ``outage_seconds`` is how long nothing at all may go well before the run stops."""

    attempts: int = 8
    base_seconds: float = 1.0
    cap_seconds: float = 60.0
    outage_seconds: float = 300.0


class TimeoutSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long, in seconds, to wait: for a connection, for an answer, and for an upload that does not move; and how
    long an answer that would end the run must repeat once the service has spoken v2."""

    connect_seconds: float = 10.0
    answer_seconds: float = 60.0
    stall_seconds: float = 60.0
    upload_answer_seconds: float = 300.0
    doubt_seconds: float = 10.0


class SweepSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds, in seconds, of the pause between two sweeps, and the pause while webhooks tell more than sweeps do."""

    least_seconds: float = 0.25
    most_seconds: float = 5.0
    noticed_seconds: float = 30.0


class RateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service may be asked: so many requests in any window (0: no limit), and whether submissions follow the
    vendor's recommended ramp."""

    requests: Annotated[int, Meta(ge=0)] = 18_000
    window_seconds: Annotated[float, Meta(gt=0)] = 300.0
    ramp: Literal["auto", "on", "off"] = "auto"


class BudgetSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """0: no limit. A recording whose length is not known counts as ``unknown_seconds`` until it is."""

    max_cost: Amount = 0.0
    max_hours: Amount = 0.0
    confirm_above: Amount = 100.0
    unknown_seconds: Amount = 3600.0


class PriceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD for an hour of audio, as read on ``as_of``: of each model, and of each option that costs extra.

    ``model`` is used where a request names none. ``each_channel``: with ``multichannel`` every channel
    is billed. ``apply``: auto (the vendor's own hosts), always, never.
    """

    as_of: str = "2026-10-07"
    apply: Literal["auto", "always", "never"] = "auto"
    model: str = "universal-3-5-pro"
    each_channel: bool = True
    models: dict[str, Amount] = msgspec.field(
        default_factory=lambda: {"universal-3-5-pro": 0.21, "universal-2": 0.15}
    )
    extras: dict[str, Amount] = msgspec.field(default_factory=lambda: {"speaker_labels": 0.02})

    def of(self, *, is_vendors: bool) -> PriceTable | None:
        """The prices of a service; None if it charges nothing."""
        return self if self.apply == "always" or (self.apply == "auto" and is_vendors) else None


class WebhookSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Under which ``url`` the service reaches us (empty: not at all), and where we listen for it."""

    url: str = ""
    host: str = "127.0.0.1"
    port: Port = 8518


class ObjectStoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the service gets audio from a store: by a signed ``link`` that lives for so long, or ``upload`` through us;
    auto: by link, unless the service is our own."""

    by: Literal["auto", "link", "upload"] = "auto"
    link_seconds: float = 86_400.0


class MetricsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where metrics are served (``port`` 0: nowhere)."""

    host: str = "127.0.0.1"
    port: Port = 0


class HealthcheckSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom to tell (empty: nobody), how long a try may take, and which exit codes are a success."""

    url: str = ""
    timeout_seconds: Annotated[float, Meta(gt=0)] = 3.0
    success: list[int] = msgspec.field(default_factory=lambda: [0])


class LimitSettings(msgspec.Struct, frozen=True):
    """Named after what they protect: the service's slots, the line to it, and the memory here.

    ``ahead_bytes`` bounds what is uploaded before there is a slot for it. ``order`` is how slots are handed out.
    """

    in_flight: int = 64
    uploads: int = 8
    ahead_bytes: int = 20_000_000_000
    order: Order = "longest"

    @property
    def room(self) -> int:
        """Jobs alive at once: those in flight, those being uploaded, and as many again staged or being collected."""
        return 2 * self.in_flight + 2 * self.uploads


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them. ``limits`` are those that a run is bounded by."""

    service: str = "auto"
    dialect: str = ""
    prefix: str = ""
    columns: dict[str, str] = {}
    journal_dir: str = ""
    replaced_days: Annotated[float, Meta(ge=0)] = 0.0
    concurrency: Count = 64
    uploads: Count = 8
    ahead_bytes: Count = 20_000_000_000
    order: Order = "longest"
    formats: list[str] = []
    search: bool = True
    progress: Literal["auto", "live", "plain", "verbose", "json", "off"] = "auto"
    log_file: str = ""
    drain_seconds: Annotated[float, Meta(ge=0)] = 8.0
    reconcile_grace_seconds: Annotated[float, Meta(ge=0)] = 300.0
    reconcile_patience_seconds: Annotated[float, Meta(ge=0)] = 600.0
    reconcile_lag_seconds: Annotated[float, Meta(ge=0)] = 3600.0
    unknown_seconds: Annotated[float, Meta(ge=0)] = 180.0
    options: dict[str, Any] = msgspec.field(default_factory=lambda: {"speaker_labels": True})
    local: LocalServiceSettings = LocalServiceSettings()
    patience: RetrySettings = RetrySettings()
    deadlines: TimeoutSettings = TimeoutSettings()
    sweep: SweepSettings = SweepSettings()
    rate: RateSettings = RateSettings()
    budget: BudgetSettings = BudgetSettings()
    prices: PriceTable = PriceTable()
    webhook: WebhookSettings = WebhookSettings()
    stores: ObjectStoreSettings = ObjectStoreSettings()
    metrics: MetricsSettings = MetricsSettings()
    ping: HealthcheckSettings = HealthcheckSettings()

    @property
    def limits(self) -> LimitSettings:
        return LimitSettings(self.concurrency, self.uploads, self.ahead_bytes, self.order)


Validate = Callable[[Settings], Settings]


class Origin(NamedTuple):
    """A setting by its dotted name, its value, and the place that it has it from (empty: built in)."""

    name: str
    value: Any
    place: str


# ── Where they come from ────────────────────────────────────────────────────────────────────────────────────────────


def load(
    config: Path | None = None,
    *,
    environ: Mapping[str, str],
    sets: Iterable[str] = (),
    flags: Mapping[str, Any],
    profile: str | None = None,
    validate: Validate = lambda settings: settings,
    origins: list[Origin] | None = None,
) -> Settings:
    """The settings from all their places, later ones over earlier ones. Flags that are None are not given.

    ``profile`` names one of ``profiles()``. ``origins`` receives every setting with the place that it has it from.
    ``validate`` is asked of each place in turn, so that a mistake is told with its place: it returns the settings,
    put right where that can be done, or raises ValueError. Raises ``UsageError`` naming the place, the setting and
    what is wrong with it.
    """
    settings = Settings()
    tree: dict[str, Any] = msgspec.to_builtins(settings)
    places = dict.fromkeys(_flat(tree), "")
    for place, layer in (
        (f"--profile {profile}", _file(_profile(profile))),
        (f"--config {config}", _file(config)),
        ("the environment", _environment(environ)),
        ("--set", _dotted(_pairs(sets))),
        ("the command line", {name: value for name, value in flags.items() if value is not None}),
    ):
        tree = _over(tree, layer)
        settings = _checked(tree, place, validate)
        places.update(dict.fromkeys(_flat(layer), place))
    if origins is not None:
        flat = _flat(msgspec.to_builtins(settings))
        origins += (Origin(name, value, places.get(name, "")) for name, value in flat.items())
    return settings


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Settings by their dotted names; tables that are empty are left out."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat.update(_flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {before + name: value})
    return flat


def profiles() -> dict[str, Path]:
    """The settings that come with diarist for usual jobs, by name."""
    package = Path(__file__).parent
    folder = next((each for each in (package / "profiles", package.parent / "configs") if each.is_dir()), package)
    return {path.stem: path for path in sorted(folder.glob("*.toml")) if path.stem != "default"}


def _profile(name: str | None) -> Path | None:
    """Raises ``UsageError`` for a name that is none."""
    if name is None or (known := profiles()).get(name):
        return known[name] if name else None
    close = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean {close[0]}? " if close else ""
    advice = "a file of your own is given with --config" if name.endswith(".toml") else ""
    raise UsageError(f"--profile {name}: {meant}There are {', '.join(known)}{'; ' * bool(advice)}{advice}")


def _checked(tree: dict[str, Any], place: str, validate: Validate) -> Settings:
    try:
        return validate(msgspec.convert(tree, Settings, strict=False))
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(
            f"{place}: {error}{_nearest(str(error))}. See configs/default.toml for all settings"
        ) from None


def _nearest(message: str) -> str:
    """A hint for a misspelt setting."""
    if "unknown field" not in message:
        return ""
    wrong = message.partition("unknown field `")[2].partition("`")[0]
    section = message.partition("at `$.")[2].partition("`")[0]
    tree = msgspec.to_builtins(Settings())
    names = {name for name in (*tree, *_flat(tree)) if not isinstance(tree.get(name), dict)}
    last = {name: name.rpartition(".")[2] for name in sorted(names, key=lambda name: not name.startswith(section))}
    close = difflib.get_close_matches(wrong, last.values(), 1)
    meant = next((name for name in last if close and last[name] == close[0]), "")
    return f" (did you mean {meant!r}?)" if meant else ""


def _file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read the settings in {path}: {error}") from None


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
            raise UsageError(f"--set {given}: write it as KEY=VALUE, for example --set uploads=4")
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


# ── As people write them ────────────────────────────────────────────────────────────────────────────────────────────

_AGO: Final = re.compile(r"(\d+)\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?")
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def read_span(text: str) -> timedelta | None:
    """``36h`` or ``7d`` as a length of time; None for anything else."""
    ago = _AGO.fullmatch(text.strip().lower())
    return timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else None


def read_time(text: str, now: datetime) -> float:
    """A moment, as an ISO 8601 date or time (local unless it says otherwise) or as a time ago (``36h``, ``7d``), in
    seconds since the epoch. Raises ``UsageError``."""
    if (ago := read_span(text)) is not None:
        return (now - ago).timestamp()
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise UsageError(f"{text!r} is not a time: write 2026-11-20, 2026-11-20T18:00, 36h or 7d") from None


def read_size(text: str) -> int:
    """``20GB``, ``500 MB`` or ``2GiB`` in bytes. Raises Usage."""
    found = _SIZE.fullmatch(text.strip().lower())
    if not found:
        raise UsageError(f"{text!r} is not a size: write 500MB, 20GB or 2TB")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2]])
