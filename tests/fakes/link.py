"""A node's interfaces in memory, behaving as Linux does; for tests and simulations.

`FakeNode` is the kernel; what it hands out has the methods of `extip.net`: `table` those of
`AddressSocket`, `links` those of `RouteTable`, `monitor()` those of `LinkMonitor`. The same tests
run against both (tests/contract/test_link.py). Methods with a leading verb such as `put` and
`take` are what another program would do by hand.
"""

import asyncio
import errno
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from ipaddress import IPv4Interface, IPv4Network
from itertools import count, islice

from extip.clock import Clock
from extip.errors import LinkNotFoundError, PermissionDeniedError
from extip.net.interfaces import (
    Change,
    ChangeResult,
    Gateways,
    IPAddress,
    IPInterface,
    Link,
    ObservedAddress,
    Operation,
)
from extip.net.link_monitor import Notice, NoticeKind
from tests.fakes.interfaces import ethernet

_BATCH = 64


@dataclass(slots=True)
class _Address:
    interface: IPInterface
    link_index: int
    ours: bool
    valid_until: float | None
    routed: bool = True
    present: bool = True


class FakeNode:
    """The kernel of one node. Its TTLs run on `clock`; `permitted` is CAP_NET_ADMIN."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.permitted = True
        self.gateways: set[IPAddress] = set()
        self.host_routes: dict[IPAddress, int] = {}
        """Stations that a route of their own leads to, with the index of its interface."""
        self.looked_up: list[IPAddress] = []
        self.failures: dict[IPInterface, int] = {}
        """Errno that the next changes of an address get instead of being made."""
        self.applied: list[Change] = []
        """Every change that was asked for, in order."""
        self.table = FakeAddressTable(self)
        self.links = FakeLinkTable(self)
        self._links: dict[int, Link] = {}
        self._addresses: dict[tuple[int, IPInterface | IPAddress], _Address] = {}
        self._ips: Counter[IPAddress] = Counter()
        self._subnets: dict[tuple[int, IPv4Network], list[_Address]] = {}  # first is primary
        self._ends: list[tuple[float, int, _Address]] = []
        self._numbers = count()
        self._monitors: list[FakeMonitor] = []
        self._indexes = 1

    def monitor(self, handler: Callable[[Notice], None], *, capacity: int = 5000) -> "FakeMonitor":
        """Return a component that reports changes, and an overrun beyond `capacity` unread ones."""
        return FakeMonitor(self, handler, capacity)

    # What other programs do

    def add_link(self, name: str, **properties: object) -> Link:
        """Make an interface that is up, with carrier; `properties` are other fields of `Link`."""
        index = self._indexes
        self._indexes += 1
        mac = b"\x02\x00\x00\x00\x00" + bytes([index])
        return self._store(ethernet(index=index, name=name, **{"mac": mac} | properties))

    def change_link(self, name: str, /, **properties: object) -> Link:
        """Change fields of an interface. One that goes down loses its IPv6 addresses."""
        link = self.find(name)
        changed = replace(link, **properties)  # type: ignore[arg-type]
        if not changed.up:
            changed = replace(changed, carrier=False)
            self._drop([a for a in self._on(link.index) if a.interface.version == 6])
        return self._store(changed)

    def remove_link(self, name: str) -> None:
        """Take an interface away, and its addresses with it."""
        link = self.find(name)
        self._drop(self._on(link.index))
        del self._links[link.index]
        self._tell(Notice(NoticeKind.LINK_CHANGED, link=link, removed=True))

    def put(self, name: str, interface: IPInterface) -> None:
        """Put an address there that is not ours."""
        number = self.insert(self.find(name).index, interface, valid_s=None, ours=False)
        if number:
            raise OSError(number, f"cannot add {interface}")

    def take(self, name: str, interface: IPInterface) -> None:
        """Remove an address, whoever put it there."""
        number = self.delete(self.find(name).index, interface)
        if number:
            raise OSError(number, f"cannot delete {interface}")

    def overrun(self) -> None:
        """Lose every notice that has not been read."""
        for monitor in self._monitors:
            monitor.overrun()

    # What the kernel does

    def find(self, name: str) -> Link:
        """Return the interface; raises LinkNotFoundError."""
        link = self.look_up(name)
        if link is None:
            raise LinkNotFoundError(f"there is no interface {name!r}")
        return link

    def look_up(self, name: str) -> Link | None:
        """Return the interface, if it is there."""
        return next((link for link in self._links.values() if link.name == name), None)

    def forget_monitors(self) -> None:
        """Send no notices any more to a process that is gone."""
        self._monitors.clear()

    def all_links(self) -> list[Link]:
        """Return all interfaces by index."""
        return [self._links[index] for index in sorted(self._links)]

    def promote_secondaries(self, index: int) -> None:
        """Switch promote_secondaries on."""
        if index not in self._links:
            raise LinkNotFoundError(f"no interface has index {index}")
        self._links[index] = replace(self._links[index], promotes_secondaries=True)

    def observed(self, link_index: int = 0) -> list[ObservedAddress]:
        """Return the addresses of all interfaces, or of one, in the order of the kernel."""
        self.expire()
        if link_index and link_index not in self._links:
            raise LinkNotFoundError(f"no interface has index {link_index}")
        here = [a for a in self._addresses.values() if link_index in (0, a.link_index)]
        here.sort(key=lambda a: (a.interface.version, a.link_index, self._is_secondary(a)))
        return [self._observe(a) for a in here]

    def has(self, ip: IPAddress) -> bool:
        """Return whether an IP is on any interface."""
        self.expire()
        return self._ips[ip] > 0

    def ips(self) -> list[IPAddress]:
        """Return all IPs that are on any interface."""
        self.expire()
        return [ip for ip, count in self._ips.items() if count]

    def has_ours(self, ip: IPAddress) -> bool:
        """Return whether an IP is here that extip put there."""
        return self.has(ip) and any(
            a.ours and a.interface.ip == ip for a in self._addresses.values()
        )

    def insert(
        self,
        index: int,
        interface: IPInterface,
        *,
        valid_s: int | None,
        ours: bool,
        routed: bool = True,
    ) -> int:
        """Add an address; return the errno."""
        self.expire()
        if index not in self._links:
            return errno.ENODEV
        if _key(index, interface) in self._addresses:
            return errno.EEXIST
        added = _Address(interface, index, ours, None, routed)
        self._addresses[_key(index, interface)] = added
        self._ips[interface.ip] += 1
        if isinstance(interface, IPv4Interface):
            self._subnets.setdefault((index, interface.network), []).append(added)
        if valid_s is not None:
            self._set_lifetime(added, valid_s)
        self._tell_up(added)
        return 0

    def replace(self, index: int, interface: IPInterface, *, valid_s: int) -> int:
        """Start an address's lifetime anew, or add it; either way it is ours then."""
        self.expire()
        present = self._addresses.get(_key(index, interface))
        if present is None:
            return self.insert(index, interface, valid_s=valid_s, ours=True)
        present.ours = True
        self._set_lifetime(present, valid_s)
        return 0

    def delete(self, index: int, interface: IPInterface) -> int:
        """Delete an address; return the errno."""
        self.expire()
        if index not in self._links:
            return errno.ENODEV
        present = self._addresses.get(_key(index, interface))
        if present is None or present.interface != interface:
            return errno.EADDRNOTAVAIL
        self._drop([present])
        return 0

    def expire(self) -> float | None:
        """Drop what has outlived its lifetime; return when the next one does."""
        now = self.clock.monotonic()
        while self._ends:
            until, _, address = self._ends[0]
            if address.present and address.valid_until == until and until > now:
                return until
            heappop(self._ends)
            if address.valid_until == until:
                self._drop([address])
        return None

    def attach(self, monitor: "FakeMonitor") -> None:
        """Send notices to a monitor."""
        self._monitors.append(monitor)

    def detach(self, monitor: "FakeMonitor") -> None:
        """Send it no more."""
        if monitor in self._monitors:
            self._monitors.remove(monitor)

    def _on(self, index: int) -> list[_Address]:
        return [a for a in self._addresses.values() if a.link_index == index]

    def _set_lifetime(self, address: _Address, valid_s: int) -> None:
        address.valid_until = self.clock.monotonic() + valid_s
        heappush(self._ends, (address.valid_until, next(self._numbers), address))

    def _store(self, link: Link) -> Link:
        self._links[link.index] = link
        self._tell(Notice(NoticeKind.LINK_CHANGED, link=link))
        return link

    def _drop(self, gone: Iterable[_Address]) -> None:
        """Remove addresses; IPv4 secondaries fall with their primary, or one takes its place."""
        for address in gone:
            if not address.present:
                continue  # fell with its primary
            address.present = False
            del self._addresses[_key(address.link_index, address.interface)]
            self._ips[address.interface.ip] -= 1
            self._tell(Notice(NoticeKind.ADDRESS_REMOVED, address=self._observe(address)))
            if isinstance(address.interface, IPv4Interface):
                self._leave_subnet(address, (address.link_index, address.interface.network))

    def _leave_subnet(self, address: _Address, subnet: tuple[int, IPv4Network]) -> None:
        members = self._subnets[subnet]
        was_primary = members[0] is address
        members.remove(address)
        if not members:
            del self._subnets[subnet]
        elif was_primary and self._links[address.link_index].promotes_secondaries:
            key = _key(members[0].link_index, members[0].interface)
            self._addresses[key] = self._addresses.pop(key)  # behind the other primary ones
            self._tell_up(members[0])
        elif was_primary:
            self._drop(members[::-1])  # from the last: none of them is primary meanwhile

    def _is_secondary(self, address: _Address) -> bool:
        if not isinstance(address.interface, IPv4Interface):
            return False
        members = self._subnets[(address.link_index, address.interface.network)]
        return members[0] is not address

    def _observe(self, address: _Address) -> ObservedAddress:
        valid_s = None
        if address.valid_until is not None:
            valid_s = max(0, round(address.valid_until - self.clock.monotonic()))
        return ObservedAddress(
            interface=address.interface,
            link_index=address.link_index,
            ours=address.ours,
            valid_s=valid_s,
            secondary=self._is_secondary(address),
            routed=address.routed,
        )

    def _tell_up(self, address: _Address) -> None:
        if not address.ours:
            self._tell(Notice(NoticeKind.ADDRESS_CHANGED, address=self._observe(address)))
        for monitor in self._monitors:
            monitor.wake()  # it may be the next to expire

    def _tell(self, notice: Notice) -> None:
        for monitor in self._monitors:
            monitor.receive(notice)


