"""An address of a pool that another station has is left out, and tried again; others are given."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import msgspec

from extip.api.ipcontroller_v1 import IpClaimPoolStatus, IpClaimStatus
from extip.api.meta_v1 import Condition
from extip.api.pool_parts import SetAsideAddress
from extip.pools.policy import set_aside
from extip.pools.policy.allocation_state import AllocationState
from extip.pools.policy.set_aside import AGAIN_S, KEEP_S, MOST, SetAside
from tests.unit.pools.allocation_world import World, pool

LOAD_BALANCER = {"type": "LoadBalancer"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TIME = "2026-01-01T00:00:00Z"
IN_USE = Condition(type="Accepted", status="False", reason="AddressInUse", message="02:00 has it")
CONFLICT = Condition(type="Conflict", status="True", reason="AddressConflict")
FIRST, SECOND = ip_address("10.0.0.1"), ip_address("10.0.0.2")


class Segment(World):
    """A world with stations that have addresses, and a scheduler that remembers."""

    def __init__(self, *pools):
        super().__init__(*pools)
        self.set_aside = SetAside()
        self.state = AllocationState()
        self.told: set[str] = set()
        self.now_s = 1000.0
        self.stations = set()

    def plan(self):
        self.state.take_claims(dict.fromkeys(self.told - self.claims.keys()) | self.claims)
        self.told = {*self.claims}
        claims = self.state.claims_about(self.set_aside.listed())
        self.set_aside.update(claims, self.now_s, TIME)
        self.aside = self.set_aside.view(self.now_s)
        return super().plan()

    def report(self):
        """Leave it to `judge`."""

    def judge(self):
        """Have the controllers probe what is claimed."""
        for name, claim in self.claims.items():
            ip = claim.spec.cidr.split("/")[0]
            status = IpClaimStatus(holder="n1")
            if ip in self.stations:
                status = IpClaimStatus(conditions=(IN_USE,))
            self.claims[name] = msgspec.structs.replace(claim, status=status)

    def run(self, seconds=0.0):
        self.now_s += seconds
        for _ in range(8):
            self.settle()
            self.judge()
        self.settle()


def segment(*stations, cidr="10.0.0.0/29"):
    made = Segment(pool("p", cidr))
    made.stations = set(stations)
    return made


def test_a_service_gets_another_address_when_a_station_has_the_one_that_was_chosen():
    world = segment("10.0.0.1", "10.0.0.2")
    world.add("web", **LOAD_BALANCER)
    world.run()
    assert world.shown("web") == ["10.0.0.3"]
    assert world.claimed() == {"10.0.0.3": ["web"]}
    assert set(world.set_aside.listed()) == {FIRST, SECOND}
    world.add("other", **LOAD_BALANCER)
    world.run()
    assert world.shown("other") == ["10.0.0.4"], "it is not tried again at once"


def test_a_pod_of_the_node_has_an_address_as_any_station_has():
    pods = Condition(
        type="Accepted", status="False", reason="AddressOnOtherLink", message="behind cali1"
    )
    world = segment()
    world.add("web", **LOAD_BALANCER)
    world.settle()
    ((name, claim),) = world.claims.items()
    refused = msgspec.structs.replace(claim, status=IpClaimStatus(conditions=(pods,)))
    assert set_aside.taken(refused) == "behind cali1"
    world.claims[name] = refused
    world.run()
    assert world.claimed() == {"10.0.0.2": ["web"]}


def test_while_the_other_one_is_not_claimed_the_service_shows_one_address_and_then_the_other():
    world = segment("10.0.0.1")
    world.add("web", **LOAD_BALANCER)
    world.settle()
    world.judge()
    seen = []
    while world.step(1):
        seen.append(world.shown("web"))
        assert not [ip for ip in world.shown("web") if ip not in world.claimed()]
    assert seen[-1] == ["10.0.0.2"]
    assert all(seen)


def test_an_address_that_was_asked_for_by_name_stays_asked_for():
    world = segment("10.0.0.1")
    world.add("web", **LOAD_BALANCER, annotations={"ipcontroller.ext/addresses": "10.0.0.1"})
    world.run()
    assert world.claimed() == {"10.0.0.1": ["web"]}


def test_an_address_that_was_up_stays_the_services_when_a_station_takes_it():
    world = segment()
    world.add("web", **LOAD_BALANCER)
    world.run()
    for name, claim in world.claims.items():
        status = IpClaimStatus(conditions=(IN_USE, CONFLICT))
        world.claims[name] = msgspec.structs.replace(claim, status=status)
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]
    assert world.claimed() == {"10.0.0.1": ["web"]}
    assert not world.set_aside


def test_when_nothing_else_is_free_it_is_tried_again_after_a_while():
    world = segment("10.0.0.1", "10.0.0.2", cidr="10.0.0.0/30")
    world.add("web", **LOAD_BALANCER)
    world.run()
    assert world.shown("web") == []
    assert world.claimed() == {}
    (why,) = world.plan()[0].waiting.values()
    assert "other stations have 2" in why
    assert world.set_aside.next_s(world.now_s) == AGAIN_S
    world.stations.discard("10.0.0.2")
    world.run(AGAIN_S / 2)
    assert world.shown("web") == []
    world.run(AGAIN_S)
    assert world.shown("web") == ["10.0.0.2"]
    assert set(world.set_aside.listed()) == {FIRST}, "who is up is not set aside"


def test_after_a_longer_while_it_is_as_good_as_any_other():
    world = segment("10.0.0.1")
    world.add("web", **LOAD_BALANCER)
    world.run()
    world.stations.clear()
    world.run(KEEP_S)
    assert not world.set_aside
    assert world.shown("web") == ["10.0.0.2"], "what it has it keeps"
    assert world.aside.avoided == frozenset()


def test_a_scheduler_that_starts_anew_reads_it_from_the_pool():
    shown = pool("p", "10.0.0.0/29")
    old = (NOW - timedelta(seconds=KEEP_S + 1)).isoformat()
    recent = (NOW - timedelta(seconds=30)).isoformat()
    status = IpClaimPoolStatus(
        set_aside={
            "10.0.0.1": SetAsideAddress(message="02:00 has it", time=recent),
            "10.0.0.2": SetAsideAddress(message="02:00 has it", time=old),
            "10.0.0.3": SetAsideAddress(message="02:00 has it", time="nonsense"),
            "nonsense": SetAsideAddress(message="02:00 has it", time=recent),
        }
    )
    shown = msgspec.structs.replace(shown, status=status)
    made = SetAside()
    made.learn([shown], 50.0, NOW)
    assert made.view(50.0).avoided == {FIRST}
    made.update([], 50.0 + KEEP_S - 30, TIME)
    assert not made
    made.learn([shown], 50.0 + KEEP_S, NOW)
    assert not made, "it is read once, and then written"


def test_where_everything_is_answered_for_it_ends_with_some():
    world = segment(cidr="10.0.0.0/16")
    world.stations = {str(ip_address("10.0.0.0") + n) for n in range(2 * MOST)}
    world.add("web", **LOAD_BALANCER)
    for _ in range(MOST + 20):
        world.settle()
        world.judge()
    assert len(world.set_aside.listed()) == MOST
    assert len(world.claimed()) == 1


def test_a_service_keeps_what_is_up_when_a_station_has_what_it_asks_for_now():
    world = segment("10.0.0.3")
    world.add("web", **LOAD_BALANCER)
    world.run()
    wish = {"metadata": {"annotations": {"ipcontroller.ext/addresses": "10.0.0.3"}}}
    world.change("web", wish)
    world.run()
    assert {*world.shown("web")} == {"10.0.0.1", "10.0.0.3"}
    (why,) = world.plan()[0].waiting.values()
    assert why == "another station has 10.0.0.3; it keeps 10.0.0.1 until then"
    world.stations.clear()
    world.run()
    assert world.shown("web") == ["10.0.0.3"]
    assert "10.0.0.1" not in world.claimed()
