"""The two segments on which the contract is tested: a Linux bridge, and the simulated one.

Each has stations by name, with a kernel that has addresses and answers for them.
"""

import ctypes
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from random import Random
from typing import Protocol

from extip.clock import LoopClock
from extip.net import frames
from extip.net.interfaces import IPAddress, Link
from extip.net.neighbour_events import Question
from extip.net.neighbours import NeighbourSocket
from extip.net.packets import FrameSockets
from tests.fakes.faulty_segment import Client, FaultySegment
from tests.fakes.interfaces import ethernet
from tests.fakes.link import FakeNode
from tests.fakes.network import FakeNetwork
from tests.fakes.segment import FakeNeighbours
from tests.netns.namespace import PrivateNamespace

STATIONS = ("a", "b", "c")
IFACE = "eth0"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def mac_of(name: str) -> bytes:
    return bytes([2, 0, 0, 0, 0, 1 + STATIONS.index(name)])


def own(name: str, version: int) -> IPAddress:
    """Return the address that a station has from the start."""
    number = 1 + STATIONS.index(name)
    return ip_address(f"192.0.2.{number}" if version == 4 else f"2001:db8::{number}")


class Segment(Protocol):
    """What a contract test works on: `STATIONS`, each with `own` addresses."""

    def ask(self, who: str, ip: IPAddress) -> None:
        """Send a station's question for an IP, by the sockets of `extip.net` or their fake."""

    def answers(self, who: str) -> dict[IPAddress, bytes]:
        """Return the MACs that have answered a station since."""

    def announce(self, who: str, ip: IPAddress) -> None:
        """Have a station announce an IP to all."""

    def use(self, who: str, ip: IPAddress) -> None:
        """Have a station send to an IP, as a client does."""

    def knows(self, who: str, ip: IPAddress) -> bytes:
        """Return where a station's packets to an IP go; empty when it does not know."""

    def give(self, who: str, ip: IPAddress) -> None: ...

    def take(self, who: str, ip: IPAddress) -> None: ...

    def set_up(self, who: str, *, up: bool) -> None:
        """Set a station's interface up or down."""

    def block(self, sender: str, receiver: str) -> None:
        """Have frames of one station not reach another."""

    def unblock(self, sender: str, receiver: str) -> None: ...


class SimulatedSegment:
    """The one of the simulations. Its clients are stations that ask for what they do not know."""

    def __init__(self) -> None:
        self._segment = FaultySegment(Random(1))  # noqa: S311 - nothing is left to chance here
        self._networks: dict[str, FakeNetwork] = {}
        self._clients: dict[str, Client] = {}
        self._neighbours: dict[str, FakeNeighbours] = {}
        for name in STATIONS:
            kernel = FakeNode(LoopClock())
            kernel.add_link(IFACE, mac=mac_of(name))
            for version, length in ((4, 24), (6, 64)):
                kernel.put(IFACE, ip_interface(f"{own(name, version)}/{length}"))
            network = FakeNetwork(kernel, self._segment, hostname=name, iface=IFACE)
            self._networks[name] = network
            self._clients[name] = Client(self._segment, mac_of(name), Random(1))  # noqa: S311
            self._neighbours[name] = network.neighbours()
            self._neighbours[name].open(kernel.find(IFACE))

    def ask(self, who: str, ip: IPAddress) -> None:
        self._neighbours[who].ask([Question(ip, own(who, ip.version))])

    def answers(self, who: str) -> dict[IPAddress, bytes]:
        return self._neighbours[who].answers()

    def announce(self, who: str, ip: IPAddress) -> None:
        link = self._networks[who].node.find(IFACE)
        self._networks[who].open_sender(link).send(frames.announcement(ip, link.mac))

    def use(self, who: str, ip: IPAddress) -> None:
        self._clients[who].reaches(ip, self._segment.reached(ip, mac_of(who)))

    def knows(self, who: str, ip: IPAddress) -> bytes:
        return self._clients[who].cache.get(ip, b"")

    def give(self, who: str, ip: IPAddress) -> None:
        self._networks[who].node.put(IFACE, ip_interface(ip))

    def take(self, who: str, ip: IPAddress) -> None:
        self._networks[who].node.take(IFACE, ip_interface(ip))

    def set_up(self, who: str, *, up: bool) -> None:
        self._networks[who].node.change_link(IFACE, up=up, carrier=up)

    def block(self, sender: str, receiver: str) -> None:
        self._segment.block([(mac_of(sender), mac_of(receiver))])

    def unblock(self, sender: str, receiver: str) -> None:
        self._segment.unblock([(mac_of(sender), mac_of(receiver))])


@dataclass(frozen=True)
class _Station:
    namespace: int
    """An open file of it."""
    link: Link
    neighbours: NeighbourSocket


