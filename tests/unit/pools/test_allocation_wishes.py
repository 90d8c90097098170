"""What cannot be had takes nothing away, and nothing is given that was not asked for."""

import msgspec
import pytest

from extip.api.ipcontroller_v1 import IpClaimStatus
from extip.pools.policy.address_request import misunderstood
from tests.unit.pools.allocation_world import World, pool
from tests.unit.pools.test_allocation import AUTO, LB, asking, waiting

SAME = asking(addresses="10.0.0.9")
V4, V6 = pool("p", "10.0.0.0/24"), pool("six", "fd00::/112")
FULL = pool("full", "10.0.9.0/32", auto_assign=False)
DUAL = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}


def annotate(world, name, **annotations):
    world.change(name, {"metadata": {"annotations": asking(**annotations)}})
    world.settle()


def having_one(**spec):
    """Return a world in which service `web` has 10.0.0.1, and `other` 10.0.0.2."""
    world = World(V4, FULL)
    world.add("web", created="1", **spec)
    world.settle()
    world.add("other", created="2", **LB)
    world.add("filling", created="3", **LB, annotations=asking(pool="full"))
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]
    return world


IMPOSSIBLE = [
    ({"addresses": "10.0.0.2"}, "10.0.0.2 is in use by default/other"),
    ({"addresses": "10.7.0.1"}, "10.7.0.1 is in no pool"),
    ({"addresses": "10.0.0.500"}, "'10.0.0.500' is no IP address"),
    ({"addresses": "10.0.0.8/24"}, "'10.0.0.8/24' is no IP address"),
    ({"addresses": "10.0.0.8,10.0.0.500"}, "'10.0.0.500' is no IP address"),
    ({"addresses": "fd00::9"}, "fd00::9 is an IPv6 address, and the service has IPv4 alone"),
    (
        {"addresses": "10.0.0.8,fd00::9"},
        "fd00::9 is an IPv6 address, and the service has IPv4 alone",
    ),
    ({"pool": "egde"}, "there is no pool egde"),
    ({"pool": "full"}, "no IPv4 address is free in pool full"),
    ({"pool": "egde, full"}, "there is no pool egde; no IPv4 address is free in pool full"),
]


@pytest.mark.parametrize("spec", [LB, AUTO], ids=["balancer", "auto"])
@pytest.mark.parametrize(("wish", "why"), IMPOSSIBLE)
def test_a_service_keeps_what_it_has_until_it_can_have_what_it_asks_for(spec, wish, why):
    world = having_one(**spec)
    annotate(world, "web", **wish)
    assert world.shown("web") == ["10.0.0.1"]
    assert waiting(world) == {"web": f"{why}; it keeps 10.0.0.1 until then"}
    world.add("greedy", **LB, annotations=asking(addresses="10.0.0.1"))
    world.settle()
    assert world.shown("greedy") == [], "it is not given to anybody else meanwhile"
    assert waiting(world)["greedy"] == "10.0.0.1 is in use by default/web"


@pytest.mark.parametrize(("wish", "why"), IMPOSSIBLE)
def test_a_service_is_given_nothing_in_the_place_of_what_it_cannot_have(wish, why):
    world = having_one(**LB)
    world.add("new", **LB, annotations=asking(**wish))
    world.settle()
    assert world.shown("new") == []
    assert waiting(world) == {"new": why}


def test_the_new_address_comes_when_it_is_free_and_the_old_one_goes_then():
    world = having_one(**LB)
    annotate(world, "web", addresses="10.0.0.2")
    del world.services["other"]
    world.settle()
    assert world.shown("web") == ["10.0.0.2"]
    assert set(world.claimed()) == {"10.0.0.2", "10.0.9.0"}
    annotate(world, "web", addresses=None, pool="full")
    assert world.shown("web") == ["10.0.0.2"]
    del world.services["filling"]
    world.settle()
    assert world.shown("web") == ["10.0.9.0"]
    assert set(world.claimed()) == {"10.0.9.0"}


