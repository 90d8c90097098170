"""The network namespace that this process runs in, and all that a mode needs of it."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from extip import log
from extip.clock import Clock
from extip.metrics import Metrics
from extip.net.conntrack import FlowTable
from extip.net.identity import place
from extip.net.interfaces import Link
from extip.net.link_monitor import LinkMonitor, Notice
from extip.net.namespace_lock import InstanceLock
from extip.net.neighbour_events import NeighbourEvent
from extip.net.neighbours import NeighbourSocket
from extip.net.packets import FrameSocket, FrameSockets
from extip.net.port_table import PortTable
from extip.net.probe_socket import ProbeSocket
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket
from extip.net.wire_watch import WireWatch


@asynccontextmanager
async def open_host(
    *, clock: Clock, metrics: Metrics, reports: bool = False
) -> AsyncIterator["HostNetwork"]:
    """Take hold of this network namespace; with `reports`, also for idle readers.

    Raises AlreadyRunningError when another controller has it, and PermissionDeniedError when a
    capability is missing, before anything is changed.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(InstanceLock())
        addresses = await stack.enter_async_context(AddressSocket(clock=clock))
        links = await stack.enter_async_context(RouteTable(clock=clock))
        await addresses.check_permission()
        metrics.address_mark.labels(mark=str(addresses.mark)).set(1)
        log.get_logger("addresses").info("mark_chosen", mark=str(addresses.mark))
        host = HostNetwork(addresses, links, clock=clock, metrics=metrics)
        if reports:
            host.idle_addresses = await stack.enter_async_context(AddressSocket(clock=clock))
            host.idle_links = await stack.enter_async_context(RouteTable(clock=clock))
        yield host


class HostNetwork:
    """Implements `extip.modes.network.Network`; `open_host` makes one."""

    def __init__(
        self,
        addresses: AddressSocket,
        links: RouteTable,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.addresses = addresses
        self.links = links
        self.idle_addresses = addresses
        self.idle_links = links
        self.drop_untranslated = FlowTable().drop_untranslated
        self.ports = PortTable()
        self.hostname = socket.gethostname().lower()
        self._senders = FrameSockets("announcer")
        self._clock = clock
        self._metrics = metrics

    def place(self, name: str) -> str:
        """Return `name` and this network namespace, as a Lease's holder."""
        return place(name)

    async def monitor(self, on_notice: Callable[[Notice], None]) -> None:
        """Report changes that others make; until cancelled."""
        own_port = self.addresses.port
        await LinkMonitor(on_notice, metrics=self._metrics, own_port=own_port).run()

    def open_sender(self, link: Link) -> FrameSocket | None:
        """Return where announcements leave; None while there is no socket for them."""
        return self._senders.open(link)

    def probe_wire(self) -> ProbeSocket:
        """Return the probe of the segment."""
        return ProbeSocket()

    def conflict_wire(self, on_neighbour_event: Callable[[NeighbourEvent], None]) -> WireWatch:
        """Return the ear for other stations that have IPs of this node."""
        return WireWatch(on_neighbour_event, clock=self._clock, metrics=self._metrics)

    def neighbours(self) -> NeighbourSocket:
        """Return what asks neighbours whether they hear this node."""
        return NeighbourSocket()
