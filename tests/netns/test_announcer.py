"""Announcements on a real wire: what leaves v0 is seen on v1."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from extip.addresses.announce.announcer import Announcer
from extip.clock import LoopClock
from extip.metrics import Metrics
from extip.net import frames
from extip.net.interfaces import Link
from extip.net.links import LinkSocket
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from extip.net.packets import FrameSockets
from tests.lab.wait import until
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
ETH_P_ALL = 3


class Peer:
    """Reads every frame that arrives at v1."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened

    def read(self) -> list[NeighbourEvent]:
        seen: list[NeighbourEvent | None] = []
        while True:
            try:
                frame = self._socket.recv(2048)
            except BlockingIOError:
                return [s for s in seen if s is not None and s.ip in (V4, V6)]
            seen.append(frames.parse(frame))

    def read_into(self, seen: list[NeighbourEvent]) -> list[NeighbourEvent]:
        """Add what has arrived since, and return all of it."""
        seen += self.read()
        return seen


@pytest.fixture
def peer(namespace: PrivateNamespace) -> Iterator[Peer]:
    assert "v1" in namespace.ip("link show v1")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as opened:
        opened.bind(("v1", ETH_P_ALL))
        opened.setblocking(False)  # noqa: FBT003 - that is its signature
        yield Peer(opened)


async def link(name: str = "v0") -> Link:
    async with LinkSocket(clock=LoopClock()) as links:
        return await links.link(name)


@asynccontextmanager
async def announcing(metrics: Metrics) -> AsyncIterator[Announcer]:
    announcer = Announcer(
        clock=LoopClock(), metrics=metrics, open_socket=FrameSockets("announcer").open
    )
    task = asyncio.create_task(announcer.run())
    try:
        yield announcer
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_the_neighbour_hears_it_before_the_call_returns(peer: Peer) -> None:
    async with announcing(Metrics("test")) as announcer:
        v0 = await link()
        announcer.set_link(v0)
        announcer.announce([V4, V6])
        assert peer.read() == [
            NeighbourEvent(ip, v0.mac, FrameKind.ANNOUNCEMENT) for ip in (V4, V6)
        ]
        again: list[NeighbourEvent] = []
        await until(lambda: len(peer.read_into(again)) >= 2)
        assert [s.ip for s in again[:2]] == [V4, V6]


async def test_a_neighbour_learns_the_new_place(namespace: PrivateNamespace, peer: Peer) -> None:
    """Not only is it sent: the kernel at the other end takes it over, in both families."""
    namespace.ip(
        "addr add 192.0.2.9/24 dev v1",
        "addr add 2001:db8::9/64 dev v1 nodad",
        f"neigh replace {V4} lladdr 02:00:00:00:00:99 dev v1 nud stale",
        f"neigh replace {V6} lladdr 02:00:00:00:00:99 dev v1 nud stale",
    )
    async with announcing(Metrics("test")) as announcer:
        v0 = await link()
        announcer.set_link(v0)
        announcer.announce([V4, V6])
        peer.read()
        await until(lambda: namespace.ip("neigh show dev v1").count(v0.mac.hex(":")) == 2)
    assert "02:00:00:00:00:99" not in namespace.ip("neigh show dev v1")


async def test_down_counts_failures_and_up_announces_again(
    namespace: PrivateNamespace, peer: Peer
) -> None:
    metrics = Metrics("test")
    async with announcing(metrics) as announcer:
        announcer.set_link(await link())
        namespace.ip("link set v0 down")
        announcer.announce([V4])  # nobody has told it yet
        assert metrics.registry.get_sample_value("extip_announcement_failures_total") == 1
        announcer.set_link(await link())
        namespace.ip("link set v0 up")
        announcer.set_link(await link())
        seen: list[NeighbourEvent] = []
        await until(lambda: peer.read_into(seen))
        assert {s.ip for s in seen} == {V4}


async def test_an_interface_that_goes_and_comes_back(namespace: PrivateNamespace) -> None:
    metrics = Metrics("test")

    def sent() -> float:
        name, labels = "extip_announcements_total", {"family": "ipv4"}
        return metrics.registry.get_sample_value(name, labels) or 0.0

    async with announcing(metrics) as announcer:
        before = await link()
        announcer.set_link(before)
        announcer.announce([V4])
        namespace.ip("link delete v0")
        announcer.restart()
        await asyncio.sleep(0.05)
        announcer.set_link(before)  # seen before it went
        announcer.set_link(None)
        namespace.add_veth()
        said = sent()
        announcer.set_link(await link())
        await until(lambda: sent() > said)


async def test_loopback_is_silent(namespace: PrivateNamespace) -> None:
    metrics = Metrics("test")
    async with announcing(metrics) as announcer:
        announcer.set_link(await link("lo"))
        announcer.announce([V4, V6])
        await asyncio.sleep(0.15)
    sent = metrics.registry.get_sample_value("extip_announcements_total", {"family": "ipv4"})
    assert not sent
    assert "lo" in namespace.ip("link show lo")