@pytest.mark.parametrize("wish", [{"addresses": "10.0.0.9"}, {"pool": "lab"}])
@pytest.mark.parametrize("spec", [LB, AUTO], ids=["balancer", "auto"])
def test_the_old_address_stays_until_the_new_one_is_up(spec, wish):
    """Another station may have it, for one."""
    world = having_one(**spec)
    world.pools["lab"] = pool("lab", "10.0.5.9/32", auto_assign=False)
    world.down = {"10.0.0.9", "10.0.5.9"}
    annotate(world, "web", **wish)
    (new,) = {*world.shown("web")} & world.down
    assert {*world.shown("web")} == {"10.0.0.1", new}
    assert world.plan()[0].arriving
    world.down.clear()
    world.report()
    world.settle()
    assert world.shown("web") == [new]
    assert "10.0.0.1" not in world.claimed()
    assert not world.plan()[0].arriving


def test_what_is_given_up_does_not_wait_for_what_stays():
    world = World(V4, V6)
    world.add("web", **LB, **DUAL)
    world.settle()
    world.change("web", {"spec": {"ipFamilies": ["IPv4"]}})
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]
    world.change("web", {"spec": {"type": "ClusterIP"}})
    world.settle()
    assert world.claimed() == {}


def test_a_service_that_was_made_anew_is_given_nothing_in_the_place_of_what_it_asks_for():
    world = having_one(**LB)
    world.services.pop("web")
    world.add("web", **LB, annotations=asking(addresses="10.0.0.2"))
    world.services["web"]["metadata"]["uid"] = "another"
    world.settle()
    assert world.shown("web") == []


@pytest.mark.parametrize("dies_after", range(4))
def test_the_next_scheduler_leaves_the_old_address_as_well(dies_after):
    world = having_one(**LB)
    world.change("web", {"metadata": {"annotations": asking(addresses="10.0.0.2")}})
    world.step(dies_after)
    world.change("web", {"status": {"loadBalancer": None}})
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]
    world.claims.clear()
    world.settle()
    assert world.shown("web") == ["10.0.0.1"], "its status says so"


def test_two_that_want_each_others_address_keep_their_own():
    world = having_one(**LB)
    world.change("other", {"metadata": {"annotations": asking(addresses="10.0.0.1")}})
    annotate(world, "web", addresses="10.0.0.2")
    assert (world.shown("web"), world.shown("other")) == (["10.0.0.1"], ["10.0.0.2"])


def test_a_part_that_can_be_had_does_not_take_the_old_one_away():
    world = having_one(**LB)
    annotate(world, "web", addresses="10.0.0.7,10.0.0.2")
    assert world.shown("web") == ["10.0.0.7", "10.0.0.1"]
    assert waiting(world)["web"].endswith("it keeps 10.0.0.1 until then")


def test_each_family_waits_for_itself():
    world = World(V4, V6)
    world.add("web", **LB, **DUAL)
    world.settle()
    annotate(world, "web", addresses="10.7.0.1,fd00::9")
    assert world.shown("web") == ["10.0.0.1", "fd00::9"]
    assert waiting(world) == {"web": "10.7.0.1 is in no pool; it keeps 10.0.0.1 until then"}


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"type": "ClusterIP"}},
        {"spec": {"type": "LoadBalancer", "loadBalancerClass": "ext.io/other"}},
        {"spec": {"ipFamilies": ["IPv6"]}},
    ],
)
def test_what_is_given_up_goes_though_something_else_is_waited_for(patch):
    world = having_one(**LB)
    annotate(world, "web", addresses="10.0.0.2")
    world.change("web", patch)
    world.settle()
    assert world.shown("web") == []
    assert "10.0.0.1" not in world.claimed()


def test_a_service_that_shared_an_address_keeps_it_while_it_waits_for_another():
    world = World(V4)
    for n, name in enumerate("ab"):
        world.add(name, created=f"{n}", **LB, annotations=SAME, ports=[{"port": 80 + n}])
    world.settle()
    annotate(world, "a", addresses="10.7.0.1")
    assert (world.shown("a"), world.shown("b")) == (["10.0.0.9"], ["10.0.0.9"])
    world.add("c", created="0", **LB, annotations=SAME, ports=[{"port": 80}])
    world.settle()
    assert (world.shown("a"), world.shown("c")) == (["10.0.0.9"], [])


