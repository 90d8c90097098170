"""The loop makes the interface right from any state, reacts to events, and rests otherwise."""

import asyncio
import errno
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_interface
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extip.addresses.links_in_use import LinkParts, LinksInUse
from extip.addresses.local_addresses import AddressListener, LocalAddresses
from extip.addresses.observation import AddressObserver, AddressOptions, Inputs
from extip.addresses.policy.readd_backoff import AT_ONCE
from extip.addresses.probe.prober import Prober
from extip.addresses.reconciler import AddressReconciler
from extip.clock import LoopClock
from extip.errors import NetlinkError, PermissionDeniedError
from extip.guard.policy.admission import Admission
from extip.guard.policy.rules import Guard
from extip.metrics import Metrics
from extip.net.interfaces import Operation
from extip.services.policy.requests import Masks, Owner, collect
from extip.trigger import Trigger
from tests.fakes.fencing import FakeFencing
from tests.fakes.interfaces import ETH0
from tests.fakes.link import FakeAddressTable, FakeNode
from tests.fakes.segment import FakeSegment, FakeWire
from tests.fakes.virtual_time import jump, run_virtually, virtually

TTL_S, REFRESH_S, RESYNC_S = 6, 2.0, 20.0
MASKS = Masks(v4=24, v6=128)
OWNER = Owner(kind="Service", namespace="default", name="web", uid="u")


class RecordingAnnouncer(AddressListener):
    """Remembers what is being announced, and every order it got."""

    def __init__(self):
        self.announced = set()
        self.held = set()
        self.links = []
        self.log = []

    def set_link(self, link):
        self.links.append(link)

    def announce(self, ips):
        ips = set(ips)
        assert not ips & self.announced, "announced twice"
        self.announced |= ips
        self.held -= ips
        self.log.append(ips)

    def hold(self, ips):
        assert not set(ips) & (self.announced | self.held), "held twice"
        self.held |= set(ips)

    def withdraw(self, ips):
        self.announced -= set(ips)
        self.held -= set(ips)


async def nobody():
    return frozenset()


def probes_nothing(metrics):
    return Prober(
        FakeWire(FakeSegment()),
        window_s=0.0,
        ttl_s=TTL_S,
        cluster_macs=nobody,
        on_change=lambda: None,
        clock=LoopClock(),
        rng=Random(1),  # noqa: S311 - jitter
        metrics=metrics,
    )


class SlowTable(FakeAddressTable):
    """Takes its time to read addresses, so that a pass takes as long."""

    SECONDS = 0.004

    async def dump(self, link_index=0):
        await asyncio.sleep(self.SECONDS)
        return await super().dump(link_index)


