"""Adding addresses in bulk and reading them back, against `ip`, each time in a fresh namespace."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from extip.clock import LoopClock
from extip.net.links import LinkSocket
from extip.net.rtnetlink import AddressSocket
from extip.plan.link import IPInterface
from tests.bench.addresses import TTL_S, additions, batch_file, interfaces
from tests.bench.figure import Figure
from tests.bench.sampling import MS, alternate, median, run_time_s
from tests.bench.segment import IFACE, Segment

_CASES = ((4, 1000, 15, 0.6), (4, 100, 15, 0.35), (6, 1000, 15, 1.0))
"""IP version, addresses, rounds, bound."""

_SETTLE_S = {4: 0.3, 6: 2.1}
"""The kernel dismantles the namespace of the last run meanwhile; IPv6 multicast takes its time."""

_DUMPED = 5000
_DUMP_ROUNDS = 15


def measure() -> Iterator[Figure]:
    """Add 1,000 and 100 addresses; read 5,000."""
    for version, count, rounds, bound in _CASES:
        yield _add(version, count, rounds, bound)
    yield from _dump()


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


async def _dumped_s(*, before: int) -> tuple[float, float]:
    """Return how long a dump took, and the longest that another task had to wait meanwhile."""
    async with AddressSocket(clock=LoopClock()) as table:
        for _ in range(before):
            await table.dump()
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
        found = await table.dump()
        took = time.perf_counter() - started
        await asyncio.sleep(0)
        ticking.cancel()
        assert len(found) >= _DUMPED
        return took, stall
