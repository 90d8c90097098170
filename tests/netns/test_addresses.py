"""What only the real kernel can show about addresses."""

import asyncio
import errno
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path

import pytest

from extip.clock import LoopClock
from extip.errors import NetlinkError
from extip.net import ifaddr
from extip.net.interfaces import Change, IPInterface, Operation
from extip.net.links import LinkSocket
from extip.net.rtnetlink import AddressSocket
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns


class HookedClock(LoopClock):
    """Lets a test act at the points where the adapter yields to the loop."""

    def __init__(self) -> None:
        self.hook: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        self.hook()
        await super().sleep(seconds)


async def index_of(name: str) -> int:
    async with LinkSocket(clock=LoopClock()) as links:
        return (await links.link(name)).index


async def change(table: AddressSocket, operation: Operation, *interfaces: IPInterface) -> list[int]:
    index = await index_of("v0")
    changes = [Change(operation, index, interface) for interface in interfaces]
    return [r.errno async for batch in table.apply(changes, ttl_s=600) for r in batch]


async def test_the_metric_marks_where_the_kernel_has_no_protocol(
    namespace: PrivateNamespace,
) -> None:
    """The fallback holds in both families, over a refresh, and is not put on by others."""
    ours = [ip_interface("10.1.0.1/24"), ip_interface("fd00:1::1/64")]
    namespace.ip(
        "addr add 10.2.0.1/24 dev v0",
        "addr add fd00:2::1/64 dev v0 nodad metric 512",
        f"addr add 10.3.0.1/24 dev v0 metric {ifaddr.MARK_METRIC}",  # for ever, so not ours
        f"addr add fd00:3::1/64 dev v0 nodad metric {ifaddr.MARK_METRIC}",
    )
    async with AddressSocket(clock=LoopClock(), mark=ifaddr.Mark.METRIC) as table:
        for operation in (Operation.ADD, Operation.REFRESH):
            assert await change(table, operation, *ours) == [0, 0]
            marked = {a.interface for a in await table.dump() if a.ours}
            assert marked == set(ours)


async def test_our_subnet_route_is_not_the_nodes_own(namespace: PrivateNamespace) -> None:
    """With one metric for both, the node's route would get our lifetime, and go with it."""
    namespace.ip("addr add fd00:1::1/64 dev v0 nodad", "addr add 10.1.0.1/24 dev v0")
    before = namespace.ip("-6 route show dev v0", "-4 route show dev v0")
    ours = [ip_interface("fd00:1::2/64"), ip_interface("10.1.0.2/24")]
    async with AddressSocket(clock=LoopClock()) as table:
        await change(table, Operation.ADD, *ours)
        await change(table, Operation.REFRESH, *ours)
        assert "expires" in namespace.ip("-6 route show dev v0")
        kept = namespace.ip("-6 route show dev v0", "-4 route show dev v0").splitlines()
        assert [line for line in kept if "expires" not in line] == before.splitlines()
        await change(table, Operation.DELETE, *ours)
    after = namespace.ip("-6 route show dev v0", "-4 route show dev v0").splitlines()
    assert [line for line in after if "expires" not in line] == before.splitlines()


async def test_our_ipv6_addresses_are_no_source_of_connections(
    namespace: PrivateNamespace,
) -> None:
    namespace.ip("addr add fd00:1::f/64 dev v0 nodad")
    async with AddressSocket(clock=LoopClock()) as table:
        await change(table, Operation.ADD, ip_interface("fd00:1::2/128"))
    assert "src fd00:1::f " in namespace.ip("-6 route get fd00:1::3")


async def test_a_dump_that_is_disturbed_is_repeated_until_it_is_whole(
    namespace: PrivateNamespace,
) -> None:
    wanted = [ip_interface(f"10.1.{n >> 8}.{n & 255}/32") for n in range(1500)]
    clock = HookedClock()
    async with AddressSocket(clock=clock) as table, AddressSocket(clock=LoopClock()) as other:
        await change(other, Operation.ADD, *wanted)
        disturbances = iter(range(3))

        def disturb() -> None:
            for n in disturbances:
                namespace.ip(f"addr add 10.2.0.{n}/32 dev v0")
                return

        clock.hook = disturb
        found = {a.interface for a in await table.dump(await index_of("v0"))}
    assert next(disturbances, None) is None
    assert found == {*wanted, *(ip_interface(f"10.2.0.{n}/32") for n in range(3))}


