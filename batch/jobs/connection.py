"""The service, and what speaks to it: started if it is ours, reached, watched, given jobs to carry."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from batch.archive.journal import Journal
from batch.archive.results import Results
from batch.config import Settings
from batch.jobs import missing, webhooks
from batch.jobs.deduplication import Deduplicator
from batch.jobs.flow_control import throttle
from batch.jobs.flow_control.concurrency import ConcurrencyLimiter
from batch.jobs.pipeline import Pipeline
from batch.jobs.reconciler import Reconciler
from batch.jobs.watcher import Watcher
from batch.model import Event
from batch.providers.assemblyai import client
from batch.providers.assemblyai.protocol import Route
from batch.providers.endpoint import Endpoint
from batch.providers.local import local_service

_HELLO_SECONDS: Final = 30.0
"""How long the service may take to answer at all before the run does not even begin."""


@contextlib.asynccontextmanager
async def connected(
    service: Endpoint,
    settings: Settings,
    inner: Path,
    on_event: Callable[[Event], None],
    rng: random.Random,
    slots: ConcurrencyLimiter,
) -> AsyncIterator[tuple[client.Client, throttle.Throttle]]:
    """The service, started if it is ours, spoken to once, with the gate that all requests pass."""
    async with contextlib.AsyncExitStack() as stack:
        base_url = service.base_url
        if base_url is None:
            base_url = await stack.enter_async_context(_local(inner, settings))
        on_event(
            Event("notice", message=f"service: {service.name}" + (f" at {base_url}" if service.is_vendors else ""))
        )
        short = min(_HELLO_SECONDS, settings.patience.outage_seconds)
        hello = msgspec.structs.replace(settings.patience, outage_seconds=short)
        gate = throttle.Throttle(
            settings.patience, rng=rng, on_event=on_event,
            rate=settings.rate if service.base_url else None, ramp=_ramps(service, settings),
        )  # fmt: skip
        api = await stack.enter_async_context(
            client.connect(
                base_url, service.key, connections=settings.concurrency + settings.uploads,
                deadlines=settings.deadlines, turn=gate.wait_until_open,
                webhook=webhooks.parameters(settings.webhook.url, _secret(inner)) if settings.webhook.url else None,
                on_request=lambda call: on_event(Event("called", call=call)),
                on_warning=lambda message: on_event(Event("notice", message=message)),
            )
        )  # fmt: skip
        first = partial(api.page, limit=1)
        longest = settings.patience.outage_seconds
        greeting = throttle.Throttle(hello, rng=rng, on_event=on_event, longest_pause_seconds=longest)
        await greeting.retry(first, route=Route.LIST, what="first request", at_last=None)
        yield api, gate


def _ramps(service: Endpoint, settings: Settings) -> bool:
    """Whether submissions follow the vendor's recommended ramp."""
    return settings.rate.ramp == "on" or (settings.rate.ramp == "auto" and service.is_vendors)


def links(service: Endpoint, settings: Settings) -> float | None:
    """For how long the service gets signed links to stored objects; None if they are uploaded."""
    by = settings.stores.by
    return settings.stores.link_seconds if by == "link" or (by == "auto" and service.base_url) else None


def _local(inner: Path, settings: Settings) -> contextlib.AbstractAsyncContextManager[str]:
    local = settings.local
    return local_service(
        inner / "service",
        engine=local.engine, speakers=local.speakers, device=local.device, workers=local.workers or None,
    )  # fmt: skip


@contextlib.asynccontextmanager
async def watching(
    api: client.Client,
    gate: throttle.Throttle,
    settings: Settings,
    inner: Path,
    rng: random.Random,
    slots: ConcurrencyLimiter,
) -> AsyncIterator[Watcher]:
    """Who knows who is done, told by webhooks too if the service can reach us."""
    watcher = Watcher(api, gate, settings.sweep, rng, pause=slots.pause)
    if not settings.webhook.url:
        yield watcher
        return
    async with webhooks.receiving(settings.webhook, _secret(inner), watcher.on_notice):
        yield watcher


def _secret(inner: Path) -> str:
    return webhooks.stored_secret(inner / "webhook-secret")


def pipeline_of(
    api: client.Client,
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
        api, gate, journal, grace_seconds=settings.reconcile_grace_seconds,
        patience_seconds=settings.reconcile_patience_seconds, lag_seconds=settings.reconcile_lag_seconds,
        on_event=on_event,
    )  # fmt: skip
    return Pipeline(
        api,
        journal,
        results,
        gate,
        watcher,
        reconciler,
        duplicates,
        missing.MissingTranscripts(api, gate, settings.unknown_seconds),
        slots=slots,
        limits=settings.limits,
        links=links,
        key_print=key_print,
        executor=ThreadPoolExecutor(settings.uploads + 24, "files"),
        clock=time.time,
        on_event=on_event,
    )
