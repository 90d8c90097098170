"""From "a thousand addresses are wanted" to the last one's announcement at a neighbour."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from random import Random

from extip import log
from extip.addresses.announce.announcer import Announcer
from extip.addresses.links_in_use import LinksInUse
from extip.addresses.observation import Inputs
from extip.clock import LoopClock
from extip.fencing.lease_fencing import NoFencing
from extip.metrics import Metrics
from extip.modes.addresses import assemble_addresses
from extip.net.host import open_host
from extip.net.interfaces import IPInterface
from extip.net.links import LinkSocket
from extip.net.packets import FrameSockets
from extip.net.rtnetlink import AddressSocket
from extip.services.policy.requests import Owner, Requests
from extip.settings.address import AddressSettings
from extip.supervisor import Component, run_beside
from extip.trigger import Trigger
from tests.bench.addresses import TTL_S, additions, batch_file, interfaces
from tests.bench.figure import Figure
from tests.bench.netlink import added_by_ip_s
from tests.bench.sampling import MS, alternate, median
from tests.bench.segment import IFACE, Segment

_COUNT = 1000
_ROUNDS = 11
_PATIENCE_S = 30.0
_MANY, _FEW_ROUNDS = 5000, 3
_SUSPECT = b"\x02\x00\x00\x00\x00\x77"
"""The MAC of a node that nobody hears any more."""

_PROBE_S, _PROBED_BOUND_MS = 0.2, 1000.0
"""The window, and room for a busy machine."""

AllHeard = Callable[[], Awaitable[None]]
"""Waits until the neighbour has heard of every address."""

Arm = Callable[[Sequence[IPInterface], AllHeard], Coroutine[None, None, float]]
"""Brings addresses up, announces them, waits; returns when it began (`time.time`)."""


def measure() -> Iterator[Figure]:
    """Add and announce: by the two parts that do it, and by all that a start consists of."""
    log.configure("json", "error")
    wanted = interfaces(4, _COUNT)
    with batch_file(wanted) as batch:
        parts, whole, probed, by_ip = alternate(
            _ROUNDS,
            partial(_announced_s, wanted, _by_parts),
            partial(_announced_s, wanted, _by_first_pass),
            partial(_announced_s, wanted, partial(_by_first_pass, probe_s=_PROBE_S)),
            partial(added_by_ip_s, batch),
            pause_s=0.3,
        )
    for what, runs, bound in (
        ("netlink and announcements", parts, 1.0),
        ("the whole first pass", whole, None),
    ):
        yield Figure(
            what=f"{_COUNT:,} up, last one announced: {what}",
            measured=MS * median(runs),
            unit="ms",
            baseline=MS * median(by_ip),
            baseline_name="ip -batch, adding only",
            at_most=bound,
        )
    yield Figure(
        what=f"{_COUNT:,} up, last one announced: each probed first for {MS * _PROBE_S:.0f} ms",
        measured=MS * median(probed),
        unit="ms",
        at_most=_PROBED_BOUND_MS,
        kind="value",
    )
    many = interfaces(4, _MANY)
    taken_over = partial(_by_first_pass, probe_s=_PROBE_S, suspect=_SUSPECT)
    runs = [_announced_s(many, taken_over) for _ in range(_FEW_ROUNDS)]
    yield Figure(
        what=f"{_MANY:,} of a suspected node up, last one announced: each asked for first",
        measured=MS * median(runs),
        unit="ms",
        at_most=None,
        kind="value",
    )


def _announced_s(wanted: Sequence[IPInterface], arm: Arm) -> float:
    """Return the time from the arm's start until the neighbour first heard of the last address."""
    expected = {interface.packed for interface in wanted}
    heard: dict[bytes, float] = {}
    with Segment() as segment:

        async def all_heard() -> None:
            async with asyncio.timeout(_PATIENCE_S):
                while not expected <= heard.keys():
                    await asyncio.sleep(0.1)
                    for sender, moment in segment.heard().items():
                        heard.setdefault(sender, moment)

        started = asyncio.run(arm(wanted, all_heard))
    return max(heard[sender] for sender in expected) - started


async def _by_parts(wanted: Sequence[IPInterface], all_heard: AllHeard) -> float:
    clock = LoopClock()
    announcer = Announcer(
        clock=clock, metrics=Metrics("bench"), open_socket=FrameSockets("announcer").open
    )
    async with AddressSocket(clock=clock) as table, LinkSocket(clock=clock) as links:
        link = await links.link(IFACE)
        announcer.set_link(link)
        changes = additions(wanted, link.index)

        async def add() -> float:
            started = time.time()
            async for results in table.apply(changes, ttl_s=TTL_S):
                announcer.announce(
                    [result.change.interface.ip for result in results if not result.errno]
                )
            await all_heard()
            return started

        return await run_beside([Component("announcer", announcer.run)], add)


async def _by_first_pass(
    wanted: Sequence[IPInterface],
    all_heard: AllHeard,
    *,
    probe_s: float = 0.0,
    suspect: bytes = b"",
) -> float:
    """Look at the node, plan, judge every address, add, announce: what a start does.

    Other stations are not asked first by default, as `ip -batch` does not either. A `suspect` had
    the addresses up, and is asked whether it still has them.
    """
    owners = [Owner(kind="Service", namespace="d", name=str(ip), uid="") for ip in wanted]
    asked = {ip: (owner,) for ip, owner in zip(wanted, owners, strict=True)}
    ips = frozenset(interface.ip for interface in wanted) if suspect else frozenset()
    inputs = Inputs(requests=Requests(wanted=asked, established=ips))
    opponents = dict.fromkeys(ips, frozenset({suspect}))
    settings = AddressSettings(
        iface=IFACE,
        resync_s=TTL_S,
        address_ttl_s=TTL_S,
        on_exit="keep",
        probe_s=probe_s,
    )
    clock, metrics = LoopClock(), Metrics("bench")
    async with open_host(clock=clock, metrics=metrics) as net:
        parts = assemble_addresses(
            settings,
            net,
            in_use=LinksInUse(),
            inputs=lambda: inputs,
            changed=Trigger(),
            fencing=NoFencing(settings.lifetime_s),
            opponents=lambda: opponents,
            clock=clock,
            rng=Random(1),  # noqa: S311 - jitter
            metrics=metrics,
        )
        started = time.time()
        await run_beside(parts.components, all_heard)
    return started
