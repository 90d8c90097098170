"""Allocation that follows changes has the outcome of a plan over everything."""

from ipaddress import ip_interface

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import IpClaim
from extip.api.names import ADDRESSES_ANNOTATION
from extip.net.interfaces import IPAddress
from extip.pools.policy.allocation_index import Facts
from extip.pools.policy.allocation_state import AllocationState
from extip.pools.policy.pools import Pools
from extip.services.policy.requests import Request, Requests
from tests.unit.pools.allocation_world import World, pool
from tests.unit.pools.test_allocation_faults import OPERATIONS, POOLS, Faulty


def by_ip(requests: Requests) -> dict[IPAddress, Request]:
    return {one.ip: (one, owners) for one, owners in requests.wanted.items()}


class Followed(Faulty):
    """A world whose every plan is also made from the changes since the last one."""

    def __init__(self, *pools):
        super().__init__(*pools)
        self.state = AllocationState()
        self.compiled = Pools()
        self.told: set[str] = set()
        self.asked: set[str] = set()
        self.written: set[IPAddress] = set()

    def plan(self):
        users = set(self.state.last.users)  # it is that of now, also later
        reference, extended = super().plan()
        address_requests, pools, facts = self.facts()
        if pools != self.compiled:
            self.compiled = pools
        requests = {str(one.owner): one for one in address_requests}
        self.state.take_requests(dict.fromkeys(self.asked - requests.keys()) | requests)
        self.asked = {*requests}
        self.state.take_claims(dict.fromkeys(self.told - self.claims.keys()) | self.claims)
        self.told = {*self.claims}
        explicit = by_ip(facts.requests)
        self.state.take_explicit(dict.fromkeys(self.written - explicit.keys()) | explicit)
        self.written = {*explicit}
        before = {ip: one.owners for ip, one in self.state.last.allocated.items()}
        mine = self.state.plan(self.compiled, facts)
        for part in ("allocated", "upcoming", "disowned", "waiting", "arriving", "users", "ports"):
            assert getattr(mine, part) == getattr(reference, part), part
        written = (mine.service_updates, reference.service_updates)
        assert len(written[0]) == len(written[1])
        assert {one.owner: one for one in written[0]} == {one.owner: one for one in written[1]}
        assert mine.extend(facts.requests) == extended
        after = {ip: one.owners for ip, one in mine.allocated.items()}
        differing = {ip for ip in {*before, *after} if before.get(ip) != after.get(ip)}
        assert differing <= mine.changed
        assert users - set(mine.users) <= set(mine.freed)
        return reference, extended

    def successor(self, most):
        """Return the allocation of a new leader, which plans in steps."""
        address_requests, pools, facts = self.facts()
        state = AllocationState()
        state.take_requests({str(one.owner): one for one in address_requests})
        state.take_claims(self.claims)
        state.take_explicit(by_ip(facts.requests))
        steps, changed = 1, {*state.plan(pools, facts, most).changed}
        while state.pending:
            changed |= state.plan(pools, facts, most).changed
            steps += 1
        return state.last, changed, steps


@settings(max_examples=100)
@given(st.lists(OPERATIONS, max_size=25), st.integers(1, 4))
def test_a_new_leader_comes_to_the_same_in_steps(operations, most):
    world = Followed(POOLS[0])
    for operation in operations:
        world.do(*operation)
        _keeps(world, most)
    world.settle()
    reference, found = world.plan()[0], world.successor(most)[0]
    for part in ("allocated", "upcoming", "disowned", "waiting", "arriving", "users"):
        assert getattr(found, part) == getattr(reference, part), part


def _keeps(world, most):
    """Assert that a new leader leaves to each service what it has and keeps."""
    reference, (found, changed, _steps) = world.plan()[0], world.successor(most)
    assert found.users.keys() >= {ip for ip in reference.users if ip not in reference.allocated}
    assert changed >= found.users.keys()
    for claim in world.claims.values():
        ip = ip_interface(claim.spec.cidr).ip
        before = {str(service) for service in claim.spec.services or ()}
        owners = reference.allocated[ip].owners if ip in reference.allocated else ()
        if before and before == {*map(str, owners)}:
            assert found.allocated[ip].owners == owners


