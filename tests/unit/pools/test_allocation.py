"""Who gets which address from a pool: as the predecessor did it, and where it went wrong."""

from ipaddress import ip_address, ip_interface

import pytest

from extip.api.meta_v1 import LabelSelector
from tests.unit.pools.allocation_world import World, network, pool

LB = {"type": "LoadBalancer"}
AUTO = {"annotations": {"external-ip": "auto"}}
ALLOCATED = "ipcontroller.ext/allocated"
TEST_POOL = pool("test-pool", "192.168.16.248/29", ("192.168.16.250", "192.168.16.252"))


def asking(**annotations):
    return {f"ipcontroller.ext/{key}": value for key, value in annotations.items()}


def waiting(world):
    return {owner.name: reason for owner, reason in world.plan()[0].waiting.items()}


def test_an_annotated_service_gets_the_first_address_of_the_pool():
    world = World(TEST_POOL)
    world.add("web", **AUTO)
    world.step()
    (claim,) = world.claims.values()
    assert claim.metadata.name == "192-168-16-250-29"
    assert claim.metadata.labels["ip-pool-name"] == "test-pool"
    assert world.shown("web") == [], "shown before it was claimed"
    world.settle()
    assert world.services["web"]["spec"]["externalIPs"] == ["192.168.16.250"]
    del world.services["web"]
    world.settle()
    assert world.claims == {}


def test_an_address_written_in_its_place_replaces_it():
    world = World(TEST_POOL)
    world.add("web", **AUTO)
    world.settle()
    world.change("web", {"spec": {"externalIPs": ["10.20.0.2"]}})
    world.settle()
    assert set(world.claims) == {"10-20-0-2-32"}
    assert world.shown("web") == ["10.20.0.2"]


def test_an_address_of_a_pool_keeps_its_prefix_length_when_the_service_shows_it_already():
    world = World(TEST_POOL)
    world.add("web", externalIPs=["192.168.16.250", "172.16.0.2"], **AUTO)
    before = world.services["web"]
    world.settle()
    assert set(world.claims) == {"192-168-16-250-29", "172-16-0-2-32"}
    assert world.services["web"] is before, "there was nothing to write"


def test_a_service_may_be_annotated_later_and_no_more():
    world = World(TEST_POOL)
    world.add("web", externalIPs=["10.9.9.9"])
    world.settle()
    world.change("web", {"metadata": AUTO, "spec": {"externalIPs": None}})
    world.settle()
    assert world.shown("web") == ["192.168.16.250"]
    world.change("web", {"spec": {"externalIPs": ["192.168.16.250", "10.9.9.9"]}})
    world.change("web", {"metadata": {"annotations": {"external-ip": None}}})
    world.settle()
    assert world.shown("web") == ["10.9.9.9"], "what a person wrote stays"
    assert ALLOCATED not in world.services["web"]["metadata"]["annotations"]
    assert set(world.claims) == {"10-9-9-9-32"}


