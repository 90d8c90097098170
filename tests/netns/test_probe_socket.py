"""Probes on a real wire: what is at the other end of it, v1, is heard on v0."""

import asyncio
import contextlib
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from extip.clock import LoopClock
from extip.net import frames, probe_socket
from extip.net.interfaces import Link
from extip.net.links import LinkSocket
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from extip.net.packets import open_receiver
from extip.net.probe_socket import ProbeSocket
from extip.net.wire_filter import any_ndp_program
from tests.lab.wait import until
from tests.netns.namespace import Elsewhere, PrivateNamespace

pytestmark = pytest.mark.netns

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
V4_TOO, V6_TOO = ip_address("192.0.2.77"), ip_address("2001:db8::77")
STATION = bytes.fromhex("020000000099")


async def link(name: str) -> Link:
    async with LinkSocket(clock=LoopClock()) as links:
        return await links.link(name)


@asynccontextmanager
async def listening(seen: list[NeighbourEvent]) -> AsyncIterator[ProbeSocket]:
    """Collect on v0 what anybody says of the two IPs."""
    wire = ProbeSocket()

    def arrived() -> None:
        sightings, complete = wire.read()
        assert complete
        seen.extend(s for s in sightings if s.ip in (V4, V6))

    wire.open(await link("v0"), arrived)
    for ip in (V4_TOO, V6_TOO):
        assert wire.probe(ip)  # it listens from then on
    try:
        yield wire
    finally:
        wire.close()


@pytest.fixture
def station(namespace: PrivateNamespace) -> Iterator[socket.socket]:
    """Send frames from v1, in the name of any station."""
    assert "v1" in namespace.ip("link show v1")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
        opened.bind(("v1", 0))
        yield opened


def ask_for_a_minute(name: str) -> None:
    """Let duplicate address detection last for long: one question a second."""
    Path(f"/proc/sys/net/ipv6/conf/{name}/dad_transmits").write_text("60")


async def test_whoever_has_it_answers(namespace: PrivateNamespace) -> None:
    namespace.ip(f"addr add {V4}/24 dev v1", f"addr add {V6}/64 dev v1 nodad")
    v1 = await link("v1")
    seen: list[NeighbourEvent] = []
    async with listening(seen) as wire:

        def answered() -> bool:
            # Again and again: the kernel takes a moment to listen to the group of the IPv6 one.
            for ip in (V4, V6):
                assert wire.probe(ip)
            return {sighting.ip for sighting in seen} == {V4, V6}

        await until(answered)
        await asyncio.sleep(0.1)
    assert set(seen) == {NeighbourEvent(ip, v1.mac, FrameKind.ANNOUNCEMENT) for ip in (V4, V6)}


async def test_nobody_answers_for_what_nobody_has(namespace: PrivateNamespace) -> None:
    namespace.ip("addr add 192.0.2.9/24 dev v1", "addr add 2001:db8::9/64 dev v1 nodad")
    seen: list[NeighbourEvent] = []
    async with listening(seen) as wire:
        for ip in (V4, V6):
            assert wire.probe(ip)
        await asyncio.sleep(0.3)
    assert seen == []


async def test_a_neighbour_does_not_learn_a_probe(namespace: PrivateNamespace) -> None:
    """It asks, and claims nothing: what others know of the IP stays."""
    namespace.ip(
        "addr add 192.0.2.9/24 dev v1",
        f"neigh replace {V4} lladdr 02:00:00:00:00:99 dev v1 nud stale",
        f"neigh replace {V6} lladdr 02:00:00:00:00:99 dev v1 nud stale",
    )
    async with listening([]) as wire:
        for ip in (V4, V6):
            assert wire.probe(ip)
        await asyncio.sleep(0.2)
    assert namespace.ip("neigh show dev v1").count("02:00:00:00:00:99") == 2


async def test_another_stations_probe_and_announcement_are_heard(station: socket.socket) -> None:
    seen: list[NeighbourEvent] = []
    async with listening(seen):
        for ip in (V4, V6):
            station.send(frames.probe(ip, STATION))
            station.send(frames.announcement(ip, STATION))
        await until(lambda: len(seen) >= 4)
    assert set(seen) == {NeighbourEvent(ip, STATION, kind) for ip in (V4, V6) for kind in FrameKind}


async def test_a_kernel_that_is_about_to_take_it_is_heard(namespace: PrivateNamespace) -> None:
    """Its duplicate address detection runs: the address is tentative, and answers nobody."""
    v1 = await link("v1")
    seen: list[NeighbourEvent] = []
    async with listening(seen):
        namespace.ip(f"addr add {V6}/64 dev v1")
        await until(lambda: bool(seen))
    assert seen[0] == NeighbourEvent(V6, v1.mac, FrameKind.PROBE)