def test_steps_are_small():
    world = Followed(pool("p", "10.0.0.0/24"))
    for number in range(48):
        world.add(f"web-{number}", type="LoadBalancer")
    assert world.successor(1)[2] >= 48
    world.settle()
    assert 12 <= world.successor(1)[2] < 24  # services at rest take less time
    assert world.successor(100)[2] == 1


@settings(max_examples=100)
@given(st.lists(OPERATIONS, max_size=25))
@example(
    [
        ("add", name, "LoadBalancer", {ADDRESSES_ANNOTATION: "10.0.0.2"}, port, 0)
        for name, port in (("b", 81), ("a", 80))  # a is the older one
    ]
)
def test_each_plan_is_that_of_everything(operations):
    world = Followed(POOLS[0])
    for operation in operations:
        world.do(*operation)
        world.plan()
    world.settle()


def test_an_older_service_that_comes_later_takes_no_address_whose_claim_is_on_its_way():
    world = Followed(pool("p", "10.0.0.1/32"))
    world.add("young", created="2", type="LoadBalancer")
    world.plan()
    world.add("old", created="1", type="LoadBalancer")
    (found,) = world.plan()[0].allocated.values()
    assert [owner.name for owner in found.owners] == ["young"]


@pytest.mark.parametrize(
    ("cidr", "spec", "left"),
    [
        ("10.0.0.1/32", {"allocation": "Closed"}, set()),
        ("10.0.0.1/32", {"auto_assign": False}, set()),
        ("10.0.0.2/32", {}, {"10.0.0.2"}),
    ],
)
def test_an_address_that_its_pool_may_not_give_any_more_is_not_claimed(cidr, spec, left):
    world = Followed(pool("p", "10.0.0.1/32"))
    world.add("web", type="LoadBalancer")
    assert {*map(str, world.plan()[0].allocated)} == {"10.0.0.1"}
    world.pools["p"] = pool("p", cidr, **spec)
    assert {*map(str, world.plan()[0].allocated)} == left


def addresses(world):
    """Plan, and return the names of the services of each address."""
    allocated = world.plan()[0].allocated
    return {str(ip): [owner.name for owner in one.owners] for ip, one in allocated.items()}


def annotate(world, name, **wishes):
    keyed = {f"ipcontroller.ext/{key.replace('_', '-')}": value for key, value in wishes.items()}
    world.change(name, {"metadata": {"annotations": keyed}})


@pytest.mark.parametrize(
    ("kind", "annotations", "change"),
    [
        ("LoadBalancer", {}, {"spec": {"type": "ClusterIP"}}),
        (
            "ClusterIP",
            {"external-ip": "auto"},
            {"metadata": {"annotations": {"external-ip": None}}},
        ),
    ],
)
def test_a_service_that_asks_for_nothing_any_more_gets_no_address_that_it_named(
    kind, annotations, change
):
    world = Followed(pool("p", "10.0.0.0/29"))
    world.add("web", type=kind, annotations=annotations)
    world.settle()
    annotate(world, "web", addresses="10.0.0.5")
    assert "10.0.0.5" in addresses(world)
    world.change("web", change)
    assert "10.0.0.5" not in addresses(world)
    world.settle()


DUAL = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}


def test_of_both_families_none_stays_when_a_pool_may_not_give_the_other_any_more():
    world = Followed(pool("p", "10.0.0.0/29"), pool("q", "fd00::/125"))
    world.add("web", type="LoadBalancer", **DUAL)
    assert len(addresses(world)) == 2
    world.pools["q"] = pool("q", "fd00::/125", allocation="Closed")
    assert addresses(world) == {}


def test_a_service_that_has_both_families_waits_for_no_second_one_of_the_other():
    world = Followed(pool("p", "10.0.0.1/32"), pool("q", "fd00::1/128"))
    world.add("web", type="LoadBalancer", **DUAL)
    annotate(world, "web", address_count="2")
    assert len(addresses(world)) == 2
    world.pools["p"] = pool("p", "10.0.0.0/30")
    assert len(addresses(world)) == 3