class World:
    """A node, what services ask for, and the reconciler between them."""

    def __init__(self, *, link=True, slow=False, ttl_s=TTL_S, resync_s=RESYNC_S):
        self.clock = LoopClock()
        self.node = FakeNode(self.clock)
        if slow:
            self.node.table = SlowTable(self.node)
        if link:
            self.node.add_link("eth0")
        self.inputs = None
        self.announcer = RecordingAnnouncer()
        self.fencing = FakeFencing()
        self.fencing.lifetime = ttl_s
        self.decided: list[Admission] = []
        self.wanted = set()
        self.foreign = set()
        self.metrics = Metrics("test")
        options = AddressOptions(
            links=ETH0,
            guard=Guard(),
            ttl_s=ttl_s,
            refresh_s=ttl_s / 3,
            resync_s=resync_s,
        )
        table, links = self.node.table, self.node.links
        self.observer = AddressObserver(
            options, inputs=lambda: self.inputs, links=links, table=table
        )
        self.local = LocalAddresses("eth0", metrics=self.metrics)
        self.local.add_listener(self.announcer)
        self.triggered = Trigger()
        in_use, prober = LinksInUse(), probes_nothing(self.metrics)
        in_use.make_with(lambda _name: LinkParts(local=self.local, prober=prober))
        self.reconciler = AddressReconciler(
            options,
            observer=self.observer,
            links=links,
            table=table,
            in_use=in_use,
            fencing=self.fencing,
            triggered=self.triggered,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.reconciler.add_handler(self.decided.append)

    def want(self, *ips):
        self.inputs = Inputs(requests=collect([(OWNER, ips)], MASKS.parse))
        self.triggered.set()

    def ours(self):
        return {str(a.interface) for a in self.node.observed() if a.ours}

    def left_over(self, text):
        """Put an address there that a run of before has left."""
        index = self.node.find("eth0").index
        assert not self.node.insert(index, ip_interface(text), valid_s=TTL_S, ours=True)

    def all(self):
        return {str(a.interface) for a in self.node.observed()}

    def after_batches(self, number, happens):
        """Have something happen just after the kernel has made that many batches of changes."""
        apply, made = self.node.table.apply, []

        async def interrupted(changes, *, ttl_s):
            async for results in apply(changes, ttl_s=ttl_s):
                made.append(results)
                if len(made) == number:
                    happens()
                yield results

        self.node.table.apply = interrupted  # type: ignore[method-assign]

    async def do_want(self, ips):
        self.wanted = set(ips)
        self.want(*ips)

    async def do_steal(self, text):
        if text in self.all():
            self.node.take("eth0", ip_interface(text))
            self.foreign.discard(text)

    async def do_squat(self, text):
        if text not in self.all():
            self.node.put("eth0", ip_interface(text))
            self.foreign.add(text)

    async def do_down(self, seconds):
        self.node.change_link("eth0", up=False, carrier=False)
        await asyncio.sleep(seconds)
        self.node.change_link("eth0", up=True, carrier=True)

    async def do_overrun(self, _):
        self.node.overrun()

    async def do_wait(self, seconds):
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def running(self):
        monitor = self.node.monitor(self.reconciler.on_notice)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(c.run()) for c in (monitor, self.reconciler)]
            await asyncio.sleep(0.01)
            yield
            for task in tasks:
                task.cancel()


async def failing_gateways():
    raise NetlinkError(errno.EINTR, "dump routes")


@virtually
async def test_brings_up_announces_and_takes_down():
    world = World()
    world.want("10.0.0.1", "fd00::1")
    async with world.running():
        assert world.ours() == {"10.0.0.1/24", "fd00::1/128"}
        assert world.announcer.announced == {ip_address("10.0.0.1"), ip_address("fd00::1")}
        world.want("fd00::1")
        await asyncio.sleep(0.01)
        assert world.ours() == {"fd00::1/128"}
        assert world.announcer.announced == {ip_address("fd00::1")}


@virtually
async def test_addresses_live_for_as_long_as_they_are_refreshed():
    world = World()
    world.want("10.0.0.1")
    async with world.running():
        await asyncio.sleep(3600)
        assert world.ours() == {"10.0.0.1/24"}
    async with asyncio.timeout(TTL_S + 2):
        monitor = world.node.monitor(lambda _: None)
        task = asyncio.ensure_future(monitor.run())
        await asyncio.sleep(TTL_S + 1)
        task.cancel()
    assert world.ours() == set()


@virtually
async def test_at_rest_it_only_refreshes():
    world = World()
    world.want("10.0.0.1", "fd00::1")
    async with world.running():
        done = len(world.node.applied)
        await asyncio.sleep(60)
        later = world.node.applied[done:]
    assert {change.operation for change in later} == {Operation.REFRESH}
    assert 2 * 60 / REFRESH_S * 0.8 <= len(later) <= 2 * 60 / REFRESH_S * 1.2
    assert len(world.announcer.log) == 1


@virtually
async def test_a_storm_of_changes_is_answered_by_few_passes():
    """They cost less than a tenth of the time, and the last change still comes up soon."""
    world = World(slow=True)
    async with world.running():
        await asyncio.sleep(1)
        for number in range(1, 201):
            world.want(*(f"10.0.0.{n}" for n in range(1, number + 1)))
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(world.ours()) == 200
    assert 10 <= len(world.announcer.log) <= 0.1 * 2.0 / SlowTable.SECONDS


@virtually
async def test_after_a_rest_a_change_is_answered_at_once():
    world = World(slow=True)
    async with world.running():
        for number in range(1, 4):
            await asyncio.sleep(1)
            world.want(*(f"10.0.0.{n}" for n in range(1, number + 1)))
            await asyncio.sleep(2 * SlowTable.SECONDS)
            assert len(world.ours()) == number


