"""A service with several addresses of each IP family: each on a node of its own."""

from collections import Counter

import pytest

from tests.lab.wait import wait_until
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, PooledCluster, pool

COUNT = "ipcontroller.ext/address-count"
V4 = [f"10.88.7.{number}" for number in (1, 2, 3)]
V6 = [f"fd00:88::7:{number}" for number in (1, 2, 3)]


@pytest.fixture
def cluster(lab, namespace):
    """Three controllers and one scheduler that rebalances soon."""
    made = PooledCluster(lab, namespace)
    made.install()
    made.scheduler_flags += ("--rebalance-after=2s",)
    made.start()
    yield made
    made.end()
    made.clean_up()


def each(cluster, ips):
    """Return how many of these IPs each node has."""
    placed = cluster.placed()
    return Counter(placed[ip] for ip in ips)


def test_three_addresses_are_on_three_nodes_and_again_after_a_death(cluster, lab):
    apart = dict.fromkeys(lab.nodes, 1)
    lab.apply(pool("v4", "10.88.7.0/29"))
    lab.apply(pool("v6", "fd00:88::7:0/112"))
    cluster.add("web", **{**LOAD_BALANCER, **DUAL}, metadata={"annotations": {COUNT: "3"}})
    cluster.wait_ingress("web", *V4, *V6)
    cluster.wait_settled(*V4, *V6)
    assert each(cluster, V4) == apart
    assert each(cluster, V6) == apart
    assert all(lab.wait_for_http(ip) in lab.nodes for ip in (*V4, *V6))

    cluster.controllers["n2"].process.kill()
    wait_until(lambda: "n2" not in cluster.placed().values(), "the IPs to leave the dead node")
    cluster.wait_settled(*V4, *V6)
    assert all(lab.wait_for_http(ip) in lab.nodes for ip in (*V4, *V6))
    cluster.controllers["n2"].process.wait()
    cluster.start_controller("n2")
    wait_until(
        lambda: each(cluster, V4) == apart and each(cluster, V6) == apart, "all to be apart again"
    )
    cluster.wait_settled(*V4, *V6)
    assert all(lab.wait_for_http(ip) in lab.nodes for ip in (*V4, *V6))


def test_the_count_goes_up_as_far_as_there_are_addresses_and_down(cluster, lab):
    lab.apply(pool("v4", "10.88.7.0/28", ["10.88.7.1", "10.88.7.3"]))
    cluster.add("web", **LOAD_BALANCER)
    cluster.wait_ingress("web", V4[0])
    cluster.merge("web", {"metadata": {"annotations": {COUNT: "4"}}})
    cluster.wait_ingress("web", *V4)
    why = "no IPv4 address is free in pool v4; it has 3 of 4 IPv4 addresses"
    wait_until(lambda: ("AddressNotAllocated", why) in cluster.events("web"), "the Event")
    cluster.wait_settled(*V4)
    assert each(cluster, V4) == dict.fromkeys(lab.nodes, 1)
    cluster.merge("web", {"metadata": {"annotations": {COUNT: "2"}}})
    cluster.wait_ingress("web", *V4[:2])
    cluster.wait_settled(*V4[:2])
    assert all(lab.wait_for_http(ip) in lab.nodes for ip in V4[:2])
