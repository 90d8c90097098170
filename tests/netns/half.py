"""What brings addresses up, on v0 of a private namespace, and what is found there."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

from extip.addresses.links_in_use import LinksInUse
from extip.addresses.observation import Inputs
from extip.addresses.release import release_in_time
from extip.clock import LoopClock
from extip.fencing.lease_fencing import NoFencing
from extip.guard.policy.admission import Admission
from extip.metrics import Metrics
from extip.modes.addresses import AddressParts, assemble_addresses
from extip.net.host import open_host
from extip.net.interfaces import IPInterface
from extip.services.policy.requests import Masks, Owner, Requests, collect
from extip.settings.address import AddressSettings
from extip.supervisor import run_beside
from extip.trigger import Trigger
from tests.lab import wait
from tests.lab.netlink import dump_addresses

MARK = 225
V4, V6 = "192.0.2.1", "2001:db8::1"
OWNER = Owner(kind="Service", namespace="default", name="web", uid="u")
RESYNC_S = 1.0


class World:
    """What is wanted, and the half that brings it up on v0."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self.metrics = Metrics("simple")
        self.changed = Trigger()
        self.local = LinksInUse()
        self.parts: AddressParts
        self.requests: Requests | None = None
        self.admissions: list[Admission] = []
        """What each pass came to."""

    def want(self, *ips: str) -> None:
        self.requests = collect([(OWNER, ips)], self._masks.parse)
        self.changed.set()

    def inputs(self) -> Inputs | None:
        if self.requests is None:
            return None
        return Inputs(requests=self.requests)

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def hears(self, contradict: Callable[[], None]) -> None:
        """Wait until it notices when another station claims an IP that is up."""
        before = self.sample("extip_foreign_frames_total")

        def noticed() -> bool:
            contradict()
            return self.sample("extip_foreign_frames_total") > before

        await until(noticed, "another station's claim to be heard")

    def problem(self) -> str:
        return self.parts.reconciler.problem()


def ours(name: str = "v0") -> set[str]:
    return {str(i) for i, proto in found(name) if proto == MARK}


def foreign(name: str = "v0") -> set[str]:
    return {str(i) for i, proto in found(name) if proto != MARK and not i.ip.is_link_local}


def found(name: str) -> list[tuple[IPInterface, int]]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink:
        try:
            return [(a.interface, a.proto) for a in dump_addresses(netlink, name)]
        except (OSError, LookupError, ValueError):
            return []


async def until(condition: Callable[[], object], what: str, within_s: float = 40.0) -> None:
    try:
        await wait.until(condition, within_s)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {within_s} s; on v0: {found('v0')}") from None


@asynccontextmanager
async def running(
    *ips: str,
    known: bool = True,
    mask: int = 32,
    mask_v6: int = 128,
    resync_s: float = RESYNC_S,
    iface: str = "v0",
) -> AsyncIterator[World]:
    world = World(Masks(v4=mask, v6=mask_v6))
    settings = AddressSettings(
        iface=iface,
        mask=mask,
        mask_v6=mask_v6,
        resync_s=resync_s,
        address_ttl_s=30,
        on_exit="release",
        probe_s=0.0,
    )
    clock = LoopClock()
    async with open_host(clock=clock, metrics=world.metrics) as net:
        parts = world.parts = assemble_addresses(
            settings,
            net,
            in_use=world.local,
            inputs=world.inputs,
            changed=world.changed,
            fencing=NoFencing(settings.lifetime_s),
            clock=clock,
            rng=Random(1),  # noqa: S311 - jitter
            metrics=world.metrics,
        )
        parts.reconciler.add_handler(world.admissions.append)
        if known:
            world.want(*ips)
        over = asyncio.Event()
        task = asyncio.create_task(run_beside(parts.components, over.wait))
        try:
            yield world
            assert not task.done(), task
        finally:
            over.set()
            await task
            await release_in_time(parts.reconciler)
