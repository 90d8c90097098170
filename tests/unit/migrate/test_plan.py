"""Everything that stands in the way of a migration is found before anything is written."""

import pytest

from extip.api.meta_v1 import LabelSelector
from extip.migrate.policy.report import row_of
from tests.unit.migrate.migration_world import MigrationWorld
from tests.unit.pools.allocation_world import pool

EDGE = pool("edge", "10.9.0.0/24")
EXACT = pool("exact", "10.8.0.1/32")
LB = {"type": "LoadBalancer"}


def world_with(*pools, lb_class="", **services):
    world = MigrationWorld(*(pools or (EXACT,)), lb_class=lb_class)
    for name, spec in services.items():
        world.add(name, **spec)
    world.settle()
    return world


def state(world, name, **wish):
    return row_of(world.plan_of(name, **wish), undo=wish.get("undo", False)).state


def test_nothing_stands_in_the_way_of_a_service_whose_ip_a_pool_has():
    world = world_with(web={"externalIPs": ["10.8.0.1"]})
    found = world.plan_of("web")
    assert (found.obstacles, found.notes, found.missing) == ((), (), ())
    assert (list(map(str, found.ips)), found.nodes) == (["10.8.0.1"], ("n1",))
    assert state(world, "web") == "ready"
    world.take_step("web")
    assert state(world, "web") == "begun"
    world.settle()
    assert state(world, "web") == "begun"
    world.take_step("web")
    assert (state(world, "web"), state(world, "web", undo=True)) == ("migrated", "ready")
    world.take_back("web")
    assert (state(world, "web"), state(world, "web", undo=True)) == ("ready", "not migrated")


def test_a_service_without_external_ips_is_fine():
    assert state(world_with(web={}), "web") == "no external IPs"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"externalIPs": ["10.7.0.1"]}, "10.7.0.1 is in no pool"),
        ({"externalIPs": ["fd00::1"]}, "fd00::1 is an IPv6 address, and the service has IPv4"),
        ({"externalIPs": ["10.8.0.1", "10.8.0.x"]}, "'10.8.0.x' is no IP address: remove it"),
        (
            {"externalIPs": ["10.8.0.1"], "clusterIPs": ["None"]},
            "it is headless (clusterIP None)",
        ),
        ({"externalIPs": ["10.8.0.1"], "type": "ExternalName"}, "it is an alias"),
        (
            {"externalIPs": ["10.8.0.1"], "annotations": {"ipcontroller.ext/pool": "edge"}},
            "10.8.0.1 is in pool exact, which the service does not name",
        ),
        (
            {**LB, "externalIPs": ["10.8.0.1"], "loadBalancerClass": "other"},
            "it is a load balancer of class other, which cannot be changed, and --lb-class is no",
        ),
        (
            {**LB, "externalIPs": ["10.8.0.1"], "loadBalancerSourceRanges": ["10.0.0.0/8"]},
            "its spec.loadBalancerSourceRanges would count",
        ),
        (
            {
                "externalIPs": ["10.8.0.1"],
                "ipFamilies": ["IPv4", "IPv6"],
                "ipFamilyPolicy": "RequireDualStack",
            },
            "it gets no address until it can have one of each IP family",
        ),
    ],
)
def test_each_obstacle_is_named(spec, why):
    world = world_with(EDGE, EXACT, web=spec)
    found = world.plan_of("web")
    assert why in "; ".join(found.obstacles)
    assert state(world, "web") == "in the way"


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"allocation": "Closed"}, "10.8.0.1 is in pool p, which gives no new addresses"),
        (
            {"namespace_selector": LabelSelector(match_labels={"tier": "edge"})},
            "pool p of 10.8.0.1 does not serve this service",
        ),
    ],
)
def test_the_obstacles_of_pools_are_those_of_the_allocator(spec, why):
    world = world_with(pool("p", "10.8.0.1/32", **spec), web={"externalIPs": ["10.8.0.1"]})
    assert world.plan_of("web").obstacles == (why,)


def test_a_pool_serves_a_namespace_by_its_labels():
    selector = LabelSelector(match_labels={"tier": "edge"})
    world = MigrationWorld(pool("p", "10.8.0.1/32", namespace_selector=selector))
    world.add("web", externalIPs=["10.8.0.1"])
    world.namespaces = {"default": {"tier": "edge"}}
    assert world.plan_of("web").obstacles == ()


def test_a_service_of_another_load_balancer_is_left_alone():
    world = MigrationWorld(EXACT)
    world.add("web", **LB, externalIPs=["10.8.0.1"])
    world.change("web", {"status": {"loadBalancer": {"ingress": [{"ip": "10.1.1.1"}]}}})
    (why,) = world.plan_of("web").obstacles
    assert "10.1.1.1 in its status.loadBalancer is of another load balancer" in why


