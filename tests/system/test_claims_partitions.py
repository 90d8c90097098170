"""Claims mode when networks part and several things fail at once, with real packets.

Three IPs, one on each node; the pods behind them are on n3, which has no faults.
"""

import time

from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.system.claims_cluster import MONITOR_S
from tests.system.wire import watched

PODS_ON = ["n3"]
TRIO = [f"10.88.30.{n}" for n in (1, 2, 3)]
"""Of no other test: kube-proxy may forget the services of others, and their pods, late."""
LONG_S = 1.5 * MONITOR_S
"""Longer than it takes to find a node dead and to move what it had."""


def spread(cluster):
    """Bring the IPs up; return those of each node."""
    cluster.lab.add_service("web", TRIO, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)
    return {node: ip for ip, node in cluster.placed().items()}


def test_cut_off_from_the_clients_alone_others_answer_and_nobody_fights(cluster, lab, figures):
    """Its carrier is there and so are its heartbeats, but no neighbour answers it any more."""
    at = spread(cluster)
    cluster.wait_neighbours("n1")
    with watched(lab, TRIO) as wire:
        lab.nodes["n1"].cut("lan")
        wire.probe.wait_for_failure(ip=at["n1"])
        wait_until(lambda: "n1" not in cluster.placed().values(), "the move")
        successor = cluster.placed()[at["n1"]]
        wire.observer.wait_for_owner(at["n1"], successor)
        wait_until(lambda: cluster.readiness("n1") == "Isolated", "n1 to say so")
        cluster.wait_settled(*TRIO)
        lab.nodes["n1"].heal("lan")
        healed_s = time.monotonic()
        cluster.wait_ready()
        time.sleep(LONG_S)
    figures(wire)
    assert cluster.placed()[at["n1"]] == successor, "it came back at once for what it had lost"
    assert wire.owners(at["n1"], after_s=healed_s) == {successor}
    assert all(wire.outages_s()[at[node]] < HICCUP_S for node in ("n2", "n3"))


def test_a_network_that_is_dead_for_all_moves_nothing(cluster, lab, figures):
    at = spread(cluster)
    before = cluster.placed()
    cluster.wait_neighbours()
    with watched(lab, TRIO) as wire:
        for node in lab.nodes.values():
            node.cut("lan")
        for name in lab.nodes:
            cluster.controllers[name].wait_for_event("link_isolated")
        time.sleep(LONG_S)
        for node in lab.nodes.values():
            node.heal("lan")
        wire.wait_answers()
        cluster.wait_ready()
        time.sleep(LONG_S)
    figures(wire)
    assert cluster.placed() == before
    assert {node: wire.owners(ip) for node, ip in at.items()} == {node: {node} for node in at}


def test_an_isolated_node_stays_so_when_its_controller_is_started_again(cluster, lab):
    """With nothing on it, it would be the first to be given what is new."""
    spread(cluster)
    cluster.wait_neighbours("n1")
    lab.nodes["n1"].cut("lan")
    wait_until(lambda: "n1" not in cluster.placed().values(), "the move")
    assert cluster.controllers["n1"].process.terminate() == 0
    cluster.start_controller("n1").wait_for_event("link_isolated")
    cluster.wait_alive(cluster.schedulers[0], "n1")
    more = [f"10.88.30.{n}" for n in range(11, 17)]
    lab.add_service("more", more, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO, *more)
    assert "n1" not in cluster.placed().values()
    lab.nodes["n1"].heal("lan")
    cluster.controllers["n1"].wait_for_event("link_reached")
    cluster.wait_ready()


def test_an_isolated_nodes_ips_do_not_go_to_one_that_has_just_died(cluster, lab, figures):
    """It is not known to be dead yet, and has nothing to say for itself."""
    at = spread(cluster)
    cluster.wait_neighbours()
    with watched(lab, TRIO) as wire:
        lab.nodes["n2"].die()
        lab.nodes["n1"].cut("lan")
        wait_until(lambda: set(cluster.placed().values()) == {"n3"}, "n3 to have all")
        wire.observer.wait_for_owner(at["n1"], "n3")
    figures(wire)
    moved = cluster.schedulers[0].events("claim_assigned", before="n1")
    assert {event["node"] for event in moved} == {"n3"}


def test_cut_off_from_the_api_server_alone_it_makes_way_after_the_heal(cluster, lab, figures):
    at = spread(cluster)
    with watched(lab, TRIO) as wire:
        lab.nodes["n1"].cut("management")
        wait_until(lambda: "n1" not in cluster.placed().values(), "the move")
        successor = cluster.placed()[at["n1"]]
        wire.observer.wait_for_owner(at["n1"], successor)
        time.sleep(LONG_S)
        lab.nodes["n1"].heal("management")
        healed_s = time.monotonic()
        cluster.wait_settled(*TRIO)
        settled_s = time.monotonic()
        time.sleep(LONG_S)
    figures(wire, dropped_after=wire.last_answer_s(at["n1"], "n1") - healed_s)
    assert cluster.placed()[at["n1"]] == successor, "it came back for what it had lost"
    cluster.wait_settled(*TRIO)
    assert wire.owners(at["n1"], after_s=settled_s) == {successor}
    assert max(wire.outages_s().values()) < HICCUP_S