@virtually
async def test_holds_what_it_finds_until_every_input_is_known():
    """Started while the API server is away: keep, refresh, remove nothing, add nothing."""
    world = World()
    world.left_over("10.0.0.9/24")
    async with world.running():
        await asyncio.sleep(100)
        assert world.ours() == {"10.0.0.9/24"}
        world.want("10.0.0.1")
        await asyncio.sleep(0.01)
        assert world.ours() == {"10.0.0.1/24"}
        assert world.local.up == world.announcer.announced == {ip_address("10.0.0.1")}
        assert world.announcer.held == set()


@virtually
async def test_what_it_finds_is_announced_only_when_it_is_known_to_be_wanted():
    """It may have been given to another node while this one was away; it counts as up all along."""
    world = World()
    for text in ("10.0.0.8/24", "10.0.0.9/24", "fd00::9/128"):
        world.left_over(text)
    moved, gone, stays = map(ip_address, ("10.0.0.8", "10.0.0.9", "fd00::9"))
    async with world.running():
        await asyncio.sleep(100)
        assert world.local.up == world.announcer.held == {moved, gone, stays}
        assert world.metrics.registry.get_sample_value("extip_addresses_up") == 3
        world.node.take("eth0", ip_interface("10.0.0.9/24"))
        await asyncio.sleep(0.01)
        assert world.local.up == world.announcer.held == {moved, stays}
        assert world.announcer.log == []
        world.want("fd00::9")
        await asyncio.sleep(60)
        assert world.local.up == world.announcer.announced == {stays}
        assert (world.announcer.log, world.announcer.held) == ([{stays}], set())


@virtually
async def test_what_is_announced_already_stays_so_while_nobody_knows_what_is_wanted():
    world = World()
    world.want("10.0.0.1")
    async with world.running():
        world.inputs = None
        await asyncio.sleep(60)
        world.want("10.0.0.1")
        await asyncio.sleep(60)
        assert len(world.announcer.log) == 1
        assert world.announcer.held == set()


@virtually
async def test_a_foreign_address_is_neither_adopted_nor_removed():
    world = World()
    world.node.put("eth0", ip_interface("10.0.0.1/24"))
    world.want("10.0.0.1", "10.0.0.2")
    async with world.running():
        assert world.all() == {"10.0.0.1/24", "10.0.0.2/24"}
        (rejection,) = world.decided[-1].rejected
        assert (rejection.text, rejection.owner) == ("10.0.0.1", OWNER)
        world.node.take("eth0", ip_interface("10.0.0.1/24"))
        await asyncio.sleep(0.01)
        assert world.ours() == {"10.0.0.1/24", "10.0.0.2/24"}
        await asyncio.sleep(0)
    await world.reconciler.release()
    assert world.all() == set()


@virtually
async def test_a_hand_removed_address_is_back_before_the_next_refresh():
    world = World()
    world.want("10.0.0.1")
    async with world.running():
        world.node.take("eth0", ip_interface("10.0.0.1/24"))
        assert world.ours() == set()
        await asyncio.sleep(0.01)
        assert world.ours() == {"10.0.0.1/24"}
        assert len(world.announcer.log) == 2


@virtually
async def test_a_storm_of_changes_costs_a_quarter_of_the_time():
    world = World()
    passes = []
    observe = world.observer.observe

    async def slow(**options):
        passes.append(world.clock.monotonic())
        await asyncio.sleep(0.02)
        return await observe(**options)

    world.observer.observe = slow  # type: ignore[method-assign]
    async with world.running():
        passes.clear()
        for n in range(1000):
            world.want("10.0.0.1", f"10.0.1.{n % 250 + 1}")
            await asyncio.sleep(0.001)
        assert len(passes) * 0.02 < 0.35
        await asyncio.sleep(0.2)
        assert world.ours() == {"10.0.0.1/24", "10.0.1.250/24"}


