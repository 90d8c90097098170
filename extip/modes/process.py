"""A process of any mode: components that run until a signal, and an orderly end."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address
from pathlib import Path

from prometheus_client import CollectorRegistry

from extip import log
from extip.clock import LoopClock
from extip.health import Check, HttpServer, MetricsPage, Page, health_pages, shown_to
from extip.kube.client import ApiClient
from extip.net.networks import Networks
from extip.scrapes.page import ReviewedPage
from extip.scrapes.reviewer import TokenReviewer
from extip.settings.process import ProcessSettings
from extip.supervisor import Component, NextSignal, run_beside
from extip.tls import Certificate


async def _nothing_to_drain(_signal: str, _next_signal: NextSignal) -> None:
    """End at once."""


async def _nothing_to_release() -> None:
    """Leave nothing behind."""


async def _spare(cached: Callable[[], Awaitable[None]]) -> None:
    """Spare every later garbage collection the walk through the caches."""
    await cached()
    gc.freeze()
    await asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A mode, put together. It has not begun, and has done nothing yet."""

    mode: str
    components: Sequence[Component]
    live: Mapping[str, Check] = field(default_factory=dict)
    """Checks whose failure a restart of this process would mend."""
    ready: Mapping[str, Check]
    drain: Callable[[str, NextSignal], Awaitable[None]] = _nothing_to_drain
    """Called with the signal's name while all components run."""
    release: Callable[[], Awaitable[None]] = _nothing_to_release
    """Called after all components have ended."""

    cached: Callable[[], Awaitable[None]] | None = None
    """Returns when the large caches are filled; None where all are small."""

    async def run(self, next_signal: NextSignal) -> None:
        """Run until the first signal, then end in order. Raises an ExceptionGroup of failures.

        When this is cancelled the parts end, and nothing else is done: as in a crash.
        """

        async def until_left() -> str:
            signal = await next_signal()
            await self.drain(signal, next_signal)
            return signal

        signal = await run_beside(self.components, until_left)
        log.get_logger(self.mode).info("stopping", signal=signal)
        await self.release()

    def alone(self) -> "Process":
        """Return the process for an interpreter that has no other: its caches are not collected."""
        if self.cached is None:
            return self
        spared = Component("spared-caches", partial(_spare, self.cached))
        return replace(self, components=(*self.components, spared))

    def serving(
        self, settings: ProcessSettings, registry: CollectorRegistry, kube: ApiClient
    ) -> "Process":
        """Return the process with its health and metrics served where the settings say."""
        metrics: Page = MetricsPage(registry)
        certificate = _certificate(settings)
        here = metrics if certificate is None else _of_loopback(metrics)
        pages = {
            **health_pages(self.live, self.ready),
            "/metrics": _for_readers(here, settings),
        }
        if settings.metrics_auth:
            metrics = ReviewedPage(metrics, TokenReviewer(kube, clock=LoopClock()))
        alone = {"/metrics": _for_readers(metrics, settings)}
        served = []
        if settings.http is not None:
            served.append(Component("http", HttpServer(settings.http, pages, flag="--http").run))
        if settings.metrics is not None:
            server = HttpServer(settings.metrics, alone, flag="--metrics", certificate=certificate)
            served.append(Component("metrics", server.run))
        return replace(self, components=(*self.components, *served))


def _certificate(settings: ProcessSettings) -> Certificate | None:
    if not settings.metrics_tls_cert_file:
        return None
    return Certificate(
        Path(settings.metrics_tls_cert_file),
        Path(settings.metrics_tls_private_key_file),
        flag="--metrics-tls-cert-file",
    )


def _for_readers(page: Page, settings: ProcessSettings) -> Page:
    may_read = partial(_may_read, settings.metrics_readers)
    return shown_to(page, may_read, otherwise="not in --metrics-allow-cidr")


def _of_loopback(page: Page) -> Page:
    """Return the page for this machine alone: others read it with TLS."""
    return shown_to(page, _is_loopback, otherwise="metrics are on --metrics, with TLS")


def _is_loopback(client: str) -> bool:
    try:
        return ip_address(client).is_loopback
    except ValueError:  # the connection is gone already
        return False


def _may_read(readers: Networks, client: str) -> bool:
    """Tell whether a client may read the metrics; whoever is on this machine always may."""
    try:
        ip = ip_address(client)
    except ValueError:  # the connection is gone already
        return False
    return not readers or ip.is_loopback or ip in readers
