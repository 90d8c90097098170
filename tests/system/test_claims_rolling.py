"""Claims mode through what happens to a healthy cluster: updates, and clocks that are set."""

import time
from datetime import datetime, timedelta

from tests.lab.probe import HICCUP_S
from tests.lab.wall_clock import WallClock
from tests.system.claims_cluster import IPS, MONITOR_S
from tests.system.wire import watched

TRIO = IPS[:3]
HOUR_S = 3600
LONG_S = 2.5 * MONITOR_S
"""Longer than a node or a leader may be silent."""


def test_rolling_restart_of_all_controllers(gapless_cluster, lab, figures):
    """One after the other, as a DaemonSet's update does it. The product's bound is 100 ms."""
    cluster = gapless_cluster
    cluster.serve(*IPS)
    (scheduler,) = cluster.schedulers
    with watched(lab, IPS) as wire:
        for name, controller in list(cluster.controllers.items()):
            assert controller.process.terminate() == 0
            assert not controller.events("drain_timed_out")
            heard = len(scheduler.events("node_liveness_changed", node=name, state="alive"))
            cluster.start_controller(name)
            scheduler.wait_for_event(
                "node_liveness_changed", node=name, state="alive", count=heard + 1
            )
        cluster.wait_settled(*IPS)
        wire.wait_answers()
    figures(wire)
    assert max(wire.outages_s().values()) < 1


def test_rolling_restart_of_all_schedulers(cluster, lab, figures):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    before = cluster.placed()
    touched = cluster.address_changes()
    cluster.start_scheduler().wait_for_event("leader_changed")
    with watched(lab, IPS) as wire:
        for scheduler in list(cluster.schedulers):
            assert scheduler.process.terminate() == 0
            successor = cluster.start_scheduler()
            cluster.wait_alive(successor)
        time.sleep(MONITOR_S)
        lab.add_service("more", ["10.88.3.7"], namespace=cluster.namespace, port=81)
        cluster.wait_settled(*IPS, "10.88.3.7")
    figures(wire)
    assert cluster.placed().items() >= before.items()
    assert len(cluster.address_changes()) == len(touched) + 1
    assert max(wire.outages_s().values()) < HICCUP_S
    assert {ip: wire.owners(ip) for ip in IPS} == {ip: {node} for ip, node in before.items()}


def test_clocks_that_are_set_change_nothing(idle_cluster, lab, figures):
    """The leader's and a controller's jump by an hour or two, while all others' go on."""
    cluster = idle_cluster
    clock = WallClock(lab.anchor.directory)
    cluster.start_scheduler(env=clock.env)
    for name in lab.nodes:
        cluster.start_controller(name, env=clock.env if name == "n1" else None)
    cluster.wait_alive(cluster.schedulers[0])
    lab.add_service("web", TRIO, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)
    cluster.start_scheduler().wait_for_event("leader_changed")  # with the real clock
    before, touched = cluster.placed(), cluster.address_changes()
    with watched(lab, TRIO) as wire:
        for ahead_s in (HOUR_S, -HOUR_S):
            clock.shift(ahead_s)
            time.sleep(LONG_S)
            written = renewed(lab, "n1") - renewed(lab, "n2")
            assert abs(written - timedelta(seconds=ahead_s)) < timedelta(seconds=60)
    figures(wire)
    assert cluster.placed() == before
    assert cluster.address_changes() == touched
    cluster.wait_settled(*TRIO)
    assert len(cluster.schedulers[1].events("leader_changed")) == 1
    assert not cluster.schedulers[1].events("leadership_acquired")
    assert max(wire.outages_s().values()) < HICCUP_S
    assert {ip: wire.owners(ip) for ip in TRIO} == {ip: {node} for ip, node in before.items()}


def renewed(lab, node):
    """Return when a node's controller last renewed its Lease, by its own clock."""
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    leases = {item["metadata"]["name"]: item for item in lab.api.get(path)["items"]}
    (found,) = (lease for name, lease in leases.items() if name.endswith(f"-{node}"))
    return datetime.fromisoformat(found["spec"]["renewTime"])