@virtually
async def test_waits_for_the_interface_and_follows_its_replacement():
    world = World(link=False)
    world.want("10.0.0.1")
    async with world.running():
        await asyncio.sleep(100)
        assert "eth0 does not exist" in world.reconciler.problem()
        assert world.reconciler.stuck() == ""
        for _ in range(2):
            world.node.add_link("eth0")
            await asyncio.sleep(0.01)
            assert world.ours() == {"10.0.0.1/24"}
            assert world.reconciler.problem() == ""
            world.node.remove_link("eth0")
            await asyncio.sleep(0.01)
            assert world.announcer.announced == set()
            assert world.metrics.registry.get_sample_value("extip_addresses_up") == 0
            assert world.announcer.links[-1] is None


@virtually
async def test_one_failing_address_does_not_stop_the_others_and_is_tried_again():
    world = World()
    world.node.failures[ip_interface("10.0.0.1/24")] = 105
    world.want("10.0.0.1", "10.0.0.2")
    async with world.running():
        assert world.ours() == {"10.0.0.2/24"}
        assert "10.0.0.1" in world.reconciler.problem()
        tried = len(world.node.applied)
        await asyncio.sleep(60)
        assert len(world.node.applied) - tried < 100, "hot loop"
        world.node.failures.clear()
        await asyncio.sleep(RESYNC_S)
        assert world.ours() == {"10.0.0.1/24", "10.0.0.2/24"}
        assert world.reconciler.problem() == ""


@virtually
async def test_an_ip_whose_old_prefix_length_went_by_itself_is_announced_once():
    """The address to delete is gone when its turn comes; the IP is up by another one."""
    world = World()
    world.left_over("10.0.0.1/32")
    world.node.failures[ip_interface("10.0.0.1/32")] = errno.EADDRNOTAVAIL
    world.want("10.0.0.1")
    async with world.running():
        await asyncio.sleep(60)
        ip = ip_address("10.0.0.1")
        assert world.local.up == world.announcer.announced == {ip}
        assert world.announcer.log == [{ip}]


@virtually
async def test_ill_timed_triggers_do_not_put_the_refresh_off():
    """Two refreshes may fail before an address expires; triggers must not eat that up."""
    world = World()
    world.want("10.0.0.1")
    async with world.running():
        least = TTL_S
        for _ in range(200):
            await asyncio.sleep(0.97)
            world.triggered.set()
            await asyncio.sleep(0)
            least = min(least, *(a.valid_s or 0 for a in world.node.observed()))
        assert least >= TTL_S - REFRESH_S - 1


@virtually
async def test_routes_that_cannot_be_read_cost_no_address():
    world = World()
    world.want("10.0.0.1")
    async with world.running():
        world.node.links.gateways = failing_gateways  # type: ignore[method-assign]
        world.want("10.0.0.1", "10.0.0.2")
        await asyncio.sleep(10 * TTL_S)
        assert world.ours() == {"10.0.0.1/24", "10.0.0.2/24"}
        assert "routes" in world.reconciler.problem()


@virtually
async def test_without_any_routes_read_what_is_up_is_held():
    world = World()
    world.node.links.gateways = failing_gateways  # type: ignore[method-assign]
    world.left_over("10.0.0.9/24")
    world.want("10.0.0.1")
    async with world.running():
        await asyncio.sleep(10 * TTL_S)
        assert world.ours() == {"10.0.0.9/24"}


@virtually
async def test_a_route_that_changes_while_routes_are_read_counts_in_the_next_pass():
    world = World()
    world.want("10.0.0.1")
    read = world.node.links.gateways

    async def slow():
        found = await read()
        await asyncio.sleep(0.5)
        return found

    async with world.running():
        world.node.links.gateways = slow  # type: ignore[method-assign]
        world.observer.forget()
        world.triggered.set()
        await asyncio.sleep(0.1)
        world.node.gateways.add(ip_address("10.0.0.1"))
        world.observer.forget()  # as the monitor does
        await asyncio.sleep(0.5)
        world.triggered.set()
        await asyncio.sleep(1)
        assert world.ours() == set()


