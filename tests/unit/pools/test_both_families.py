"""Services and pools of both IP families: former addresses, and a second family that comes late."""

import pytest

from tests.unit.pools.allocation_world import network, pool
from tests.unit.pools.test_allocation_state import Followed

V4, V6 = "10.0.0.9", "fd00::"


def dual():
    return pool("p", "", networks=[network("10.0.0.0/29"), network("fd00::/125")])


@pytest.mark.parametrize(("before", "after"), [("IPv6", "IPv4"), ("IPv4", "IPv6")])
def test_a_service_that_comes_back_in_the_other_family_gets_an_address_of_that(before, after):
    world = Followed(dual())
    world.add("web", type="LoadBalancer", ipFamilies=[before])
    world.settle()
    (first,) = world.shown("web")
    del world.services["web"]
    world.settle()
    world.add("web", type="LoadBalancer", ipFamilies=[after])
    world.settle()
    (second,) = world.shown("web")
    assert (":" in first, ":" in second) == (before == "IPv6", after == "IPv6")


def test_a_service_of_both_families_that_comes_back_gets_both_addresses_at_once():
    world = Followed(dual())
    families = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}
    world.add("web", type="LoadBalancer", **families)
    world.settle()
    before = world.shown("web")
    world.change("web", {"spec": {"type": "ClusterIP"}})
    world.settle()
    assert world.shown("web") == []
    world.change("web", {"spec": {"type": "LoadBalancer"}})
    allocation, _ = world.plan()
    assert [str(ip) for ip in allocation.allocated] == before
    assert all(len(one.owners) == 1 for one in allocation.allocated.values())
    world.settle()
    assert world.shown("web") == before


def test_the_second_family_comes_when_an_address_is_free():
    world = Followed(pool("p4", f"{V4}/32"), pool("p6", f"{V6}/125"))
    world.add("old", type="LoadBalancer", ipFamilies=["IPv4"], created="1")
    world.settle()
    families = {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack"}
    world.add("web", type="LoadBalancer", created="2", **families)
    world.settle()
    (only,) = world.shown("web")
    assert only.startswith(V6)
    assert world.state.last.waiting == {}
    del world.services["old"]
    world.settle()
    assert world.shown("web") == [only, V4]
