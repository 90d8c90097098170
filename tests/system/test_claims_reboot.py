"""The switch of all nodes is started again: a common cause, after which all is as it was."""

import time

import pytest

from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS

PODS_ON = ["n3"]
LONG_S = 3.0
"""Longer than anybody takes to find out that the network is back, and to move IPs."""


def moves(cluster):
    (scheduler,) = cluster.schedulers
    return [e for e in scheduler.events("claim_assigned") if e.get("before")]


def begin(lab, fault):
    for node in lab.nodes.values():
        if "silence" in fault:
            node.cut("lan")
        if "carrier" in fault:
            node.carrier_down()


def end(lab, fault):
    """End it; ports that have carrier may forward frames later than that."""
    for node in lab.nodes.values():
        if "carrier" in fault:
            node.carrier_up()
    if fault == "carrier, then silence":
        time.sleep(LONG_S)
    for node in lab.nodes.values():
        node.heal("lan")


@pytest.mark.parametrize("hb", ["400ms", "2s"])
def test_nothing_moves_when_the_switch_of_all_nodes_is_started_again(idle_cluster, lab, hb):
    cluster = idle_cluster
    cluster.controller_flags = (f"--hb={hb}",)
    cluster.scheduler_flags += ("--monitor=5s",)
    cluster.start()
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    cluster.wait_neighbours()
    before = cluster.placed()

    def all_cut_off():
        return all(cluster.readiness(node) not in ("LinkUp", "") for node in lab.nodes)

    for fault in ("carrier", "carrier, then silence", "silence"):
        begin(lab, fault)
        wait_until(all_cut_off, "all to say that they are cut off")
        time.sleep(LONG_S)
        end(lab, fault)
        cluster.wait_ready()
        time.sleep(LONG_S)
        assert moves(cluster) == [], fault
    cluster.wait_settled(*IPS)
    assert cluster.placed() == before