@pytest.mark.parametrize("wish", [{"addresses": "10.0.0.1"}, {"sharing_key": "k"}])
def test_of_services_that_share_an_address_none_loses_it_to_an_older_one_that_comes_later(wish):
    world = Followed(pool("p", "10.0.0.0/29"))
    for name, created, port in (("x", "2", 80), ("y", "3", 81)):
        world.add(name, created=created, type="LoadBalancer", ports=[{"port": port}])
        annotate(world, name, **wish)
    (shared,) = addresses(world).items()
    world.add("z", created="1", type="LoadBalancer", ports=[{"port": 81}])
    annotate(world, "z", **wish)
    assert shared in addresses(world).items()


def test_an_address_that_a_service_gives_up_before_it_is_claimed_goes_to_one_that_waits():
    for gives_up in (
        lambda world: world.services.pop("young"),
        lambda world: annotate(world, "young", pool="none"),
    ):
        world = Followed(pool("p", "10.0.0.1/32"))
        world.add("young", created="2", type="LoadBalancer")
        world.plan()
        world.add("old", created="1", type="LoadBalancer")
        assert addresses(world) == {"10.0.0.1": ["young"]}
        gives_up(world)
        assert addresses(world) == {"10.0.0.1": ["old"]}


STEP = 32


class Stepped(World):
    """A world that is planned in steps, as a scheduler does."""

    def __init__(self, *pools):
        super().__init__(*pools)
        self.state = AllocationState()
        self.compiled = Pools()

    def steps(self):
        """Plan until nothing is left; return the number of steps."""
        requests, pools, facts = self.facts()
        if pools != self.compiled:
            self.compiled = pools
        self.state.take_requests({str(one.owner): one for one in requests})
        self.state.take_claims(self.claims)
        for steps in range(1, 1000):
            self.state.plan(self.compiled, facts, STEP)
            if not self.state.pending:
                return steps
        raise AssertionError("no end")

    def given(self):
        """Return the names of the services of each address."""
        allocated = self.state.last.allocated
        return {str(ip): [owner.name for owner in one.owners] for ip, one in allocated.items()}


def test_addresses_that_were_found_in_vain_are_found_again():
    """A service that waits for both families has found some of one, and holds none."""
    world = Stepped(pool("q", "fd00::/126"))
    world.add("both", type="LoadBalancer", **DUAL)
    annotate(world, "both", address_count="3")
    world.steps()
    for name in ("web", "other"):
        world.add(name, type="LoadBalancer", ipFamilies=["IPv6"])
        world.steps()
    assert world.given() == {"fd00::1": ["web"], "fd00::2": ["other"]}


def test_an_address_that_was_claimed_before_there_was_a_pool_is_in_use():
    world = Stepped()
    world.claim_by_hand(ip_interface("10.0.0.1/32"))
    world.steps()
    world.pools["p"] = pool("p", "10.0.0.0/30")
    world.add("web", type="LoadBalancer")
    world.steps()
    assert world.given() == {"10.0.0.2": ["web"]}


def test_an_address_that_is_given_up_goes_to_the_oldest_of_very_many_that_wait():
    world = Stepped(pool("p", "10.0.0.1/32"))
    world.add("young", created="2", type="LoadBalancer")
    world.steps()
    for number in range(2 * STEP):
        world.add(f"old-{number:03}", created="1", type="LoadBalancer")
    world.steps()
    annotate(world, "young", pool="none")
    world.steps()
    assert world.given() == {"10.0.0.1": ["old-000"]}


def test_services_that_wait_are_not_planned_again_while_a_claim_is_on_its_way():
    world = Stepped(pool("p", "10.0.0.1/32"))
    world.add("some", created="1", type="LoadBalancer")
    annotate(world, "some", address_count="2")
    for number in range(4 * STEP):
        world.add(f"web-{number:03}", created="2", type="LoadBalancer")
    world.steps()
    assert world.state.last.upcoming
    annotate(world, "some", pool="p")  # it might give its address up
    assert world.steps() > 1
    assert world.steps() == 1