async def test_a_kernel_that_is_about_to_take_it_hears_us(namespace: PrivateNamespace) -> None:
    """Whoever asks first is left in peace: the kernel gives its own address up."""
    ask_for_a_minute("v1")
    namespace.ip(f"addr add {V6}/64 dev v1")
    async with listening([]) as wire:

        def failed() -> bool:
            assert wire.probe(V6)
            return "dadfailed" in namespace.ip("addr show dev v1")

        await until(failed)


async def test_all_other_traffic_is_left_to_the_kernel(station: socket.socket) -> None:
    v0 = await link("v0")
    program = any_ndp_program(own=v0.mac)
    receiver = open_receiver(v0, 6, program)
    with contextlib.closing(receiver):
        solicitation = frames.probe(V6, STATION)
        echo = bytearray(solicitation)
        echo[54] = 128  # ICMPv6, but no neighbour discovery
        datagram = bytearray(solicitation)
        datagram[20] = 17
        for frame in (bytes(echo), bytes(datagram), solicitation):
            station.send(frame)
        await until(lambda: bool(select.select([receiver], [], [], 0)[0]))
        assert receiver.recv(2048) == solicitation
        with pytest.raises(BlockingIOError):
            receiver.recv(2048)


async def test_what_was_lost_is_no_silence(
    station: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_socket, "_RECEIVE_BUFFER", 4096)
    wire = ProbeSocket()
    wire.open(await link("v0"), lambda: None)
    with contextlib.closing(wire):
        assert wire.probe(V4_TOO)
        for _ in range(500):
            station.send(frames.probe(V4, STATION))
        await until(lambda: wire.read()[1] is False)
        await until(lambda: wire.read() == ([], True))


async def test_nothing_is_heard_in_a_pause(station: socket.socket) -> None:
    seen: list[NeighbourEvent] = []
    async with listening(seen) as wire:
        for _ in range(2):
            station.send(frames.probe(V4, STATION))
            wire.pause()
            for ip in (V4, V6):
                station.send(frames.probe(ip, STATION))
            await asyncio.sleep(0.1)
            assert seen == []
            for ip in (V4, V6):
                assert wire.probe(ip)
                station.send(frames.probe(ip, STATION))
            await until(lambda: len(seen) == 2)
            assert {sighting.ip for sighting in seen} == {V4, V6}
            seen.clear()


async def test_an_interface_that_is_down_or_gone_is_silent(namespace: PrivateNamespace) -> None:
    v0 = await link("v0")
    wire = ProbeSocket()
    with contextlib.closing(wire):
        wire.open(v0, lambda: None)
        namespace.ip("link set v0 down")
        assert not wire.probe(V4)
        assert wire.read() == ([], True)
        namespace.ip("link set v0 up")
        assert wire.probe(V4)
        namespace.ip("link delete v0")
        assert not wire.probe(V4)
        assert wire.read() == ([], False), "it was deaf before the answers were read"
        assert wire.read() == ([], True)
        wire.open(replace(v0, mac=STATION), lambda: None)
        assert not wire.probe(V4)
        assert wire.read() == ([], True)


@pytest.mark.parametrize("paused", [False, True])
async def test_an_interface_that_is_back_as_itself_is_asked_on(
    namespace: PrivateNamespace, elsewhere: Elsewhere, *, paused: bool
) -> None:
    """The sockets from before say ENXIO for ever, and hear nothing."""
    namespace.ip(f"addr add {V4}/24 dev v1", f"addr add {V6}/64 dev v1 nodad")
    before, v1 = await link("v0"), await link("v1")
    seen: list[NeighbourEvent] = []
    complete: list[bool] = []
    wire = ProbeSocket()

    def arrived() -> None:
        found, all_of_it = wire.read()
        seen.extend(found)
        complete.append(all_of_it)

    with contextlib.closing(wire):
        wire.open(before, arrived)
        for ip in (V4_TOO, V6_TOO):
            assert wire.probe(ip)
        if paused:
            wire.pause()
        elsewhere.take("v0")
        elsewhere.give_back("v0")
        namespace.ip("link set v0 up")
        after = await link("v0")
        assert (after.index, after.mac) == (before.index, before.mac)
        wire.open(after, arrived)  # there is no difference to be seen

        def answered() -> bool:
            for ip in (V4, V6):
                assert wire.probe(ip)
            return {V4, V6} <= {s.ip for s in seen if s.mac == v1.mac}

        await until(answered)
        arrived()
    assert paused or not all(complete), "what was said meanwhile is lost"


async def test_nothing_is_left_open(namespace: PrivateNamespace) -> None:
    def sockets() -> int:
        return len(Path("/proc/thread-self/net/packet").read_text().splitlines()) - 1

    async with listening([]) as wire:
        assert wire.probe(V4)
        assert sockets() == 3
        assert "allmulti 1" in namespace.ip("-d link show v0")
        wire.pause()
        assert "allmulti 0" in namespace.ip("-d link show v0")
    assert sockets() == 0
