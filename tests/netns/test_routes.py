"""Gateways of every form that the kernel knows."""

import asyncio
import time
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET
from typing import Any

import pytest

from extip.clock import LoopClock
from extip.errors import LinkNotFoundError
from extip.net import iproute
from extip.net.interfaces import Gateways
from extip.net.routes import RouteTable
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

ROUTES = {
    "route add default via 10.9.0.254": "10.9.0.254",
    "route add 10.50.0.0/16 nexthop via 10.9.0.3 nexthop via 10.9.0.4": "10.9.0.3 10.9.0.4",
    "route add 10.51.0.0/16 via inet6 fd09::77 dev v0": "fd09::77",
    "route add 10.52.0.0/16 via 10.9.0.5 table 1234": "10.9.0.5",
    "-6 route add default via fd09::fe": "fd09::fe",
    "-6 route add fd50::/32 nexthop via fd09::3 nexthop via fd09::4": "fd09::3 fd09::4",
    "-6 route add fd51::/32 via fe80::1 dev v0 table 77": "fe80::1",
    "nexthop add id 7 via 10.9.0.7 dev v0": "10.9.0.7",
    "nexthop add id 8 via fd09::8 dev v0": "fd09::8",
    "nexthop add id 9 group 7": "",
    "route add 10.53.0.0/16 nhid 9": "",
    "route add blackhole 10.54.0.0/16": "",
    "route add 10.55.0.0/16 dev v0": "",
}


MODE = Path("/proc/sys/net/ipv4/nexthop_compat_mode")


@pytest.fixture(params=["1", "0"])
def compatible(request: pytest.FixtureRequest, namespace: PrivateNamespace) -> bool:
    """Whether routes repeat the gateways of the next hop objects that they name."""
    namespace.ip("link show lo")
    MODE.write_text(request.param)
    return bool(int(request.param))


@pytest.mark.usefixtures("compatible")
async def test_gateways_are_found_wherever_they_stand(
    namespace: PrivateNamespace,
) -> None:
    namespace.ip("addr add 10.9.0.1/24 dev v0", "addr add fd09::1/64 dev v0 nodad")
    expected = set()
    async with RouteTable(clock=LoopClock()) as table:
        assert await table.gateways() == Gateways()
        for command, gateways in ROUTES.items():
            namespace.ip(command)
            expected |= {ip_address(text) for text in gateways.split()}
            assert (await table.gateways()).every == expected
        defaults = {ip_address("10.9.0.254"), ip_address("fd09::fe")}
        assert (await table.gateways()).of_default_routes == defaults
        namespace.ip("route del default")
        found = await table.gateways()
        assert found.of_default_routes == {ip_address("fd09::fe")}
        assert ip_address("10.9.0.254") not in found.every