async def test_a_dump_that_is_never_whole_is_an_error_not_a_part(
    namespace: PrivateNamespace,
) -> None:
    wanted = [ip_interface(f"10.1.{n >> 8}.{n & 255}/32") for n in range(1000)]
    clock, added = HookedClock(), 0
    async with AddressSocket(clock=clock) as table, AddressSocket(clock=LoopClock()) as other:
        await change(other, Operation.ADD, *wanted)

        def disturb() -> None:
            nonlocal added
            added += 1
            namespace.ip(f"addr add 10.2.0.{added}/32 dev v0")

        clock.hook = disturb
        with pytest.raises(NetlinkError) as caught:
            await table.dump()
        assert caught.value.errno == errno.EINTR
        clock.hook = lambda: None
        assert len(await table.dump(await index_of("v0"))) == 1000 + added


@pytest.mark.parametrize("yields", range(1, 6))
async def test_a_cancelled_call_leaves_the_socket_usable(
    namespace: PrivateNamespace, yields: int
) -> None:
    wanted = [ip_interface(f"10.1.{n >> 8}.{n & 255}/32") for n in range(2000)]
    async with AddressSocket(clock=LoopClock()) as table:
        await change(table, Operation.ADD, *wanted)
        for call in (table.dump(), change(table, Operation.REFRESH, *wanted)):
            task = asyncio.ensure_future(call)
            for _ in range(yields):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or yields > 1  # a quick call is over after some
            assert await change(table, Operation.ADD, wanted[0]) == [errno.EEXIST]
            assert len(await table.dump(await index_of("v0"))) == 2000
    assert "v0" in namespace.ip("link show v0")


async def test_calls_at_the_same_time_do_not_mix(namespace: PrivateNamespace) -> None:
    fixed = [ip_interface(f"10.1.{n >> 8}.{n & 255}/32") for n in range(600)]
    async with AddressSocket(clock=LoopClock()) as table:
        await change(table, Operation.ADD, *fixed)
        index = await index_of("v0")
        async with asyncio.TaskGroup() as group:
            dumps = [group.create_task(table.dump(index)) for _ in range(3)]
            clashes = [group.create_task(change(table, Operation.ADD, *fixed)) for _ in range(3)]
    for dump in dumps:
        assert {a.interface for a in dump.result()} == set(fixed)
    for clash in clashes:
        assert clash.result() == [errno.EEXIST] * len(fixed)
    assert "v0" in namespace.ip("link show v0")


async def test_promotion_is_what_the_sysctl_says(namespace: PrivateNamespace) -> None:
    path = "/proc/sys/net/ipv4/conf/v0/promote_secondaries"
    async with LinkSocket(clock=LoopClock()) as links:
        for value in ("1", "0"):
            with open(path, "w") as file:  # noqa: ASYNC230, PTH123
                file.write(value)
            assert (await links.link("v0")).promotes_secondaries is (value == "1")
        await links.promote_secondaries(await links.link("v0"))
    with open(path) as file:  # noqa: ASYNC230, PTH123
        assert file.read().strip() == "1"
    assert "v1" in namespace.ip("link show v1")


async def test_alternative_names_are_names(namespace: PrivateNamespace) -> None:
    namespace.ip("link property add dev v0 altname short altname a-very-long-alternative-name")
    async with LinkSocket(clock=LoopClock()) as links:
        link = await links.link("v0")
        assert await links.link("short") == link
        assert await links.link("a-very-long-alternative-name") == link


UNPRIVILEGED = """
import asyncio
from dataclasses import replace
from extip.clock import LoopClock
from extip.errors import PermissionDeniedError
from extip.metrics import Metrics
from extip.addresses.announce.announcer import Announcer
from extip.net.packets import FrameSockets
from extip.net.routes import RouteTable
from extip.net.rtnetlink import AddressSocket

async def main():
    clock = LoopClock()
    async with AddressSocket(clock=clock) as table, RouteTable(clock=LoopClock()) as links:
        link = await links.link("v0")
        print(len(await table.dump()), (await links.gateways()).every)
        for attempt in (
            table.check_permission(),
            links.promote_secondaries(link),
            asyncio.to_thread(Announcer(
                    clock=clock, metrics=Metrics("t"), open_socket=FrameSockets("announcer").open
                ).set_link, link),
        ):
            try:
                await attempt
            except PermissionDeniedError as error:
                print(error)

asyncio.run(main())
"""


def test_missing_capabilities_are_named(namespace: PrivateNamespace) -> None:
    """Reading needs no capability; changing names the one that is missing."""
    run = subprocess.run(
        [
            "setpriv", "--bounding-set", "-net_admin,-net_raw", "--inh-caps", "-net_admin,-net_raw",
            sys.executable, "-c", UNPRIVILEGED,
        ],
        check=True, capture_output=True, text=True, cwd=Path.cwd(),
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert lines[0] == "2 frozenset()"
    assert [line.split()[-1] for line in lines[1:]] == [
        "CAP_NET_ADMIN", "CAP_NET_ADMIN", "CAP_NET_RAW"
    ]  # fmt: skip
    assert "v0" in namespace.ip("link show v0")
