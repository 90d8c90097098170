"""A service may ask for several addresses of each IP family."""

from ipaddress import ip_address

import pytest

from extip.pools.policy.set_aside import Aside
from tests.unit.pools.allocation_world import World, pool

COUNT = "ipcontroller.ext/address-count"
DUAL = {"ipFamilies": ["IPv4", "IPv6"]}


def asking(count, **more):
    return {"annotations": {COUNT: count, **more}, "type": "LoadBalancer"}


def ips(*last):
    return [f"10.0.0.{number}" for number in last]


def waiting(world):
    return {owner.name: why for owner, why in world.plan()[0].waiting.items()}


def test_a_service_gets_as_many_addresses_as_it_asks_for_and_shows_all():
    world = World(pool("v4", "10.0.0.0/28"), pool("v6", "fd00::/124"))
    world.add("one", type="LoadBalancer", created="1")
    world.add("web", **asking("3"), **DUAL, ipFamilyPolicy="RequireDualStack", created="2")
    world.add("auto", annotations={COUNT: "2", "external-ip": "auto"}, created="3")
    world.settle()
    assert world.shown("one") == ips(1)
    assert world.shown("web") == [*ips(2, 3, 4), "fd00::1", "fd00::2", "fd00::3"]
    assert world.shown("auto") == ips(5, 6)
    assert not waiting(world)


def test_the_count_goes_up_and_down_and_the_others_stay():
    world = World(pool("v4", "10.0.0.0/28"))
    world.add("web", **asking("2"))
    world.settle()
    for count, shown in (("4", ips(1, 2, 3, 4)), ("1", ips(1)), (None, ips(1)), ("2", ips(1, 2))):
        world.change("web", {"metadata": {"annotations": {COUNT: count}}})
        world.settle()
        assert world.shown("web") == shown


@pytest.mark.parametrize("together", ["RequireDualStack", "PreferDualStack"])
def test_with_too_few_free_addresses_it_has_those_that_there_are_and_the_rest_later(together):
    world = World(pool("v4", "10.0.0.0/30"), pool("v6", "fd00::/126"))
    world.add("web", **asking("5"), **DUAL, ipFamilyPolicy=together)
    world.settle()
    had = [*ips(1, 2), "fd00::1", "fd00::2", "fd00::3"]
    assert world.shown("web") == had
    why = waiting(world)["web"]
    assert "no IPv4 address is free in pool v4; it has 2 of 5 IPv4 addresses" in why
    assert "it has 3 of 5 IPv6 addresses" in why
    world.pools["more"] = pool("more", "10.0.1.0/28")
    world.settle()
    assert set(had) < set(world.shown("web"))
    assert "IPv4" not in waiting(world)["web"]


def test_both_families_are_there_at_once_or_none_is():
    world = World(pool("v4", "10.0.0.0/28"))
    world.add("web", **asking("2"), **DUAL, ipFamilyPolicy="RequireDualStack")
    world.settle()
    assert world.shown("web") == []


@pytest.mark.parametrize("count", ["0", "17", "-1", "two", "1.5", "", "000000002", "\u0663"])
def test_a_count_that_means_nothing_changes_nothing_and_is_told(count):
    world = World(pool("v4", "10.0.0.0/28"))
    world.add("web", **asking("2"))
    world.settle()
    world.change("web", {"metadata": {"annotations": {COUNT: count}}})
    world.settle()
    assert world.shown("web") == ips(1, 2)
    assert "only a number from 1 to 16 means anything" in waiting(world)["web"]
    assert "it keeps 10.0.0.1, 10.0.0.2 until then" in waiting(world)["web"]


def test_addresses_that_are_named_are_all_that_it_gets_of_their_family():
    world = World(pool("v4", "10.0.0.0/28"), pool("v6", "fd00::/124"))
    world.add("web", **asking("2", **{"ipcontroller.ext/addresses": "10.0.0.9"}), **DUAL)
    world.settle()
    assert world.shown("web") == ["10.0.0.9", "fd00::1", "fd00::2"]


def test_of_several_the_one_that_a_station_has_is_replaced():
    world = World(pool("v4", "10.0.0.0/28"))
    world.add("web", **asking("3"))
    world.settle()
    taken = frozenset({ip_address("10.0.0.2")})
    world.aside = Aside(taken=taken, avoided=taken)
    world.settle()
    assert world.shown("web") == ips(1, 3, 4)


def test_in_another_pool_each_new_address_takes_the_place_of_one_when_it_is_up():
    world = World(pool("old", "10.0.0.0/28", auto_assign=True), pool("new", "10.0.1.0/28"))
    world.add("web", **asking("2", **{"ipcontroller.ext/pool": "old"}))
    world.settle()
    world.down = {"10.0.1.1", "10.0.1.2"}
    world.change("web", {"metadata": {"annotations": {"ipcontroller.ext/pool": "new"}}})
    world.settle()
    assert set(world.shown("web")) == {*ips(1, 2), "10.0.1.1", "10.0.1.2"}
    world.down = {"10.0.1.2"}
    world.report()
    world.settle()
    assert len({*ips(1, 2)} & {*world.shown("web")}) == 1
    world.down = set()
    world.report()
    world.settle()
    assert world.shown("web") == ["10.0.1.1", "10.0.1.2"]


def test_services_with_a_sharing_key_share_all_of_them():
    world = World(pool("v4", "10.0.0.0/28"))
    key = {"ipcontroller.ext/sharing-key": "k"}
    world.add("web", **asking("2", **key), created="1")
    world.add("tls", **asking("3", **key), ports=[{"port": 443}], created="2")
    world.settle()
    assert (world.shown("web"), world.shown("tls")) == (ips(1, 2), ips(1, 2, 3))