@virtually
async def test_a_resync_reads_the_routes_even_when_triggers_never_pause():
    world = World()
    world.want("10.0.0.1")
    async with world.running():
        world.node.gateways.add(ip_address("10.0.0.1"))
        for _ in range(int(RESYNC_S) + 2):
            await asyncio.sleep(1)
            world.triggered.set()
        await asyncio.sleep(0)
        assert world.ours() == set()


@virtually
async def test_kube_proxys_own_interface_may_come_later():
    world = World()
    world.want("10.0.0.1", "fd00::1")
    async with world.running():
        world.node.add_link("kube-ipvs0")
        for text in ("10.0.0.1/32", "fd00::1/128"):
            world.node.put("kube-ipvs0", ip_interface(text))
        await asyncio.sleep(1)
        assert world.ours() == {"10.0.0.1/24", "fd00::1/128"}
        assert world.announcer.announced == {ip_address("10.0.0.1"), ip_address("fd00::1")}


@virtually
async def test_a_release_tells_whether_all_went():
    world = World()
    world.want("10.0.0.1", "10.0.0.2")
    async with world.running():
        await asyncio.sleep(0.1)
    world.node.failures[ip_interface("10.0.0.1/24")] = errno.EPERM
    assert await world.reconciler.release() is False
    assert world.ours() == {"10.0.0.1/24"}
    world.node.failures.clear()
    assert await world.reconciler.release() is True
    assert world.ours() == set()


@pytest.mark.parametrize("end", ["release", "expire"])
def test_addresses_of_others_do_not_fall_with_ours(end):
    """By default the kernel drops an IPv4 subnet's other addresses with its first one."""

    async def scenario():
        world = World()
        world.node.change_link("eth0", promotes_secondaries=False)
        world.want("10.0.0.1")
        async with world.running():
            world.node.put("eth0", ip_interface("10.0.0.9/24"))
            await asyncio.sleep(1)
        if end == "release":
            await world.reconciler.release()
        else:
            monitor = asyncio.ensure_future(world.node.monitor(lambda _: None).run())
            await asyncio.sleep(TTL_S + 1)
            monitor.cancel()
        assert world.all() == {"10.0.0.9/24"}

    run_virtually(scenario())


@virtually
async def test_is_not_ready_before_it_knows_what_is_wanted():
    world = World()
    async with world.running():
        await asyncio.sleep(5)
        assert "not known" in world.reconciler.problem()
        world.want("10.0.0.1")
        await asyncio.sleep(0.01)
        assert world.reconciler.problem() == ""


@virtually
async def test_a_first_pass_that_hangs_is_reported():
    world = World()

    async def hang(_):
        await asyncio.get_running_loop().create_future()

    world.node.links.link = hang  # type: ignore[method-assign]
    async with world.running():
        await asyncio.sleep(TTL_S + 1)
        assert "no pass" in world.reconciler.stuck()


@virtually
async def test_a_missing_capability_ends_the_loop():
    world = World()
    world.node.permitted = False
    world.want("10.0.0.1")
    with pytest.raises(PermissionDeniedError):
        await world.reconciler.run()


@virtually
async def test_a_loop_that_hangs_is_reported():
    world = World()
    world.want("10.0.0.1")
    async with world.running():
        await asyncio.sleep(60)
        assert world.reconciler.stuck() == ""
    await asyncio.sleep(2 * RESYNC_S + 1)
    assert "no pass" in world.reconciler.stuck()


@pytest.mark.parametrize(
    ("ttl_s", "resync_s", "after_s"),
    [(40, 20, 20), (3600, 20, 30), (3600, 1, 15), (6, 20, 6), (7200, 3600, 3600)],
)
def test_a_loop_that_hangs_is_reported_before_its_addresses_run_out(ttl_s, resync_s, after_s):
    """And however long they live, unless it may only be slow."""

    async def scenario():
        world = World(ttl_s=ttl_s, resync_s=resync_s)
        world.want("10.0.0.1")
        async with world.running():
            for _ in range(10):
                await asyncio.sleep(ttl_s / 7)
                assert world.reconciler.stuck() == ""
            world.triggered.set()
            await asyncio.sleep(0.01)
        await asyncio.sleep(after_s - 1)
        assert world.reconciler.stuck() == ""
        await asyncio.sleep(2)
        assert "no pass" in world.reconciler.stuck()

    run_virtually(scenario())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sets(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]))),
        st.tuples(st.just("steal"), st.sampled_from(["10.0.0.1/24", "fd00::1/128"])),
        st.tuples(st.just("squat"), st.sampled_from(["10.0.0.1/32", "10.0.0.2/24"])),
        st.tuples(st.just("down"), st.floats(0, 10)),
        st.tuples(st.just("overrun"), st.none()),
        st.tuples(st.just("wait"), st.floats(0, 30)),
    ),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=60)
