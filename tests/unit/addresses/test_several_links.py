"""Several interfaces: each IP is on one of them, and moves cleanly from one to another."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from random import Random

from extip.addresses.conflict.reports import ConflictReports
from extip.addresses.links_in_use import SPARE, LinkParts, LinksInUse
from extip.addresses.local_addresses import LocalAddresses
from extip.addresses.observation import AddressObserver, AddressOptions, Inputs
from extip.addresses.policy.readd_backoff import AT_ONCE
from extip.addresses.probe.prober import Prober
from extip.addresses.reconciler import AddressReconciler
from extip.clock import LoopClock
from extip.guard.policy.admission import Admission
from extip.guard.policy.rules import Guard
from extip.metrics import Metrics
from extip.net.interfaces import Operation
from extip.net.link_selection import LinkSelection
from extip.services.policy.requests import Masks, Owner, collect
from extip.supervisor import Component
from extip.trigger import Trigger
from tests.fakes.fencing import FakeFencing
from tests.fakes.link import FakeNode
from tests.fakes.segment import FakeSegment, FakeWire
from tests.fakes.tasks import beside
from tests.fakes.virtual_time import run_virtually
from tests.unit.addresses.test_reconciler import RecordingAnnouncer, nobody, probes_nothing

OWNER = Owner(kind="Service", namespace="default", name="web", uid="u")
A, B, V6 = "10.0.0.9", "10.1.0.9", "fd00:1::9"


class World:
    """A node with two networks, eth0 (10.0.0.0/24) and eth1 (10.1.0.0/24, fd00:1::/64)."""

    def __init__(self, iface="auto", segments=None):
        self.segments = segments
        self.clock = LoopClock()
        self.node = FakeNode(self.clock)
        for name, *own in (("eth0", "10.0.0.1/24"), ("eth1", "10.1.0.1/24", "fd00:1::1/64")):
            self.node.add_link(name)
            for text in own:
                self.node.put(name, ip_interface(text))
        self.inputs = None
        self.metrics = Metrics("test")
        self.announcers = {}
        self.ran = []
        self.alive: set[str] = set()
        self.decided: list[Admission] = []
        options = AddressOptions(
            links=LinkSelection.parse(iface), guard=Guard(), ttl_s=6, refresh_s=2.0, resync_s=20.0
        )
        self.triggered = Trigger()
        self.in_use = LinksInUse()
        self.in_use.make_with(self.parts_of, only=options.links.only)
        self.observer = AddressObserver(
            options,
            inputs=lambda: self.inputs,
            links=self.node.links,
            table=self.node.table,
        )
        self.reconciler = AddressReconciler(
            options,
            observer=self.observer,
            links=self.node.links,
            table=self.node.table,
            in_use=self.in_use,
            fencing=FakeFencing(),
            triggered=self.triggered,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.reconciler.add_handler(self.decided.append)

    def parts_of(self, name):
        local = LocalAddresses(name, metrics=self.metrics)
        self.announcers[name] = RecordingAnnouncer()
        local.add_listener(self.announcers[name])

        async def run():
            self.ran.append(name)
            self.alive.add(name)
            try:
                await asyncio.Event().wait()
            finally:
                self.alive.remove(name)

        prober = self.prober_on(name)
        components = [Component(name, run), Component("prober", prober.run)]
        return LinkParts(local=local, prober=prober, components=components)

    def prober_on(self, name):
        """Return what probes an interface; it probes nothing, unless stations are to answer."""
        if self.segments is None:
            return probes_nothing(self.metrics)
        return Prober(
            FakeWire(self.segments[name]),
            window_s=0.2,
            ttl_s=6,
            cluster_macs=nobody,
            on_change=self.triggered.set,
            clock=self.clock,
            rng=Random(1),  # noqa: S311 - jitter
            metrics=self.metrics,
        )

    def want(self, *ips, **wishes):
        requests = collect([(OWNER, ips)], Masks().parse)
        links = {ip_address(ip): link for ip, link in wishes.get("links", {}).items()}
        self.inputs = Inputs(requests=replace(requests, links=links))
        self.triggered.set()

    @asynccontextmanager
    async def running(self):
        monitor = self.node.monitor(self.reconciler.on_notice)
        async with beside(self.reconciler.run()), beside(monitor.run()), beside(self.in_use.run()):
            await asyncio.sleep(1)
            yield

    def up(self):
        names = {link.index: link.name for link in self.node.all_links()}
        return {(str(a.interface.ip), names[a.link_index]) for a in self.node.observed() if a.ours}

    def announced(self):
        return {(str(ip), name) for name, one in self.announcers.items() for ip in one.announced}


def in_world(scenario, iface="auto", segments=None):
    async def main():
        world = World(iface, segments)
        async with world.running():
            await scenario(world)

    run_virtually(main())


def test_each_ip_is_on_the_interface_of_its_subnet_and_announced_there():
    async def scenario(world):
        world.want(A, B, V6)
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0"), (B, "eth1"), (V6, "eth1")} == world.announced()
        assert world.in_use.place(ip_address(B)) == "eth1"
        assert world.metrics.registry.get_sample_value("extip_addresses_up") == 3
        assert world.decided[-1].links == {
            ip_interface(f"{A}/32"): "eth0",
            ip_interface(f"{B}/32"): "eth1",
            ip_interface(f"{V6}/128"): "eth1",
        }
        await asyncio.sleep(30)
        assert world.up() == world.announced() != set(), "lifetimes are refreshed on both"
        assert sorted(world.ran) == ["eth0", "eth1"]

    in_world(scenario)


def test_an_ip_without_a_subnet_is_refused_with_the_reason():
    async def scenario(world):
        world.want("192.0.2.1", A)
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0")}
        (rejection,) = world.decided[-1].rejected
        assert rejection.refusal.reason == "LinkMismatch"
        assert "no interface of this node has a subnet" in rejection.refusal.message

    in_world(scenario)


def test_a_move_between_interfaces_removes_first_and_announces_then():
    async def scenario(world):
        world.want(A)
        await asyncio.sleep(1)
        world.node.applied.clear()
        world.want(A, links={A: "eth1"})
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth1")} == world.announced()
        operations = [
            c.operation for c in world.node.applied if c.operation is not Operation.REFRESH
        ]
        assert operations == [Operation.DELETE, Operation.ADD]
        assert world.metrics.registry.get_sample_value("extip_addresses_up") == 1
        world.want(A, links={A: "eth7"})
        await asyncio.sleep(1)
        assert world.up() == world.announced() == set()
        (rejection,) = world.decided[-1].rejected
        assert "interface eth7" in rejection.refusal.message

    in_world(scenario)


def test_own_addresses_that_come_later_are_first_again_on_each_interface():
    """Moves on one interface are no reason to wait with those on another one."""
    own = {"eth0": ip_interface("10.0.0.1/24"), "eth1": ip_interface("10.1.0.1/24")}

    async def scenario(world):
        world.want(A, B, links={A: "eth0", B: "eth1"})
        await asyncio.sleep(1)
        for _ in range(AT_ONCE - 1):
            world.node.applied.clear()
            for name, address in own.items():
                world.node.take(name, address)
                world.node.put(name, address)
            await asyncio.sleep(2)
            moved = [c.link_index for c in world.node.applied if c.operation is Operation.MOVE]
            assert sorted(moved) == [link.index for link in world.node.all_links()]
            assert world.up() == {(A, "eth0"), (B, "eth1")}

    in_world(scenario, "eth0,eth1")


def test_an_ip_that_moves_to_another_segment_is_new_there():
    """Another station may have it there: it was up here, but on another interface."""
    segments = {"eth0": FakeSegment(), "eth1": FakeSegment()}
    segments["eth1"].holders[ip_address(A)] = b"\x02\0\0\0\x09\x01"

    async def scenario(world):
        world.want(A)
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0")}
        world.want(A, links={A: "eth1"})
        await asyncio.sleep(1)
        assert world.up() == world.announced() == set()
        assert {r.refusal.reason for r in world.decided[-1].rejected} == {"AddressInUse"}
        segments["eth1"].holders.clear()
        await asyncio.sleep(30)
        assert world.up() == {(A, "eth1")} == world.announced()
        asked = len(segments["eth1"].probes)
        world.node.take("eth1", ip_interface(f"{A}/32"))
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth1")}
        assert len(segments["eth1"].probes) == asked, "it is back on the same one without a probe"

    in_world(scenario, segments=segments)


def test_an_interface_that_comes_is_taken_and_one_that_goes_is_left():
    async def scenario(world):
        world.want("10.2.0.9", A)
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0")}
        world.node.add_link("eth2")
        world.node.put("eth2", ip_interface("10.2.0.1/24"))
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0"), ("10.2.0.9", "eth2")} == world.announced()
        world.node.remove_link("eth0")
        await asyncio.sleep(1)
        assert world.up() == {("10.2.0.9", "eth2")} == world.announced()
        assert list(world.in_use.selected) == ["eth1", "eth2"]

    in_world(scenario)


def test_an_interface_whose_name_fits_no_more_keeps_nothing():
    async def scenario(world):
        world.want(A, B)
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0"), (B, "eth1")}
        world.node.change_link("eth1", name="spare")
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0"), (B, "eth0")} == world.announced()

    in_world(scenario, "eth*")


def test_interfaces_that_come_and_go_without_end_leave_nothing_behind():
    async def scenario(world):
        world.want(A)
        for number in range(3 * SPARE):
            world.node.add_link(f"pod{number}")
            await asyncio.sleep(1)
            assert f"pod{number}" in world.alive
            world.node.remove_link(f"pod{number}")
            await asyncio.sleep(1)
        assert len(world.alive) == SPARE + 2
        assert world.alive >= {"eth0", "eth1"}
        assert world.up() == {(A, "eth0")} == world.announced()
        world.node.add_link("pod0")
        await asyncio.sleep(1)
        assert world.ran.count("pod0") == 2

    in_world(scenario, "*")


def test_while_no_interface_fits_it_waits_and_says_so():
    async def scenario(world):
        world.want(A)
        await asyncio.sleep(1)
        assert world.reconciler.problem() == "no interface fits --iface bond*; waiting for one"
        world.node.add_link("bond0")
        await asyncio.sleep(1)
        assert world.up() == {(A, "bond0")}
        world.node.remove_link("bond0")
        await asyncio.sleep(1)
        assert world.announced() == set()
        assert world.in_use.selected == {}

    in_world(scenario, "bond*")


def test_the_last_interface_that_fits_no_more_keeps_nothing_either():
    """Nobody watches an IP there: another node may have it by now."""

    async def scenario(world):
        world.node.remove_link("eth1")
        world.want(A)
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0")} == world.announced()
        world.node.take("eth0", ip_interface("10.0.0.1/24"))
        await asyncio.sleep(1)
        assert world.up() == world.announced() == set()
        assert "no interface fits --iface auto" in world.reconciler.problem()
        world.node.put("eth0", ip_interface("10.0.0.1/24"))
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0")} == world.announced()

    in_world(scenario)


def test_before_the_inputs_are_known_an_interface_that_fits_no_more_keeps_what_it_has():
    async def scenario(world):
        world.node.remove_link("eth1")
        index = world.node.find("eth0").index
        world.node.take("eth0", ip_interface("10.0.0.1/24"))
        world.node.insert(index, ip_interface(f"{A}/32"), valid_s=60, ours=True)
        world.triggered.set()
        await asyncio.sleep(30)
        assert world.up() == {(A, "eth0")}
        world.want(A)
        await asyncio.sleep(5)
        assert world.up() == set()

    in_world(scenario)


def test_before_the_inputs_are_known_both_interfaces_keep_what_they_have():
    async def scenario(world):
        assert world.up() == set()
        for name, text in (("eth0", f"{A}/32"), ("eth1", f"{B}/32")):
            index = world.node.find(name).index
            world.node.insert(index, ip_interface(text), valid_s=6, ours=True)
        world.triggered.set()
        await asyncio.sleep(30)
        assert world.up() == {(A, "eth0"), (B, "eth1")}
        assert world.announced() == set()
        world.want(A)
        await asyncio.sleep(1)
        assert world.up() == {(A, "eth0")} == world.announced()

    in_world(scenario)


def test_conflicts_of_all_interfaces_are_told_together():
    told = []
    reports = ConflictReports()
    reports.add_handler(lambda found, began: told.append((dict(found), set(began))))
    a, b = ip_address(A), ip_address(B)
    reports.of("eth0")({a: "m1"}, {a})
    reports.of("eth1")({b: "m2"}, {b})
    reports.of("eth0")({}, ())
    assert told == [({a: "m1"}, {a}), ({a: "m1", b: "m2"}, {b}), ({b: "m2"}, set())]
