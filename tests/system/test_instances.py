"""Two extips in one cluster, on different nodes: neither touches what is the other's."""

from functools import partial

import pytest

from tests.lab.wait import wait_until
from tests.system.pooled_cluster import LOAD_BALANCER, PooledCluster, pool
from tests.system.test_simple_pools import extip_status

BLUE = "ipcontroller.ext/instance"
PLAIN_V4, BLUE_V4 = "10.88.7.1", "10.88.8.1"
PLAIN_V6, BLUE_V6 = "fd00:88::7:1", "fd00:88::8:1"
OF_BLUE = {"labels": {BLUE: "blue"}}


@pytest.fixture
def cluster(lab, namespace):
    """Make n1 and n2 one extip, and n3 that of instance blue."""
    made = PooledCluster(lab, namespace)
    made.install()
    made.start_scheduler().wait_for_event("leadership_acquired")
    made.start_scheduler("--instance=blue").wait_for_event("leadership_acquired")
    for name in ("n1", "n2"):
        made.start_controller(name)
    made.start_controller("n3", "--instance=blue")
    made.wait_ready()
    yield made
    made.end()
    made.clean_up()


def of_blue(item):
    return {**item, "metadata": {**item["metadata"], **OF_BLUE}}


def test_each_instance_serves_its_own_services_on_its_own_nodes(cluster, lab):
    plain, blue = cluster.schedulers
    for v4, v6, own in ((PLAIN_V4, PLAIN_V6, False), (BLUE_V4, BLUE_V6, True)):
        for name, cidr in (("v4", f"{v4[:-1]}0/28"), ("v6", f"{v6[:-1]}0/112")):
            item = pool(f"blue-{name}" if own else name, cidr)
            lab.apply(of_blue(item) if own else item)
    families = {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": None}
    cluster.add("web", **LOAD_BALANCER, **families)
    cluster.add("blue", **LOAD_BALANCER, **families, metadata=OF_BLUE, port=81)
    cluster.wait_ingress("web", PLAIN_V4, PLAIN_V6)
    cluster.wait_ingress("blue", BLUE_V4, BLUE_V6)
    cluster.wait_settled(PLAIN_V4, PLAIN_V6, BLUE_V4, BLUE_V6)
    placed = cluster.placed()
    assert {placed[ip] for ip in (BLUE_V4, BLUE_V6)} == {"n3"}
    assert {placed[ip] for ip in (PLAIN_V4, PLAIN_V6)} <= {"n1", "n2"}
    for ip in (PLAIN_V4, PLAIN_V6):
        assert lab.wait_for_http(ip) in lab.nodes
    for ip in (BLUE_V4, BLUE_V6):
        wait_until(partial(answers, lab, ip), f"an answer of {ip}")

    shown = extip_status(lab, "--instance=blue", "-n", cluster.namespace)
    assert BLUE_V4 in shown
    assert PLAIN_V4 not in shown

    # A node of one instance that dies concerns the other one not at all.
    cluster.controllers["n3"].process.kill()
    blue.wait_for_event("node_liveness_changed", node="n3", state="unknown")  # its only one
    cluster.controllers["n1"].process.kill()
    plain.wait_for_event("node_liveness_changed", node="n1", state="dead")
    wait_until(lambda: {cluster.placed()[ip] for ip in (PLAIN_V4, PLAIN_V6)} == {"n2"}, "the moves")
    assert {cluster.placed()[ip] for ip in (BLUE_V4, BLUE_V6)} == {"n3"}
    assert not plain.events("node_liveness_changed", node="n3")

    # A service that is given to the other instance changes hands.
    cluster.merge("web", {"metadata": {"labels": {BLUE: "blue"}}})
    wait_until(lambda: PLAIN_V4 not in cluster.placed(), "its claim to go")


def answers(lab, ip):
    try:
        return lab.client.http_get(ip, 81, timeout=0.5) in lab.nodes
    except OSError:
        return False
