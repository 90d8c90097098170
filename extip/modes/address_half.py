"""The part that every mode with an interface has: netlink, announcements, one reconciler.

::

    monitor (netlink events) ──► addresses (reconciler) ──► interface
                                   ▲  └──► conflicts ──► announcer ──► neighbours
                                   │           ▲
                                   │       wire-watch ◄── other stations
                                prober ◄──► other stations
    flows       UDP that went to the node itself before kube-proxy knew the IP
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Protocol

from extip import log
from extip.clock import Clock
from extip.errors import ExtipError
from extip.metrics import Metrics
from extip.modes.ownership import Sole
from extip.net.announcer import Announcer
from extip.net.conntrack import FlowTable
from extip.net.instance_lock import InstanceLock
from extip.net.monitor import LinkMonitor, Notice, NoticeKind
from extip.net.prober import ProbeSocket
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket
from extip.net.wire_watch import WireWatch
from extip.plan.desire import Desire
from extip.plan.guard import Guard
from extip.plan.link import IPAddress, Link
from extip.plan.sighting import Sighting
from extip.reconcile.addresses import AddressReconciler
from extip.reconcile.conflicts import ConflictWatch, Standing, Told
from extip.reconcile.flows import FlowSweeper
from extip.reconcile.observe import AddressObserver, Inputs, Policy
from extip.reconcile.ports import Fence
from extip.reconcile.probing import Prober
from extip.settings import AddressSettings
from extip.supervisor import Component

_RELEASE_S = 1.5
"""Time that removing the addresses may take on the way out, of 2 s for the whole stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressHalf:
    """What a mode runs, asks and stops."""

    reconciler: AddressReconciler
    components: tuple[Component, ...]
    own: Callable[[], frozenset[IPAddress]]
    """Addresses of this node that are not extip's, as it looked last."""

    async def release(self) -> bool:
        """Delete our addresses, within a bound; return whether all went.

        What is left ends with its lifetime.

        For an orderly stop, after the components were cancelled. A process that fails leaves its
        addresses to the one that is started in its place.
        """
        try:
            async with asyncio.timeout(_RELEASE_S):
                return await self.reconciler.release()
        except (ExtipError, TimeoutError) as error:
            log.get_logger("addresses").warning("release_failed", error=str(error) or "timed out")
            return False


class Hold(Fence, Standing, Protocol):
    """What this node's hold on its IPs is worth."""


@dataclass(frozen=True, slots=True)
class _Rivals:
    """Which stations are none, and who sees to it that an IP is left to one."""

    friends: Callable[[], frozenset[bytes]]
    prober: Prober

    def cease(self, ips: Mapping[IPAddress, Sighting]) -> None:
        self.prober.cease(ips)


