"""From external IPs to a load balancer and back: the IPs are always written and claimed."""

import msgspec
import pytest

from extip.api.names import MIGRATED_ANNOTATION
from extip.migrate.policy.steps import Step, next_step, note_of
from tests.unit.migrate.migration_world import MigrationWorld
from tests.unit.pools.allocation_world import network, pool

ADDRESSES, ALLOCATED = "ipcontroller.ext/addresses", "ipcontroller.ext/allocated"
EDGE = pool("edge", "10.9.0.0/16", ("10.9.1.0", "10.9.1.255"), networks=(network("fd00::/112"),))
EXACT = pool("exact", "", networks=(network("10.8.0.1/32"), network("fd00:1::1/128")))
DUAL = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"}

SEVERAL = ["10.9.1.1", "10.9.1.2", "10.8.0.1"]
SERVICES = {
    "plain": {"type": "ClusterIP", "externalIPs": ["10.8.0.1"]},
    "of another prefix length": {"type": "ClusterIP", "externalIPs": ["10.9.1.1"]},
    "several": {"externalIPs": SEVERAL},
    "node port": {
        "type": "NodePort",
        "externalIPs": ["10.8.0.1"],
        "externalTrafficPolicy": "Local",
    },
    "two families": {"externalIPs": ["10.8.0.1", "fd00:1::1"], **DUAL},
    "of a pool": {"annotations": {"external-ip": "auto"}},
    "of a pool, by name": {"annotations": {"external-ip": "auto", ADDRESSES: "10.9.1.7"}},
    "of a pool, and by hand": {
        "annotations": {"external-ip": "auto", "ipcontroller.ext/address-count": "2"},
        "externalIPs": ["10.8.0.1"],
    },
    "load balancer": {"type": "LoadBalancer", "externalIPs": ["10.8.0.1", "10.9.1.9"]},
    "load balancer of three": {
        "type": "LoadBalancer",
        "annotations": {"ipcontroller.ext/address-count": "3"},
        "externalIPs": ["10.8.0.1"],
    },
}
CLASSES = ["", "extip.example/lb"]


def bare(service):
    """Return what a person wrote, and which IPs its status has."""
    ways_in = service["status"].get("loadBalancer", {}).get("ingress", ())
    return (
        service["metadata"].get("annotations", {}),
        service["spec"],
        sorted(way["ip"] for way in ways_in),
    )


@pytest.fixture(params=CLASSES, ids=["no class", "a class"])
def world(request):
    return MigrationWorld(EDGE, EXACT, lb_class=request.param)


def add(world, spec):
    balanced = spec.get("type") == "LoadBalancer" and world.lb_class
    world.add(
        "web",
        **{"type": "ClusterIP", **spec},
        **({"loadBalancerClass": world.lb_class} if balanced else {}),
    )
    world.settle()


def watched(world, ips, *, most=12):
    """Pass write by write; each IP is shown by the service and claimed for it all the time."""
    for _ in range(most):
        assert ips <= {*world.shown("web")}
        assert all(world.claimed()[ip] == ["web"] for ip in ips)
        if not world.step(upto=1):
            return
    raise AssertionError("it does not settle")


@pytest.mark.parametrize("spec", SERVICES.values(), ids=list(SERVICES))
def test_ips_stay_where_they_are_on_the_way_and_back(world, spec):
    add(world, spec)
    before, ips = world.services["web"], {*world.shown("web")}
    assert ips
    steps = []
    for _ in range(8):
        steps.append(world.take_step("web"))
        watched(world, ips)
        if steps[-1] is Step.DONE:
            break
    assert steps[0] is Step.BEGIN
    assert steps[-1] is Step.DONE
    after = world.services["web"]
    assert "externalIPs" not in after["spec"]
    assert {*world.shown("web")} >= ips
    assert after["spec"]["type"] == "LoadBalancer"
    assert {"external-ip", ALLOCATED}.isdisjoint(after["metadata"]["annotations"])
    ways = after["status"]["loadBalancer"]["ingress"]
    assert len(ways) == len({way["ip"] for way in ways})

    world.take_back("web")
    watched(world, ips)
    assert {*world.shown("web")} == ips
    assert bare(world.services["web"]) == bare(before)


def test_the_way_back_may_begin_anywhere(world):
    add(world, SERVICES["several"])
    ips = {*world.shown("web")}
    world.take_step("web")
    world.take_back("web")
    watched(world, ips)
    assert bare(world.services["web"])[1] == {
        "ports": [{"port": 80}],
        "type": "ClusterIP",
        "externalIPs": [*SEVERAL],
    }
    assert next_step(world.whole("web"), world.lb_class) is Step.BEGIN


def test_what_extip_does_not_give_is_not_taken(world):
    """The class is another one, or no scheduler runs: the service waits, and keeps all."""
    world.add("web", externalIPs=["10.8.0.1"], annotations={"external-ip": "auto"})
    world.settle()
    ips = {*world.shown("web")}
    name, world.lb_class = world.lb_class, "wrong"
    assert world.take_step("web") is Step.BEGIN
    world.lb_class = name
    watched(world, ips)
    assert next_step(world.whole("web"), "wrong") is Step.WAIT
    world.take_back("web")
    watched(world, ips)


def test_an_ip_that_is_added_on_the_way_is_taken_along():
    world = MigrationWorld(EDGE, EXACT)
    add(world, SERVICES["plain"])
    world.take_step("web")
    world.change("web", {"spec": {"externalIPs": ["10.8.0.1", "10.9.1.4"]}})
    world.settle()
    assert world.take_step("web") is Step.BEGIN
    watched(world, {"10.8.0.1", "10.9.1.4"})
    assert world.take_step("web") is Step.FINISH
    watched(world, {"10.8.0.1", "10.9.1.4"})
    assert world.note("web").external_ips == ("10.8.0.1", "10.9.1.4")
    assert world.note("web").type == "ClusterIP"


def test_of_a_service_that_was_changed_back_by_hand_the_note_goes():
    world = MigrationWorld(EDGE, EXACT)
    add(world, SERVICES["plain"])
    world.take_step("web")
    world.change("web", {"spec": {"type": "ClusterIP", "externalIPs": ["10.9.1.8"]}})
    world.take_back("web")
    assert world.services["web"]["spec"]["externalIPs"] == ["10.9.1.8"]
    assert MIGRATED_ANNOTATION not in world.services["web"]["metadata"]["annotations"]


def test_a_node_port_service_keeps_its_ports_and_another_one_needs_none():
    world = MigrationWorld(EDGE, EXACT)
    for kind in ("NodePort", "ClusterIP"):
        add(world, {"type": kind, "externalIPs": ["10.8.0.1"]})
        world.take_step("web")
        told = world.services["web"]["spec"].get("allocateLoadBalancerNodePorts")
        assert told is (None if kind == "NodePort" else False)


@pytest.mark.parametrize("note", ["{", '"a"', '{"externalIPs": 5}'])
def test_a_note_that_cannot_be_read_is_none(note):
    world = MigrationWorld()
    world.add("web", annotations={MIGRATED_ANNOTATION: note}, externalIPs=["10.8.0.1"])
    assert note_of(world.whole("web")) is None
    assert next_step(world.whole("web"), "") is Step.BEGIN


def test_a_service_without_external_ips_has_nothing_to_do():
    world = MigrationWorld()
    world.add("web")
    assert next_step(world.whole("web"), "") is Step.NOTHING
    assert msgspec.json.encode(world.whole("web"))
