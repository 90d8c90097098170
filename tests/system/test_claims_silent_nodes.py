"""Claims mode when nodes fall silent on the segment, or only seem to, with real packets."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from extip.uplink.policy.silence import WATCHED
from tests.lab.wait import wait_until
from tests.system.claims_cluster import MONITOR_S
from tests.system.wire import watched

PODS_ON = ["n3"]
TRIO = [f"10.88.33.{n}" for n in (1, 2, 3)]
LONG_S = 2 * MONITOR_S

_DROP = """table bridge apart {{
    chain forward {{
        type filter hook forward priority -10
        {rules}
    }}
}}
"""

_FIREWALL = """table arp firewall {{
    chain input {{
        type filter hook input priority 0
        arp saddr ip {{ {asked_by} }} drop
    }}
}}
"""


@contextmanager
def dropping(lab, *rules: str) -> Iterator[None]:
    """Have the switch drop frames that it forwards."""
    lab.switch.run(["nft", "-f", "-"], stdin=_DROP.format(rules="\n        ".join(rules)))
    try:
        yield
    finally:
        lab.switch.run(["nft", "delete", "table", "bridge", "apart"])


@contextmanager
def on_vlans_of_their_own(lab) -> Iterator[None]:
    """Have no question of a node reach another one; they still reach gateway and clients."""
    ports = lan_ports(lab)
    with dropping(lab, f"iifname {ports} oifname {ports} ether type arp drop"):
        yield


@contextmanager
def behind_firewalls(lab) -> Iterator[None]:
    """Have each node drop the questions of the others."""
    asked_by = ", ".join(node.ip for node in lab.nodes.values())
    with ExitStack() as after:
        for node in lab.nodes.values():
            node.run(["nft", "-f", "-"], stdin=_FIREWALL.format(asked_by=asked_by))
            after.callback(node.run, ["nft", "delete", "table", "arp", "firewall"])
        yield


def lan_ports(lab):
    names = ", ".join(f'"{node.ports["lan"].name}"' for node in lab.nodes.values())
    return f"{{ {names} }}"


def mac(lab, node):
    return lab.nodes[node].run(["cat", "/sys/class/net/eth0/address"]).stdout.strip()


def watches_all(controller):
    return controller.metric("extip_link_watched") == WATCHED


def spread(cluster):
    """Bring the IPs up; return those of each node, once the nodes watch each other."""
    cluster.lab.add_service("web", TRIO, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)
    for controller in cluster.controllers.values():
        wait_until(partial(watches_all, controller), "each node to watch both others")
    return {node: ip for ip, node in cluster.placed().items()}


def test_a_node_that_loses_power_is_replaced_by_the_word_of_its_neighbours(cluster, lab, figures):
    at = spread(cluster)
    with watched(lab, TRIO) as wire:
        lab.nodes["n1"].die()
        wait_until(lambda: "n1" not in cluster.placed().values(), "the move")
        wire.wait_answers(at["n1"])
    figures(wire)
    assert cluster.schedulers[0].events("node_silent", node="n1")
    assert wire.double_s() == 0.0


def test_nodes_that_do_not_hear_each_other_keep_their_ips(cluster, lab, figures):
    at = spread(cluster)
    one, other = mac(lab, "n1"), mac(lab, "n2")
    with (
        watched(lab, TRIO) as wire,
        dropping(
            lab,
            f"ether saddr {one} ether daddr {other} drop",
            f"ether saddr {other} ether daddr {one} drop",
        ),
    ):
        cluster.controllers["n1"].wait_for_event("neighbours_silent")
        time.sleep(LONG_S)
    figures(wire)
    assert cluster.placed() == {ip: node for node, ip in at.items()}
    assert not cluster.schedulers[0].events("node_silent")


def test_a_node_that_answers_no_questions_any_more_objects_and_keeps_its_ip(cluster, lab, figures):
    at = spread(cluster)
    peers = " , ".join(mac(lab, node) for node in ("n2", "n3"))
    drop = f"ether saddr {mac(lab, 'n1')} ether daddr {{ {peers} }} arp operation reply drop"
    with watched(lab, TRIO) as wire, dropping(lab, drop):
        cluster.controllers["n1"].wait_for_event("called_silent")
        time.sleep(LONG_S)
    figures(wire)
    assert cluster.placed() == {ip: node for node, ip in at.items()}
    assert not cluster.schedulers[0].events("node_silent")


def test_a_fifth_of_all_frames_may_be_lost(cluster, lab):
    spread(cluster)
    before, changes = cluster.placed(), cluster.address_changes()
    with dropping(lab, f"iifname {lan_ports(lab)} numgen random mod 5 == 0 drop"):
        time.sleep(5 * LONG_S)
    assert cluster.placed() == before
    assert cluster.address_changes() == changes
    assert not cluster.schedulers[0].events("node_silent")


def test_a_process_that_stands_still_for_a_second_keeps_its_ip_and_accuses_nobody(
    cluster, lab, figures
):
    """The kernel of its node answers on."""
    at = spread(cluster)
    before, controller = cluster.placed(), cluster.controllers["n1"]
    with watched(lab, TRIO) as wire:
        for still_s in (0.5, 0.7, 1.0):
            controller.process.freeze()
            time.sleep(still_s)
            controller.process.thaw()
            time.sleep(MONITOR_S)
    figures(wire)
    assert cluster.placed() == before
    assert {node: wire.owners(ip) for node, ip in at.items()} == {node: {node} for node in at}
    assert not any(each.events("neighbours_silent") for each in cluster.controllers.values())


def test_a_switch_that_starts_again_moves_nothing(cluster, lab, figures):
    """Its ports lose carrier, have it again before they lead anywhere, and come one by one."""
    at = spread(cluster)
    before = cluster.placed()
    with watched(lab, TRIO) as wire:
        for node in lab.nodes.values():
            node.carrier_down()
        time.sleep(LONG_S)
        for node in lab.nodes.values():
            node.cut("lan")
            node.carrier_up()
        time.sleep(1.5)
        for node in lab.nodes.values():
            node.heal("lan")
            time.sleep(0.7)
        wire.wait_answers()
        cluster.wait_ready()
        time.sleep(LONG_S)
    figures(wire)
    assert cluster.placed() == before
    assert {node: wire.owners(ip) for node, ip in at.items()} == {node: {node} for node in at}
    assert not cluster.schedulers[0].events("node_silent")


@pytest.mark.parametrize("apart", [on_vlans_of_their_own, behind_firewalls])
def test_where_nodes_do_not_answer_each_other_heartbeats_decide_and_each_says_so_once(
    cluster, lab, apart
):
    spread(cluster)
    before, scheduler = cluster.placed(), cluster.schedulers[0]
    with apart(lab):
        for controller in cluster.controllers.values():
            controller.wait_for_event("nodes_do_not_answer")
        assert cluster.placed() == before
        lab.nodes["n1"].die()
        wait_until(lambda: "n1" not in cluster.placed().values(), "the move")
    assert not scheduler.events("node_silent")
    for name in ("n2", "n3"):
        assert len(cluster.controllers[name].events("nodes_do_not_answer")) == 1