class FakeAddressTable:
    """`AddressSocket` on a `FakeNode`."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    async def check_permission(self) -> None:
        if not self._node.permitted:
            raise PermissionDeniedError("it lacks the capability CAP_NET_ADMIN")

    async def dump(self, link_index: int = 0) -> list[ObservedAddress]:
        await self._node.clock.sleep(0)
        return self._node.observed(link_index)

    async def apply(
        self, changes: Iterable[Change], *, ttl_s: int
    ) -> AsyncIterator[list[ChangeResult]]:
        waiting = iter(changes)
        while batch := list(islice(waiting, _BATCH)):
            await self.check_permission()
            yield [ChangeResult(change, self._make(change, ttl_s)) for change in batch]
            await self._node.clock.sleep(0)

    def _make(self, change: Change, ttl_s: int) -> int:
        self._node.applied.append(change)
        failure = self._node.failures.get(change.interface, 0)
        if failure:
            return failure
        index, interface = change.link_index, change.interface
        if change.operation is Operation.DELETE:
            return self._node.delete(index, interface)
        if change.operation is Operation.REFRESH:
            return self._node.replace(index, interface, valid_s=ttl_s)
        if change.operation is Operation.MOVE:
            self._node.delete(index, interface)
        return self._node.insert(index, interface, valid_s=ttl_s, ours=True, routed=change.routed)


class FakeLinkTable:
    """`RouteTable` on a `FakeNode`."""

    def __init__(self, node: FakeNode) -> None:
        self._node = node

    async def links(self) -> list[Link]:
        return self._node.all_links()

    async def link(self, name: str) -> Link:
        return self._node.find(name)

    async def promote_secondaries(self, link: Link) -> None:
        await self._node.table.check_permission()
        self._node.promote_secondaries(link.index)

    async def gateways(self) -> Gateways:
        known = frozenset(self._node.gateways)
        return Gateways(known, known)

    async def stations(self, ips: Sequence[IPAddress]) -> dict[IPAddress, int]:
        self._node.looked_up += ips
        routes = self._node.host_routes
        return {ip: routes[ip] for ip in ips if ip in routes}


class FakeMonitor:
    """`LinkMonitor` on a `FakeNode`; while it runs, lifetimes end at their time."""

    def __init__(self, node: FakeNode, handler: Callable[[Notice], None], capacity: int) -> None:
        self._node = node
        self._handler = handler
        self._capacity = capacity
        self._unread: deque[Notice] = deque()
        self._lost = False
        self._woken = asyncio.Event()

    async def run(self) -> None:
        self._node.attach(self)
        try:
            while True:
                self._woken.clear()
                self._node.expire()
                self._deliver()
                ends = self._node.expire()
                delay_s = None if ends is None else max(0.0, ends - self._node.clock.monotonic())
                try:
                    async with asyncio.timeout(delay_s):
                        await self._woken.wait()
                except TimeoutError:
                    continue
        finally:
            self._node.detach(self)

    def receive(self, notice: Notice) -> None:
        if len(self._unread) >= self._capacity:
            self.overrun()
        elif not self._lost:
            self._unread.append(notice)
        self._woken.set()

    def overrun(self) -> None:
        self._unread.clear()
        self._lost = True
        self._woken.set()

    def wake(self) -> None:
        self._woken.set()

    def _deliver(self) -> None:
        while self._unread:
            self._handler(self._unread.popleft())
        if self._lost:
            self._lost = False
            self._handler(Notice(NoticeKind.OVERRUN))


def _key(index: int, interface: IPInterface) -> tuple[int, IPInterface | IPAddress]:
    """Return what must be unique: in IPv6 the prefix length does not make an address another."""
    return index, interface if interface.version == 4 else interface.ip