def test_ports_of_a_service_that_writes_an_allocated_address_itself_are_followed():
    world = Followed(POOLS[0])
    world.do("add", "asks", "LoadBalancer", {}, 80, 1)
    world.settle()
    (ip,) = world.state.last.allocated
    world.do("add", "writes", "ClusterIP", {}, 81, 2)
    world.do("write", "writes", str(ip))
    world.settle()
    for port in (82, 80):
        world.do("port", "writes", port)
        world.plan()
        assert {
            ports for owner, ports in world.state.last.ports.items() if owner.name == "writes"
        } == {frozenset({("TCP", port)})}


def test_claims_that_come_and_go_without_a_pool_leave_nothing_behind():
    state = AllocationState()
    for number in range(100):
        name = f"web-{number}"
        spec = {"cidr": "10.0.0.1/32", "services": [{"namespace": "shop", "name": name}]}
        claim = msgspec.convert({"metadata": {"name": name}, "spec": spec}, IpClaim)
        for claims in ({name: claim}, {name: None}):
            state.take_claims(claims)
            state.plan(Pools(), Facts())
    assert (state._touched.services, state._touched.ips) == ({}, {})


def test_an_address_that_a_service_showed_before_its_turn_is_free_again():
    world = Followed(pool("p", "10.0.0.9/32"))
    shows = {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}}}
    world.add("other", type="LoadBalancer", created="1")
    world.change("other", shows)
    requests, pools, facts = world.facts()
    state = AllocationState()
    state.take_requests({str(one.owner): one for one in requests})
    world.change("other", {"status": None, "spec": {"type": "ClusterIP"}})
    state.take_requests({str(one.owner): None for one in requests})
    world.add("web", type="LoadBalancer", created="2")
    del world.services["other"]
    state.take_requests({str(one.owner): one for one in world.facts()[0]})
    allocation = state.plan(pools, facts)
    assert [[o.name for o in one.owners] for one in allocation.allocated.values()] == [["web"]]


def test_addresses_of_the_last_pool_are_free_when_it_goes_with_the_last_service():
    world = Followed(pool("p", "10.0.0.0/29"))
    world.add("web", type="LoadBalancer")
    world.settle()
    del world.services["web"], world.pools["p"]
    world.plan()
    assert {str(ip): user for ip, user in world.state.last.freed.items()} == {
        "10.0.0.1": "default/web"
    }


def test_a_service_that_waits_gets_an_address_that_becomes_free():
    world = Followed(pool("p", "10.0.0.9/32"))
    for name in ("first", "second"):
        world.add(name, type="LoadBalancer", created=name)
        world.settle()
    assert [str(one) for one in world.state.last.waiting] == ["default/second"]
    del world.services["first"]
    world.settle()
    assert {o.name for one in world.state.last.allocated.values() for o in one.owners} == {"second"}


def test_a_service_at_rest_is_planned_with_one_that_asks_for_its_address():
    world = Followed(pool("p", "10.0.0.9/32"))
    world.add("web", type="LoadBalancer")
    world.settle()
    world.add("other", type="LoadBalancer", annotations={ADDRESSES_ANNOTATION: "10.0.0.9"})
    world.plan()
    version = world.services["web"]["metadata"]["resourceVersion"]
    world.change("web", {"metadata": {"labels": {"tier": "edge"}}})
    assert world.services["web"]["metadata"]["resourceVersion"] != version
    world.plan()
    assert [str(one) for one in world.state.last.waiting] == ["default/other"]


def test_the_search_in_a_large_pool_goes_on_in_the_next_step():
    world = Followed(pool("p", "10.0.0.0/20"))
    for number in range(300):
        world.add(f"web-{number}", type="LoadBalancer", created="1")
    world.settle()
    world.add("new", type="LoadBalancer", created="2")
    found, _changed, steps = world.successor(1)
    assert steps >= 300 / 8 + 300 // 64
    assert len(found.allocated) == len(world.services) == 301
