"""Each claim says beforehand which node takes its IP, and that node has it after a death."""

import time
from collections import Counter
from contextlib import contextmanager

from extip.scheduling.failovers import ACTS_AFTER_S, LEAST
from tests.lab.api import GROUP
from tests.lab.network import external_v4
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS


def standbys(cluster):
    """Return the standby of each IP; empty for none."""
    return {
        claim["spec"]["cidr"].partition("/")[0]: claim["spec"].get("standby", "")
        for claim in cluster.claims()
    }


def test_the_ips_of_a_dead_node_answer_on_the_standbys_that_their_claims_named(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    wait_until(lambda: all(standbys(cluster).values()), "a standby of each claim")
    placed, named = cluster.placed(), standbys(cluster)
    assert all(named[ip] != placed[ip] for ip in IPS)
    lost = [ip for ip, node in placed.items() if node == "n2"]
    assert Counter(named[ip] for ip in lost) == {"n1": 1, "n3": 1}, "spread over the others"
    with lab.observe(lost) as observer:
        lab.nodes["n2"].die()
        for ip in lost:
            observer.wait_for_owner(ip, named[ip])
    assert {ip: cluster.placed()[ip] for ip in lost} == {ip: named[ip] for ip in lost}
    wait_until(lambda: {*standbys(cluster).values()} == {"n1", "n3"}, "other standbys")
    assert "STANDBY" in lab.kubectl("get", "ipc", "-o", "wide")


def test_many_ips_of_a_dead_node_are_up_before_their_claims_name_the_standbys(cluster, lab):
    """One write for all of them; the claims follow, and the node that comes back has none."""
    ips = [external_v4(number) for number in range(3 * LEAST)]
    lab.add_service("web", ips, namespace=cluster.namespace)
    cluster.wait_settled(*ips)
    wait_until(lambda: all(standbys(cluster).values()), "a standby of each claim")
    placed, named = cluster.placed(), standbys(cluster)
    lost = [ip for ip, node in placed.items() if node == "n2"]
    assert len(lost) == LEAST
    time.sleep(ACTS_AFTER_S)
    scheduler = cluster.schedulers[0]
    with lab.observe(lost) as observer:
        lab.nodes["n2"].die()
        for ip in lost:
            observer.wait_for_owner(ip, named[ip])
    over = scheduler.wait_for_event("failover_over", node="n2")
    (written,) = scheduler.events("node_failed_over")
    assert (written["node"], written["claims"]) == ("n2", LEAST)
    assigned = scheduler.events("claim_assigned", before="n2")
    assert len(assigned) == LEAST
    times = [one["timestamp"] for one in (written, *assigned, over)]
    assert times == sorted(times)
    assert {ip: cluster.placed()[ip] for ip in lost} == {ip: named[ip] for ip in lost}
    assert "failedOver" not in lab.api.get(f"{GROUP}/ipnodes/n2")["status"]


@contextmanager
def pod_behind(node, ip):
    """Have the node lead to an address as to one of its pods."""
    node.run(["ip", "link", "add", "pod0", "type", "veth", "peer", "name", "pod1"])
    try:
        for link in ("pod0", "pod1"):
            node.run(["ip", "link", "set", link, "up"])
        node.run(["ip", "route", "add", f"{ip}/32", "dev", "pod0"])
        yield
    finally:
        node.run(["ip", "link", "delete", "pod0"])


def test_a_node_that_would_refuse_an_ip_says_so_before_it_has_to_take_it(cluster, lab):
    with pod_behind(lab.nodes["n2"], IPS[0]):
        lab.add_service("web", IPS[:1], namespace=cluster.namespace)
        cluster.wait_settled(IPS[0])
        assert cluster.placed() == {IPS[0]: "n1"}
        wait_until(lambda: standbys(cluster)[IPS[0]] == "n3", "another standby than n2")
        told = lab.api.get(f"{GROUP}/ipnodes/n2")["status"]["refused"]
        assert told == [f"{IPS[0]}/32"]
        with lab.observe(IPS[:1]) as observer:
            lab.nodes["n1"].die()
            observer.wait_for_owner(IPS[0], "n3")