def test_a_load_balancer_shows_its_address_in_its_status_alone():
    world = World(TEST_POOL)
    world.add("web", **LB)
    world.settle()
    assert world.services["web"]["status"] == {
        "loadBalancer": {"ingress": [{"ip": "192.168.16.250", "ipMode": "VIP"}]}
    }
    assert "externalIPs" not in world.services["web"]["spec"]
    world.change("web", {"status": {"loadBalancer": None}})
    world.settle()
    assert world.shown("web") == ["192.168.16.250"], "a lost status is written again"
    world.change("web", {"status": {"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}]}}})
    world.settle()
    assert world.shown("web") == ["192.168.16.250"], "a damaged one is repaired"


def test_what_the_server_adds_to_a_status_is_no_difference():
    world = World(TEST_POOL)
    world.add("web", **LB)
    world.settle()
    ingress = [{"ip": "192.168.16.250", "ipMode": "VIP"}]
    assert world.services["web"]["status"]["loadBalancer"]["ingress"] == ingress
    for theirs in (ingress, [{"ip": "192.168.16.250"}]):  # servers before 1.29 have no mode
        world.change("web", {"status": {"loadBalancer": {"ingress": theirs}}})
        assert world.step() == 0


def test_ports_that_others_wrote_into_the_status_stay_with_their_address():
    ports = [{"port": 80, "protocol": "TCP", "error": "example.com/refused"}]
    theirs = {"ip": "192.168.16.250", "ipMode": "VIP", "ports": ports}
    world = World(TEST_POOL, pool("v6", "fd00::/120"))
    world.add("web", **LB, ipFamilies=["IPv4"])
    world.settle()
    world.change("web", {"status": {"loadBalancer": {"ingress": [theirs]}}})
    assert world.step() == 0
    world.change("web", {"spec": {"ipFamilies": ["IPv4", "IPv6"]}})
    world.settle()
    ways = world.services["web"]["status"]["loadBalancer"]["ingress"]
    assert ways == [theirs, {"ip": "fd00::1", "ipMode": "VIP"}]


def test_another_mode_is_not_extips():
    """The kernel of the node would have to answer a proxy: packets come with the IP itself."""
    world = World(TEST_POOL)
    world.add("web", **LB)
    world.settle()
    theirs = {"ip": "192.168.16.250", "ipMode": "Proxy"}
    world.change("web", {"status": {"loadBalancer": {"ingress": [theirs]}}})
    world.settle()
    assert world.services["web"]["status"]["loadBalancer"]["ingress"] == [
        {"ip": "192.168.16.250", "ipMode": "VIP"}
    ]


def test_a_load_balancer_no_more_is_cleared_before_its_claim_goes():
    world = World(TEST_POOL)
    world.add("web", **LB)
    world.settle()
    world.change("web", {"spec": {"type": "ClusterIP"}})
    world.step()
    assert world.shown("web") == []
    assert set(world.claims) == {"192-168-16-250-29"}
    world.settle()
    assert world.claims == {}


def test_a_load_balancer_that_is_annotated_as_well_shows_its_address_once():
    world = World(TEST_POOL)
    world.add("web", **LB, **AUTO)
    world.settle()
    assert world.shown("web") == ["192.168.16.250"]
    world.change("web", {"spec": {"type": "ClusterIP"}})
    world.settle()
    assert world.services["web"]["spec"]["externalIPs"] == world.shown("web") == ["192.168.16.250"]
    world.change("web", {"spec": {"type": "LoadBalancer"}})
    world.settle()
    assert world.services["web"]["spec"].get("externalIPs", []) == []
    assert world.shown("web") == ["192.168.16.250"]


@pytest.mark.parametrize(
    ("flag", "written", "served"),
    [
        ("", None, True),
        ("", "ext.io/other", False),
        ("ext.io/mine", None, False),
        ("ext.io/mine", "ext.io/mine", True),
        ("ext.io/mine", "ext.io/other", False),
    ],
)
def test_the_class_decides_which_load_balancers_are_served(flag, written, served):
    world = World(TEST_POOL, lb_class=flag)
    world.add("web", **LB, loadBalancerClass=written)
    world.settle()
    assert world.shown("web") == (["192.168.16.250"] if served else [])


def test_the_status_of_other_load_balancers_is_left_alone():
    theirs = {"loadBalancer": {"ingress": [{"ip": "192.168.16.251"}]}}
    world = World(TEST_POOL)
    world.add("other", **LB, loadBalancerClass="ext.io/other")
    world.add("classless", **LB)
    world.change("other", {"status": theirs})
    world.change("classless", {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.x"}]}}})
    world.add("mine", **LB)
    world.add("second", **LB)
    world.settle()
    assert world.services["other"]["status"] == theirs
    assert world.services["classless"]["status"]["loadBalancer"]["ingress"] == [
        {"hostname": "lb.x"}
    ]
    said = waiting(world)["classless"]
    assert said.startswith("lb.x in its status.loadBalancer is of another load balancer")
    assert world.shown("mine") + world.shown("second") == ["192.168.16.250", "192.168.16.252"]
    world.add("greedy", **LB, annotations=asking(addresses="192.168.16.251"))
    assert waiting(world)["greedy"] == "192.168.16.251 is in use by default/other"


def test_without_pools_nothing_is_touched():
    world = World()
    world.add("web", **LB)
    world.change("web", {"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}})
    before = dict(world.services)
    world.settle()
    assert world.services == before
    assert world.claims == {}


def test_a_service_waits_until_a_pool_is_made_and_grows():
    world = World()
    world.add("a", created="1", **LB)
    world.add("b", created="2", **LB)
    world.settle()
    assert waiting(world) == {
        "a": "no pool of IPv4 addresses serves it",
        "b": "no pool of IPv4 addresses serves it",
    }
    world.pools["p"] = pool("p", "10.0.0.7/32")
    world.settle()
    assert (world.shown("a"), world.shown("b")) == (["10.0.0.7"], [])
    assert waiting(world) == {"b": "no IPv4 address is free in pool p"}
    world.pools["p"] = pool("p", "10.0.0.6/31")
    world.settle()
    assert world.shown("b") == ["10.0.0.6"]
    assert world.shown("a") == ["10.0.0.7"]
    assert waiting(world) == {}


def test_an_address_stays_when_its_pool_shrinks_or_goes():
    world = World(TEST_POOL)
    world.add("web", **LB)
    world.settle()
    world.pools.clear()
    world.settle()
    assert world.shown("web") == ["192.168.16.250"]
    assert set(world.claims) == {"192-168-16-250-29"}


@pytest.mark.parametrize("family", [4, 6])
def test_freed_addresses_are_used_last_and_the_oldest_first(family):
    cidr, last = ("10.0.0.0/30", "10.0.0.") if family == 4 else ("fd00::/126", "fd00::")
    world = World(pool("p", cidr))
    names = ["a", "b"] if family == 4 else ["a", "b", "c"]
    spec = {**LB, "ipFamilies": [f"IPv{family}"]}
    world.add("a", **spec)
    world.settle()
    del world.services["a"]
    world.settle()
    for name in names[1:]:
        world.add(name, **spec)
        world.settle()
        assert world.shown(name) == [f"{last}{names.index(name) + 1}"]
    world.add("z", **spec)
    world.settle()
    assert world.shown("z") == [f"{last}1"]


def test_explicit_addresses_claims_by_hand_and_nodes_are_not_given_away():
    world = World(pool("p", "10.0.0.0/29"))
    world.add("explicit", externalIPs=["10.0.0.1"])
    world.claim_by_hand(ip_interface("10.0.0.2/24"))
    world.node_ips = frozenset({ip_address("10.0.0.3")})
    world.add("web", **LB)
    world.settle()
    assert world.shown("web") == ["10.0.0.4"]
    assert world.plan()[0].users.keys() >= {ip_address(f"10.0.0.{n}") for n in range(1, 5)}


def test_an_address_of_the_cluster_itself_is_not_to_be_had_by_name_either():
    world = World(pool("p", "10.0.0.0/29"))
    world.node_ips = frozenset({ip_address("10.0.0.3")})
    world.add("web", **LB, annotations=asking(addresses="10.0.0.3"))
    world.settle()
    assert world.shown("web") == []
    why = "10.0.0.3 is that of a node, a gateway or an API server, or a cluster IP"
    assert waiting(world) == {"web": why}
    users = world.plan()[0].users
    assert users[ip_address("10.0.0.3")] == "the cluster itself", "the pool's status shows it"


def test_requested_addresses():
    world = World(pool("p", "10.0.0.0/24", auto_assign=False), pool("q", "10.0.1.0/24"))
    world.add("web", **LB, annotations=asking(addresses="10.0.0.9"))
    world.add("two", **LB, annotations=asking(addresses="10.0.0.11, 10.0.0.10"))
    world.add("none", **LB, annotations=asking(addresses="10.7.0.1"))
    world.add("bad", **LB, annotations=asking(addresses="10.0.0.300"))
    world.add("other-pool", **LB, annotations=asking(addresses="10.0.0.12", pool="q"))
    world.settle()
    assert world.shown("web") == ["10.0.0.9"]
    assert world.shown("two") == ["10.0.0.11", "10.0.0.10"]
    assert waiting(world) == {
        "none": "10.7.0.1 is in no pool",
        "bad": "'10.0.0.300' is no IP address",
        "other-pool": "10.0.0.12 is in pool p, which the service does not name",
    }
    world.change("web", {"metadata": {"annotations": asking(addresses="10.0.0.8")}})
    world.settle()
    assert world.shown("web") == ["10.0.0.8"]
    assert "10.0.0.9" not in world.claimed()


def test_an_address_is_replaced_only_once_the_new_one_is_claimed():
    world = World(pool("p", "10.0.0.0/24"))
    world.add("web", **LB)
    world.settle()
    world.change("web", {"metadata": {"annotations": asking(addresses="10.0.0.8")}})
    world.step()
    assert world.shown("web") == ["10.0.0.1"]
    assert set(world.claimed()) == {"10.0.0.1", "10.0.0.8"}
    world.settle()
    assert world.shown("web") == ["10.0.0.8"]
    assert set(world.claimed()) == {"10.0.0.8"}


def test_one_pool_may_serve_both_families_with_the_prefix_length_of_each_network():
    networks = (network("fd00::/112"), network("10.0.9.0/28"))
    world = World(pool("p", "10.0.0.1/32", networks=networks))
    world.add("a", created="1", **LB, ipFamilies=["IPv4", "IPv6"])
    world.add("b", created="2", **LB, ipFamilies=["IPv6", "IPv4"])
    world.settle()
    assert world.shown("a") == ["10.0.0.1", "fd00::1"]
    assert world.shown("b") == ["fd00::2", "10.0.9.1"]
    assert {claim.spec.cidr for claim in world.claims.values()} == {
        *("10.0.0.1/32", "10.0.9.1/28", "fd00::1/112", "fd00::2/112"),
    }


def test_services_share_an_address_when_both_ask_for_it_and_ports_differ():
    world = World(pool("p", "10.0.0.0/24"))
    same = asking(addresses="10.0.0.9")
    world.add("a", created="1", **LB, annotations=same, ports=[{"port": 53, "protocol": "TCP"}])
    world.add("b", created="2", **LB, annotations=same, ports=[{"port": 53, "protocol": "UDP"}])
    world.add("c", created="3", **LB, annotations=same, ports=[{"port": 53, "protocol": "UDP"}])
    world.add("auto", created="4", **LB, ports=[{"port": 99}])
    world.settle()
    assert world.claimed()["10.0.0.9"] == ["a", "b"]
    assert waiting(world) == {"c": "10.0.0.9 is in use by default/b"}
    world.add("d", created="5", **LB, annotations=asking(addresses=world.shown("auto")[0]))
    world.settle()
    assert "in use by default/auto" in waiting(world)["d"]
    del world.services["b"]
    world.settle()
    assert world.claimed()["10.0.0.9"] == ["a", "c"]


def test_services_of_two_namespaces_share_no_address_of_a_pool():
    """Who may create services in one of them could put a port on the other's address."""
    world = World(TEST_POOL)
    same = asking(addresses="192.168.16.251")
    world.add("web", created="1", **LB, annotations=same, ports=[{"port": 80}])
    world.add("intruder", created="2", namespace="x", **LB, annotations=same, ports=[{"port": 81}])
    world.settle()
    assert world.shown("web") == ["192.168.16.251"]
    assert world.shown("intruder") == []
    assert "in use by default/web" in waiting(world)["intruder"]


def test_an_address_that_was_given_to_any_service_is_not_shared_with_who_names_it():
    world = World(TEST_POOL)
    world.add("any", created="1", **LB, ports=[{"port": 80}])
    world.settle()
    named = asking(addresses="192.168.16.250")
    world.add("named", created="2", **LB, annotations=named, ports=[{"port": 81}])
    world.settle()
    assert world.shown("any") == ["192.168.16.250"]
    assert world.shown("named") == []
    assert "in use by default/any" in waiting(world)["named"]


def test_an_address_that_one_service_gets_by_name_is_not_given_to_another_in_the_same_pass():
    world = World(TEST_POOL)
    named = asking(addresses="192.168.16.250")
    world.add("named", created="1", **LB, annotations=named)
    world.add("any", created="2", **LB)
    allocated = world.plan()[0].allocated
    owners = {str(ip): [owner.name for owner in one.owners] for ip, one in allocated.items()}
    assert owners == {"192.168.16.250": ["named"], "192.168.16.251": ["any"]}


def test_an_explicit_address_is_shared_with_one_who_asks_for_it():
    world = World(pool("p", "10.0.0.0/24"))
    world.add("explicit", externalIPs=["10.0.0.9"], ports=[{"port": 1}])
    world.add("same-port", **LB, annotations=asking(addresses="10.0.0.9"), ports=[{"port": 1}])
    world.add("other-port", **LB, annotations=asking(addresses="10.0.0.9"), ports=[{"port": 2}])
    world.settle()
    assert world.claimed() == {"10.0.0.9": ["explicit", "other-port"]}
    assert waiting(world) == {"same-port": "10.0.0.9 is in use by default/explicit"}


def test_pools_by_name_priority_and_switch():
    world = World(
        pool("low", "10.0.0.0/24"),
        pool("high", "10.0.1.0/24", priority=5),
        pool("manual", "10.0.2.0/24", priority=9, auto_assign=False),
    )
    world.add("any", **LB)
    world.add("named", **LB, annotations=asking(pool="manual"))
    world.add("either", **LB, annotations=asking(pool="gone, low"))
    world.add("lost", **LB, annotations=asking(pool="gone"))
    world.settle()
    assert world.shown("any") == ["10.0.1.1"]
    assert world.shown("named") == ["10.0.2.1"]
    assert world.shown("either") == ["10.0.0.1"]
    assert waiting(world) == {"lost": "there is no pool gone"}
    world.change("any", {"metadata": {"annotations": asking(pool="low")}})
    world.settle()
    assert world.shown("any") == ["10.0.0.2"]


def test_a_full_pool_is_followed_by_the_next():
    world = World(pool("a", "10.0.0.1/32"), pool("b", "10.0.1.1/32"))
    world.add("one", **LB)
    world.add("two", **LB)
    world.settle()
    assert {*world.shown("one"), *world.shown("two")} == {"10.0.0.1", "10.0.1.1"}


def test_selectors():
    world = World(
        pool("a", "10.0.0.0/24", service_selector=LabelSelector(match_labels={"app": "a"})),
        pool("n", "10.0.1.0/24", namespace_selector=LabelSelector(match_labels={"team": "x"})),
    )
    world.add("a", **LB, labels={"app": "a"})
    world.add("b", **LB)
    world.add("c", **LB, annotations=asking(addresses="10.0.0.77"))
    world.settle()
    assert world.shown("a") == ["10.0.0.1"]
    assert waiting(world) == {
        "b": "no pool of IPv4 addresses serves it",
        "c": "pool a of 10.0.0.77 does not serve this service",
    }
    world.namespaces = {"default": {"team": "x"}}
    world.settle()
    assert world.shown("b") == ["10.0.1.1"]
    world.namespaces = {}
    world.settle()
    assert world.shown("b") == ["10.0.1.1"], "what was given is kept"


@pytest.mark.parametrize(
    ("policy", "families", "pools", "shown", "waits"),
    [
        ("PreferDualStack", ["IPv4", "IPv6"], "46", ["10.0.0.1", "fd00::1"], False),
        ("PreferDualStack", ["IPv6", "IPv4"], "46", ["fd00::1", "10.0.0.1"], False),
        ("PreferDualStack", ["IPv4", "IPv6"], "6", ["fd00::1"], False),
        ("PreferDualStack", ["IPv4", "IPv6"], "", [], True),
        ("RequireDualStack", ["IPv4", "IPv6"], "4", [], True),
        ("RequireDualStack", ["IPv4", "IPv6"], "46", ["10.0.0.1", "fd00::1"], False),
        ("SingleStack", ["IPv6"], "46", ["fd00::1"], False),
        ("", None, "46", ["10.0.0.1"], False),
    ],
)
def test_families(policy, families, pools, shown, waits):
    have = {"4": pool("v4", "10.0.0.0/24"), "6": pool("v6", "fd00::/64")}
    world = World(*(have[p] for p in pools))
    world.add("web", **LB, ipFamilies=families, ipFamilyPolicy=policy)
    world.settle()
    assert world.shown("web") == shown
    assert bool(waiting(world)) == waits


def test_a_second_family_that_is_welcome_is_not_missed():
    world = World(pool("v4", "10.0.0.0/24"))
    world.add(
        "web",
        **LB,
        ipFamilies=["IPv4", "IPv6"],
        ipFamilyPolicy="PreferDualStack",
        annotations=asking(addresses="10.0.0.9"),
    )
    world.settle()
    assert world.shown("web") == ["10.0.0.9"]
    assert waiting(world) == {}


def test_a_second_family_comes_when_it_can():
    world = World(pool("v4", "10.0.0.0/24"))
    world.add("web", **AUTO, ipFamilies=["IPv4", "IPv6"], ipFamilyPolicy="PreferDualStack")
    world.settle()
    world.pools["v6"] = pool("v6", "fd00::/64")
    world.settle()
    assert world.shown("web") == ["10.0.0.1", "fd00::1"]
    world.change("web", {"spec": {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}})
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]


@pytest.mark.parametrize("writes", range(4))
def test_a_copied_service_does_not_take_the_address_of_the_original(writes):
    world = World(pool("p", "10.0.0.0/24"))
    world.add("original", created="2", **AUTO)
    world.settle()
    copy = world.services["original"]
    world.services["copy"] = {
        **copy,
        "metadata": {
            **copy["metadata"],
            "name": "copy",
            "uid": "uid-copy",
            "creationTimestamp": "1",
        },
    }
    world.step(writes)  # and there the scheduler dies
    world.settle()
    assert world.shown("original") == ["10.0.0.1"]
    assert world.shown("copy") == ["10.0.0.2"]
    assert world.claimed() == {"10.0.0.1": ["original"], "10.0.0.2": ["copy"]}


def test_a_service_cannot_take_an_address_by_writing_it_anywhere():
    world = World(pool("p", "10.0.0.0/24"))
    world.add("owner", created="2", **LB)
    world.settle()
    world.add("thief", created="1", **LB)
    world.change("thief", {"status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}})
    world.settle()
    assert world.shown("owner") == ["10.0.0.1"]
    assert world.shown("thief") == ["10.0.0.2"]
    world.add("other", created="0", externalIPs=["10.0.0.1"], **AUTO)
    world.settle()
    assert world.shown("owner") == ["10.0.0.1"]


def test_a_service_that_is_made_anew_has_the_address_of_the_one_before():
    world = World(pool("p", "10.0.0.0/24"))
    world.add("web", **LB)
    world.settle()
    world.add("web", **LB)
    world.services["web"]["metadata"]["uid"] = "another"
    world.add("older", created="2026-01-01", **LB)
    assert world.step() > 0
    (claim,) = [c for c in world.claims.values() if c.spec.cidr.startswith("10.0.0.1/")]
    assert [(s.name, s.uid) for s in claim.spec.services] == [("web", "another")]
    world.settle()
    assert (world.shown("web"), world.shown("older")) == (["10.0.0.1"], ["10.0.0.2"])


@pytest.mark.parametrize(
    "other",
    [
        {"labels": {"tier": "gold"}},
        asking(pool="q"),
        asking(addresses="10.0.0.12"),
    ],
)
def test_but_not_an_address_that_it_could_not_be_given(other):
    silver = LabelSelector(match_labels={"tier": "silver"})
    silvern = {"labels": {"tier": "silver"}}
    world = World(
        pool("p", "10.0.0.0/29", service_selector=silver),
        pool("q", "10.0.0.8/29", priority=-1),
    )
    world.add("web", **LB, **silvern)
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]
    wish = other if "labels" in other else {**silvern, "annotations": other}
    world.add("web", **LB, **wish)
    world.services["web"]["metadata"]["uid"] = "another"
    world.settle()
    assert world.shown("web") != ["10.0.0.1"]
    assert list(world.claimed()) == world.shown("web")
