"""What services ask for, and what is in their status, on a real cluster."""

import pytest

from tests.lab.errors import LabError
from tests.lab.wait import wait_until
from tests.system.pooled_cluster import ADDRESSES, DUAL, LOAD_BALANCER, PooledCluster, pool


@pytest.fixture
def cluster(lab, namespace):
    """Three controllers, one scheduler and a pool of each family."""
    made = PooledCluster(lab, namespace)
    made.install()
    made.start()
    lab.apply(pool("v4", "10.88.7.0/28"))
    lab.apply(pool("v6", "fd00:88::7:0/112"))
    yield made
    made.end()
    made.clean_up()


@pytest.mark.parametrize(
    ("asked", "stronger"), [("10.88.7.9", "10.88.7.10"), ("fd00:88::7:9", "fd00:88::7:10")]
)
def test_a_load_balancer_ip_is_given_and_the_annotation_is_stronger(cluster, lab, asked, stronger):
    families = {"ipFamilies": ["IPv6" if ":" in asked else "IPv4"]}
    cluster.add("web", **LOAD_BALANCER, **families, loadBalancerIP=asked)
    cluster.wait_ingress("web", asked)
    assert lab.wait_for_http(asked) in lab.nodes
    cluster.merge("web", {"metadata": {"annotations": {ADDRESSES: stronger}}})
    cluster.wait_ingress("web", stronger)
    assert lab.wait_for_http(stronger) in lab.nodes
    cluster.wait_settled(stronger)
    cluster.merge("web", {"metadata": {"annotations": None}})
    cluster.wait_ingress("web", asked)
    cluster.wait_settled(asked)  # while the claim of the other address is there, it could stay
    cluster.merge("web", {"spec": {"loadBalancerIP": "10.99.0.1"}})
    why = "10.99.0.1 is an IPv4 address" if ":" in asked else "10.99.0.1 is in no pool"
    wait_until(
        lambda: any(
            reason == "AddressNotAllocated" and message.startswith(why)
            for reason, message in cluster.events("web")
        ),
        "the Event",
    )
    assert cluster.ingress("web") == [asked]


def test_ports_in_a_status_that_another_program_wrote_stay(cluster, lab):
    """Also when extip writes the entry of another address beside it."""
    cluster.add("web", **LOAD_BALANCER)
    cluster.wait_ingress("web", "10.88.7.1")
    ports = [{"port": 80, "protocol": "TCP", "error": "example.com/refused"}]

    def ways():
        return cluster.service("web")["status"]["loadBalancer"]["ingress"]

    (way,) = ways()
    assert way.get("ipMode", "VIP") == "VIP"  # servers before 1.29 have no such field
    theirs = {"status": {"loadBalancer": {"ingress": [{**way, "ports": ports}]}}}
    cluster.merge("web", theirs, subresource="status")
    cluster.merge("web", {"spec": {**DUAL, "ipFamilyPolicy": "PreferDualStack"}})
    cluster.wait_ingress("web", "10.88.7.1", "fd00:88::7:1")
    assert [one.get("ports") for one in ways()] == [ports, None]
    assert lab.wait_for_http("fd00:88::7:1") in lab.nodes
    (scheduler,) = cluster.schedulers
    assert not scheduler.events("field_contested")


KEY = {"annotations": {"ipcontroller.ext/sharing-key": "edge"}}


def test_services_with_a_sharing_key_answer_at_one_address_of_each_family(cluster, lab):
    cluster.add("web", **LOAD_BALANCER, **DUAL, metadata=KEY)
    cluster.wait_ingress("web", "10.88.7.1", "fd00:88::7:1")
    cluster.add("api", **LOAD_BALANCER, **DUAL, metadata=KEY, port=81)
    cluster.wait_ingress("api", "10.88.7.1", "fd00:88::7:1")
    cluster.add("clash", **LOAD_BALANCER, **DUAL, metadata=KEY, port=81)
    cluster.wait_ingress("clash", "10.88.7.2", "fd00:88::7:2")
    for ip in ("10.88.7.1", "fd00:88::7:1"):
        assert lab.wait_for_http(ip, 80) in lab.nodes
        assert lab.wait_for_http(ip, 81) in lab.nodes

    # Whoever has a port keeps it, also under the next scheduler.
    for scheduler in cluster.schedulers:
        assert scheduler.process.terminate() == 0
    (port,) = cluster.service("web")["spec"]["ports"]
    cluster.merge("web", {"spec": {"ports": [{**port, "port": 81}]}})
    cluster.start_scheduler()
    cluster.wait_ingress("web", "10.88.7.3", "fd00:88::7:3")
    assert cluster.ingress("api") == ["10.88.7.1", "fd00:88::7:1"]
    assert lab.wait_for_http("10.88.7.1", 81) in lab.nodes


