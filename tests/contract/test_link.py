"""The contract of the link adapter, on the real kernel and on the fake.

What the reconciler relies on holds on both; so what is tested or simulated on the fake holds on
Linux.
"""

import asyncio
import errno
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import ip_interface

import pytest

from extip.errors import LinkNotFoundError
from extip.net.interfaces import (
    Change,
    ChangeResult,
    Gateways,
    IPInterface,
    ObservedAddress,
    Operation,
)
from extip.net.link_monitor import LinkMonitor, Notice, NoticeKind
from tests.contract.link_nodes import IFACE, InMemoryNode, Node, linux_node
from tests.fakes.link import FakeMonitor
from tests.lab.wait import until
from tests.netns.namespace import PrivateNamespace

TTL_S = 100
LEFT_OF_TTL_S = range(TTL_S - 50, TTL_S + 1)
"""A moment after it began."""
V4, V6 = ip_interface("10.1.0.1/32"), ip_interface("fd00:1::1/128")


@pytest.fixture(params=[pytest.param("linux", marks=pytest.mark.netns), "fake"])
async def node(request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    """One node of each kind."""
    if request.param == "fake":
        yield InMemoryNode()
        return
    async with AsyncExitStack() as stack:
        try:
            namespace = stack.enter_context(PrivateNamespace())
        except PermissionError:
            pytest.skip("needs CAP_SYS_ADMIN to make a network namespace")
        namespace.add_veth()
        yield await stack.enter_async_context(linux_node(namespace))


async def apply(
    node: Node, operation: Operation, *interfaces: IPInterface, ttl_s: int = TTL_S, index: int = 0
) -> list[ChangeResult]:
    """Make changes on the interface, all of one kind; return all results in order."""
    index = index or (await node.links.link(IFACE)).index
    changes = [Change(operation, index, interface) for interface in interfaces]
    return [result async for batch in node.table.apply(changes, ttl_s=ttl_s) for result in batch]


async def errnos(node: Node, operation: Operation, *interfaces: IPInterface) -> list[int]:
    return [result.errno for result in await apply(node, operation, *interfaces)]


async def on_link(node: Node) -> dict[IPInterface, ObservedAddress]:
    index = (await node.links.link(IFACE)).index
    found = {address.interface: address for address in await node.table.dump(index)}
    everywhere = [a for a in await node.table.dump() if a.link_index == index]
    assert [a.interface for a in everywhere] == list(found)
    return found


class Notices:
    """What a monitor reported."""

    def __init__(self) -> None:
        self.seen: list[Notice] = []

    def of(self, kind: NoticeKind) -> list[Notice]:
        return [notice for notice in self.seen if notice.kind is kind]


@asynccontextmanager
async def running(monitor: LinkMonitor | FakeMonitor) -> AsyncIterator[None]:
    task = asyncio.create_task(monitor.run())
    await asyncio.sleep(0)  # it listens from its first step on
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@asynccontextmanager
async def watching(node: Node) -> AsyncIterator[Notices]:
    notices = Notices()
    async with running(node.monitor(notices.seen.append)):
        yield notices


async def test_added_addresses_are_ours_and_end_with_their_ttl(node: Node) -> None:
    assert await errnos(node, Operation.ADD, V4, V6) == [0, 0]
    found = await on_link(node)
    assert set(found) == {V4, V6}
    for address in found.values():
        assert address.ours
        assert not address.tentative
        assert address.valid_s in LEFT_OF_TTL_S


async def test_results_name_their_changes_in_order(node: Node) -> None:
    wanted = [ip_interface(f"10.1.0.{n}/32") for n in range(150)]
    results = await apply(node, Operation.ADD, *wanted)
    assert [result.change.interface for result in results] == wanted


async def test_nothing_to_do_does_nothing(node: Node) -> None:
    assert await apply(node, Operation.ADD) == []
    assert await on_link(node) == {}


async def test_an_address_is_not_added_twice(node: Node) -> None:
    await apply(node, Operation.ADD, V4, V6)
    assert await errnos(node, Operation.ADD, V4, V6) == [errno.EEXIST, errno.EEXIST]


async def test_ipv4_compares_ip_and_prefix_and_ipv6_the_ip_alone(node: Node) -> None:
    await apply(node, Operation.ADD, V4, V6)
    v4, v6 = ip_interface(f"{V4.ip}/24"), ip_interface(f"{V6.ip}/64")
    assert await errnos(node, Operation.ADD, v4, v6) == [0, errno.EEXIST]
    assert set(await on_link(node)) == {V4, v4, V6}
    assert await errnos(node, Operation.DELETE, v6) == [errno.EADDRNOTAVAIL]


async def test_refresh_starts_the_lifetime_anew_and_keeps_the_mark(node: Node) -> None:
    await apply(node, Operation.ADD, V4, V6)
    results = await apply(node, Operation.REFRESH, V4, V6, ttl_s=500)
    assert [result.errno for result in results] == [0, 0]
    for address in (await on_link(node)).values():
        assert address.ours
        assert address.valid_s in range(450, 501)


async def test_refresh_of_an_address_that_is_gone_brings_it_back(node: Node) -> None:
    assert await errnos(node, Operation.REFRESH, V4, V6) == [0, 0]
    assert {i for i, address in (await on_link(node)).items() if address.ours} == {V4, V6}


async def test_delete_says_when_there_was_nothing_to_delete(node: Node) -> None:
    await apply(node, Operation.ADD, V4, V6)
    assert await errnos(node, Operation.DELETE, V4, V6) == [0, 0]
    gone = [errno.EADDRNOTAVAIL] * 2
    assert await errnos(node, Operation.DELETE, V4, V6) == gone
    assert await on_link(node) == {}


async def test_a_foreign_address_is_not_ours_and_adding_it_leaves_it_alone(node: Node) -> None:
    node.put(V4, V6)
    assert await errnos(node, Operation.ADD, V4, V6) == [errno.EEXIST, errno.EEXIST]
    for address in (await on_link(node)).values():
        assert not address.ours
        assert address.valid_s is None


async def test_addresses_go_at_the_end_of_their_ttl_and_it_is_reported(node: Node) -> None:
    async with watching(node) as notices:
        await apply(node, Operation.ADD, V4, V6, ttl_s=1)
        await until(lambda: len(notices.of(NoticeKind.ADDRESS_REMOVED)) == 2)
    assert await on_link(node) == {}


async def test_secondaries_fall_with_their_primary(node: Node) -> None:
    first, second, other = map(ip_interface, ("10.1.0.1/24", "10.1.0.2/24", "10.1.0.3/32"))
    await apply(node, Operation.ADD, first, second, other)
    assert not (await node.links.link(IFACE)).promotes_secondaries
    await apply(node, Operation.DELETE, first)
    assert set(await on_link(node)) == {other}


async def test_promoted_secondaries_stay_with_their_mark_and_lifetime(node: Node) -> None:
    wanted = [ip_interface(f"10.1.0.{n}/24") for n in (1, 2, 3)]
    await apply(node, Operation.ADD, *wanted)
    await node.links.promote_secondaries(await node.links.link(IFACE))
    assert (await node.links.link(IFACE)).promotes_secondaries
    await apply(node, Operation.DELETE, wanted[0])
    await apply(node, Operation.DELETE, wanted[1])
    (left,) = (await on_link(node)).values()
    assert left.interface == wanted[2]
    assert left.ours
    assert left.valid_s in LEFT_OF_TTL_S


async def test_the_failures_of_a_batch_are_named_and_the_rest_is_done(node: Node) -> None:
    wanted = [ip_interface(f"10.1.1.{n}/32") for n in range(100)]
    wanted += [ip_interface(f"fd00:1::{n:x}/128") for n in range(100)]
    planted = {wanted[0], wanted[63], wanted[64], wanted[99], wanted[150], wanted[199]}
    node.put(*planted)
    results = await apply(node, Operation.ADD, *wanted)
    assert {r.change.interface: r.errno for r in results if r.errno} == dict.fromkeys(
        planted, errno.EEXIST
    )
    found = await on_link(node)
    assert set(found) == set(wanted)
    assert {i for i, address in found.items() if not address.ours} == planted


async def test_a_removal_by_hand_is_reported_with_the_address(node: Node) -> None:
    await apply(node, Operation.ADD, V4, V6)
    async with watching(node) as notices:
        node.take(V4)
        node.take(V6)
        await until(lambda: len(notices.of(NoticeKind.ADDRESS_REMOVED)) == 2)
    addresses = [n.address for n in notices.of(NoticeKind.ADDRESS_REMOVED) if n.address]
    assert [address.interface for address in addresses] == [V4, V6]
    assert all(address.ours for address in addresses)


async def test_our_adds_and_refreshes_are_not_reported_but_foreign_ones_are(node: Node) -> None:
    async with watching(node) as notices:
        await apply(node, Operation.ADD, V4, V6)
        await apply(node, Operation.REFRESH, V4, V6)
        foreign = ip_interface("10.9.0.1/32")
        node.put(foreign)
        await until(lambda: notices.of(NoticeKind.ADDRESS_CHANGED))
    changed = [n.address for n in notices.seen if n.address]
    assert [address.interface for address in changed] == [foreign]
    assert not changed[0].ours


async def test_three_thousand_adds_in_one_go(node: Node) -> None:
    wanted = [ip_interface(f"10.2.{n >> 8}.{n & 255}/32") for n in range(3000)]
    async with watching(node) as notices:
        results = await apply(node, Operation.ADD, *wanted)
        assert Counter(result.errno for result in results) == {0: 3000}
        assert set(await on_link(node)) == set(wanted)
        await apply(node, Operation.DELETE, *wanted)
        await until(lambda: len(notices.of(NoticeKind.ADDRESS_REMOVED)) == 3000)
    assert not notices.of(NoticeKind.OVERRUN)
    assert await on_link(node) == {}


async def test_batches_are_in_force_when_they_are_yielded(node: Node) -> None:
    index = (await node.links.link(IFACE)).index
    changes = [Change(Operation.ADD, index, ip_interface(f"10.1.0.{n}/32")) for n in range(200)]
    done: set[IPInterface] = set()
    async for batch in node.table.apply(changes, ttl_s=TTL_S):
        assert 1 <= len(batch) <= 64
        done.update(result.change.interface for result in batch)
        assert set(await on_link(node)) == done


async def test_an_interface_that_is_not_there(node: Node) -> None:
    for name in ("nosuch", "", "x" * 200, "v0 ", "ü"):
        with pytest.raises(LinkNotFoundError):
            await node.links.link(name)
    with pytest.raises(LinkNotFoundError):
        await node.table.dump(9999)
    for operation in Operation:
        results = await apply(node, operation, V4, V6, index=9999)
        assert [result.errno for result in results] == [errno.ENODEV] * 2


async def test_a_renamed_interface_keeps_its_index(node: Node) -> None:
    before = await node.links.link(IFACE)
    async with watching(node) as notices:
        node.rename("other")
        await until(lambda: any(_named(n, "other") for n in notices.seen))
    assert (await node.links.link("other")).index == before.index
    with pytest.raises(LinkNotFoundError):
        await node.links.link(IFACE)


async def test_a_removed_interface_takes_its_addresses_along(node: Node) -> None:
    before = await node.links.link(IFACE)
    await apply(node, Operation.ADD, V4, V6)
    async with watching(node) as notices:
        node.remove()
        await until(lambda: any(n.removed and _named(n, IFACE) for n in notices.seen))
        assert len(notices.of(NoticeKind.ADDRESS_REMOVED)) == 2
        with pytest.raises(LinkNotFoundError):
            await node.links.link(IFACE)
        node.add()
        await until(lambda: any(not n.removed and _named(n, IFACE) for n in notices.seen))
    assert (await node.links.link(IFACE)).index != before.index
    assert await on_link(node) == {}
    with pytest.raises(LinkNotFoundError):
        await node.links.promote_secondaries(before)


async def test_down_keeps_ipv4_and_drops_ipv6(node: Node) -> None:
    await apply(node, Operation.ADD, V4, V6)
    async with watching(node) as notices:
        node.set_up(up=False)
        await until(lambda: _states(notices.seen)[-1:] == [False])
        link = await node.links.link(IFACE)
        assert (link.up, link.carrier) == (False, False)
        assert set(await on_link(node)) == {V4}
        assert await errnos(node, Operation.ADD, ip_interface("10.1.0.2/32")) == [0]
        node.set_up(up=True)
        await until(lambda: _states(notices.seen)[-1:] == [True])
    link = await node.links.link(IFACE)
    assert (link.up, link.carrier) == (True, True)


async def test_all_interfaces_are_listed_and_loopback_announces_nothing(node: Node) -> None:
    links = {link.name: link for link in await node.links.links()}
    assert links[IFACE] == await node.links.link(IFACE)
    assert links[IFACE].announces
    assert len(links[IFACE].mac) == 6
    assert not links["lo"].announces


async def test_lost_notices_are_reported_and_later_ones_arrive(node: Node) -> None:
    notices = Notices()
    async with running(node.tiny_monitor(notices.seen.append)):
        wanted = [ip_interface(f"10.1.0.{n}/32") for n in range(50)]
        for interface in wanted:  # without the loop ever turning, so that nothing is read meanwhile
            node.put(interface)
            node.take(interface)
        await until(lambda: notices.of(NoticeKind.OVERRUN))
        await asyncio.sleep(0.05)  # until what was still coming has been read, or lost
        assert len(notices.of(NoticeKind.ADDRESS_REMOVED)) < len(wanted)
        notices.seen.clear()
        node.put(V4)
        await until(lambda: notices.of(NoticeKind.ADDRESS_CHANGED))
        assert not notices.of(NoticeKind.OVERRUN)


async def test_no_gateways_without_routes(node: Node) -> None:
    assert await node.links.gateways() == Gateways()


def _named(notice: Notice, name: str) -> bool:
    return notice.link is not None and notice.link.name == name


def _states(seen: Iterable[Notice]) -> list[bool]:
    return [n.link.carrier for n in seen if n.link is not None and _named(n, IFACE)]