def test_whatever_happens_it_converges(steps):
    """After any sequence of hand-made changes the interface is right again, foreign ones intact."""

    async def scenario():
        world = World()
        async with world.running():
            for kind, argument in steps:
                await getattr(world, f"do_{kind}")(argument)
            await asyncio.sleep(RESYNC_S + 1)
            taken = {text.split("/")[0] for text in world.foreign}
            expected = world.wanted - taken
            assert {text.split("/")[0] for text in world.ours()} == expected
            assert world.foreign <= world.all()
            assert {str(ip) for ip in world.announcer.announced} == expected

    run_virtually(scenario())


@virtually
async def test_what_was_yielded_goes_at_once_and_comes_back_when_it_is_ours_again():
    """Also while nobody knows what is wanted: a process that stood still has lost its trust."""
    world = World()
    world.want("10.0.0.1", "fd00::1")
    async with world.running():
        world.inputs = None
        world.fencing.left_to_others = frozenset({ip_address("10.0.0.1")})
        world.triggered.set()
        await asyncio.sleep(0.2)
        assert world.ours() == {"fd00::1/128"}
        assert world.announcer.announced == {ip_address("fd00::1")}
        world.want("10.0.0.1", "fd00::1")
        await asyncio.sleep(60)
        assert world.ours() == {"fd00::1/128"}
        world.fencing.left_to_others = frozenset()
        world.triggered.set()
        await asyncio.sleep(0.2)
        assert world.ours() == {"10.0.0.1/24", "fd00::1/128"}


@virtually
async def test_without_a_lifetime_to_give_addresses_end_and_are_not_put_back():
    world = World()
    world.want("10.0.0.1", "fd00::1")
    async with world.running():
        await asyncio.sleep(3)
        world.fencing.lifetime = 0
        world.want("10.0.0.1", "10.0.0.2")
        await asyncio.sleep(0.2)
        assert world.ours() == {"10.0.0.1/24"}, "what is not wanted goes, and nothing comes"
        await asyncio.sleep(TTL_S)
        assert world.ours() == set()
        await asyncio.sleep(60)
        assert world.ours() == set()
        assert "heartbeat" in world.reconciler.problem()
        world.fencing.lifetime = TTL_S
        world.triggered.set()
        await asyncio.sleep(0.2)
        assert world.ours() == {"10.0.0.1/24", "10.0.0.2/24"}
        assert world.reconciler.problem() == ""


@virtually
async def test_a_shorter_lifetime_is_refreshed_sooner():
    """No address ends while there is any time left to give, nor between two refreshes."""
    world = World()
    world.want("10.0.0.1")
    async with world.running():
        index = world.node.find("eth0").index
        for lifetime in (2, 1, 0, TTL_S, 1, 0, TTL_S, 2, TTL_S):
            world.fencing.lifetime = lifetime
            await asyncio.sleep(0.9)
            world.triggered.set()
            await asyncio.sleep(0.05)
            assert world.ours() == {"10.0.0.1/24"}
        assert len(world.announcer.log) == 1
        assert world.node.observed(index)[0].valid_s is not None


@virtually
async def test_a_lifetime_that_stays_short_never_ends_between_two_refreshes():
    world = World()
    world.fencing.lifetime = 1
    world.want("10.0.0.1")
    async with world.running():
        await asyncio.sleep(30)
        assert world.ours() == {"10.0.0.1/24"}
        assert len(world.announcer.log) == 1, "it was away in between"


MANY = [f"10.0.{n // 200}.{n % 200 + 1}" for n in range(400)]


