"""Claims mode on a real cluster: IPs are spread over live nodes, and move when one is gone."""

import signal
import time
from collections import Counter

import pytest

from tests.lab.api import GROUP
from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS, MONITOR_S


def test_ips_are_spread_evenly_and_answer(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    assert Counter(cluster.placed().values()) == {"n1": 2, "n2": 2, "n3": 2}
    for ip in IPS:
        assert lab.wait_for_http(ip) in lab.nodes
    assert {c["metadata"]["name"] for c in cluster.claims()} == {
        f"{ip.replace('.', '-')}-32" for ip in IPS
    }


def test_the_server_books_no_field_owners_but_for_claims_that_people_make(cluster, lab):
    """That would be half the work of each write, and half of what each watcher is sent."""
    lab.add_service("web", IPS[:1], namespace=cluster.namespace)
    mine = {"metadata": {"name": "mine"}, "spec": {"cidr": f"{IPS[1]}/32"}}
    lab.api.ensure(
        f"{GROUP}/ipclaims",
        {"apiVersion": "ipcontroller.ext/v1", "kind": "IpClaim", **mine},
    )
    cluster.wait_settled(*IPS[:2])

    def booked():
        return {
            c["spec"]["cidr"].split("/")[0]
            for c in cluster.claims()
            if c["metadata"].get("managedFields")
        }

    wait_until(lambda: booked() == {IPS[1]}, "the bookkeeping to end")


def test_claims_that_are_all_deleted_by_mistake_are_back_with_the_same_addresses(cluster, lab):
    """But not one that a person had made: nobody else wants it. See docs/definitions.md."""
    ours = {"apiVersion": "ipcontroller.ext/v1"}
    spec = {"cidr": "10.88.7.0/28"}
    lab.apply({**ours, "kind": "IpClaimPool", "metadata": {"name": "pool"}, "spec": spec})
    made = {"cidr": f"{IPS[3]}/32"}
    lab.apply({**ours, "kind": "IpClaim", "metadata": {"name": "by-hand"}, "spec": made})
    lab.add_service("web", IPS[:3], namespace=cluster.namespace)
    balanced = {"type": "LoadBalancer", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
    lab.add_service("balanced", namespace=cluster.namespace, port=81, spec=balanced)
    cluster.wait_settled(*IPS[:4], "10.88.7.1")

    def shown():
        path = f"/api/v1/namespaces/{cluster.namespace}/services/balanced"
        return [way["ip"] for way in lab.api.get(path)["status"]["loadBalancer"]["ingress"]]

    wait_until(lambda: shown() == ["10.88.7.1"], "the address to be shown")
    before = {claim["metadata"]["uid"] for claim in cluster.claims()}
    lab.kubectl("delete", "ipc", "--all", "--wait=false")
    wait_until(
        lambda: before.isdisjoint(claim["metadata"]["uid"] for claim in cluster.claims()),
        "all to be deleted",
    )
    cluster.wait_settled(*IPS[:3], "10.88.7.1")
    assert shown() == ["10.88.7.1"]


def test_claims_go_with_the_services(cluster, lab):
    lab.add_service("one", IPS[:2], namespace=cluster.namespace)
    lab.add_service("two", IPS[1:3], namespace=cluster.namespace, port=81)
    cluster.wait_settled(*IPS[:3])
    lab.delete_service("one", namespace=cluster.namespace)
    cluster.wait_settled(*IPS[1:3])
    for scheduler in cluster.schedulers:
        assert scheduler.process.terminate() == 0
    lab.delete_service("two", namespace=cluster.namespace)
    cluster.start_scheduler()
    cluster.wait_settled()


def test_a_dead_node_is_replaced(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    lost = [ip for ip, node in cluster.placed().items() if node == "n2"]
    kept = {ip: node for ip, node in cluster.placed().items() if node != "n2"}
    for ip in IPS:
        lab.wait_for_http(ip)
    with lab.observe(lost) as observer:
        lab.nodes["n2"].die()
        wait_until(lambda: "n2" not in cluster.placed().values(), "the moves")
        for ip in lost:
            observer.wait_for_announcement(ip)
    for ip, node in kept.items():
        assert cluster.placed()[ip] == node, f"moved without need\n{cluster.logs()}"
    assert Counter(cluster.placed().values()) == {"n1": 3, "n3": 3}


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_a_dead_or_hung_controller_loses_its_ips_to_others(cluster, lab, fault):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    process = cluster.controllers["n1"].process
    getattr(process, fault)()
    wait_until(lambda: "n1" not in cluster.placed().values(), "the moves")
    cluster.wait_settled(*IPS)  # also: the kernel dropped them from n1
    if fault == "freeze":
        after = cluster.placed()
        process.thaw()
        time.sleep(2)
        cluster.wait_settled(*IPS)
        assert cluster.placed() == after, "it came back for what it had lost"


def test_carrier_loss_moves_at_once(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    lab.nodes["n3"].carrier_down()
    wait_until(lambda: "n3" not in cluster.placed().values(), "the moves")
    lab.nodes["n3"].carrier_up()
    cluster.wait_settled(*IPS)


def test_when_all_are_dead_nothing_moves(idle_cluster, lab):
    """All fall silent within one heartbeat; `monitor` allows for several, and for a slow machine.

    Otherwise whoever was heard last may count as a witness against the others.
    """
    cluster = idle_cluster
    cluster.scheduler_flags += (f"--monitor={2 * MONITOR_S}s",)
    cluster.start()
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    before = cluster.placed()
    for controller in cluster.controllers.values():
        controller.process.kill(signal.SIGSTOP)
    time.sleep(4 * MONITOR_S)
    assert cluster.placed() == before
    for controller in cluster.controllers.values():
        controller.process.thaw()
    cluster.wait_settled(*IPS)
    assert cluster.placed() == before


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_a_standby_takes_over_and_the_old_leader_undoes_nothing(cluster, lab, fault):
    lab.add_service("web", IPS[:3], namespace=cluster.namespace)
    cluster.wait_settled(*IPS[:3])
    cluster.start_scheduler()
    first, second = cluster.schedulers
    second.wait_for_event("leader_changed")
    getattr(first.process, fault)()
    lab.add_service("more", IPS[3:], namespace=cluster.namespace, port=81)
    cluster.wait_settled(*IPS)
    after = cluster.placed()
    if fault == "freeze":
        first.process.thaw()
        time.sleep(2)
        assert cluster.placed() == after


def test_the_api_server_may_be_away(cluster, lab):
    cluster.serve(*IPS)
    before = cluster.placed()
    with lab.probe(IPS) as probe:
        lab.api_server.stop()
        time.sleep(2 * MONITOR_S)
        lab.api_server.start()
        time.sleep(2 * MONITOR_S)
    assert cluster.placed() == before
    cluster.wait_settled(*IPS)
    assert max(probe.longest_outage_s(ip) for ip in IPS) < HICCUP_S


def test_an_ordered_stop_hands_over_without_a_gap(gapless_cluster, lab):
    cluster = gapless_cluster
    cluster.serve(*IPS)
    with lab.probe(IPS) as probe:
        assert cluster.controllers["n1"].process.terminate() == 0
        cluster.wait_settled(*IPS)
    assert "n1" not in cluster.placed().values()
    assert max(probe.longest_outage_s(ip) for ip in IPS) < HICCUP_S


def test_the_mask_of_controllers_counts_until_a_scheduler_is_told_one(idle_cluster, lab):
    """The flags are those of the specification's own example."""
    cluster = idle_cluster
    cluster.controller_flags += ("--iface=eth0", "--mask=24")
    cluster.scheduler_flags += ("--nodefilter=fair",)
    cluster.start()
    lab.add_service("web", IPS[:3], namespace=cluster.namespace)
    cluster.wait_settled(*IPS[:3])

    def lengths():
        each = [controller.addresses() for controller in cluster.controllers.values()]
        return {interface.split("/")[1] for found in each for interface in found}

    wait_until(lambda: lengths() == {"24"}, "the length that the controllers were told")
    assert cluster.schedulers[0].process.terminate() == 0
    cluster.start_scheduler("--mask=32")
    wait_until(lambda: lengths() == {"32"}, "the length that the scheduler was told")
    cluster.wait_settled(*IPS[:3])
    for controller in cluster.controllers.values():
        controller.wait_for_event("mask_ignored")