def test_services_of_two_namespaces_share_where_the_pool_allows_it(cluster, lab):
    other = PooledCluster(lab, f"{cluster.namespace}-other")
    lab.create_namespace(other.namespace)
    lab.add_backends(other.namespace)
    cluster.add("web", **LOAD_BALANCER, metadata=KEY)
    cluster.wait_ingress("web", "10.88.7.1")
    other.add("guest", **LOAD_BALANCER, metadata=KEY, port=81)
    other.wait_ingress("guest", "10.88.7.2")
    lab.apply(pool("v4", "10.88.7.0/28", sharing="Cluster"))
    other.add("friend", **LOAD_BALANCER, metadata=KEY, port=82)
    other.wait_ingress("friend", "10.88.7.1")
    assert other.ingress("guest") == ["10.88.7.2"], "nothing moves by itself"
    assert lab.wait_for_http("10.88.7.1", 80) in lab.nodes
    assert lab.wait_for_http("10.88.7.1", 82) in lab.nodes
    lab.apply(pool("v4", "10.88.7.0/28", sharing="Namespace"))
    wait_until(lambda: other.ingress("friend") not in ([], ["10.88.7.1"]), "an address of its own")
    assert cluster.ingress("web") == ["10.88.7.1"]


def test_who_requires_both_families_gets_both_at_once(cluster, lab):
    late = {"annotations": {"ipcontroller.ext/pool": "v4,late"}}
    cluster.add("web", **LOAD_BALANCER, **DUAL, metadata=late)
    wait_until(
        lambda: any(
            reason == "AddressNotAllocated" and "RequireDualStack" in message
            for reason, message in cluster.events("web")
        ),
        "the Event",
    )
    assert cluster.ingress("web") == []
    assert cluster.claims() == []
    lab.apply(pool("late", "fd00:88::8:0/112"))
    cluster.wait_ingress("web", "10.88.7.1", "fd00:88::8:1")
    for ip in cluster.ingress("web"):
        assert lab.wait_for_http(ip) in lab.nodes


def test_a_service_that_is_a_load_balancer_again_gets_its_old_addresses(cluster, lab):
    for number, name in enumerate(("first", "web")):
        cluster.add(name, **LOAD_BALANCER, **DUAL, port=80 + number)
    cluster.wait_ingress("web", "10.88.7.2", "fd00:88::7:2")
    for name in ("first", "web"):
        cluster.merge(name, {"spec": {"type": "ClusterIP"}})
    wait_until(lambda: cluster.claims() == [], "the claims to go")
    cluster.add("other", **LOAD_BALANCER, **DUAL, port=82)
    cluster.merge("web", {"spec": LOAD_BALANCER})
    cluster.wait_ingress("web", "10.88.7.2", "fd00:88::7:2")
    assert lab.wait_for_http("10.88.7.2", 81) in lab.nodes
    assert lab.wait_for_http("fd00:88::7:2", 81) in lab.nodes


def test_one_pool_of_several_networks_serves_both_families(cluster, lab):
    networks = [{"cidr": "10.88.9.4/31"}, {"cidr": "fd00:88::9:0/112"}, {"cidr": "10.88.9.64/26"}]
    both = {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaimPool",
        "metadata": {"name": "both"},
        "spec": {"networks": networks},
    }
    lab.apply(both)
    asked = {"annotations": {"ipcontroller.ext/pool": "both"}}
    for number in range(3):
        cluster.add(f"s{number}", **LOAD_BALANCER, **DUAL, metadata=asked, port=80 + number)
        cluster.wait_ingress(
            f"s{number}",
            ("10.88.9.4", "10.88.9.5", "10.88.9.65")[number],
            f"fd00:88::9:{number + 1}",
        )
    assert {claim["metadata"]["name"] for claim in cluster.claims()} == {
        *("10-88-9-4-31", "10-88-9-5-31", "10-88-9-65-26"),
        *(f"fd00-88-0-0-0-0-9-{number}-112" for number in (1, 2, 3)),
    }
    assert lab.wait_for_http("10.88.9.65", 82) in lab.nodes
    assert lab.wait_for_http("fd00:88::9:3", 82) in lab.nodes
    with pytest.raises(LabError, match="spec"):
        lab.apply({**both, "metadata": {"name": "none"}, "spec": {"priority": 1}})