@pytest.mark.parametrize("turns", range(12))
async def test_calls_at_the_same_time_do_not_mix(namespace: PrivateNamespace, turns: int) -> None:
    """Nor does one that is cancelled, at whatever point, disturb the others or the loop."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    namespace.ip("addr add 10.9.0.1/24 dev v0", "route add default via 10.9.0.254")
    gateways = frozenset({ip_address("10.9.0.254")})
    expected = Gateways(gateways, gateways)
    async with RouteTable(clock=LoopClock()) as table, asyncio.timeout(5):
        calls = [asyncio.ensure_future(table.gateways()) for _ in range(4)]
        for _ in range(turns):
            await asyncio.sleep(0)
        calls[1].cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        for n in (0, 2, 3):
            assert results[n] == expected
        assert await table.gateways() == expected
        await asyncio.sleep(0.01)
    assert faults == []


async def test_addresses_do_not_make_it_slow(namespace: PrivateNamespace) -> None:
    """Each address brings a local route along; the kernel leaves those out."""

    async def routes() -> int:
        dump = partial(iproute.table_request, family=AF_INET)
        return len(await table.table("dump routes", dump, lambda *_: True))

    namespace.ip("addr add 10.9.0.1/24 dev v0", "route add default via 10.9.0.254")
    async with RouteTable(clock=LoopClock()) as table:
        before = await routes()
        for n in range(20):
            namespace.ip(f"addr add 10.1.0.{n}/32 dev v0")
        assert await routes() == before == 2


async def test_ten_thousand_routes_hold_nothing_up(namespace: PrivateNamespace) -> None:
    """They are read beside the event loop, which goes on in between; see also `make bench`."""
    namespace.ip("addr add 10.9.0.1/24 dev v0")
    namespace.batch(
        *(
            f"route add 10.50.{n // 250}.{n % 250}/32 via 10.9.0.{2 + n % 200}"
            for n in range(10_000)
        )
    )
    shares = []
    async with RouteTable(clock=LoopClock()) as table:
        for _ in range(5):
            started = last = time.perf_counter()
            reading = asyncio.ensure_future(table.gateways())
            stall, turns = 0.0, 0
            while not reading.done():
                await asyncio.sleep(0)
                now = time.perf_counter()
                stall, last, turns = max(stall, now - last), now, turns + 1
            gateways = {ip_address(f"10.9.0.{2 + n}") for n in range(200)}
            assert await reading == Gateways(frozenset(gateways), frozenset())
            assert turns > 10
            shares.append(stall / (last - started))
    assert min(shares) < 0.5, shares


STATIONS = {
    "route add 10.60.0.1 dev v0 scope link": "10.60.0.1",
    "route add 10.60.0.2 dev v0 table 77": "10.60.0.2",  # that a rule names
    "-6 route add fd60::1 dev v0 metric 1024": "fd60::1",
    "route add 10.60.0.4 via 10.9.0.254": "",
    "route add 10.60.0.5 via inet6 fd09::77 dev v0": "",
    "route add 10.60.0.6 nexthop dev v0 nexthop dev v2": "",
    "route add 10.60.0.7 dev v0 table 78": "",  # that no rule names
    "route add blackhole 10.60.0.8": "",
    "route add unreachable 10.60.0.9": "",
    "route add 10.60.0.11 dev v0 proto kernel": "",  # of an address, which may be gone by now
    "-6 route add fd60::9 dev v0 proto kernel": "",
    "nexthop add id 7 via 10.9.0.7 dev v0": "",
    "nexthop add id 8 dev v0": "",
    "route add 10.60.0.10 nhid 7": "",
    "route add 10.61.0.0/31 dev v0": "",
    "route add 10.62.0.0/16 dev v0": "",
    "-6 route add fd60::4 via fd09::fe": "",
    "-6 route add fd60::6 nexthop via fd09::3 nexthop via fd09::4": "",
    "-6 route add blackhole fd60::8": "",
    "-6 route add fd61::/127 dev v0": "",
    "addr add 10.60.0.20/32 dev v0": "",
    "addr add fd60::20/128 dev v0 nodad": "",
    "route add default via 10.9.0.254": "",
    "-6 route add default via fd09::fe": "",
}
ASKED = [
    *(ip_address(f"10.60.0.{n}") for n in (*range(1, 12), 20, 99)),
    *(ip_address(f"fd60::{n}") for n in (1, 4, 6, 8, 9, 20, 99)),
    *map(ip_address, ("10.61.0.1", "10.62.3.4", "fd61::1", "10.9.0.1", "10.9.0.9", "fd09::9")),
]


@pytest.mark.usefixtures("compatible")
async def test_a_single_station_is_told_from_every_other_route(
    namespace: PrivateNamespace,
) -> None:
    namespace.add_veth("v2", "v3")
    namespace.ip("addr add 10.9.0.1/24 dev v0", "addr add fd09::1/64 dev v0 nodad")
    namespace.ip("rule add table 77")
    expected = set()
    async with RouteTable(clock=LoopClock()) as table:
        index = (await table.link("v0")).index
        assert await table.stations(ASKED) == {}
        for command, station in STATIONS.items():
            namespace.ip(command)
            expected |= {ip_address(text) for text in station.split()}
            assert await table.stations(ASKED) == dict.fromkeys(expected, index), command
        namespace.ip("route del 10.60.0.1")
        assert ip_address("10.60.0.1") not in await table.stations(ASKED)


@pytest.mark.parametrize("default_route", [True, False])
async def test_a_thousand_look_ups_do_not_hold_the_loop_up(
    namespace: PrivateNamespace, *, default_route: bool
) -> None:
    """With a route to each of them, or with none: every answer is an error then."""
    namespace.ip("addr add 10.9.0.1/24 dev v0")
    if default_route:
        namespace.ip("route add default via 10.9.0.254")
    ips = [ip_address(f"10.{60 + n // 250}.0.{n % 250}") for n in range(1000)]
    namespace.ip(f"route add {ips[-1]} dev v0")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with RouteTable(clock=LoopClock()) as table:
        task = asyncio.create_task(others())
        assert set(await table.stations(ips)) == {ips[-1]}
        task.cancel()
    assert turns >= len(ips) // 100


async def test_an_interface_that_is_missing_is_one_small_question(
    namespace: PrivateNamespace,
) -> None:
    """Each pass looks for kube-proxy's, which most nodes do not have; a node has many of pods."""
    namespace.ip("link show lo")
    async with RouteTable(clock=LoopClock()) as table:
        before = table.reserve(1)
        with pytest.raises(LinkNotFoundError, match="there is no interface 'kube-ipvs0'"):
            await table.link("kube-ipvs0")
        assert table.reserve(1) - before == 2, "one number of a request lies between"
