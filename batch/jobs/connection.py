"""The provider, and what speaks to it: reached once, watched, given jobs to carry."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from batch.archive.journal import Journal
from batch.archive.layout import SERVICE, WEBHOOK_SECRET
from batch.archive.results import Results
from batch.config import Settings
from batch.jobs import missing, webhooks
from batch.jobs.deduplication import Deduplicator
from batch.jobs.flow_control import throttle
from batch.jobs.flow_control.concurrency import ConcurrencyLimiter
from batch.jobs.pipeline import Pipeline
from batch.jobs.reconciler import Reconciler
from batch.jobs.services import Services
from batch.jobs.watcher import Watcher
from batch.providers.interface import Connection, ConnectionRequest, Operation, Provider
from batch.telemetry.events import Event, Notice, ProviderStatus

_HELLO_SECONDS: Final = 30.0
"""How long the service may take to answer at all before the run does not even begin."""


@contextlib.asynccontextmanager
async def connected(
    provider: Provider,
    settings: Settings,
    inner: Path,
    on_event: Callable[[Event], None],
    rng: random.Random,
    slots: ConcurrencyLimiter,
    why: str = "",
) -> AsyncIterator[tuple[Connection, throttle.Throttle]]:
    """The provider, spoken to once, with the gate that all requests pass. ``why`` it was chosen is told."""
    _tell(provider, settings, on_event, why)
    short = min(_HELLO_SECONDS, settings.patience.outage_seconds)
    hello = msgspec.structs.replace(settings.patience, outage_seconds=short)
    gate = throttle.Throttle(
        settings.patience, rng=rng, on_event=on_event,
        rate=settings.rate if provider.address else None, ramp=_ramps(provider, settings),
    )  # fmt: skip
    request = ConnectionRequest(
        connections=settings.concurrency + settings.uploads, folder=inner / SERVICE,
        timeouts=settings.deadlines, local=settings.local, turn=gate.wait_until_open,
        webhook=(settings.webhook.url, _secret(inner)) if settings.webhook.url else None,
        on_request=on_event,
        on_warning=lambda message: on_event(Notice(message)),
        on_status=lambda message, is_starting: on_event(ProviderStatus(message, is_starting)),
    )  # fmt: skip
    async with provider.connect(request) as connection:
        longest = settings.patience.outage_seconds
        greeting = throttle.Throttle(hello, rng=rng, on_event=on_event, longest_pause_seconds=longest)
        await greeting.retry(connection.check, operation=Operation.LIST, what="first request", at_last=None)
        yield connection, gate


def _tell(provider: Provider, settings: Settings, on_event: Callable[[Event], None], why: str) -> None:
    """Say who transcribes, and what that provider cannot do, before anything is paid."""
    name, can = provider.name, provider.capabilities
    where = f" at {provider.address}" if provider.address not in (None, name) else ""
    on_event(ProviderStatus(f"service: {name}{where}{', ' * bool(why)}{why}"))
    if can.lookup == "never":
        on_event(
            Notice(
                message=f"{name} cannot be asked whether it has accepted a recording: one whose submission is not "
                "answered fails, and is submitted again only with --retry failed",
            )
        )
    if settings.webhook.url and not can.sends_webhooks:
        on_event(Notice(f"{name} sends no webhooks: webhook.url has no effect"))


def _ramps(provider: Provider, settings: Settings) -> bool:
    """Whether submissions begin slowly."""
    return settings.rate.ramp == "on" or (settings.rate.ramp == "auto" and provider.capabilities.ramp)


def links(provider: Provider, settings: Settings) -> float | None:
    """For how long the provider gets signed links to stored objects; None if they are sent through us."""
    by = settings.stores.by
    is_linked = by == "link" or (by == "auto" and provider.address)
    return settings.stores.link_seconds if is_linked and provider.capabilities.reads_urls else None


@contextlib.asynccontextmanager
async def watching(
    provider: Provider,
    connection: Connection,
    gate: throttle.Throttle,
    settings: Settings,
    inner: Path,
    rng: random.Random,
    slots: ConcurrencyLimiter,
) -> AsyncIterator[Watcher]:
    """Who knows who is done, told by webhooks too if the service can reach us."""
    can = provider.capabilities
    watcher = Watcher(connection, gate, settings.sweep, rng, lists_jobs=can.lists_jobs, pause=slots.pause)
    if not (settings.webhook.url and can.sends_webhooks):
        yield watcher
        return
    async with webhooks.receiving(settings.webhook, _secret(inner), provider, watcher.on_notice):
        yield watcher


def _secret(inner: Path) -> str:
    return webhooks.stored_secret(inner / WEBHOOK_SECRET)


def pipeline_of(
    provider: Provider,
    connection: Connection,
    gate: throttle.Throttle,
    watcher: Watcher,
    duplicates: Deduplicator,
    journal: Journal,
    results: Results,
    settings: Settings,
    on_event: Callable[[Event], None],
    slots: ConcurrencyLimiter,
    links: float | None,
    key_print: str | None = None,
) -> Pipeline:
    reconciler = Reconciler(
        provider, connection, gate, journal, grace_seconds=settings.reconcile_grace_seconds,
        patience_seconds=settings.reconcile_patience_seconds, lag_seconds=settings.reconcile_lag_seconds,
        on_event=on_event,
    )  # fmt: skip
    return Pipeline(
        Services(
            provider=provider, connection=connection, journal=journal, results=results, throttle=gate,
            watcher=watcher, reconciler=reconciler, deduplicator=duplicates,
            missing=missing.MissingTranscripts(connection, provider.capabilities, gate, settings.unknown_seconds),
            slots=slots, limits=settings.limits, executor=ThreadPoolExecutor(settings.uploads + 24, "files"),
            clock=time.time, on_event=on_event, links=links, key_print=key_print,
        )
    )  # fmt: skip