def test_cut_off_from_everything_others_answer_and_the_heal_changes_nothing(cluster, lab, figures):
    at = spread(cluster)
    with watched(lab, TRIO) as wire:
        cut_s = time.monotonic()
        lab.nodes["n1"].cut()
        wire.probe.wait_for_failure(ip=at["n1"])
        wire.probe.wait_for_answer(ip=at["n1"], sent_after_s=cut_s + 0.2)
        successor = cluster.placed()[at["n1"]]
        assert successor in ("n2", "n3")
        time.sleep(LONG_S)
        lab.nodes["n1"].heal()
        healed_s = time.monotonic()
        cluster.wait_settled(*TRIO)
        settled_s = time.monotonic()
        time.sleep(LONG_S)
    figures(wire, dropped_after=wire.last_answer_s(at["n1"], "n1") - healed_s)
    assert cluster.placed()[at["n1"]] == successor
    cluster.wait_settled(*TRIO)
    assert wire.owners(at["n1"], after_s=settled_s) == {successor}
    assert all(wire.outages_s()[at[node]] < HICCUP_S for node in ("n2", "n3"))


def test_two_of_three_nodes_dead_at_once(cluster, lab, figures):
    at = spread(cluster)
    with watched(lab, TRIO) as wire:
        for name in ("n1", "n2"):
            lab.nodes[name].cut()
        died_s = time.monotonic()
        for name in ("n1", "n2"):
            lab.nodes[name].die()
        wait_until(lambda: set(cluster.placed().values()) == {"n3"}, "everything on n3")
        for name in ("n1", "n2"):
            wire.observer.wait_for_owner(at[name], "n3", after_s=died_s)
        wire.wait_answers()
    figures(wire)
    assert wire.outages_s()[at["n3"]] < HICCUP_S
    assert wire.owners(at["n3"]) == {"n3"}


def leader_on(cluster, name, *controllers):
    """Start controllers, a scheduler on a node that leads, and a standby beside the API server."""
    leader = cluster.start_scheduler(host=cluster.lab.nodes[name])
    for controller in controllers:
        cluster.start_controller(controller)
    leader.wait_for_event("leadership_acquired")
    standby = cluster.start_scheduler()
    standby.wait_for_event("leader_changed")
    for scheduler in (leader, standby):
        cluster.wait_alive(scheduler)
    return leader, standby


def test_a_leader_cut_off_from_the_api_server_moves_nothing(idle_cluster, lab, figures):
    """What it believes becomes wrong while it is away: nothing of it may be carried out after."""
    cluster = idle_cluster
    leader, standby = leader_on(cluster, "n3", "n1", "n2")
    lab.add_service("web", TRIO, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)
    with watched(lab, TRIO) as wire:
        lab.nodes["n3"].cut("management")
        standby.wait_for_event("leadership_acquired")
        leader.wait_for_event("leadership_lost")
        cluster.controllers["n1"].process.kill()
        wait_until(lambda: "n1" not in cluster.placed().values(), "the move")
        cluster.wait_settled(*TRIO)
        cluster.start_controller("n1").wait_for_event("heartbeat_started")
        after = cluster.placed()
        lab.nodes["n3"].heal("management")
        leader.wait_for_event("lease_reachable")
        time.sleep(LONG_S)
    figures(wire)
    assert cluster.placed() == after == dict.fromkeys(TRIO, "n2")
    cluster.wait_settled(*TRIO)
    assert not leader.events("claim_assigned")
    assert len(leader.events("leadership_acquired")) == 1
    assert not standby.events("leadership_lost")


def test_the_leader_dies_together_with_a_controller(idle_cluster, lab, figures):
    cluster = idle_cluster
    _, standby = leader_on(cluster, "n1", "n1", "n2", "n3")
    at = spread(cluster)
    with watched(lab, TRIO) as wire:
        died_s = time.monotonic()
        lab.nodes["n1"].die()
        standby.wait_for_event("leadership_acquired")
        wait_until(lambda: "n1" not in cluster.placed().values(), "the move")
        wire.observer.wait_for_owner(at["n1"], cluster.placed()[at["n1"]], after_s=died_s)
        wire.wait_answers()
    figures(wire)
    assert all(wire.outages_s()[at[node]] < HICCUP_S for node in ("n2", "n3"))
