"""What the node itself sends never leaves with an external IP while it has an address of its own.

On the real kernel, by what it says and by the name of a socket that connects.
"""

import socket

import pytest

from extip.addresses.release import release_in_time
from tests.netns.half import ours, running, until
from tests.netns.namespace import PrivateNamespace

pytestmark = pytest.mark.netns

OWN = "192.0.2.100"
GATEWAY, ON_LINK, FAR = "192.0.2.126", "192.0.2.77", "198.51.100.7"
NO_GATEWAY, ITS_NETWORK = "203.0.113.9", "203.0.113.0/24"
"""Reached by a route to the interface itself, which names neither gateway nor source."""
OWN_V6, ON_LINK_V6 = "2001:db8::100", "2001:db8::77"
EXTERNAL = tuple(f"192.0.2.{n}" for n in (1, 2, 3))


def source(destination: str) -> str:
    """Return the address that a TCP connection leaves with; nothing where it finds no way."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as opened:
        opened.settimeout(0)
        try:
            opened.connect((destination, 9))
        except BlockingIOError:
            pass  # under way
        except OSError:
            return ""
        name: str = opened.getsockname()[0]
        return name


def sources() -> set[str]:
    return {source(destination) for destination in (ON_LINK, GATEWAY, FAR, NO_GATEWAY)}


def add_own(namespace: PrivateNamespace, prefix: int = 24) -> None:
    namespace.ip(f"addr add {OWN}/{prefix} dev v0")


def add_routes(namespace: PrivateNamespace) -> None:
    namespace.ip(
        f"route replace default via {GATEWAY} dev v0 onlink",
        f"route replace {ITS_NETWORK} dev v0",
    )


@pytest.mark.parametrize("mask", [32, 24, 16, 28])
async def test_a_node_whose_own_address_comes_back_sends_from_that(
    namespace: PrivateNamespace, mask: int
) -> None:
    """Whatever its prefix length is to that of the external IPs."""
    add_own(namespace)
    add_routes(namespace)
    up = {f"{ip}/{mask}" for ip in EXTERNAL}
    async with running(*EXTERNAL, mask=mask) as world:
        await until(lambda: ours() == up, "the external IPs")
        assert sources() == {OWN}
        namespace.ip(f"addr del {OWN}/24 dev v0")
        await until(lambda: world.local.selected["v0"].own == (), "the loss to be seen")
        assert OWN not in sources()
        add_own(namespace)
        await until(lambda: sources() == {OWN}, "the node's own source")
        assert source("127.0.0.1") == "127.0.0.1"
        assert world.sample("extip_address_changes_total", operation="move", result="success")
        add_routes(namespace)  # as whoever put the address back does
        namespace.ip(
            f"addr flush dev v0 to {OWN}", f"addr add {OWN}/24 dev v0", "addr flush dev v0 to ::/0"
        )
        await until(lambda: sources() == {OWN}, "the node's own source")
        await until(lambda: ours() == up, "the external IPs")


@pytest.mark.parametrize("own_mask", [24, 16, 25])
async def test_a_node_that_gets_its_own_address_after_the_external_ips_sends_from_that(
    namespace: PrivateNamespace, own_mask: int
) -> None:
    """As at boot; and then with the second one, when the first one goes."""
    async with running(*EXTERNAL, mask=24) as world:
        await until(lambda: len(ours()) == len(EXTERNAL), "the external IPs")
        add_own(namespace, own_mask)
        add_routes(namespace)
        await until(lambda: sources() == {OWN}, "the node's own source")
        await until(lambda: not world.problem(), "no problem")
        namespace.ip(f"addr add 192.0.2.101/{own_mask} dev v0")
        namespace.ip(f"addr del {OWN}/{own_mask} dev v0")
        await until(lambda: sources() == {"192.0.2.101"}, "the other one as the source")
        assert len(ours()) == len(EXTERNAL)


async def test_an_external_ip_brings_no_route_that_the_node_would_send_by(
    namespace: PrivateNamespace,
) -> None:
    """A narrower route than that of the node's own address would be taken instead of that.

    Once the node's own address is gone for good the external IP keeps the subnet in reach.
    """
    add_own(namespace, 16)
    async with running("192.0.2.1", mask=24):
        await until(lambda: ours() == {"192.0.2.1/24"}, "the external IP")
        assert source(ON_LINK) == OWN
        assert "192.0.2.0/24" not in namespace.ip("route show dev v0")
        namespace.ip(f"addr del {OWN}/16 dev v0")
        await until(lambda: "192.0.2.0/24" in namespace.ip("route show dev v0"), "a route")
        assert source(ON_LINK) == "192.0.2.1"
        add_own(namespace, 16)
        await until(lambda: source(ON_LINK) == OWN, "the node's own source")


async def test_a_thousand_external_ips_make_way_and_none_is_announced_again(
    namespace: PrivateNamespace,
) -> None:
    namespace.ip("addr add 10.0.255.100/16 dev v0")
    ips = [f"10.0.{n // 200}.{n % 200 + 1}" for n in range(1000)]
    async with running(*ips, mask=16) as world:
        await until(lambda: len(ours()) == len(ips), "the external IPs")
        namespace.ip("addr del 10.0.255.100/16 dev v0", "addr add 10.0.255.100/16 dev v0")
        await until(lambda: source("10.0.255.7") == "10.0.255.100", "the node's own source")
        await until(lambda: len(ours()) == len(ips), "the external IPs")
        moved = world.sample("extip_address_changes_total", operation="move", result="success")
        assert moved == len(ips)
        added = world.sample("extip_address_changes_total", operation="add", result="success")
        assert added == len(ips)
        assert len(world.local.up) == len(ips)
        assert world.problem() == ""
    assert ours() == set()


async def test_a_thousand_external_ips_in_a_subnet_of_their_own_go_in_an_instant(
    namespace: PrivateNamespace,
) -> None:
    """The kernel works on all others when a subnet loses its primary address: a thousand times."""
    namespace.ip("link show v0")
    ips = [f"10.0.{n // 200}.{n % 200 + 1}" for n in range(1000)]
    async with running(*ips, mask=16) as world:
        await until(lambda: len(ours()) == len(ips), "the external IPs")
        assert await release_in_time(world.parts.reconciler)
        assert ours() == set()
        world.want()


async def test_an_own_ipv6_address_that_comes_back_is_the_source_again(
    namespace: PrivateNamespace,
) -> None:
    """External IPs are deprecated there, so no order matters."""
    add = f"addr add {OWN_V6}/64 dev v0 nodad"
    namespace.ip(add)
    async with running("2001:db8::1", "2001:db8::2", mask_v6=64):
        await until(lambda: len(ours()) == 2, "the external IPs")
        assert source(ON_LINK_V6) == OWN_V6
        namespace.ip(f"addr del {OWN_V6}/64 dev v0")
        await until(lambda: source(ON_LINK_V6) != OWN_V6, "the address to be gone")
        namespace.ip(add)
        await until(lambda: source(ON_LINK_V6) == OWN_V6, "the node's own source")
