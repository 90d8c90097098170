"""Addresses in bulk against `ip`, and large tables of routes, each time in a fresh namespace."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from socket import AF_INET, AF_INET6

from extip.clock import LoopClock
from extip.net import iproute
from extip.net.interfaces import IPAddress, IPInterface
from extip.net.links import LinkSocket
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket
from tests.bench.addresses import TTL_S, additions, batch_file, interfaces
from tests.bench.figure import Figure
from tests.bench.sampling import MS, T, alternate, median, run_time_s
from tests.bench.segment import IFACE, Segment
from tests.netns.namespace import PrivateNamespace

_CASES = ((4, 1000, 15, 0.6), (4, 100, 15, 0.35), (6, 1000, 15, 1.0))
"""IP version, addresses, rounds, bound."""

_SETTLE_S = {4: 0.3, 6: 2.1}
"""The kernel dismantles the namespace of the last run meanwhile; IPv6 multicast takes its time."""

_DUMPED = 5000
_DUMP_ROUNDS = 15
_ROUTES, _GATEWAYS = 10_000, 200
_INTERFACES = 200
_LOOK_UPS = 100


def measure() -> Iterator[Figure]:
    """Add 1,000 and 100 addresses; read 5,000; read 10,000 routes and 200 interfaces."""
    for version, count, rounds, bound in _CASES:
        yield _add(version, count, rounds, bound)
    yield from _dump()
    yield from _routes()
    yield from _links()


def _add(version: int, count: int, rounds: int, bound: float) -> Figure:
    wanted = interfaces(version, count)
    with batch_file(wanted) as batch:
        by_extip, by_ip = alternate(
            rounds,
            partial(_add_by_extip, wanted),
            partial(added_by_ip_s, batch),
            pause_s=_SETTLE_S[version],
        )
    return Figure(
        what=f"add {count:,} IPv{version} addresses",
        measured=MS * median(by_extip),
        unit="ms",
        baseline=MS * median(by_ip),
        baseline_name="ip -batch",
        at_most=bound,
    )


def added_by_ip_s(batch: Path) -> float:
    """Let `ip` add them in a fresh namespace; return how long it ran."""
    with Segment():
        return run_time_s(["ip", "-batch", batch])


def _add_by_extip(wanted: Sequence[IPInterface]) -> float:
    with Segment():
        return asyncio.run(_added_s(wanted))


async def _added_s(wanted: Sequence[IPInterface]) -> float:
    clock = LoopClock()
    async with AddressSocket(clock=clock) as table, LinkSocket(clock=clock) as links:
        changes = additions(wanted, (await links.link(IFACE)).index)
        started = time.perf_counter()
        async for results in table.apply(changes, ttl_s=TTL_S):
            assert not any(result.errno for result in results)
        return time.perf_counter() - started


def _dump() -> Iterator[Figure]:
    """Read what is known already, as every pass but the first does; for comparison, the first."""
    with Segment(), batch_file(interfaces(4, _DUMPED)) as batch:
        run_time_s(["ip", "-batch", batch])
        again, first, by_ip = alternate(
            _DUMP_ROUNDS,
            lambda: asyncio.run(_dumped_s(before=1)),
            lambda: asyncio.run(_dumped_s(before=0)),
            lambda: (run_time_s(["ip", "-j", "addr"]), 0.0),
        )
    for what, runs, bound in (
        (f"dump of {_DUMPED:,} addresses", again, 1.2),
        ("the same, the first since the start", first, None),
    ):
        yield Figure(
            what=what,
            measured=MS * median([took for took, _ in runs]),
            unit="ms",
            baseline=MS * median([took for took, _ in by_ip]),
            baseline_name="ip -j addr",
            at_most=bound,
        )
        yield Figure(
            what="longest stall of the event loop in it",
            measured=MS * median([stall for _, stall in runs]),
            unit="ms",
            at_most=20,
            kind="value",
        )


def _routes() -> Iterator[Figure]:
    """Read gateways in a thread, as extip does, and for comparison on the event loop."""
    with PrivateNamespace() as namespace:
        namespace.add_veth(IFACE)
        namespace.batch(
            f"addr add 10.9.0.1/24 dev {IFACE}",
            *(
                f"route add 10.{50 + n // 250}.{n % 250}.0/24 via 10.9.0.{2 + n % 200}"
                for n in range(_ROUTES)
            ),
        )
        in_thread, on_loop, by_ip = alternate(
            _DUMP_ROUNDS,
            lambda: asyncio.run(_gateways_s(_in_a_thread)),
            lambda: asyncio.run(_gateways_s(_on_the_loop)),
            lambda: (run_time_s(["ip", "-j", "route"]), 0.0),
        )
    yield Figure(
        what=f"gateways of {_ROUTES:,} routes",
        measured=MS * median([took for took, _ in in_thread]),
        unit="ms",
        baseline=MS * median([took for took, _ in by_ip]),
        baseline_name="ip -j route",
        at_most=None,
    )
    yield Figure(
        what="longest stall of the event loop in it",
        measured=MS * median([stall for _, stall in in_thread]),
        unit="ms",
        baseline=MS * median([stall for _, stall in on_loop]),
        baseline_name="read on the loop",
        at_most=10,
        kind="value",
    )


async def _gateways_s(
    read: Callable[[RouteTable], Awaitable[frozenset[IPAddress]]],
) -> tuple[float, float]:
    async with RouteTable(clock=LoopClock()) as table:
        took, stall, found = await _with_ticker(lambda: read(table))
        assert len(found) == _GATEWAYS
        return took, stall


async def _in_a_thread(table: RouteTable) -> frozenset[IPAddress]:
    return (await table.gateways()).every


async def _on_the_loop(table: RouteTable) -> frozenset[IPAddress]:
    found: set[IPAddress] = set()
    for family in (AF_INET, AF_INET6):
        request = partial(iproute.table_request, family=family)
        found.update(*await table.table("dump routes", request, iproute.gateways))
    return frozenset(found)


def _links() -> Iterator[Figure]:
    """Look an interface up, as each pass does, beside those of many pods."""
    with PrivateNamespace() as namespace:
        namespace.add_veth(IFACE)
        namespace.batch(
            *(f"link add p{n} type veth peer name q{n}" for n in range(_INTERFACES // 2))
        )
        by_extip, by_ip = alternate(
            _DUMP_ROUNDS,
            lambda: asyncio.run(_links_s()),
            lambda: (run_time_s(["ip", "-j", "link"]), 0.0),
        )
        one = median([asyncio.run(_link_s()) for _ in range(_DUMP_ROUNDS)])
    yield Figure(
        what=f"dump of {_INTERFACES} interfaces",
        measured=MS * median([took for took, _ in by_extip]),
        unit="ms",
        baseline=MS * median([took for took, _ in by_ip]),
        baseline_name="ip -j link",
        at_most=None,
    )
    yield Figure(
        what="longest stall of the event loop in it",
        measured=MS * median([stall for _, stall in by_extip]),
        unit="ms",
        at_most=20,
        kind="value",
    )
    yield Figure(
        what="look-up of one interface", measured=MS * one, unit="ms", at_most=1.0, kind="value"
    )


async def _links_s() -> tuple[float, float]:
    async with LinkSocket(clock=LoopClock()) as links:
        took, stall, found = await _with_ticker(links.links)
        assert len(found) > _INTERFACES
        return took, stall


async def _link_s() -> float:
    async with LinkSocket(clock=LoopClock()) as links:
        await links.link(IFACE)
        started = time.perf_counter()
        for _ in range(_LOOK_UPS):
            await links.link(IFACE)
        return (time.perf_counter() - started) / _LOOK_UPS


async def _dumped_s(*, before: int) -> tuple[float, float]:
    """Return how long a dump took, and the longest that another task had to wait meanwhile."""
    async with AddressSocket(clock=LoopClock()) as table:
        for _ in range(before):
            await table.dump()
        took, stall, found = await _with_ticker(table.dump)
        assert len(found) >= _DUMPED
        return took, stall


async def _with_ticker(work: Callable[[], Awaitable[T]]) -> tuple[float, float, T]:
    """Return how long it took, the longest that another task had to wait meanwhile, its result."""
    stall = 0.0

    async def tick() -> None:
        nonlocal stall
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            stall, last = max(stall, now - last), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    started = time.perf_counter()
    result = await work()
    took = time.perf_counter() - started
    await asyncio.sleep(0)
    ticking.cancel()
    return took, stall, result
