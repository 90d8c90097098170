"""IPs are on the nodes that pools and services prefer, and go back when it is quiet."""

import pytest

from tests.lab.api import GROUP
from tests.lab.wait import wait_until
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, PooledCluster, pool

V4, V6, LISTED, STAYS = "10.88.7.1", "fd00:88::7:1", "10.88.7.2", "10.88.7.17"
LIST = {"annotations": {"ipcontroller.ext/preferred-nodes": "n2,n3"}}
EDGE = [{"weight": 10, "selector": {"matchLabels": {"lab/edge": "yes"}}}]


@pytest.fixture
def cluster(lab, namespace):
    """Three controllers and one scheduler that rebalances soon; n2 is labelled."""
    made = PooledCluster(lab, namespace)
    made.install()
    made.scheduler_flags += ("--rebalance-after=2s",)
    made.start()
    lab.kubectl("label", "node", "n2", "lab/edge=yes")
    yield made
    made.end()
    made.clean_up()
    lab.kubectl("label", "node", "n2", "lab/edge-")


def serve_on_n2(cluster, lab):
    """Make services whose IPs all prefer n2, each in another way; returns when they are there."""
    lab.apply(pool("v4", "10.88.7.0/28", preferredNodes=EDGE))
    lab.apply(pool("v6", "fd00:88::7:0/112", preferredNodes=EDGE))
    lab.apply(pool("stays", "10.88.7.16/28", autoAssign=False, rebalance="Never"))
    cluster.add("web", **{**LOAD_BALANCER, **DUAL})
    cluster.wait_ingress("web", V4, V6)
    cluster.add("listed", **LOAD_BALANCER, metadata=LIST, port=81)
    names = {"ipcontroller.ext/pool": "stays", **LIST["annotations"]}
    cluster.add("stays", **LOAD_BALANCER, metadata={"annotations": names}, port=82)
    cluster.wait_settled(V4, V6, LISTED, STAYS)
    assert set(cluster.placed().values()) == {"n2"}


def answer(lab):
    for ip, port in ((V4, 80), (V6, 80), (LISTED, 81), (STAYS, 82)):
        assert lab.wait_for_http(ip, port) in lab.nodes


def assigned(cluster, ip):
    (claim,) = (c for c in cluster.claims() if c["spec"]["cidr"].startswith(f"{ip}/"))
    conditions = claim.get("status", {}).get("conditions", [])
    return next((c["message"] for c in conditions if c["type"] == "Assigned"), "")


def test_ips_leave_their_preferred_node_when_it_dies_and_go_back_when_it_is_steady(cluster, lab):
    serve_on_n2(cluster, lab)
    answer(lab)
    cluster.controllers["n2"].process.kill()
    wait_until(lambda: "n2" not in cluster.placed().values(), "the IPs to leave the dead node")
    cluster.wait_settled(V4, V6, LISTED, STAYS)
    answer(lab)
    assert cluster.placed()[LISTED] == "n3", "it is the second in the list"
    wait_until(lambda: "though n2 is preferred" in assigned(cluster, LISTED), "it to be told")
    wait_until(lambda: "its pool prefers others" in assigned(cluster, V6), "it to be told")

    cluster.controllers["n2"].process.wait()
    cluster.start_controller("n2")
    home = dict.fromkeys((V4, V6, LISTED), "n2")
    wait_until(lambda: cluster.placed() == {**home, STAYS: "n3"}, "all but one to go back")
    cluster.wait_settled(V4, V6, LISTED, STAYS)
    answer(lab)
    wait_until(lambda: ": n2 is preferred" in assigned(cluster, V4), "the reason of the move")


def test_a_changed_preference_moves_ips_in_quiet_times(cluster, lab):
    serve_on_n2(cluster, lab)
    path = f"{GROUP}/ipclaimpools/v6"
    patch = {"spec": {"preferredNodes": None}}
    lab.api.request("PATCH", path, patch, content_type="application/merge-patch+json")
    annotations = {"ipcontroller.ext/preferred-nodes": "n1"}
    cluster.merge("listed", {"metadata": {"annotations": annotations}})
    wait_until(lambda: cluster.placed()[LISTED] == "n1", "the IP to go where it is wanted now")
    wait_until(lambda: cluster.placed()[V6] == "n3", "the other to even the load out")
    cluster.wait_settled(V4, V6, LISTED, STAYS)
    assert (cluster.placed()[V4], cluster.placed()[STAYS]) == ("n2", "n2")
    answer(lab)
