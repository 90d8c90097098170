"""The two nodes on which the contract of the link adapter is tested: Linux, and the fake."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from extip.clock import LoopClock
from extip.metrics import Metrics
from extip.net.interfaces import IPInterface
from extip.net.link_monitor import LinkMonitor, Notice
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket
from tests.fakes.link import FakeAddressTable, FakeLinkTable, FakeMonitor, FakeNode
from tests.netns.namespace import PrivateNamespace

IFACE = "v0"


class Node(Protocol):
    """What a contract test works on: an interface `IFACE`, up, without addresses."""

    @property
    def table(self) -> AddressSocket | FakeAddressTable: ...

    @property
    def links(self) -> RouteTable | FakeLinkTable: ...

    def monitor(self, handler: Callable[[Notice], None]) -> LinkMonitor | FakeMonitor: ...

    def tiny_monitor(self, handler: Callable[[Notice], None]) -> LinkMonitor | FakeMonitor:
        """Return one that cannot hold a hundred unread notices."""

    def put(self, *interfaces: IPInterface) -> None:
        """Add addresses by hand."""

    def take(self, interface: IPInterface) -> None: ...

    def set_up(self, *, up: bool) -> None: ...

    def rename(self, name: str) -> None:
        """Rename the interface, which has to be down for that in older kernels."""

    def remove(self) -> None: ...

    def add(self) -> None:
        """Make the interface again."""


class LinuxNode:
    """The real kernel, in a private namespace that is entered."""

    def __init__(
        self, namespace: PrivateNamespace, table: AddressSocket, links: RouteTable
    ) -> None:
        self._namespace = namespace
        self.table = table
        self.links = links
        self._metrics = Metrics("test")

    def monitor(self, handler: Callable[[Notice], None]) -> LinkMonitor:
        return LinkMonitor(handler, metrics=self._metrics)

    def tiny_monitor(self, handler: Callable[[Notice], None]) -> LinkMonitor:
        return LinkMonitor(handler, metrics=self._metrics, receive_buffer=4096)

    def put(self, *interfaces: IPInterface) -> None:
        for interface in interfaces:
            dad = " nodad" if interface.version == 6 else ""
            self._namespace.ip(f"addr add {interface} dev {IFACE}{dad}")

    def take(self, interface: IPInterface) -> None:
        self._namespace.ip(f"addr del {interface} dev {IFACE}")

    def set_up(self, *, up: bool) -> None:
        self._namespace.ip(f"link set {IFACE} {'up' if up else 'down'}")

    def rename(self, name: str) -> None:
        self._namespace.ip(
            f"link set {IFACE} down", f"link set {IFACE} name {name}", f"link set {name} up"
        )

    def remove(self) -> None:
        self._namespace.ip(f"link delete {IFACE}")

    def add(self) -> None:
        self._namespace.add_veth()


class InMemoryNode:
    """The fake."""

    def __init__(self) -> None:
        self._node = FakeNode(LoopClock())
        self._node.add_link("lo", announces=False)
        self._node.add_link(IFACE)
        self.table = self._node.table
        self.links = self._node.links

    def monitor(self, handler: Callable[[Notice], None]) -> FakeMonitor:
        return self._node.monitor(handler)

    def tiny_monitor(self, handler: Callable[[Notice], None]) -> FakeMonitor:
        return self._node.monitor(handler, capacity=5)

    def put(self, *interfaces: IPInterface) -> None:
        for interface in interfaces:
            self._node.put(IFACE, interface)

    def take(self, interface: IPInterface) -> None:
        self._node.take(IFACE, interface)

    def set_up(self, *, up: bool) -> None:
        self._node.change_link(IFACE, up=up, carrier=up)

    def rename(self, name: str) -> None:
        self._node.change_link(IFACE, name=name)

    def remove(self) -> None:
        self._node.remove_link(IFACE)

    def add(self) -> None:
        self._node.add_link(IFACE)


@asynccontextmanager
async def linux_node(namespace: PrivateNamespace) -> AsyncIterator[LinuxNode]:
    """Open the real adapter in the namespace that is entered."""
    async with AddressSocket(clock=LoopClock()) as table, RouteTable(clock=LoopClock()) as links:
        yield LinuxNode(namespace, table, links)
