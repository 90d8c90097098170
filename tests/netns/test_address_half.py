"""What brings addresses up, on the real kernel, while the host is changed under its feet."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from extip.clock import LoopClock
from extip.net import frames, host
from extip.net.interfaces import Change, Operation
from extip.net.link_monitor import LinkMonitor
from extip.net.rtnetlink import AddressSocket
from extip.services.policy.refusal import Reason
from tests.netns.half import V4, V6, foreign, ours, running, until
from tests.netns.namespace import Elsewhere, PrivateNamespace

pytestmark = pytest.mark.netns

STRANGER = bytes.fromhex("020000000099")


class Wire:
    """What arrives at the other end."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self._heard: list[tuple[str, str]] = []

    def heard(self) -> list[tuple[str, str]]:
        """Return who has claimed which IP: (IP, MAC), in the order of the frames."""
        while True:
            try:
                sighting = frames.parse(self._socket.recv(2048))
            except BlockingIOError:
                return self._heard
            if sighting is not None and str(sighting.ip) in (V4, V6):
                self._heard.append((str(sighting.ip), sighting.mac.hex(":")))

    def heard_since(self, mac: str) -> set[str]:
        """Return the MACs that have claimed an IP since this one did."""
        heard = [found for _, found in self.heard()]
        return set(heard[heard.index(mac) :])

    def forget(self) -> None:
        """Begin anew: what has arrived until now does not count."""
        self.heard()
        self._heard = []

    def contradict(self) -> None:
        """Say that another station has the IPv4 address."""
        self._socket.send(frames.announcement(ip_address(V4), STRANGER, reply=False))

    async def claims(self, mac: str) -> None:
        """Wait until this MAC has claimed both IPs."""
        await until(lambda: {(V4, mac), (V6, mac)} <= {*self.heard()}, f"claims of {mac}")


@contextmanager
def open_wire() -> Iterator[Wire]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as opened:
        opened.bind(("v1", 3))
        opened.setblocking(False)  # noqa: FBT003 - that is its signature
        yield Wire(opened)


@pytest.fixture
def wire(namespace: PrivateNamespace) -> Iterator[Wire]:
    namespace.ip("link show v1")
    with open_wire() as opened:
        yield opened


def mac_of(namespace: PrivateNamespace, name: str = "v0") -> str:
    words = namespace.ip(f"-o link show {name}").split()
    return words[words.index("link/ether") + 1]


# What the kernel refuses.


async def test_half_of_a_batch_is_taken_and_all_others_are_up(namespace: PrivateNamespace) -> None:
    """Those that were taken since the look are named, counted, left alone, and tried again."""
    async with running() as world:
        await until(lambda: world.problem() == "", "ready")
        ips = [f"192.0.2.{n}" for n in range(1, 101)]
        table = world.parts.reconciler._table
        dump = table.dump

        async def dump_then_lose_the_race() -> object:
            seen = await dump()
            table.dump = dump  # type: ignore[method-assign]
            namespace.ip(*(f"addr add {ip}/32 dev v0" for ip in ips[::2]))
            return seen

        table.dump = dump_then_lose_the_race  # type: ignore[assignment, method-assign]
        world.want(*ips)
        await until(lambda: len(ours()) == 50, "the others to be up")
        assert ours() == {f"{ip}/32" for ip in ips[1::2]}
        assert foreign() == {f"{ip}/32" for ip in ips[::2]}

        def failed() -> float:
            return world.sample("extip_address_changes_total", operation="add", result="failure")

        await until(lambda: failed() == 50, "each to be counted")
        await until(lambda: "192.0.2" not in world.problem(), "the next look to see whose they are")
        namespace.ip(*(f"addr del {ip}/32 dev v0" for ip in ips[::2]))
        await until(lambda: len(ours()) == 100, "all to be up")
    assert ours() == foreign() == set()


def set_sysctl(name: str, value: str) -> None:
    Path("/proc/sys/net", name).write_text(value)


async def test_ipv6_that_is_switched_off_costs_no_ipv4_and_is_said(
    namespace: PrivateNamespace,
) -> None:
    switch = "ipv6/conf/v0/disable_ipv6"
    namespace.ip("link show v0")
    set_sysctl(switch, "1")
    async with running(V4, V6) as world:
        await until(lambda: ours() == {f"{V4}/32"}, "IPv4")
        await until(lambda: "IPv6 is switched off" in world.problem(), "the reason")
        assert V6 in world.problem()
        set_sysctl(switch, "0")
        await until(lambda: ours() == {f"{V4}/32", f"{V6}/128"}, "both")
        set_sysctl(switch, "1")
        await until(lambda: "IPv6 is switched off" in world.problem(), "the reason again")
        assert ours() == {f"{V4}/32"}