def test_an_address_that_is_written_twice_is_given_once():
    world = World(V4, V6)
    world.add("web", **LB, annotations=asking(addresses="10.0.0.9, 10.0.0.9"))
    world.add("six", **LB, ipFamilies=["IPv6"], annotations=asking(addresses="fd00::9,fd00:0::9"))
    world.settle()
    assert (world.shown("web"), world.shown("six")) == (["10.0.0.9"], ["fd00::9"])
    assert waiting(world) == {}


def test_more_addresses_than_families_are_all_given():
    world = World(V4)
    world.add("web", **LB, annotations=asking(addresses="10.0.0.9, 10.0.0.4"))
    world.settle()
    assert world.shown("web") == ["10.0.0.9", "10.0.0.4"]


def test_the_field_of_the_service_asks_for_an_address_as_the_annotation_does():
    """`spec.loadBalancerIP`, deprecated since Kubernetes 1.24."""
    world = World(V4)
    world.add("web", **LB, loadBalancerIP="10.0.0.9")
    world.add("both", **LB, loadBalancerIP="10.0.0.7", annotations=asking(addresses="10.0.0.8"))
    world.add("none", **LB, loadBalancerIP="10.7.0.1")
    world.settle()
    assert [world.shown(name) for name in ("web", "both", "none")] == [
        ["10.0.0.9"],
        ["10.0.0.8"],
        [],
    ]
    assert waiting(world) == {"none": "10.7.0.1 is in no pool"}


@pytest.mark.parametrize(("before", "after"), [(80, 81), (82, 81)])
@pytest.mark.parametrize("dies_after", [0, 1, 9])
def test_whoever_has_a_port_keeps_it_when_an_older_service_comes_to_ask_for_it(
    before, after, dies_after
):
    world = World(V4)
    world.add("old", created="1", **LB, annotations=SAME, ports=[{"port": before}])
    world.add("young", created="2", **LB, annotations=SAME, ports=[{"port": 81}])
    world.add("third", created="3", **LB, annotations=SAME, ports=[{"port": 99}])
    world.settle()
    assert world.claimed()["10.0.0.9"] == ["old", "third", "young"]
    world.change("old", {"spec": {"ports": [{"port": after}, {"port": 90}]}})
    world.step(dies_after)
    world.settle()
    assert [world.shown(name) for name in ("old", "young", "third")] == [
        [],
        ["10.0.0.9"],
        ["10.0.0.9"],
    ]
    assert waiting(world) == {"old": "10.0.0.9 is in use by default/young"}
    world.change("old", {"spec": {"ports": [{"port": 90}]}})
    world.settle()
    assert world.shown("old") == ["10.0.0.9"]
    (claim,) = world.claims.values()
    assert claim.metadata.annotations == {
        "ipcontroller.ext/ports": "81/TCP=young 90/TCP=old 99/TCP=third"
    }


@pytest.mark.parametrize("dies_after", range(4))
def test_who_wrote_the_address_into_its_external_ips_keeps_its_port_as_well(dies_after):
    world = World(V4)
    world.add("explicit", externalIPs=["10.0.0.9"], ports=[{"port": 81}])
    world.add("web", created="0", **LB, annotations=SAME, ports=[{"port": 80}])
    world.settle()
    assert world.shown("web") == ["10.0.0.9"]
    world.change("web", {"spec": {"ports": [{"port": 81}]}})
    world.step(dies_after)
    world.settle()
    assert world.shown("web") == []
    assert world.claimed() == {"10.0.0.9": ["explicit"]}
    assert waiting(world) == {"web": "10.0.0.9 is in use by default/explicit"}


