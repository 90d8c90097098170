"""A pool is closed, emptied while clients are served, and deleted."""

import pytest

from tests.lab.api import GROUP
from tests.lab.wait import wait_until
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, PooledCluster, pool
from tests.system.test_operating import extip

OLD, NEW = ("10.88.7.1", "fd00:88::7:1"), ("10.88.7.17", "fd00:88::8:1")


@pytest.fixture
def cluster(lab, namespace):
    """Three controllers, one scheduler, and a service with an address of each of two pools."""
    made = PooledCluster(lab, namespace)
    made.install()
    made.start()
    lab.apply(pool("old4", "10.88.7.0/28"))
    lab.apply(pool("old6", "fd00:88::7:0/112"))
    made.add("web", **{**LOAD_BALANCER, **DUAL})
    made.wait_ingress("web", *OLD)
    made.wait_settled(*OLD)
    yield made
    made.end()
    made.clean_up()


def give(lab, allocation, **more):
    for name in ("old4", "old6"):
        patch = {"spec": {"allocation": allocation, **more}}
        path = f"{GROUP}/ipclaimpools/{name}"
        lab.api.request("PATCH", path, patch, content_type="application/merge-patch+json")


def status(lab):
    """Return what `extip status` says of each pool."""
    lines = extip(lab, "status").stdout.splitlines()
    return {line.split()[0]: line for line in lines if line.startswith("old")}


def answers(lab, *ips):
    return all(lab.wait_for_http(ip) in lab.nodes for ip in ips)


def test_a_closed_pool_gives_nothing_new_and_takes_nothing_away(cluster, lab):
    give(lab, "Closed")
    cluster.add("more", **LOAD_BALANCER, port=81)
    why = ("AddressNotAllocated", "no pool of IPv4 addresses serves it")
    wait_until(lambda: why in cluster.events("more"), "the Event")
    assert cluster.ingress("web") == list(OLD)
    assert answers(lab, *OLD)
    assert "Closed" in lab.kubectl("get", "ipp", "old4")
    wait_until(lambda: f"in use by {cluster.namespace}/web" in status(lab)["old4"], "it to be told")
    lab.apply(pool("new4", "10.88.7.16/28"))
    cluster.wait_ingress("more", NEW[0])
    cluster.wait_settled(*OLD, NEW[0])
    assert answers(lab, *OLD)


def test_a_draining_pool_is_emptied_without_a_gap_and_deleted(cluster, lab):
    lab.apply(pool("new4", "10.88.7.16/28"))
    lab.apply(pool("new6", "fd00:88::8:0/112"))
    give(lab, "Draining", drainSeconds=6)
    wait_until(lambda: {*OLD, *NEW} == {*cluster.ingress("web")}, "old and new to be shown")
    cluster.wait_settled(*OLD, *NEW)
    assert answers(lab, *NEW)
    assert answers(lab, *OLD), "both answer"
    assert {*OLD, *NEW} == {*cluster.ingress("web")}, "for a while"
    cluster.wait_ingress("web", *NEW)
    cluster.wait_settled(*NEW)
    for name in ("old4", "old6"):
        wait_until(lambda: "it can be deleted" in status(lab)[name], "it to be told")  # noqa: B023
        assert "draining" in status(lab)[name]
        lab.kubectl("delete", "ipp", name)
    cluster.wait_settled(*NEW)
    assert answers(lab, *NEW)