async def test_an_mtu_too_small_for_ipv6_costs_no_ipv4_and_is_said(
    namespace: PrivateNamespace,
) -> None:
    async with running(V4, V6) as world:
        await until(lambda: len(ours()) == 2, "both")
        namespace.ip("link set v0 mtu 9000")
        await asyncio.sleep(0.1)
        assert ours() == {f"{V4}/32", f"{V6}/128"}
        namespace.ip("link set v0 mtu 1000")  # IPv6 needs 1280 (RFC 8200 section 5)
        await until(lambda: "MTU" in world.problem(), "the reason")
        assert ours() == {f"{V4}/32"}
        namespace.ip("link set v0 mtu 1500")
        await until(lambda: len(ours()) == 2, "both again")
        await until(lambda: world.problem() == "", "no problem")


@pytest.mark.parametrize("promoted", ["0", "1"])
async def test_the_nodes_own_addresses_do_not_fall_with_ours(
    namespace: PrivateNamespace, promoted: str
) -> None:
    """Also where ours came first, and is the primary one of the subnet."""
    namespace.ip("link show v0")
    set_sysctl("ipv4/conf/v0/promote_secondaries", promoted)
    async with running("192.0.2.1", "192.0.2.2", mask=24) as world:
        await until(lambda: len(ours()) == 2, "ours")
        namespace.ip("addr add 192.0.2.100/24 dev v0")
        world.want("192.0.2.2")
        await until(lambda: ours() == {"192.0.2.2/24"}, "one of ours to go")
        assert foreign() == {"192.0.2.100/24"}
    assert ours() == set()
    assert foreign() == {"192.0.2.100/24"}


# What a run of before has left.


async def leave_over(*texts: str) -> None:
    """Put addresses on v0 as a process that was killed leaves them."""
    index = socket.if_nametoindex("v0")
    adds = [Change(Operation.ADD, index, ip_interface(text)) for text in texts]
    async with AddressSocket(clock=LoopClock()) as table:
        async for results in table.apply(adds, ttl_s=30):
            assert not any(result.errno for result in results)


async def test_what_is_left_over_is_watched_and_announced_only_when_it_is_wanted(
    namespace: PrivateNamespace, wire: Wire
) -> None:
    """It may be another node's by now, whose neighbours must not be told anything else."""
    await leave_over(f"{V4}/32", f"{V6}/128")
    async with running(known=False) as world:
        await until(lambda: len(world.local.up) == 2, "both to be found")
        await world.hears(wire.contradict)
        namespace.ip("link set v0 down", "link set v0 up")  # the kernel drops the IPv6 address
        await asyncio.sleep(1.5)  # longer than the first burst of an announcement
        assert {ip for ip, mac in wire.heard() if mac == mac_of(namespace)} == set()
        assert world.sample("extip_announcements_total", family="ipv4") == 0
        assert ours() == {f"{V4}/32"}
        world.want(V4, V6)
        await wire.claims(mac_of(namespace))
        assert ours() == {f"{V4}/32", f"{V6}/128"}


@pytest.mark.parametrize("known", [True, False])
async def test_the_nodes_own_addresses_do_not_fall_with_what_is_left_over(
    namespace: PrivateNamespace, *, known: bool
) -> None:
    """No interface fits: ours goes at once when the inputs are known, else at the end."""
    namespace.ip("link show v0")
    set_sysctl("ipv4/conf/v0/promote_secondaries", "0")
    await leave_over("192.0.2.1/24")
    namespace.ip("addr add 192.0.2.100/24 dev v0")
    async with running("192.0.2.1", known=known, mask=24, iface="v7") as world:
        await until(lambda: "v7 does not exist" in world.problem(), "a pass")
        await until(lambda: ours() == (set() if known else {"192.0.2.1/24"}), "it to go, or stay")
    assert ours() == set()
    assert foreign() == {"192.0.2.100/24"}


# What others do to the interface.


