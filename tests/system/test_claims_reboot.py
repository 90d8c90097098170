"""The switch of all nodes is started again: a common cause, after which all is as it was."""

import time

from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS
from tests.system.wire import watched

PODS_ON = ["n3"]
LONG_S = 3.0
"""Longer than anybody takes to find out that the network is back, and to move IPs."""


def moves(cluster):
    (scheduler,) = cluster.schedulers
    return [
        (e["timestamp"], e["claim"], e["before"], e["node"], e["reason"])
        for e in scheduler.events("claim_assigned")
        if e.get("before")
    ]


def carrier(lab, state):
    """Change that of all nodes at once, as a switch does that loses its power."""
    ports = [node.ports["lan"].name for node in lab.nodes.values()]
    lab.switch.batch([f"link set {port} {state}" for port in ports])


def begin(lab, fault):
    if "silence" in fault:
        for node in lab.nodes.values():
            node.cut("lan")
    if "carrier" in fault:
        carrier(lab, "down")


def end(lab, fault):
    """End it; ports that have carrier may forward frames later than that."""
    if "carrier" in fault:
        carrier(lab, "up")
    if fault == "carrier, then silence":
        time.sleep(LONG_S)
    for node in lab.nodes.values():
        node.heal("lan")


def test_nothing_moves_when_the_switch_of_all_nodes_is_started_again(idle_cluster, lab):
    cluster = idle_cluster
    cluster.controller_flags = ()  # the slower they find out, the longer are some not back yet
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


def test_the_ips_of_one_node_that_loses_its_carrier_are_elsewhere_within_moments(
    cluster, lab, figures
):
    """Long before its silence would tell anybody."""
    lab.add_service("web", IPS[:3], namespace=cluster.namespace)
    cluster.wait_settled(*IPS[:3])
    lost = next(ip for ip, node in cluster.placed().items() if node == "n1")
    with watched(lab, [lost]) as wire:
        lab.nodes["n1"].carrier_down()
        wait_until(lambda: cluster.placed()[lost] != "n1", "the move")
        wire.wait_answers()
    figures(wire)
    assert wire.outages_s()[lost] < 2.0
    lab.nodes["n1"].carrier_up()
    cluster.wait_ready()