class BridgedSegment:
    """A bridge in the namespace that is entered, and a namespace for each station."""

    def __init__(self, bridge: PrivateNamespace, stack: ExitStack) -> None:
        self._here = _opened(stack)
        self._bridge = bridge
        bridge.ip("link add br0 type bridge mcast_snooping 0", "link set br0 addrgenmode none up")
        self._nft("add table bridge cut")
        self._nft("add chain bridge cut between { type filter hook forward priority 0; }")
        self._stations = {name: self._station(name, stack) for name in STATIONS}

    def ask(self, who: str, ip: IPAddress) -> None:
        with self._at(who) as station:
            station.neighbours.open(station.link)
            station.neighbours.ask([Question(ip, own(who, ip.version))])

    def answers(self, who: str) -> dict[IPAddress, bytes]:
        return self._stations[who].neighbours.answers()

    def announce(self, who: str, ip: IPAddress) -> None:
        with self._at(who) as station:
            sender = FrameSockets("contract").open(station.link)
            assert sender is not None
            with sender:
                sender.send(frames.announcement(ip, station.link.mac))

    def use(self, who: str, ip: IPAddress) -> None:
        family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
        with self._at(who), socket.socket(family, socket.SOCK_DGRAM) as client:
            client.sendto(b"", (str(ip), 9))

    def knows(self, who: str, ip: IPAddress) -> bytes:
        with self._at(who):
            found = json.loads(self._bridge.ip(f"-j neigh show to {ip} dev {IFACE}") or "[]")
        return bytes.fromhex(found[0].get("lladdr", "").replace(":", "")) if found else b""

    def give(self, who: str, ip: IPAddress) -> None:
        with self._at(who):
            dad = " nodad" if ip.version == 6 else ""
            self._bridge.ip(f"addr add {ip_interface(ip)} dev {IFACE}{dad}")

    def take(self, who: str, ip: IPAddress) -> None:
        with self._at(who):
            self._bridge.ip(f"addr del {ip_interface(ip)} dev {IFACE}")

    def set_up(self, who: str, *, up: bool) -> None:
        with self._at(who):
            self._bridge.ip(f"link set {IFACE} {'up' if up else 'down'}")

    def block(self, sender: str, receiver: str) -> None:
        rule = f'iifname "port-{sender}" oifname "port-{receiver}" drop'
        self._nft(f"add rule bridge cut between {rule}")

    def unblock(self, sender: str, receiver: str) -> None:
        listed = self._nft("-j", "list chain bridge cut between")
        rules = [one["rule"] for one in json.loads(listed)["nftables"] if "rule" in one]
        ends = {f"port-{sender}", f"port-{receiver}"}
        for rule in rules:
            names = [e["match"]["right"] for e in rule["expr"] if "match" in e]
            if set(names) == ends and names[0] == f"port-{sender}":
                self._nft(f"delete rule bridge cut between handle {rule['handle']}")

    def _station(self, name: str, stack: ExitStack) -> _Station:
        """Make a namespace with an interface whose other end is a port of the bridge."""
        bridge = f"/proc/{os.getpid()}/fd/{self._here}"
        mac = mac_of(name).hex(":")
        _checked(_libc.unshare(_CLONE_NEWNET))
        try:
            namespace = _opened(stack)
            self._bridge.ip(
                "link set lo up",
                f"link add {IFACE} address {mac} type veth peer name port-{name} netns {bridge}",
                f"link set {IFACE} addrgenmode none",
                f"link set {IFACE} up",
                f"addr add {own(name, 4)}/24 dev {IFACE}",
                f"addr add {own(name, 6)}/64 dev {IFACE} nodad",
                f"route add 198.51.100.0/24 dev {IFACE}",
                f"route add 2001:db8:1::/64 dev {IFACE}",
            )
            link = ethernet(index=socket.if_nametoindex(IFACE), name=IFACE, mac=mac_of(name))
        finally:
            self._go(self._here)
        self._bridge.ip(
            f"link set port-{name} addrgenmode none master br0", f"link set port-{name} up"
        )
        neighbours = NeighbourSocket()
        stack.callback(neighbours.close)
        return _Station(namespace, link, neighbours)

    @contextmanager
    def _at(self, who: str) -> Iterator[_Station]:
        """Be in a station's namespace; sockets that are opened there stay its own."""
        station = self._stations[who]
        self._go(station.namespace)
        try:
            yield station
        finally:
            self._go(self._here)

    @staticmethod
    def _go(namespace: int) -> None:
        _checked(_libc.setns(namespace, _CLONE_NEWNET))

    @staticmethod
    def _nft(*command: str) -> str:
        ran = subprocess.run(["nft", *command], check=True, capture_output=True, text=True)
        return ran.stdout


def _opened(stack: ExitStack) -> int:
    """Return an open file of the namespace that this thread is in."""
    found = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, found)
    return found


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