def test_two_services_of_one_ip_share_it_when_their_ports_differ():
    one = {"externalIPs": ["10.8.0.1"], "ports": [{"port": 80}]}
    world = world_with(one=one, two={**one, "ports": [{"port": 81}]})
    assert [plan.obstacles for plan in world.plans()] == [(), ()]
    world = world_with(one=one, two=one)
    assert [plan.obstacles for plan in world.plans("two")] == [
        ("10.8.0.1 is in use by default/one",)
    ]


def test_nobody_who_gives_addresses_is_an_obstacle_where_no_claim_tells_otherwise():
    world = MigrationWorld(EXACT)
    world.add("web", externalIPs=["10.8.0.1"])
    assert world.plan_of("web", nobody_gives="nobody gives").obstacles == ("nobody gives",)
    world.settle()
    assert world.plan_of("web", nobody_gives="nobody gives").obstacles == ()


def test_whoever_would_change_it_back_is_an_obstacle_until_a_person_says_otherwise():
    labels = {"kustomize.toolkit.fluxcd.io/name": "shop"}
    world = world_with(web={"externalIPs": ["10.8.0.1"], "labels": labels})
    (why,) = world.plan_of("web").obstacles
    assert why.startswith("Flux manages it, and may change it back at any time: change it at its")
    found = world.plan_of("web", managed=True)
    assert (found.obstacles, found.notes) == ((), ("change it at its source, too (Flux)",))
    world.take_step("web")
    world.settle()
    world.take_step("web")
    assert "Flux manages it" in world.plan_of("web", undo=True).obstacles[0]
    assert world.plan_of("web", undo=True, managed=True).obstacles == ()


@pytest.mark.parametrize(
    ("spec", "more", "note"),
    [
        ({"externalIPs": ["10.9.0.9"]}, {}, "the prefix length of 10.9.0.9 changes from 32 to 24"),
        ({"externalIPs": ["10.8.0.1"]}, {"version": (1, 20)}, "it gets node ports: this API"),
        (
            {
                "externalIPs": ["fd00::1"],
                "ipFamilies": ["IPv6", "IPv4"],
                "ipFamilyPolicy": "PreferDualStack",
            },
            {},
            "it also gets 10.9.0.1 from pool edge",
        ),
    ],
)
def test_whatever_changes_besides_is_told(spec, more, note):
    world = world_with(EDGE, EXACT, pool("six", "fd00::/112"), web=spec)
    found = world.plan_of("web", **more)
    assert found.obstacles == ()
    assert note in "; ".join(found.notes)


def test_an_ip_that_is_down_or_not_claimed_is_told():
    world = MigrationWorld(EXACT, EDGE)
    world.down.add("10.8.0.1")
    world.add("web", externalIPs=["10.8.0.1"])
    world.settle()
    assert world.plan_of("web").notes == ("10.8.0.1 is up on no node now",)
    world.change("web", {"spec": {"externalIPs": ["10.8.0.1", "10.9.0.2"]}})
    assert "10.9.0.2 is not claimed now" in world.plan_of("web").notes


def test_another_load_balancer_that_may_serve_it_too_is_told():
    world = world_with(web={"externalIPs": ["10.8.0.1"]}, ours=LB)
    world.add("theirs", **LB)
    theirs = {"loadBalancer": {"ingress": [{"ip": "10.1.1.1"}]}}
    world.change("theirs", {"status": theirs})
    (note,) = world.plan_of("web").notes
    assert note == (
        "another load balancer gave default/theirs its 10.1.1.1: if it serves no class, it may "
        "change this service, too"
    )
    world.lb_class = "ours"
    assert world.plan_of("web").notes == ()


def test_on_the_way_back_kube_proxy_has_to_serve_external_ips():
    world = world_with(web={"externalIPs": ["10.8.0.1"]})
    world.take_step("web")
    assert world.plan_of("web", undo=True, version=(1, 35)).notes == ()
    (note,) = world.plan_of("web", undo=True, version=(1, 36)).notes
    assert "AllowServiceExternalIPs" in note


def test_an_obstacle_is_told_once_and_no_pool_is_missing_for_what_is_not_served():
    world = world_with(web={"externalIPs": ["10.7.0.1"], "type": "ExternalName"})
    found = world.plan_of("web")
    assert len(found.obstacles) == 1
    assert found.missing == ()


def test_the_way_back_takes_no_ip_away():
    world = world_with(EDGE, EXACT, web={"externalIPs": ["10.8.0.1"]})
    world.take_step("web")
    world.settle()
    world.take_step("web")
    asked = {"ipcontroller.ext/addresses": "10.9.0.5"}
    world.change("web", {"metadata": {"annotations": asked}})
    world.settle()
    assert world.plan_of("web", undo=True).obstacles == (
        "it does not have 10.8.0.1 any more: ask for it with the annotation first",
        "it would lose 10.9.0.5, which it got since",
    )
