"""Gateways of every form that the kernel knows."""

import asyncio
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET
from typing import Any

import pytest

from extip.clock import LoopClock
from extip.net import iproute
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
        assert await table.gateways() == frozenset()
        for command, gateways in ROUTES.items():
            namespace.ip(command)
            expected |= {ip_address(text) for text in gateways.split()}
            assert await table.gateways() == expected
        namespace.ip("route del default")
        assert ip_address("10.9.0.254") not in await table.gateways()


@pytest.mark.parametrize("turns", range(12))
async def test_calls_at_the_same_time_do_not_mix(namespace: PrivateNamespace, turns: int) -> None:
    """Nor does one that is cancelled, at whatever point, disturb the others or the loop."""
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    namespace.ip("addr add 10.9.0.1/24 dev v0", "route add default via 10.9.0.254")
    expected = frozenset({ip_address("10.9.0.254")})
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
