"""A new IP waits until nobody speaks for it; everything else waits for nothing."""

import asyncio
import errno
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_interface
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from extip.addresses.links_in_use import LinkParts, LinksInUse
from extip.addresses.local_addresses import AddressListener, LocalAddresses
from extip.addresses.observation import AddressObserver, AddressOptions, Inputs
from extip.addresses.probe.policy.probing import BACKOFF, ROUNDS, TAKEOVER_S, Probes
from extip.addresses.probe.policy.recently_owned import LONGEST_S
from extip.addresses.probe.prober import Prober
from extip.addresses.reconciler import AddressReconciler
from extip.clock import LoopClock
from extip.errors import ApiUnavailableError
from extip.guard.policy.admission import Admission
from extip.guard.policy.rules import Guard
from extip.metrics import Metrics
from extip.net.interfaces import IPAddress, Operation
from extip.net.neighbour_events import FrameKind, NeighbourEvent
from extip.services.policy.refusal import Reason
from extip.services.policy.requests import Masks, Owner, Requests, collect
from extip.trigger import Trigger
from tests.fakes.fencing import FakeFencing
from tests.fakes.interfaces import ETH0
from tests.fakes.link import FakeNode
from tests.fakes.segment import FakeSegment, FakeWire
from tests.fakes.virtual_time import jump, run_virtually, virtually

TTL_S, RESYNC_S, WINDOW_S, SLACK_S = 6, 20.0, 0.2, 0.05
MASKS = Masks(v4=24, v6=128)
OWNER = Owner(kind="Service", namespace="default", name="web", uid="u")
STRANGER, FRIEND = b"\x02\0\0\0\x09\x01", b"\x02\0\0\0\x09\x02"
V4, V6 = ip_address("10.0.0.1"), ip_address("fd00::1")
OVER_S = WINDOW_S + SLACK_S
A_TRIAL_IS_OVER_S = 10.0


class SpeakingAnnouncer(AddressListener):
    """Announces on the segment."""

    def __init__(self, segment):
        self._segment = segment
        self._mac = b""

    def set_link(self, link):
        self._mac = b"" if link is None else link.mac

    def announce(self, ips):
        for ip in ips:
            self._segment.say(NeighbourEvent(ip, self._mac, FrameKind.ANNOUNCEMENT))


