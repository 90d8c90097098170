"""What only the real kernel can show about its notices."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_interface

import pytest

from extip.clock import LoopClock
from extip.metrics import Metrics
from extip.net import event_filter, nlmsg
from extip.net.interfaces import Change, Operation
from extip.net.link_monitor import LinkMonitor, Notice, NoticeKind
from extip.net.links import LinkSocket
from extip.net.netlink import open_netlink
from extip.net.rtnetlink import AddressSocket
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

OURS = [ip_interface("10.1.0.1/32"), ip_interface("10.1.0.2/32")]
EVERYTHING = 0x1 | 0x10 | 0x40 | 0x100 | 0x400


@asynccontextmanager
async def listening(
    handler: Callable[[Notice], None], *, own_port: int = 0
) -> AsyncIterator[asyncio.Task[None]]:
    monitor = LinkMonitor(handler, metrics=Metrics("test"), own_port=own_port)
    task = asyncio.create_task(monitor.run())
    await asyncio.sleep(0)
    yield task
    task.cancel()
    await asyncio.wait([task])


async def apply(table: AddressSocket, *operations: Operation) -> None:
    async with LinkSocket(clock=LoopClock()) as links:
        index = (await links.link("v0")).index
    for operation in operations:
        changes = [Change(operation, index, interface) for interface in OURS]
        async for results in table.apply(changes, ttl_s=60):
            assert not any(result.errno for result in results)


async def test_the_kernel_leaves_out_what_nobody_wants(namespace: PrivateNamespace) -> None:
    """Of our own changes only removals; of routes only unicast ones; all that others do."""
    with open_netlink(2**20, EVERYTHING) as opened:
        async with AddressSocket(clock=LoopClock()) as ours, AddressSocket(clock=LoopClock()) as o:
            event_filter.attach(opened, ours.port)
            own_port = ours.port
            await apply(ours, Operation.ADD, Operation.REFRESH, Operation.DELETE)
            await apply(o, Operation.ADD, Operation.DELETE)
        namespace.ip("addr add 10.9.0.1/24 dev v0", "route add 10.50.0.0/16 via 10.9.0.2")
        heard = []
        while True:
            try:
                datagram = opened.recv(65536)
            except BlockingIOError:
                break
            for kind, _, _, port, start, _ in nlmsg.messages(datagram):
                of = "ours" if port == own_port else "others"
                if datagram[start + 16] != socket.AF_INET:
                    continue
                if kind in (nlmsg.RTM_NEWROUTE, nlmsg.RTM_DELROUTE):
                    assert datagram[start + 23] == 1
                    of = "route"
                heard.append((kind, of))
    new, gone = nlmsg.RTM_NEWADDR, nlmsg.RTM_DELADDR
    # The link's own carrier and link-local address may still be on their way.
    addresses = [h for h in heard if h[0] in (new, gone)]
    assert addresses == [
        *[(gone, "ours")] * 2, *[(new, "others")] * 2, *[(gone, "others")] * 2, (new, "others")
    ]  # fmt: skip
    assert (nlmsg.RTM_NEWROUTE, "route") in heard


@pytest.mark.parametrize(
    ("command", "notices"),
    [
        ("route add 10.50.0.0/16 via 10.9.0.9", 1),
        ("route add 10.50.0.0/16 via inet6 fd09::9 dev v0", 1),
        ("route add 10.50.0.0/16 nexthop via 10.9.0.8 nexthop via 10.9.0.9", 1),
        ("-6 route add fd50::/32 via fd09::9", 1),
        ("nexthop add id 7 via 10.9.0.9 dev v0", 1),
        ("route add 10.9.9.9/32 dev v0", 0),
        ("route add blackhole 10.50.0.0/16", 0),
        ("-6 route add fd50::/32 dev v0", 0),
    ],
)
async def test_a_gateway_that_comes_or_goes_is_a_notice_and_another_route_is_none(
    namespace: PrivateNamespace, command: str, notices: int
) -> None:
    namespace.ip("addr add 10.9.0.1/24 dev v0", "addr add fd09::1/64 dev v0 nodad")
    seen: list[NoticeKind] = []
    async with listening(lambda notice: seen.append(notice.kind)):
        undo = command.replace(" add ", " del ")
        for step in (command, undo.partition(" via ")[0] if "nexthop add" in command else undo):
            namespace.ip(step)
            await asyncio.sleep(0.02)
            # The kernel may still be giving the interface its link-local address meanwhile.
            assert seen.count(NoticeKind.ROUTE_CHANGED) == notices
            seen.clear()


@pytest.mark.parametrize("address", ["10.9.0.1/32", "10.9.0.1/24", "fd09::1/128", "fd09::1/64"])
async def test_an_address_alone_is_no_change_of_routes(
    namespace: PrivateNamespace, address: str
) -> None:
    seen: set[NoticeKind] = set()
    removed = asyncio.Event()

    def handle(notice: Notice) -> None:
        seen.add(notice.kind)
        if notice.kind is NoticeKind.ADDRESS_REMOVED:
            removed.set()

    async with listening(handle):
        namespace.ip(f"addr add {address} dev v0", f"addr del {address} dev v0")
        async with asyncio.timeout(40):
            await removed.wait()
        await asyncio.sleep(0.02)
    assert NoticeKind.ADDRESS_CHANGED in seen
    assert NoticeKind.ROUTE_CHANGED not in seen


async def test_the_promotion_or_fall_of_secondaries_is_not_missed(
    namespace: PrivateNamespace,
) -> None:
    """What falls along with an address that we delete is reported as well."""
    namespace.ip("addr add 10.1.0.1/32 dev v0")
    gone: list[str] = []

    def handle(notice: Notice) -> None:
        if notice.kind is NoticeKind.ADDRESS_REMOVED and notice.address is not None:
            gone.append(str(notice.address.interface))

    first, second = ip_interface("10.2.0.1/24"), ip_interface("10.2.0.2/24")
    async with AddressSocket(clock=LoopClock()) as table, LinkSocket(clock=LoopClock()) as links:
        index = (await links.link("v0")).index
        async with listening(handle, own_port=table.port):
            for operation, interface in (
                (Operation.ADD, first),
                (Operation.ADD, second),
                (Operation.DELETE, first),
            ):
                async for _ in table.apply([Change(operation, index, interface)], ttl_s=60):
                    pass
            await asyncio.sleep(0.02)
    assert sorted(gone) == ["10.2.0.1/24", "10.2.0.2/24"]


async def test_a_handler_that_fails_ends_the_monitor(namespace: PrivateNamespace) -> None:
    def handle(_: Notice) -> None:
        raise ValueError("cannot take it")

    async with listening(handle) as task:
        namespace.ip("addr add 10.9.0.1/32 dev v0")
        await asyncio.wait([task], timeout=40)
        with pytest.raises(ValueError, match="cannot take it"):
            task.result()
