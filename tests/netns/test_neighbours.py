"""Questions on a real wire: what is at the other end of it, v1, answers v0, or does not."""

import asyncio
import errno
import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address

import pytest

from extip.clock import LoopClock
from extip.net import frames
from extip.net.interfaces import IPAddress, Link
from extip.net.links import LinkSocket
from extip.net.neighbour_events import Question
from extip.net.neighbours import NeighbourSocket
from extip.net.packets import open_packet_socket
from tests.lab.wait import until
from tests.netns.namespace import Elsewhere, PrivateNamespace

pytestmark = pytest.mark.netns

PATIENCE_S = 20.0
V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
STATION = bytes.fromhex("020000000099")
OWN: Mapping[int, IPAddress] = {4: ip_address("192.0.2.9"), 6: ip_address("2001:db8::9")}


async def link(name: str) -> Link:
    async with LinkSocket(clock=LoopClock()) as links:
        return await links.link(name)


def asks(wire: NeighbourSocket, ip: IPAddress, to: bytes = b"") -> bool:
    return wire.ask([Question(ip, OWN[ip.version], to)]) == [ip]


async def answer(wire: NeighbourSocket, ip: IPAddress, to: bytes = b"") -> bytes:
    """Ask until there is an answer; return the MAC."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            assert asks(wire, ip, to)
            await asyncio.sleep(0.02)
            found = wire.answers()
            assert set(found) <= {ip}, "nobody else was asked, or is there"
            if ip in found:
                return found[ip]


@pytest.fixture
def wire(namespace: PrivateNamespace, elsewhere: Elsewhere) -> Iterator[NeighbourSocket]:
    """Give v0 its addresses, and v1, which is elsewhere, those of a neighbour."""
    elsewhere.take("v1")
    elsewhere.ip("link set v1 up", f"addr add {V4}/24 dev v1", f"addr add {V6}/64 dev v1 nodad")
    namespace.ip(f"addr add {OWN[4]}/24 dev v0", f"addr add {OWN[6]}/64 dev v0 nodad")
    opened = NeighbourSocket()
    yield opened
    opened.close()


@pytest.mark.parametrize("ip", [V4, V6])
async def test_a_neighbour_answers_whether_its_mac_is_known_or_not(
    wire: NeighbourSocket, ip: IPAddress
) -> None:
    wire.open(await link("v0"))
    mac = await answer(wire, ip)
    assert len(mac) == 6
    assert await answer(wire, ip, mac) == mac


@pytest.mark.parametrize("ip", [V4, V6])
async def test_one_that_is_not_there_does_not(wire: NeighbourSocket, ip: IPAddress) -> None:
    wire.open(await link("v0"))
    await answer(wire, ip)
    assert asks(wire, ip + 1)
    await answer(wire, ip)


@pytest.mark.parametrize("ip", [V4, V6])
async def test_what_a_station_says_to_all_is_no_answer(
    wire: NeighbourSocket, elsewhere: Elsewhere, ip: IPAddress
) -> None:
    """A network that lets broadcasts through, one way, leads nowhere all the same."""
    v0 = await link("v0")
    wire.open(v0)
    await answer(wire, ip)
    to_all = frames.announcement(ip + 1, STATION, reply=True)
    to_this_one = v0.mac + frames.announcement(ip + 2, STATION, reply=True)[6:]
    seen: dict[IPAddress, bytes] = {}
    async with asyncio.timeout(PATIENCE_S):
        while ip + 2 not in seen:
            elsewhere.send("v1", to_all)
            elsewhere.send("v1", to_this_one)
            await asyncio.sleep(0)
            seen |= wire.answers()
    assert seen.pop(ip + 2) == STATION
    assert ip + 1 not in seen


async def test_an_interface_that_was_taken_away_is_opened_anew(
    wire: NeighbourSocket, namespace: PrivateNamespace, elsewhere: Elsewhere
) -> None:
    v0 = await link("v0")
    wire.open(v0)
    await answer(wire, V4)
    elsewhere.take("v0")
    elsewhere.give_back("v0")
    namespace.ip("link set v0 up", f"addr add {OWN[4]}/24 dev v0")
    assert not asks(wire, V4), "its sockets are off the interface, for good"
    wire.open(await link("v0"))
    await answer(wire, V4)


async def test_an_interface_that_is_down_or_gone_answers_nothing(
    wire: NeighbourSocket, namespace: PrivateNamespace
) -> None:
    v0 = await link("v0")
    wire.open(v0)
    await answer(wire, V4)
    namespace.ip("link set v0 down")
    assert not asks(wire, V4)
    assert wire.answers() == {}
    namespace.ip("link del v0")
    wire.open(v0)
    assert not asks(wire, V4)


@pytest.mark.usefixtures("wire")
async def test_a_frame_that_finds_no_room_is_no_loss_of_what_others_answer() -> None:
    """As while a thousand announcements go out."""

    class Full(socket.socket):
        def send(self, frame: bytes, /) -> int:  # type: ignore[override]
            if (V4 + 1).packed in frame:
                raise OSError(errno.ENOBUFS, "no buffer space available")
            return super().send(frame)

    flags = socket.SOCK_RAW | socket.SOCK_NONBLOCK
    wire = NeighbourSocket(lambda: Full(socket.AF_PACKET, flags, 0))
    wire.open(await link("v0"))
    await answer(wire, V4)
    questions = [Question(ip, OWN[4]) for ip in (V4, V4 + 1)]
    assert wire.ask(questions) == [V4]
    await until(lambda: V4 in wire.answers())
    wire.close()


@pytest.mark.usefixtures("wire")
async def test_there_is_no_receiver_for_a_family_that_is_not_asked_any_more() -> None:
    opened: list[socket.socket] = []

    def open_packets() -> socket.socket:
        opened.append(open_packet_socket())
        return opened[-1]

    wire = NeighbourSocket(open_packets)
    wire.open(await link("v0"))
    await answer(wire, V6)
    both = len(opened)
    await answer(wire, V4)
    assert [one.fileno() >= 0 for one in opened] == [True, False, True]
    assert len(opened) == both + 1
    await answer(wire, V6)
    wire.close()
    assert all(one.fileno() < 0 for one in opened)


@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
async def test_on_a_bridge_and_a_macvlan_neighbours_answer_and_a_dead_port_is_seen(
    namespace: PrivateNamespace, elsewhere: Elsewhere, kind: str
) -> None:
    """v0 is what it is made of. Without the carrier of v0 it has none, and nobody is asked."""
    elsewhere.take("v1")
    elsewhere.ip("link set v1 up", f"addr add {V4}/24 dev v1", f"addr add {V6}/64 dev v1 nodad")
    if kind == "bridge":
        namespace.ip("link add own0 type bridge stp_state 0 forward_delay 0")
        namespace.ip("link set v0 master own0")
    else:
        namespace.ip("link add link v0 name own0 type macvlan mode bridge")
    namespace.ip("link set own0 up", f"addr add {OWN[4]}/24 dev own0")
    namespace.ip(f"addr add {OWN[6]}/64 dev own0 nodad")

    async def carrier(*, expected: bool) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if (await link("own0")).carrier is expected:
                    return
                await asyncio.sleep(0.02)

    await carrier(expected=True)
    opened = NeighbourSocket()
    try:
        opened.open(await link("own0"))
        for ip in (V4, V6):
            assert await answer(opened, ip) == await answer(opened, ip)
        elsewhere.ip("link set v1 down")
        await carrier(expected=False)
        assert (await link("own0")).up
        elsewhere.ip("link set v1 up", f"addr replace {V6}/64 dev v1 nodad")
        await carrier(expected=True)
        for ip in (V4, V6):
            await answer(opened, ip)
    finally:
        opened.close()
