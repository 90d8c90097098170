"""The network of a node, as a mode needs it; `extip.net.host` has the real one."""

from collections.abc import Callable, Collection
from typing import Protocol

from extip.addresses.port_closer import Ports
from extip.addresses.ports import AddressTable, ConflictWire, LinkTable, ProbeWire
from extip.net.interfaces import IPAddress, Link
from extip.net.link_monitor import Notice
from extip.net.neighbour_events import NeighbourEvent
from extip.net.packets import FrameSocket
from extip.uplink.link_rounds import Segment


class Network(Protocol):
    """Interfaces, addresses, routes and the segment of one node."""

    @property
    def addresses(self) -> AddressTable:
        """The addresses of all interfaces."""

    @property
    def links(self) -> LinkTable:
        """The interfaces and routes."""

    @property
    def idle_addresses(self) -> AddressTable:
        """The same addresses, for readers that have time and must not keep others waiting."""

    @property
    def idle_links(self) -> LinkTable:
        """The same interfaces and routes, for such readers."""

    @property
    def hostname(self) -> str:
        """The node's name as its operating system has it, in lower case."""

    @property
    def ports(self) -> Ports:
        """The packet filter."""

    async def drop_untranslated(self, ips: Collection[IPAddress], /) -> int:
        """Delete tracked UDP flows to these IPs that are not translated; return their number."""

    def place(self, name: str) -> str:
        """Return `name` and this network namespace, as a Lease's holder."""

    async def monitor(self, on_notice: Callable[[Notice], None], /) -> None:
        """Report changes that others make; until cancelled."""

    def open_sender(self, link: Link, /) -> FrameSocket | None:
        """Return the socket for announcements; None while there is none.

        Raises PermissionDeniedError.
        """

    def probe_wire(self) -> ProbeWire:
        """Return the probe of the segment."""

    def conflict_wire(
        self, on_neighbour_event: Callable[[NeighbourEvent], None], /
    ) -> ConflictWire:
        """Return the ear for other stations that have IPs of this node."""

    def neighbours(self) -> Segment:
        """Return the questions to neighbours whether they hear this node."""
