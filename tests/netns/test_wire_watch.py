"""The conflict watch on a real wire: what v1 says about IPs of v0, and what the rest costs."""

import asyncio
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from extip.clock import LoopClock
from extip.metrics import Metrics
from extip.net import frames
from extip.net.interfaces import IPAddress, Link
from extip.net.links import LinkSocket
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from extip.net.wire_watch import CALM_FRAMES, WireWatch
from tests.lab.storm import Storm
from tests.lab.wait import until
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
OTHER = b"\x02\x00\x00\x00\x00\x99"
BOTH = frozenset({V4, V6})


async def link(name: str = "v0") -> Link:
    async with LinkSocket(clock=LoopClock()) as links:
        return await links.link(name)


@contextmanager
def packets(name: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as opened:
        opened.bind((name, 0))
        yield opened


@contextmanager
def sending(name: str = "v1") -> Iterator[Callable[[bytes], int]]:
    with packets(name) as opened:
        yield opened.send


@asynccontextmanager
async def watching(
    ips: frozenset[IPAddress] = BOTH, *, alert: bool = False
) -> AsyncIterator[tuple[WireWatch, list[NeighbourEvent]]]:
    heard: list[NeighbourEvent] = []
    watch = WireWatch(heard.append, clock=LoopClock(), metrics=Metrics("test"))
    task = asyncio.create_task(watch.run())
    try:
        watch.listen(await link(), ips, alert=alert)
        await asyncio.sleep(0.1)
        yield watch, heard
    finally:
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def ignore_arp(value: int) -> None:
    Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text(str(value))


async def soon() -> None:
    await asyncio.sleep(0.1)


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize("ip", [V4, V6])
async def test_hears_others_with_our_ips_and_nothing_else(ip: IPAddress) -> None:
    async with watching() as (watch, heard):
        own = await link()
        with sending() as send:
            send(frames.announcement(ip, OTHER))
            send(frames.announcement(ip, OTHER, reply=True))
            send(frames.announcement(ip + 1, OTHER))
            send(frames.announcement(ip, own.mac))
            send(frames.probe(ip, OTHER))
            await until(lambda: len(heard) >= 2)
            await soon()
            assert heard == [NeighbourEvent(ip, OTHER, FrameKind.ANNOUNCEMENT)] * 2
            watch.listen(own, BOTH, alert=True)
            await soon()
            send(frames.probe(ip, OTHER))
            await until(lambda: len(heard) >= 3)
            assert heard[2:] == [NeighbourEvent(ip, OTHER, FrameKind.PROBE)]
            watch.listen(own, BOTH - {ip}, alert=True)
            await soon()
            send(frames.announcement(ip, OTHER))
            watch.listen(None, BOTH, alert=True)
            await soon()
            send(frames.announcement(ip, OTHER))
            await soon()
        assert len(heard) == 3


def advertised(options: bytes) -> bytes:
    """Return an advertisement with more options after the one that has the MAC."""
    message = struct.pack("!BBHI16s", 136, 0, 0, 0x20000000, V6.packed)
    message += bytes([2, 1]) + OTHER + options
    group = ip_address("ff02::1").packed
    return frames._icmpv6(b"\x33\x33\0\0\0\1", OTHER, V6.packed, group, message)


def behind(kind: int, frame: bytes) -> bytes:
    """Return a frame with a header of options (PadN) before its message."""
    size = int.from_bytes(frame[18:20], "big") + 8
    head = frame[:18] + size.to_bytes(2, "big") + bytes([kind]) + frame[21:54]
    return head + bytes([frame[20], 0, 1, 4, 0, 0, 0, 0]) + frame[54:]


@pytest.mark.usefixtures("namespace")
@pytest.mark.parametrize(
    "frame",
    [
        advertised(bytes([253, 160]) + bytes(160 * 8 - 2)),
        behind(0, advertised(b"")),
        behind(60, advertised(b"")),
        behind(0, behind(60, advertised(b""))),
    ],
    ids=["unknown option", "hop-by-hop", "destination", "both"],
)
async def test_an_advertisement_is_heard_whatever_options_it_has(
    namespace: PrivateNamespace, frame: bytes
) -> None:
    """Neighbours pass over options that they do not know, and take its word."""
    namespace.ip("addr add 2001:db8::9/64 dev v1 nodad")
    namespace.ip(f"neigh replace {V6} lladdr 02:00:00:00:00:11 nud reachable dev v1")
    async with watching() as (_, heard):
        with sending("v0") as send:
            send(frame)
            await until(lambda: "00:99" in namespace.ip("-6 neigh show dev v1"))
        with sending() as send:
            send(frame)
            await until(lambda: heard)
    assert heard == [NeighbourEvent(V6, OTHER, FrameKind.ANNOUNCEMENT)]


@pytest.mark.usefixtures("namespace")
async def test_our_own_announcements_are_not_heard() -> None:
    async with watching(alert=True) as (watch, heard):
        with sending("v0") as send:
            for ip in BOTH:
                send(frames.announcement(ip, OTHER))
                watch.ask(ip)
            await soon()
    assert heard == []


async def test_a_station_that_has_the_ip_answers_what_is_asked(
    namespace: PrivateNamespace,
) -> None:
    """It is the kernel that answers: of a node whose controller is hung, too."""
    namespace.ip(f"addr add {V4}/32 dev v1", f"addr add {V6}/128 dev v1 nodad")
    namespace.ip("link set v1 address 02:00:00:00:00:99")
    async with watching(alert=True) as (watch, heard):

        def answered() -> bool:
            # Again and again: the kernel takes a moment to listen to the group of the IPv6 one.
            assert watch.ask(V4)
            assert watch.ask(V6)
            return {s.ip for s in heard if s.kind is FrameKind.ANNOUNCEMENT} == BOTH

        await until(answered)
    assert {s.ip for s in heard if s.kind is FrameKind.ANNOUNCEMENT} == BOTH
    assert {s.mac for s in heard} == {OTHER}


async def test_an_interface_that_goes_and_one_that_comes(namespace: PrivateNamespace) -> None:
    async with watching() as (watch, heard):
        gone = await link()
        namespace.ip("link delete v0")
        watch.listen(gone, frozenset({V4}), alert=True)  # seen before it went
        await soon()
        assert not watch.ask(V4)
        namespace.add_veth()
        watch.listen(await link(), BOTH, alert=False)
        await soon()
        with sending() as send:
            send(frames.announcement(V4, OTHER))
            await until(lambda: bool(heard))
        assert [s.ip for s in heard] == [V4]


@pytest.mark.usefixtures("namespace")
async def test_a_thousand_ips_are_told_from_their_neighbours() -> None:
    ips = [IPv4Address("10.1.0.0") + 2 * n for n in range(1000)]
    async with watching(frozenset(ips), alert=True) as (_, heard):
        with sending() as send:
            for ip in ips:
                send(frames.announcement(ip, OTHER))
                send(frames.announcement(ip + 1, OTHER))
            await until(lambda: len(heard) >= len(ips))
            await soon()
    assert {s.ip for s in heard} == set(ips)
    assert len(heard) == len(ips), "beyond what fits the program, the reader sorts out"


def loop_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_utime + used.ru_stime


async def storm(sent: list[bytes], *, per_s: float, alert: bool = False) -> tuple[float, float]:
    """Return how many frames a second were handed on, and the share of a core that it cost."""
    async with watching(alert=alert) as (_, heard):
        await asyncio.sleep(0.2)
        with packets("v1") as opened, Storm(opened, sent, per_s=per_s) as sender:
            await asyncio.sleep(1.0)
            heard.clear()
            began, used_s = time.monotonic(), loop_cpu_s()
            await asyncio.sleep(2.0)
            lasted_s = time.monotonic() - began
            used_s = loop_cpu_s() - used_s
            assert sender.count > per_s / 4, "the storm did not take place"
    return len(heard) / lasted_s, used_s / lasted_s


@pytest.mark.usefixtures("namespace")
async def test_ten_thousand_unrelated_broadcasts_a_second_wake_nobody(
    record_property: Callable[[str, object], None],
) -> None:
    others = [frames.announcement(IPv4Address("10.9.0.0") + n, OTHER) for n in range(1000)]
    others += [frames.announcement(ip_address(f"fd09::{n:x}"), OTHER) for n in range(1000)]
    heard_per_s, share = await storm(others, per_s=10_000, alert=True)
    record_property("share of a core", round(share, 4))
    assert heard_per_s == 0
    assert share < 0.02


@pytest.mark.usefixtures("namespace")
async def test_of_a_storm_of_forged_announcements_only_so_much_is_read(
    record_property: Callable[[str, object], None],
) -> None:
    forged = [frames.announcement(ip, n.to_bytes(6, "big")) for n in range(2, 999) for ip in BOTH]
    heard_per_s, share = await storm(forged, per_s=20_000)
    record_property("frames read a second", round(heard_per_s))
    record_property("share of a core", round(share, 4))
    assert 0 < heard_per_s <= 1.2 * CALM_FRAMES
    assert share < 0.1


async def test_nobody_is_asked_for_ipv4_where_every_kernel_would_answer(
    namespace: PrivateNamespace,
) -> None:
    """As kube-proxy in ipvs mode has it; the interface need not be a dummy for that."""
    namespace.ip("link add kube-ipvs0 type bridge")
    ignore_arp(0)
    async with watching(alert=True) as (watch, _):
        assert not watch.ask(V4)
        assert watch.ask(V6)
    ignore_arp(1)
    async with watching(alert=True) as (watch, _):
        assert watch.ask(V4)