class Station:
    """A node that brings addresses up on a segment."""

    def __init__(self, segment=None, *, number=0, window_s=WINDOW_S, seed=0, **link):
        self.clock = LoopClock()
        self.segment = segment or FakeSegment()
        self.node = FakeNode(self.clock)
        self.mac = self.node.add_link("eth0", mac=bytes([2, 0, 0, 0, 0, number]), **link).mac
        self.segment.answering.append(self.answer)
        self.inputs = None
        self.decided: list[Admission] = []
        self.cluster_macs: frozenset[bytes] = frozenset()
        self.opponents: dict[IPAddress, frozenset[bytes]] = {}
        self.asked_for_friends = 0
        self.metrics = Metrics("test")
        self.fencing = FakeFencing()
        options = AddressOptions(
            links=ETH0,
            guard=Guard(),
            ttl_s=TTL_S,
            refresh_s=TTL_S / 3,
            resync_s=RESYNC_S,
        )
        self.wire = FakeWire(self.segment)
        self.prober = Prober(
            self.wire,
            window_s=window_s,
            ttl_s=TTL_S,
            cluster_macs=self.find_friends,
            opponents=lambda: self.opponents,
            on_change=self.look_again,
            clock=self.clock,
            rng=Random(seed),  # noqa: S311 - jitter
            metrics=self.metrics,
        )
        table, links = self.node.table, self.node.links
        self.local = LocalAddresses("eth0", metrics=self.metrics)
        self.local.add_listener(SpeakingAnnouncer(self.segment))
        self.triggered = Trigger()
        in_use = LinksInUse()
        in_use.make_with(lambda _name: LinkParts(local=self.local, prober=self.prober))
        self.reconciler = AddressReconciler(
            options,
            observer=AddressObserver(options, inputs=lambda: self.inputs, links=links, table=table),
            links=links,
            table=table,
            in_use=in_use,
            fencing=self.fencing,
            triggered=self.triggered,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.reconciler.add_handler(self.decided.append)

    def look_again(self):
        self.triggered.set()

    async def find_friends(self):
        self.asked_for_friends += 1
        await asyncio.sleep(0.01)
        return self.cluster_macs

    def answer(self, ip):
        return self.mac if str(ip) in self.up() else None

    def want(self, *ips, established=()):
        requests = collect([(OWNER, [str(ip) for ip in ips])], MASKS.parse)
        requests = Requests(wanted=requests.wanted, established=frozenset(established))
        self.inputs = Inputs(requests=requests)
        self.triggered.set()

    def up(self):
        return {str(a.interface.ip) for a in self.node.observed() if a.ours}

    def refused(self):
        return {r.text: r.refusal for r in self.decided[-1].rejected}

    def lost_on_trial(self):
        return self.decided[-1].lost_on_trial

    def counted(self):
        """Return what the metric says of IPs that may come up."""
        return self.metrics.registry.get_sample_value("extip_addresses_wanted")

    def probes(self, result):
        name = "extip_probes_total"
        return self.metrics.registry.get_sample_value(name, {"result": result}) or 0

    @asynccontextmanager
    async def running(self):
        monitor = self.node.monitor(lambda _: self.triggered.set())
        async with asyncio.TaskGroup() as group:
            parts = (monitor, self.reconciler, self.prober)
            tasks = [group.create_task(part.run()) for part in parts]
            await asyncio.sleep(0.01)
            yield
            for task in tasks:
                task.cancel()


@virtually
async def test_a_new_ip_comes_up_after_the_window_and_not_before():
    station = Station()
    station.want(V4, V6)
    async with station.running():
        await asyncio.sleep(WINDOW_S - SLACK_S)
        assert station.up() == set()
        assert station.decided[-1].probed == {ip_interface("10.0.0.1/24"), ip_interface("fd00::1")}
        assert station.decided[-1].wanted == frozenset()
        await asyncio.sleep(2 * SLACK_S)
        assert station.up() == {str(V4), str(V6)}
        assert station.decided[-1].wanted == {ip_interface("10.0.0.1/24"), ip_interface("fd00::1")}
        assert station.probes("clear") == 2
        assert sorted(map(str, station.segment.probes)) == sorted([str(V4), str(V6)] * ROUNDS)
        await asyncio.sleep(60)
        assert len(station.segment.probes) == 2 * ROUNDS, "asked for again at rest"
        assert not station.wire.listens


@virtually
async def test_zero_asks_nobody():
    station = Station(window_s=0.0)
    station.segment.holders[V4] = STRANGER
    station.want(V4)
    async with station.running():
        assert station.up() == {str(V4)}
        assert station.segment.probes == []


@virtually
async def test_where_nobody_resolves_addresses_there_is_nobody_to_ask():
    station = Station(announces=False)
    station.want(V4, V6)
    async with station.running():
        assert station.up() == {str(V4), str(V6)}
        assert station.segment.probes == []


@virtually
async def test_what_another_station_has_is_refused_and_comes_up_when_it_is_gone():
    station = Station()
    station.segment.holders[V4] = STRANGER
    station.want(V4, V6)
    async with station.running():
        await asyncio.sleep(OVER_S)
        assert station.up() == {str(V6)}
        assert station.counted() == 1, "what is refused may not come up"
        refusal = station.refused()[str(V4)]
        assert refusal.reason is Reason.IN_USE
        assert STRANGER.hex(":") in refusal.message
        assert not station.wire.listens, "it costs nothing while it waits to ask again"
        told = len(station.decided)
        await asyncio.sleep(3 * BACKOFF.cap_s)
        assert station.up() == {str(V6)}
        assert all(d.rejected == station.decided[told].rejected for d in station.decided[told:])
        assert station.probes("in_use") == 1
        asked = len(station.segment.probes)
        assert asked < 30, "hot loop"
        del station.segment.holders[V4]
        await asyncio.sleep(BACKOFF.cap_s + OVER_S)
        assert station.up() == {str(V4), str(V6)}
        assert station.refused() == {}


@virtually
async def test_what_turns_out_to_be_anothers_goes_and_is_new_whoever_had_it_before():
    station = Station()
    station.segment.holders[V4] = STRANGER
    station.want(V4, V6, established=[V4])
    async with station.running():
        await asyncio.sleep(OVER_S)
        assert station.up() == {str(V4), str(V6)}
        station.prober.cease({V4: NeighbourEvent(V4, STRANGER, FrameKind.ANNOUNCEMENT)})
        with capture_logs() as logged:
            await asyncio.sleep(SLACK_S)
            assert station.local.up == {V6}
            await asyncio.sleep(RESYNC_S)
        assert "address_lost" not in {entry["event"] for entry in logged}, "extip removed it"
        assert station.up() == {str(V6)}
        assert STRANGER.hex(":") in station.refused()[str(V4)].message
        await asyncio.sleep(3 * BACKOFF.cap_s)
        assert station.up() == {str(V6)}
        assert V4 in station.segment.probes
        del station.segment.holders[V4]
        await asyncio.sleep(BACKOFF.cap_s + OVER_S)
        assert station.up() == {str(V4), str(V6)}
        assert station.refused() == {}
        station.prober.cease({V4: NeighbourEvent(V4, STRANGER, FrameKind.ANNOUNCEMENT)})
        station.want(V6)
        await asyncio.sleep(OVER_S)
        station.want(V4, V6, established=[V4])
        await asyncio.sleep(SLACK_S)
        assert station.up() == {str(V4), str(V6)}, "what nobody wanted meanwhile is forgotten"


@virtually
async def test_a_new_ip_that_loses_its_trial_is_told_from_one_that_was_up_before():
    station = Station()
    station.want(V4, V6, established=[V6])
    async with station.running():
        await asyncio.sleep(OVER_S)
        assert station.up() == {str(V4), str(V6)}
        station.segment.holders.update(dict.fromkeys((V4, V6), STRANGER))
        station.prober.cease(
            {ip: NeighbourEvent(ip, STRANGER, FrameKind.ANNOUNCEMENT) for ip in (V4, V6)}
        )
        await asyncio.sleep(SLACK_S)
        assert station.refused().keys() == {str(V4), str(V6)}
        assert station.lost_on_trial() == {V4}
        await asyncio.sleep(3 * BACKOFF.cap_s)
        assert station.lost_on_trial() == {V4}
        station.segment.holders.clear()
        await asyncio.sleep(BACKOFF.cap_s + OVER_S)
        assert station.up() == {str(V4), str(V6)}
        assert station.lost_on_trial() == frozenset()
        await asyncio.sleep(A_TRIAL_IS_OVER_S)
        station.segment.holders[V4] = STRANGER
        station.prober.cease({V4: NeighbourEvent(V4, STRANGER, FrameKind.ANNOUNCEMENT)})
        await asyncio.sleep(SLACK_S)
        assert station.refused().keys() == {str(V4)}
        assert station.lost_on_trial() == frozenset()


@virtually
async def test_what_is_anothers_in_both_ip_versions_goes_at_once():
    """Two clusters share the IPs of a dual-stack service: both are found in the same moment."""
    station = Station()
    ips = (V4, V6)
    station.segment.holders.update(dict.fromkeys(ips, STRANGER))
    station.want(*ips, established=ips)
    async with station.running():
        await asyncio.sleep(OVER_S)
        assert station.up() == {str(V4), str(V6)}
        station.prober.cease(
            {ip: NeighbourEvent(ip, STRANGER, FrameKind.ANNOUNCEMENT) for ip in ips}
        )
        await asyncio.sleep(SLACK_S)
        assert station.up() == set()
        assert station.refused().keys() == {str(V4), str(V6)}


@virtually
async def test_a_takeover_waits_for_nothing():
    station = Station()
    station.segment.holders[V4] = STRANGER
    station.want(V4, V6, established=[V4])
    async with station.running():
        assert station.up() == {str(V4)}
        assert V4 not in station.segment.probes
        await asyncio.sleep(OVER_S)
        assert station.up() == {str(V4), str(V6)}


@virtually
async def test_what_is_there_at_the_start_is_adopted_without_a_question():
    station = Station()
    index = station.node.find("eth0").index
    station.node.insert(index, ip_interface("10.0.0.1/24"), valid_s=TTL_S, ours=True)
    station.node.insert(index, ip_interface("fd00::1/64"), valid_s=TTL_S, ours=True)
    station.want(V4, V6)  # the latter with another prefix length: deleted, and added
    async with station.running():
        assert station.up() == {str(V4), str(V6)}
        assert station.segment.probes == []


@virtually
async def test_what_was_removed_by_hand_is_back_at_once_again_and_again():
    station = Station()
    station.want(V4, V6)
    async with station.running():
        await asyncio.sleep(OVER_S)
        asked = len(station.segment.probes)
        for pause_s in (0.0, 5.0, 100.0, 0.0):
            await asyncio.sleep(pause_s)
            station.node.take("eth0", ip_interface("10.0.0.1/24"))
            station.node.take("eth0", ip_interface("fd00::1/128"))
            await asyncio.sleep(0.01)
            assert station.up() == {str(V4), str(V6)}
        assert len(station.segment.probes) == asked


@virtually
async def test_what_nobody_wanted_for_a_while_is_new_again():
    station = Station()
    station.want(V4)
    async with station.running():
        await asyncio.sleep(OVER_S)
        station.node.take("eth0", ip_interface("10.0.0.1/24"))
        station.want()
        await asyncio.sleep(0.1)
        station.segment.holders[V4] = STRANGER
        station.want(V4)
        await asyncio.sleep(OVER_S)
        assert station.up() == set()
        assert str(V4) in station.refused()


@virtually
async def test_what_ran_out_while_the_process_stood_still_is_asked_for():
    """Its successor may have it by now."""
    station = Station()
    station.want(V4)
    async with station.running():
        await asyncio.sleep(OVER_S)
        jump(TTL_S + 2)
        station.segment.holders[V4] = STRANGER
        await asyncio.sleep(OVER_S)
        assert station.up() == set()
        assert str(V4) in station.refused()


@virtually
async def test_without_carrier_a_new_ip_waits_for_it():
    station = Station(carrier=False)
    station.segment.holders[V6] = STRANGER
    station.want(V4, V6)
    async with station.running():
        await asyncio.sleep(100)
        assert station.up() == set()
        assert station.counted() == 2
        assert len(station.decided[-1].waiting) == 2
        assert station.segment.probes == []
        station.node.change_link("eth0", carrier=True)
        await asyncio.sleep(WINDOW_S - SLACK_S)
        assert station.up() == set()
        await asyncio.sleep(2 * SLACK_S)
        assert station.up() == {str(V4)}
        assert set(station.refused()) == {str(V6)}
        station.node.change_link("eth0", carrier=False)
        await asyncio.sleep(1)
        assert station.up() == {str(V4)}, "what is up stays"


@virtually
async def test_carrier_lost_in_the_middle_begins_anew():
    station = Station()
    station.want(V4)
    async with station.running():
        await asyncio.sleep(WINDOW_S / 2)
        station.node.change_link("eth0", carrier=False)
        await asyncio.sleep(10)
        station.node.change_link("eth0", carrier=True)
        await asyncio.sleep(WINDOW_S - SLACK_S)
        assert station.up() == set()
        await asyncio.sleep(2 * SLACK_S)
        assert station.up() == {str(V4)}


@virtually
async def test_carrier_lost_and_back_between_two_looks_begins_anew():
    station = Station()
    station.want(V4)
    async with station.running():
        await asyncio.sleep(WINDOW_S / 2)
        station.node.change_link("eth0", carrier_losses=1)
        await asyncio.sleep(WINDOW_S - SLACK_S)
        assert station.up() == set()
        await asyncio.sleep(2 * SLACK_S)
        assert station.up() == {str(V4)}


@virtually
async def test_an_address_that_cannot_be_added_is_asked_for_once():
    """It is tried again by the reconciler's own backoff, and that alone."""
    station = Station()
    station.node.failures[ip_interface("10.0.0.1/24")] = 105
    station.want(V4)
    async with station.running():
        await asyncio.sleep(OVER_S)
        tried = len(station.node.applied)
        assert tried >= 1
        await asyncio.sleep(60)
        assert len(station.node.applied) - tried < 60, "hot loop"
        assert len(station.segment.probes) == ROUNDS
        station.node.failures.clear()
        await asyncio.sleep(RESYNC_S)
        assert station.up() == {str(V4)}


@virtually
async def test_an_address_that_could_not_be_added_for_an_hour_is_asked_for_again():
    station = Station()
    station.node.failures[ip_interface("fd00::1/128")] = errno.EACCES  # disable_ipv6
    station.want(V4, V6)
    async with station.running():
        await asyncio.sleep(3600)
        assert len(station.segment.probes) < 2 * ROUNDS * 3600 / LONGEST_S
        station.segment.holders[V6] = STRANGER
        await asyncio.sleep(3600)
        station.node.failures.clear()
        await asyncio.sleep(60)
        assert station.up() == {str(V4)}, "two stations have it"
        assert station.refused()[str(V6)].reason is Reason.IN_USE


@virtually
async def test_an_address_that_others_keep_removing_causes_no_storm_of_questions():
    station = Station()
    station.want(V4)
    async with station.running():
        await asyncio.sleep(OVER_S)
        for _ in range(100):
            if station.up():
                station.node.take("eth0", ip_interface("10.0.0.1/24"))
            await asyncio.sleep(0.5)
        assert len(station.segment.probes) < 10 * ROUNDS
        await asyncio.sleep(RESYNC_S + OVER_S)
        assert station.up() == {str(V4)}


@virtually
async def test_an_interface_that_is_gone_is_left_in_peace():
    station = Station()
    station.want(V4)
    async with station.running():
        await asyncio.sleep(WINDOW_S / 2)
        station.node.remove_link("eth0")
        await asyncio.sleep(0.01)
        assert not station.wire.listens
        assert station.wire.closed, "sockets of an interface that is gone are kept"
        asked = len(station.segment.probes)
        await asyncio.sleep(60)
        assert len(station.segment.probes) == asked
        station.node.add_link("eth0")
        await asyncio.sleep(OVER_S)
        assert station.up() == {str(V4)}


@virtually
async def test_a_refusal_outlasts_a_time_in_which_nobody_knows_what_is_wanted():
    """It is not told anew when that is over: neither in the log nor as an Event."""
    station = Station()
    station.segment.holders[V4] = STRANGER
    station.want(V4)
    async with station.running():
        await asyncio.sleep(OVER_S)
        inputs, station.inputs = station.inputs, None
        told = len(station.decided)
        for pause_s in (5.0, 30.0):
            station.triggered.set()
            await asyncio.sleep(pause_s)
        station.inputs = inputs
        for pause_s in (0.1, 5.0):
            station.triggered.set()
            await asyncio.sleep(pause_s)
        assert len(station.decided) > told
        assert all(str(V4) in {r.text for r in d.rejected} for d in station.decided[told:])


@virtually
async def test_a_refusal_outlasts_a_time_in_which_nothing_may_be_added():
    station = Station()
    station.segment.holders[V4] = STRANGER
    station.want(V4)
    async with station.running():
        await asyncio.sleep(OVER_S)
        told = len(station.decided)
        for lifetime_s in (0, TTL_S):
            station.fencing.lifetime = lifetime_s
            station.triggered.set()
            await asyncio.sleep(5)
        assert len(station.decided) > told
        assert all(str(V4) in {r.text for r in d.rejected} for d in station.decided[told:])


@virtually
async def test_frames_that_do_not_leave_prove_nothing():
    station = Station()
    station.wire.broken = True
    station.want(V4)
    async with station.running():
        await asyncio.sleep(0.5)
        assert station.decided[-1].probed == {ip_interface("10.0.0.1/24")}
        await asyncio.sleep(10)
        assert station.up() == set()
        assert station.decided[-1].unasked == {ip_interface("10.0.0.1/24")}, "nobody is told"
        assert station.decided[-1].probed == frozenset()
        before = station.wire.refused
        await asyncio.sleep(60)
        assert 30 < station.wire.refused - before < 90
        station.wire.broken = False
        await asyncio.sleep(1 + OVER_S)
        assert station.up() == {str(V4)}
        assert station.decided[-1].unasked == frozenset()


@virtually
async def test_one_frame_that_does_not_leave_is_sent_soon_after_and_told_to_nobody():
    station = Station()
    station.wire.broken = True
    station.want(V4)
    async with station.running():
        await asyncio.sleep(0.2)
        station.wire.broken = False
        await asyncio.sleep(OVER_S + 0.1)
        assert station.up() == {str(V4)}
        assert not any(admission.unasked for admission in station.decided)


@virtually
async def test_answers_that_were_lost_are_asked_for_again():
    station = Station()
    station.want(V4)
    async with station.running():
        await asyncio.sleep(WINDOW_S * 0.9)
        station.wire.overrun = True
        await asyncio.sleep(WINDOW_S * 0.9)
        assert station.up() == set()
        await asyncio.sleep(OVER_S)
        assert station.up() == {str(V4)}
        assert len(station.segment.probes) > ROUNDS


@virtually
async def test_other_controllers_do_not_stand_in_the_way():
    station = Station()
    station.cluster_macs = frozenset({FRIEND})
    station.segment.holders.update({V4: FRIEND, V6: STRANGER})
    station.want(V4, V6)
    async with station.running():
        await asyncio.sleep(OVER_S)
        assert station.up() == {str(V4)}
        assert set(station.refused()) == {str(V6)}
        assert station.asked_for_friends == 1, "asked for with every answer"
        await asyncio.sleep(20)
        assert station.asked_for_friends < 10


@virtually
async def test_who_cannot_be_told_apart_counts_as_a_stranger():
    station = Station()
    station.segment.holders[V4] = FRIEND

    async def fails():
        raise ApiUnavailableError("away")

    station.prober._find_cluster_macs = fails
    station.want(V4)
    async with station.running():
        await asyncio.sleep(OVER_S)
        assert str(V4) in station.refused()
        station.prober._find_cluster_macs = station.find_friends
        station.cluster_macs = frozenset({FRIEND})
        await asyncio.sleep(BACKOFF.cap_s)
        assert station.up() == {str(V4)}


@virtually
async def test_a_thousand_are_asked_for_at_once_and_delay_nobody():
    station = Station()
    station.want(V4)
    many = [f"10.0.{n // 200 + 1}.{n % 200 + 1}" for n in range(1000)]
    async with station.running():
        await asyncio.sleep(OVER_S)
        station.want(V4, V6, *many, established=[V6])
        await asyncio.sleep(0.01)
        assert station.up() == {str(V4), str(V6)}
        passes = len(station.decided)
        await asyncio.sleep(1.0)
        assert len(station.up()) == 1002
        assert len(station.decided) - passes < 50
        await asyncio.sleep(TTL_S * 3)
        assert len(station.up()) == 1002
        refreshed = {
            c.interface.ip for c in station.node.applied if c.operation is Operation.REFRESH
        }
        assert V4 in refreshed


@virtually
async def test_passes_while_a_thousand_are_asked_for_disturb_nothing():
    station = Station()
    many = [f"10.0.{n // 200 + 1}.{n % 200 + 1}" for n in range(1000)]
    station.segment.answering.append(lambda _: station.triggered.set())
    station.want(*many)
    async with station.running():
        await asyncio.sleep(1)
        assert len(station.up()) == 1000
        assert len(station.segment.probes) == 1000 * ROUNDS


@virtually
async def test_thousands_of_a_node_that_may_live_are_asked_for_at_a_pace_and_come_up_soon():
    station = Station()
    many = [f"10.0.{n // 200 + 1}.{n % 200 + 1}" for n in range(1500)]
    station.opponents = {ip_address(ip): frozenset({FRIEND}) for ip in many}
    asked = []
    station.segment.answering.append(lambda _: asked.append(station.clock.monotonic()))
    async with station.running():
        began = station.clock.monotonic()
        station.want(*many, established=station.opponents)
        await asyncio.sleep(0.1 + TAKEOVER_S + SLACK_S)  # 1,000 frames at once, 20,000 a second
        assert len(station.up()) == 1500
        assert len(asked) == 1500 * ROUNDS
        for number, at in enumerate(asked):
            assert number <= 1000 + 20_000 * (at - began) + 1
        assert len(station.decided) <= 4, "each pass looks at all of them"


def test_what_is_due_is_asked_for_once_whoever_asks_first():
    probes = Probes(window_s=WINDOW_S)
    probes.want([V4, V6], 0.0)
    assert probes.due(0.0) == [V4, V6]
    probes.sent(V4, 0.0)  # a pass did
    assert [ip for ip in (V4, V6) if probes.is_due(ip, 0.0)] == [V6]
    probes.want([V4], 0.0)
    assert not probes.is_due(V6, 0.0)


@virtually
async def test_two_that_begin_together_do_not_both_get_it():
    segment = FakeSegment()
    one, two = (Station(segment, number=n, seed=n) for n in (1, 2))
    one.want(V4)
    two.want(V4)
    async with one.running(), two.running():
        await asyncio.sleep(OVER_S)
        assert not one.up() & two.up()
        await asyncio.sleep(30)
        assert len(one.up()) + len(two.up()) == 1
        loser = two if one.up() else one
        winner = one if one.up() else two
        assert winner.mac.hex(":") in loser.refused()[str(V4)].message
        winner.want()
        await asyncio.sleep(BACKOFF.cap_s + OVER_S)
        assert loser.up() == {str(V4)}


@given(st.floats(0, 0.5), st.integers(0, 2**32), st.floats(0, 0.3))
@settings(max_examples=40)
def test_whenever_the_other_begins_at_most_one_gets_it(delay_s, seed, standstill_s):
    """Also when one of them stands still in the middle."""

    async def scenario():
        segment = FakeSegment()
        one, two = (Station(segment, number=n, seed=seed + n) for n in (1, 2))
        one.want(V4)
        async with one.running(), two.running():
            await asyncio.sleep(delay_s)
            two.want(V4)
            await asyncio.sleep(0.05)
            jump(standstill_s)
            for step_s in [0.05] * 20 + [1.0] * 40:
                await asyncio.sleep(step_s)
                assert not one.up() & two.up()
            assert one.up() | two.up() == {str(V4)}

    run_virtually(scenario())


@pytest.mark.parametrize("who", [STRANGER, FRIEND])
@pytest.mark.parametrize("late_s", [0.0, 0.009, 0.3, 5.0])
def test_who_announces_while_we_are_about_to_add_is_heard(late_s, who):
    """The pass that adds looks once more at what has arrived."""

    async def scenario():
        station = Station()
        station.cluster_macs = frozenset({FRIEND})
        station.want(V4)
        async with station.running():
            await asyncio.sleep(WINDOW_S - 0.01)
            jump(late_s)
            station.segment.say(NeighbourEvent(V4, who, FrameKind.ANNOUNCEMENT))
            await asyncio.sleep(OVER_S)
            assert station.up() == (set() if who == STRANGER else {str(V4)})
            assert (str(V4) in station.refused()) == (who == STRANGER)

    run_virtually(scenario())


@pytest.mark.parametrize("window_s", [WINDOW_S, 0.0])
def test_a_takeover_from_a_node_that_may_live_waits_while_that_one_answers(window_s):
    @virtually
    async def scenario():
        station = Station(window_s=window_s)
        station.cluster_macs = frozenset({FRIEND})
        station.opponents = {V4: frozenset({FRIEND})}
        station.segment.holders[V4] = FRIEND
        async with station.running():
            station.want(V4, established=[V4])
            await asyncio.sleep(3.0)
            assert station.up() == set()
            assert station.refused() == {}, "nobody is to blame"
            station.opponents = {}
            station.look_again()
            await asyncio.sleep(SLACK_S)
            assert station.up() == {str(V4)}, "the wait is over, whoever answers"

    scenario()


@pytest.mark.parametrize("window_s", [WINDOW_S, 0.0])
def test_a_takeover_from_a_node_that_may_live_comes_up_after_a_short_silence(window_s):
    @virtually
    async def scenario():
        station = Station(window_s=window_s)
        station.opponents = {V4: frozenset({FRIEND})}
        async with station.running():
            station.want(V4, established=[V4])
            await asyncio.sleep(TAKEOVER_S - SLACK_S)
            assert station.up() == set()
            await asyncio.sleep(2 * SLACK_S)
            assert station.up() == {str(V4)}
            assert station.segment.probes == [V4] * ROUNDS

    scenario()