async def test_what_changes_while_the_kernel_drops_notices_is_seen(
    namespace: PrivateNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before the next refresh, and gateways are read anew."""
    monkeypatch.setattr(host, "LinkMonitor", partial(LinkMonitor, receive_buffer=1))
    async with running(V4, V6, resync_s=60.0) as world:
        await until(lambda: len(ours()) == 2, "both")
        namespace.ip(  # without the loop ever turning, so that nothing is read meanwhile
            *(
                f"link set v1 mtu {1400 + n}" for n in range(30)
            ),  # what matters to nobody comes first
            f"addr del {V4}/32 dev v0",
            "route add 203.0.113.0/24 via 192.0.2.9 dev v1 onlink",
        )
        assert ours() == {f"{V6}/128"}
        await until(lambda: len(ours()) == 2, "both again", within_s=5)
        assert world.sample("extip_netlink_overruns_total") == 1
        world.want(V4, V6, "192.0.2.9", "192.0.2.10")
        await until(lambda: len(ours()) == 3, "what is no gateway")
        assert "192.0.2.9/32" not in ours()


async def test_what_another_agent_flushes_again_and_again_comes_back_slowly(
    namespace: PrivateNamespace,
) -> None:
    async with running(V4, V6, resync_s=3.0) as world:
        await until(lambda: len(ours()) == 2, "both")
        flushed = 0
        clock = asyncio.get_running_loop().time
        began_s = clock()
        while clock() < began_s + 4 or "keeps removing addresses" not in world.problem():
            if ours():
                namespace.ip("addr flush dev v0 scope global")
                flushed += 1
            await asyncio.sleep(0.1)
        assert flushed <= 4 * (clock() - began_s)  # 10 in a second at full speed
        assert "another program keeps removing addresses" in world.problem()
        await until(lambda: len(ours()) == 2, "both, once it has stopped")


async def test_a_new_mac_is_announced_at_once(namespace: PrivateNamespace, wire: Wire) -> None:
    async with running(V4, V6):
        await wire.claims(mac_of(namespace))
        namespace.ip("link set v0 address 02:00:00:00:0a:0b")
        await wire.claims("02:00:00:00:0a:0b")
        await asyncio.sleep(0.3)  # the burst goes on, and none of it is about the old one
        assert wire.heard_since("02:00:00:00:0a:0b") == {"02:00:00:00:0a:0b"}
        assert ours() == {f"{V4}/32", f"{V6}/128"}


async def test_down_and_up_with_another_mac(namespace: PrivateNamespace, wire: Wire) -> None:
    async with running(V4, V6):
        await wire.claims(mac_of(namespace))
        namespace.ip("link set v0 down", "link set v0 address 02:00:00:00:0a:0c")
        # Nothing of it is known to the loop yet, so what is due now still has the old MAC.
        namespace.ip("link set v0 up")
        await wire.claims("02:00:00:00:0a:0c")
        await asyncio.sleep(0.3)
        assert wire.heard_since("02:00:00:00:0a:0c") == {"02:00:00:00:0a:0c"}
        assert ours() == {f"{V4}/32", f"{V6}/128"}


async def test_a_carrier_that_comes_back_during_a_pass_is_announced(
    namespace: PrivateNamespace, wire: Wire
) -> None:
    """Both looks find it up, and the switch has forgotten where the IPv4 address is."""
    async with running(V4, V6) as world:
        await wire.claims(mac_of(namespace))
        await asyncio.sleep(2.5)  # the burst is over
        table = world.parts.reconciler._table
        dump, before = table.dump, world.sample("extip_announcements_total", family="ipv4")

        async def down_and_up() -> object:
            table.dump = dump  # type: ignore[method-assign]
            namespace.ip("link set v0 down", "link set v0 up")
            wire.forget()
            return await dump()

        table.dump = down_and_up  # type: ignore[assignment, method-assign]
        await until(lambda: table.dump == dump, "the next pass")
        await wire.claims(mac_of(namespace))
        assert world.sample("extip_announcements_total", family="ipv4") > before


async def test_a_renamed_interface_is_waited_for(namespace: PrivateNamespace) -> None:
    """Another one that takes its name gets the addresses, and the renamed one loses them."""
    async with running(V4, V6) as world:
        await until(lambda: len(ours()) == 2, "both")
        namespace.ip("link set v0 down", "link set v0 name other", "link set other up")
        await until(lambda: "v0 does not exist" in world.problem(), "the loss")
        namespace.ip("link set other down", "link set other name v0", "link set v0 up")
        await until(lambda: len(ours()) == 2, "both again")
        namespace.ip("link set v0 down", "link set v0 name other", "link set other up")
        namespace.ip("link add v0 type veth peer name v2", "link set v0 up", "link set v2 up")
        await until(lambda: len(ours()) == 2, "both on the new one")
        await until(lambda: not ours("other"), "none on the renamed one")
        await until(lambda: world.problem() == "", "ready")


@pytest.mark.parametrize("iface", ["auto", "v0", "v0*"])
async def test_the_last_interface_that_fits_no_more_keeps_nothing(
    namespace: PrivateNamespace, iface: str
) -> None:
    """It loses its own addresses, or its name. Nobody watches an IP on it any more.

    Without that the kernel ends them 20 to 30 s later.
    """
    by_subnet = iface == "auto"
    own = ("192.0.2.77/24", "2001:db8::77/64") if by_subnet else ()
    for address in own:
        namespace.ip(f"address add {address} dev v0 {'nodad' if ':' in address else ''}")
    async with running(V4, V6, iface=iface) as world:
        await until(lambda: len(ours()) == 2, "both")
        for address in own:
            namespace.ip(f"address del {address} dev v0")
        if not by_subnet:
            namespace.ip("link set v0 down", "link set v0 name other", "link set other up")
        name = "v0" if by_subnet else "other"
        await until(lambda: not ours(name), f"none on {name}", within_s=15.0)
        assert world.local.up == frozenset()
        if not by_subnet:
            namespace.ip("link set other down", "link set other name v0", "link set v0 up")
        for address in own:
            namespace.ip(f"address add {address} dev v0 {'nodad' if ':' in address else ''}")
        await until(lambda: len(ours()) == 2, "both again")


async def test_an_interface_that_visits_another_namespace(
    namespace: PrivateNamespace, elsewhere: Elsewhere, wire: Wire
) -> None:
    """It comes back with its index and MAC, yet sockets that were bound to it are dead."""
    async with running(V4, V6) as world:
        for notices in (True, False, False):
            await until(lambda: len(ours()) == 2, "both")
            mac = mac_of(namespace)
            wire.forget()
            elsewhere.take("v0")
            if notices:
                await until(lambda: "v0 does not exist" in world.problem(), "the loss")
            elsewhere.give_back("v0")
            namespace.ip("link set v0 up")
            await until(lambda: len(ours()) == 2, "both again")
            await wire.claims(mac)
            await world.hears(wire.contradict)
        await until(lambda: world.problem() == "", "ready")


async def test_an_interface_that_is_made_again_with_its_index_and_mac(
    namespace: PrivateNamespace,
) -> None:
    async with running(V4, V6) as world:
        await until(lambda: len(ours()) == 2, "both")
        for _ in range(3):
            index = namespace.ip("-o link show v0").split(":")[0]
            mac = mac_of(namespace)
            namespace.ip(
                "link delete v0",
                f"link add v0 index {index} address {mac} type veth peer name v1",
                "link set v0 up",
                "link set v1 up",
            )
            with open_wire() as wire:
                await until(lambda: len(ours()) == 2, "both on the new one")
                await world.hears(wire.contradict)
                await wire.claims(mac)


async def test_a_pods_ip_is_refused_until_the_pod_is_gone(namespace: PrivateNamespace) -> None:
    """As Calico has it: a host route to each pod's interface."""
    namespace.add_veth("cali1", "pod1")
    namespace.ip(f"route add {V4} dev cali1 scope link", f"-6 route add {V6} dev cali1 metric 1024")
    async with running(V4, V6, "192.0.2.2") as world:
        await until(lambda: ours() == {"192.0.2.2/32"}, "what no pod has")
        reasons = {(r.text, r.refusal.reason) for r in world.admissions[-1].rejected}
        assert reasons == {(V4, Reason.OTHER_LINK), (V6, Reason.OTHER_LINK)}
        assert all("cali1" in r.refusal.message for r in world.admissions[-1].rejected)
        assert namespace.ip("route get " + V4).startswith(f"{V4} dev cali1")
        namespace.ip("link del cali1")
        await until(lambda: len(ours()) == 3, "the next look to find it gone")


async def test_what_is_up_stays_when_a_route_leads_elsewhere(namespace: PrivateNamespace) -> None:
    namespace.add_veth("cali1", "pod1")
    async with running(V4, V6) as world:
        await until(lambda: len(ours()) == 2, "both")
        namespace.ip(f"route add {V4} dev cali1", f"-6 route add {V6} dev cali1")
        namespace.ip(f"addr del {V4}/32 dev v0", f"addr del {V6}/128 dev v0")
        await until(lambda: len(ours()) == 2, "both to be back")
        assert not world.admissions[-1].rejected


@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
def test_a_bridge_and_a_macvlan_are_as_good_as_a_port(
    wire: Wire, namespace: PrivateNamespace, kind: str
) -> None:
    """The IP is on them alone, and announced by them on the segment."""
    if kind == "bridge":
        namespace.ip("link add own0 type bridge stp_state 0 forward_delay 0")
        namespace.ip("link set v0 master own0")
    else:
        namespace.ip("link add link v0 name own0 type macvlan mode bridge")
    namespace.ip("link set own0 address 02:00:00:00:00:77")
    namespace.ip("link set own0 up")

    async def scenario() -> None:
        async with running(V4, V6, iface="own*"):
            await wire.claims("02:00:00:00:00:77")
            assert set(ours("own0")) == {f"{V4}/32", f"{V6}/128"}
            assert not ours("v0")

    asyncio.run(scenario())