@asynccontextmanager
async def open_address_half(  # noqa: PLR0913 - a composition of ports
    settings: AddressSettings,
    *,
    inputs: Callable[[], Inputs | None],
    decided: Callable[[Desire], None],
    clock: Clock,
    metrics: Metrics,
    hold: Hold | None = None,
    told: Told | None = None,
    friends: Callable[[], frozenset[bytes]] | None = None,
) -> AsyncIterator[AddressHalf]:
    """Take hold of the external IPs of this network namespace.

    `hold` says what that is worth (default: they are this node's, come what may), and `told` who is
    told of other stations that have them (default: only log and metrics). `friends` returns the
    MACs of the nodes of this cluster, which may have a new IP (default: nobody knows them, and what
    is up is left to no other station). Raises AlreadyRunningError when another controller has it,
    and PermissionDeniedError when a capability is missing, before anything is changed.
    """
    with InstanceLock():
        async with AddressSocket(clock=clock) as table, RouteTable(clock=clock) as links:
            await table.check_permission()
            metrics.address_mark.labels(mark=str(table.mark)).set(1)
            log.get_logger("addresses").info("mark_chosen", mark=str(table.mark))
            announcer = Announcer(clock=clock, metrics=metrics)
            hold = hold or Sole(settings.address_ttl_s)
            observer = AddressObserver(_policy(settings), inputs=inputs, links=links, table=table)

            async def own_and_friends() -> frozenset[bytes]:
                own = frozenset(link.mac for link in await links.links())
                return own | (friends() if friends is not None else frozenset())

            def settled() -> None:
                reconciler.trigger()

            prober = Prober(
                ProbeSocket(),
                window_s=settings.probe_s,
                ttl_s=settings.address_ttl_s,
                friends=own_and_friends,
                settled=settled,
                clock=clock,
                rng=Random(),  # noqa: S311 - jitter
                metrics=metrics,
            )
            watch = ConflictWatch(
                hold,
                announcer=announcer,
                links=links,
                told=told or _nobody,
                clock=clock,
                rng=Random(),  # noqa: S311 - jitter
                metrics=metrics,
                rivalry=_Rivals(friends, prober) if friends and settings.probe_s else None,
            )
            wire = WireWatch(watch.heard, clock=clock, metrics=metrics)
            watch.listen_on(wire)
            sweeper = FlowSweeper(FlowTable(), announcer=watch, clock=clock)
            reconciler = AddressReconciler(
                _policy(settings),
                observer=observer,
                links=links,
                table=table,
                announcer=sweeper,
                fence=hold,
                decided=decided,
                gate=prober,
                clock=clock,
                metrics=metrics,
            )
            monitor = LinkMonitor(
                _on_notice(settings.iface, observer, reconciler),
                metrics=metrics,
                own_port=table.port,
            )
            yield AddressHalf(
                reconciler=reconciler,
                own=lambda: observer.own,
                components=(
                    Component("monitor", monitor.run),
                    Component("announcer", announcer.run),
                    Component("wire-watch", wire.run),
                    Component("conflicts", watch.run),
                    Component("conflict-doubts", watch.settle),
                    Component("prober", prober.run),
                    Component("flows", sweeper.run),
                    Component("addresses", reconciler.run),
                ),
            )


@asynccontextmanager
async def open_observer(
    settings: AddressSettings, *, inputs: Callable[[], Inputs | None], clock: Clock
) -> AsyncIterator[AddressObserver]:
    """Open what a look at the node needs; no capability, no lock, nothing is changed."""
    async with AddressSocket(clock=clock) as table, RouteTable(clock=clock) as links:
        yield AddressObserver(_policy(settings), inputs=inputs, links=links, table=table)


def _nobody(_conflicts: Mapping[IPAddress, str], _began: Collection[IPAddress]) -> None:
    """Tell nobody of conflicts."""


def _policy(settings: AddressSettings) -> Policy:
    """Translate what the operator chose into what the reconciler needs."""
    return Policy(
        iface=settings.iface,
        guard=Guard(allowed=settings.allow_cidrs),
        ttl_s=settings.address_ttl_s,
        refresh_s=settings.refresh_s,
        resync_s=settings.resync_s,
    )


def _on_notice(
    iface: str, observer: AddressObserver, reconciler: AddressReconciler
) -> Callable[[Notice], None]:
    """Return the monitor's handler: which notices are a reason for a pass."""

    def handle(notice: Notice) -> None:
        if notice.kind is not NoticeKind.LINK_CHANGED:
            if notice.kind in (NoticeKind.ROUTE_CHANGED, NoticeKind.OVERRUN):
                observer.forget()
            if notice.kind is not NoticeKind.ROUTE_CHANGED:
                reconciler.trigger()
        elif notice.link is None or _concerns(notice.link, iface, reconciler):
            observer.forget()  # the kernel drops the routes of an interface that goes down, unsaid
            reconciler.trigger()

    return handle


def _concerns(link: Link, iface: str, reconciler: AddressReconciler) -> bool:
    """Whether a change of this interface matters; those of pods come and go all the time."""
    return link.name == iface or reconciler.uses(link.index)