@pytest.mark.parametrize("releases", [True, False])
def test_what_was_frozen_in_the_middle_of_a_pass_adds_nothing_after_it(releases):
    """With --on-api-loss hold, too, where the lifetime to give stays as it is."""

    async def scenario():
        world = World()

        def freeze():
            jump(60)
            world.inputs = None  # what the claims say is not trusted now
            if releases:
                world.fencing.lifetime = 0

        world.after_batches(1, freeze)
        world.want(*MANY)
        async with world.running():
            await asyncio.sleep(1)
            assert world.ours() == set()
            assert 0 < len(world.node.applied) < 100, "one batch, before it was frozen"
            assert world.announcer.log == []
            world.fencing.lifetime = TTL_S
            world.want(*MANY)
            await asyncio.sleep(1)
            assert len(world.ours()) == len(world.announcer.announced) == len(MANY)
            assert world.reconciler.problem() == ""

    run_virtually(scenario())


@virtually
async def test_nothing_is_added_later_than_what_is_wanted_can_be_trusted():
    """Long before an address runs out: its claim may have been given to another node."""
    world = World()

    def stand_still():
        jump(world.fencing.wanted_valid_s + 0.1)
        world.inputs = None

    assert world.fencing.wanted_valid_s < TTL_S / 2
    world.after_batches(1, stand_still)
    world.want(*MANY)
    async with world.running():
        await asyncio.sleep(1)
        assert 0 < len(world.ours()) < 100, "one batch, before it stood still"
        assert world.announcer.log == []


@virtually
async def test_a_lifetime_that_shrinks_in_the_middle_of_a_pass_holds_for_the_rest_of_it():
    world = World()

    def shrink():
        world.fencing.lifetime = 3

    world.after_batches(2, shrink)
    world.want(*MANY)
    async with world.running():
        assert len(world.ours()) == len(MANY)
        lifetimes = [a.valid_s for a in world.node.observed()]
        assert 0 < lifetimes.count(TTL_S) <= 200
        assert lifetimes.count(3) == len(MANY) - lifetimes.count(TTL_S)
        await asyncio.sleep(60)
        assert len(world.ours()) == len(MANY)
        assert len(world.node.applied) < 60 * 2 * len(MANY), "hot loop"


@virtually
async def test_a_refresh_that_comes_too_late_brings_nothing_back():
    """A refresh of an address that is not there creates it: it may be another node's by now."""
    world = World()
    world.want(*MANY)
    async with world.running():
        world.announcer.log.clear()
        made = len(world.node.applied)

        def freeze():
            jump(60)
            world.inputs = None
            world.fencing.lifetime = 0

        world.after_batches(1, freeze)
        await asyncio.sleep(REFRESH_S + 1)
        await asyncio.sleep(1)
        assert world.ours() == set()
        assert len(world.node.applied) - made < 100
        assert world.announcer.announced == set()


@pytest.mark.parametrize("step_s", [0.5, REFRESH_S])
def test_addresses_that_ran_out_while_the_process_stood_still_were_removed_by_nobody(step_s):
    """However often: they come back at once, and no other program is blamed."""

    async def scenario():
        world = World()
        world.want("10.0.0.1")
        async with world.running():
            for _ in range(AT_ONCE + 3):
                await asyncio.sleep(step_s)
                jump(TTL_S + 1)
                await asyncio.sleep(0.5)
                assert world.ours() == {"10.0.0.1/24"}
                assert world.reconciler.problem() == ""

    run_virtually(scenario())


@virtually
async def test_standstills_in_the_middle_of_a_pass_are_no_removals_either():
    world = World()
    dump = world.node.table.dump

    async def frozen(link_index=0):
        jump(TTL_S + 1)
        return await dump(link_index)

    world.want("10.0.0.1")
    async with world.running():
        for _ in range(AT_ONCE + 3):
            world.node.table.dump = frozen  # type: ignore[method-assign]
            await asyncio.sleep(REFRESH_S)
            world.node.table.dump = dump  # type: ignore[method-assign]
            await asyncio.sleep(0.5)
            assert world.ours() == {"10.0.0.1/24"}
            assert world.reconciler.problem() == ""
