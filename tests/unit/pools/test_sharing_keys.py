"""Services with the same sharing key share an address that none of them names."""

from dataclasses import replace

import pytest

from extip.pools.policy.allocation import plan_allocation
from tests.unit.pools.allocation_world import World, pool

LB = {"type": "LoadBalancer"}
KEY = {"annotations": {"ipcontroller.ext/sharing-key": "edge"}}
V4, V6 = pool("v4", "10.0.0.0/24"), pool("v6", "fd00::/120")
OPEN = pool("v4", "10.0.0.0/24", sharing="Cluster")


def ports(*numbers):
    return {"ports": [{"port": number} for number in numbers]}


def world_of(*pools, **services):
    world = World(*pools)
    for created, (name, spec) in enumerate(services.items()):
        world.add(name, created=str(created), **LB, **spec)
    world.settle()
    return world


def shown(world):
    return {name: world.shown(name) for name in world.services}


def test_services_with_one_key_share_an_address_of_each_family():
    dual = {"ipFamilies": ["IPv4", "IPv6"]}
    world = world_of(
        V4,
        V6,
        a={**KEY, **ports(80), **dual},
        b={**KEY, **ports(443), **dual},
        c={**KEY, **ports(81)},
        other={**ports(82)},
        another={"annotations": {"ipcontroller.ext/sharing-key": "x"}, **ports(83)},
    )
    assert shown(world) == {
        "a": ["10.0.0.1", "fd00::1"],
        "b": ["10.0.0.1", "fd00::1"],
        "c": ["10.0.0.1"],
        "other": ["10.0.0.2"],
        "another": ["10.0.0.3"],
    }
    del world.services["a"]
    world.settle()
    assert world.shown("b") == ["10.0.0.1", "fd00::1"], "it stays until the last one goes"
    del world.services["b"], world.services["c"]
    world.settle()
    assert "10.0.0.1" not in world.claimed()


@pytest.mark.parametrize("dies_after", [0, 1, 9])
def test_whoever_has_a_port_keeps_it_and_the_other_gets_another_address(dies_after):
    world = world_of(V4, old={**KEY, **ports(80)}, young={**KEY, **ports(81)})
    world.add("late", created="9", **LB, **KEY, **ports(81, 82))
    world.settle()
    assert world.shown("late") == ["10.0.0.2"]
    world.change("old", {"spec": ports(81)})
    world.step(dies_after)
    world.settle()
    assert world.shown("young") == ["10.0.0.1"]
    assert world.shown("old") == ["10.0.0.3"], "both addresses have port 81"
    world.add("new", created="10", **LB, **KEY, **ports(80))
    world.settle()
    assert world.shown("new") == ["10.0.0.3"], "that of the oldest service that lets it in"


def test_a_key_takes_no_address_away_and_who_loses_it_gets_an_address_of_its_own():
    world = world_of(V4, a=ports(80), b=ports(81))
    for name in "ab":
        world.change(name, {"metadata": KEY})
    world.settle()
    assert shown(world) == {"a": ["10.0.0.1"], "b": ["10.0.0.2"]}
    world = world_of(V4, a={**KEY, **ports(80)}, b={**KEY, **ports(81)})
    world.change("a", {"metadata": {"annotations": None}})
    world.settle()
    assert shown(world) == {"a": ["10.0.0.1"], "b": ["10.0.0.2"]}


def test_a_name_is_stronger_than_a_key_and_others_of_the_key_follow_it():
    named = {"annotations": {**KEY["annotations"], "ipcontroller.ext/addresses": "10.0.0.9"}}
    world = world_of(V4, a={**named, **ports(80)}, b={**KEY, **ports(81)})
    assert shown(world) == {"a": ["10.0.0.9"], "b": ["10.0.0.9"]}


def test_only_addresses_of_pools_that_serve_the_service_are_shared():
    named = {"annotations": {**KEY["annotations"], "ipcontroller.ext/pool": "special"}}
    special = pool("special", "10.1.0.0/24", auto_assign=False)
    world = world_of(V4, special, a={**named, **ports(80)}, b={**KEY, **ports(81)})
    assert shown(world) == {"a": ["10.1.0.1"], "b": ["10.0.0.1"]}


@pytest.mark.parametrize("by", ["key", "name"])
def test_services_of_several_namespaces_share_only_when_the_pool_allows_it(by):
    name = {"annotations": {"ipcontroller.ext/addresses": "10.0.0.1"}}
    asked = KEY if by == "key" else name
    other = {"namespace": "x", **asked, **ports(81)}
    world = world_of(V4, web={**asked, **ports(80)}, guest=other)
    apart = ["10.0.0.2"] if by == "key" else []
    assert shown(world) == {"web": ["10.0.0.1"], "guest": apart}
    world = world_of(OPEN, web={**asked, **ports(80)}, guest=other)
    assert shown(world) == {"web": ["10.0.0.1"], "guest": ["10.0.0.1"]}
    (claim,) = world.claims.values()
    recorded = claim.metadata.annotations["ipcontroller.ext/ports"]
    assert recorded == "80/TCP=default/web 81/TCP=x/guest"
    world.change("web", {"spec": ports(81)})  # it comes to ask for the guest's port
    world.settle()
    assert world.shown("guest") == ["10.0.0.1"]
    assert world.shown("web") == apart
    world.pools["v4"] = V4
    world.settle()
    assert world.shown("guest") == ["10.0.0.1"]


def test_a_pool_that_is_closed_again_leaves_the_address_to_the_older_service():
    other = {"namespace": "x", **KEY, **ports(81)}
    world = world_of(OPEN, web={**KEY, **ports(80)}, guest=other)
    world.pools["v4"] = V4
    world.settle()
    assert shown(world) == {"web": ["10.0.0.1"], "guest": ["10.0.0.2"]}


def test_who_writes_an_address_by_hand_shares_it_in_its_own_namespace_alone():
    world = world_of(OPEN, guest={"namespace": "x", "externalIPs": ["10.0.0.1"], **ports(82)})
    named = {"annotations": {"ipcontroller.ext/addresses": "10.0.0.1"}}
    world.add("web", **LB, **named, **ports(80))
    world.settle()
    assert world.shown("web") == []


def test_of_many_services_with_one_key_and_port_none_is_compared_with_all_others():
    """Whoever may create services could stop the scheduler: each was compared with each."""
    asked: list[int] = []
    for count in (50, 100):
        world = World(V4)
        for number in range(count):
            world.add(f"web-{number}", created=str(number), **LB, **KEY, **ports(80))
        address_requests, pools, facts = world.facts()
        calls: list[object] = []

        def of(owner, calls=calls, known=facts.ports):
            calls.append(owner)
            return known(owner)

        found = plan_allocation(address_requests, pools, (), replace(facts, ports=of))
        assert len(found.allocated) == count
        asked.append(len(calls))
    assert asked[1] < 3 * asked[0]
