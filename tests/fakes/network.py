"""A node's network in memory: its kernel and the segment; implements `extip.modes.network`."""

from collections.abc import Callable, Collection

from extip.errors import LinkError
from extip.net.interfaces import IPAddress, Link
from extip.net.link_monitor import Notice
from extip.net.neighbour_events import NeighbourEvent
from tests.fakes.link import FakeNode
from tests.fakes.segment import (
    FakeConflictWire,
    FakeNeighbours,
    FakeSegment,
    FakeSender,
    FakeWire,
    Listener,
)


class FakePorts:
    """Takes IPs, and tells for how long they are closed."""

    def __init__(self) -> None:
        self.closed: dict[IPAddress, float] | None = None
        """Seconds by IP; None while there is no table."""
        self.refuses = ""

    async def close_ports(self, ips: Collection[IPAddress], /, *, lifetime_s: float) -> None:
        if self.refuses:
            raise LinkError(self.refuses)
        self.closed = dict.fromkeys(ips, lifetime_s)

    async def remove(self) -> None:
        self.closed = None

    async def remove_leftover(self) -> bool:
        if self.refuses:
            raise LinkError(self.refuses)
        found, self.closed = self.closed is not None, None
        return found


class FakeNetwork:
    """The kernel answers on `iface` for every address of the node, whoever put it there."""

    def __init__(
        self, node: FakeNode, segment: FakeSegment, *, hostname: str, iface: str = "eth0"
    ) -> None:
        self.node = node
        self.segment = segment
        self.hostname = hostname
        self.iface = iface
        self.addresses = node.table
        self.links = node.links
        self.idle_addresses = node.table
        self.idle_links = node.links
        self.ports = FakePorts()
        self._wires: list[Listener] = []
        segment.answering.append(self._answer)

    async def drop_untranslated(self, _ips: Collection[IPAddress], /) -> int:
        return 0

    def place(self, name: str) -> str:
        return f"{name}_{self.hostname}"

    async def monitor(self, on_notice: Callable[[Notice], None], /) -> None:
        await self.node.monitor(on_notice).run()

    def open_sender(self, _link: Link, /) -> FakeSender:
        return FakeSender(self.segment)

    def probe_wire(self) -> FakeWire:
        self._wires.append(wire := FakeWire(self.segment))
        return wire

    def conflict_wire(
        self, on_neighbour_event: Callable[[NeighbourEvent], None], /
    ) -> FakeConflictWire:
        self._wires.append(wire := FakeConflictWire(self.segment, on_neighbour_event))
        return wire

    def neighbours(self) -> FakeNeighbours:
        return FakeNeighbours(self.segment)

    def forget_process(self) -> None:
        """Close the sockets of a process that was killed, as its kernel does."""
        for wire in self._wires:
            if wire in self.segment.listeners:
                self.segment.listeners.remove(wire)
        self._wires.clear()
        self.node.forget_monitors()

    def _answer(self, ip: IPAddress) -> bytes | None:
        if not self.node.has(ip):
            return None
        link = self.node.look_up(self.iface)
        return link.mac if link is not None and link.up and link.carrier else None