def test_a_port_that_changed_hands_is_that_of_its_new_owner():
    world = World(V4)
    world.add("old", created="1", **LB, annotations=SAME, ports=[{"port": 80}])
    world.add("young", created="2", **LB, annotations=SAME, ports=[{"port": 81}])
    world.settle()
    world.change("old", {"spec": {"ports": [{"port": 82}]}})
    world.settle()
    world.change("young", {"spec": {"ports": [{"port": 80}]}})
    world.settle()
    world.change("old", {"spec": {"ports": [{"port": 80}]}})
    world.settle()
    assert (world.shown("old"), world.shown("young")) == ([], ["10.0.0.9"])


def test_a_claim_of_one_service_says_nothing_of_ports():
    world = World(V4)
    world.add("a", **LB, annotations=SAME, ports=[{"port": 80}])
    world.add("b", **LB, annotations=SAME, ports=[{"port": 81}])
    world.settle()
    del world.services["b"]
    world.settle()
    (claim,) = world.claims.values()
    assert "ipcontroller.ext/ports" not in (claim.metadata.annotations or {})


def test_a_value_that_means_nothing_gives_nothing_and_takes_nothing_away():
    world = having_one(**AUTO)
    world.change("web", {"metadata": {"annotations": {"external-ip": "true"}}})
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]
    assert "it keeps 10.0.0.1" in waiting(world)["web"]
    world.change("web", {"metadata": {"annotations": {"external-ip": None}}})
    world.settle()
    assert world.shown("web") == []
    world.add("new", annotations={"external-ip": "true"})
    world.settle()
    assert world.shown("new") == []


def said(kind="LoadBalancer", **annotations):
    world = World()
    world.add("web", type=kind, annotations=annotations)
    return misunderstood(world.decoded()[0])


def test_a_name_that_no_interface_can_have_is_told():
    assert said(**{"ipcontroller.ext/link": "a/b"}) == (
        "annotation ipcontroller.ext/link is 'a/b', which cannot be the name of an interface"
    )
    assert said(**{"ipcontroller.ext/link": "dmz0"}) == ""


def test_annotations_that_mean_nothing_are_named_with_those_that_do():
    assert said(**{"external-ip": "true"}) == (
        "annotation external-ip is 'true', and only 'auto' means anything"
    )
    slip = said(**{"ipcontroller.ext/adresses": "10.0.0.9", "external-ip": "auto"})
    assert slip == (
        "there is no annotation ipcontroller.ext/adresses (is ipcontroller.ext/addresses meant?)"
    )
    assert said(**{"ipcontroller.ext/x": "10.0.0.9", "external-ip": "auto"}) == (
        "there is no annotation ipcontroller.ext/x; there are external-ip, "
        "ipcontroller.ext/address-count, ipcontroller.ext/addresses, ipcontroller.ext/link, "
        "ipcontroller.ext/pool, "
        "ipcontroller.ext/preferred-nodes, ipcontroller.ext/sharing-key"
    )
    assert said(**{"external-ip": "auto", "other.io/pool": "x", **asking(pool="p")}) == ""
    assert said("ClusterIP", **asking(pool="p")) == (
        "annotation ipcontroller.ext/pool means nothing without external-ip: auto or "
        "type LoadBalancer"
    )
    assert said("ClusterIP", **AUTO["annotations"], **asking(pool="p")) == ""
    assert said() == said("ClusterIP") == ""


def test_annotations_of_others_are_not_kept_in_memory():
    world = World()
    world.add("web", annotations={"kubectl.kubernetes.io/last-applied-configuration": "x"})
    world.add("ours", annotations={"other.io/x": "x", **asking(pool="p")})
    assert [s.metadata.annotations for s in world.decoded()] == [None, asking(pool="p")]


def test_who_requires_both_families_gets_nothing_before_both_can_be_had():
    world = World(V4, pool("small", "fd00::1/128"))
    world.add("has", created="1", **LB, ipFamilies=["IPv6"])
    world.add("web", created="2", **LB, **DUAL)
    world.add("later", created="3", **LB, ipFamilies=["IPv4"])
    world.settle()
    assert world.shown("web") == []
    assert world.shown("later") == ["10.0.0.1"], "what it could not have is free for others"
    assert set(world.claimed()) == {"fd00::1", "10.0.0.1"}
    assert waiting(world) == {
        "web": "no IPv6 address is free in pool small; it gets no address until it can have one of "
        "each IP family (RequireDualStack)"
    }
    del world.services["has"]
    world.settle()
    assert world.shown("web") == ["10.0.0.2", "fd00::1"]


def test_who_has_an_address_keeps_it_when_it_comes_to_require_both_families():
    world = World(V4)
    world.add("web", **LB, ipFamilies=["IPv4"])
    world.settle()
    world.change("web", {"spec": DUAL})
    world.settle()
    assert world.shown("web") == ["10.0.0.1"]
    world.pools["v6"] = V6
    world.settle()
    assert world.shown("web") == ["10.0.0.1", "fd00::1"]


@pytest.mark.parametrize("family", [V4, V6])
def test_a_service_that_comes_back_gets_its_old_address_while_it_is_free(family):
    families = {"ipFamilies": ["IPv4" if family is V4 else "IPv6"]}
    world = World(family)
    for name in ("first", "web", "other"):
        world.add(name, created=name, **LB, **families)
        world.settle()
    (old,) = world.shown("web")
    for name in ("first", "web"):
        world.change(name, {"spec": {"type": "ClusterIP"}})
        world.settle()
    assert old not in world.claimed()
    world.add("new", created="3", **LB, **families)
    world.change("web", {"spec": LB})
    world.settle()
    assert world.shown("web") == [old]
    assert world.shown("new") != [old]


def test_an_old_address_that_another_service_has_by_now_is_not_given_back():
    world = World(V4)
    world.add("web", **LB)
    world.settle()
    world.change("web", {"spec": {"type": "ClusterIP"}})
    world.settle()
    world.add("other", **LB, annotations=asking(addresses="10.0.0.1"))
    world.settle()
    world.change("web", {"spec": LB})
    world.settle()
    assert world.shown("other") == ["10.0.0.1"]
    assert world.shown("web") == ["10.0.0.2"]
    assert waiting(world) == {}


def test_two_services_that_wrote_one_ip_by_hand_settle_whatever_their_ports_are():
    """One of them also asks for addresses of the pool; each plan undid the one before."""
    world = World(pool("p", "10.0.0.0/29"))
    spec = {"type": "ClusterIP", "externalIPs": ["10.0.0.5"]}
    world.add("auto", created="1", annotations={"external-ip": "auto"}, **spec)
    world.add("plain", created="2", **spec)
    world.settle()
    assert world.claimed() == {"10.0.0.5": ["auto", "plain"]}


@pytest.mark.parametrize("last", ["n1", "n3"])
def test_an_address_of_every_node_has_arrived_when_one_node_has_it_up(last):
    """In whatever order their claims are read: one of them may never bring it up."""
    world = World(pool("p", "10.0.0.0/24", placement="Everywhere"))
    world.add("web", type="LoadBalancer")
    world.settle()
    world.change("web", {"metadata": {"annotations": asking(addresses="10.0.0.5")}})
    world.down.add("10.0.0.5")
    for _ in range(3):
        world.step()
    (new,) = [one for one in world.claims.values() if one.spec.cidr == "10.0.0.5/32"]
    del world.claims[new.metadata.name]
    for node in sorted(["n1", "n2", "n3"], key=lambda node: node == last):
        up = IpClaimStatus(holder=node, since="2026-01-01T00:00:00Z")
        name = f"{new.metadata.name}.{node}"
        world.claims[name] = msgspec.structs.replace(
            new,
            metadata=msgspec.structs.replace(new.metadata, name=name),
            spec=msgspec.structs.replace(new.spec, node_name=node),
            status=IpClaimStatus() if node == "n3" else up,
        )
    allocation, _ = world.plan()
    assert [[one.ip for one in each.ingress] for each in allocation.service_updates] == [
        ["10.0.0.5"]
    ]
    assert not allocation.arriving
