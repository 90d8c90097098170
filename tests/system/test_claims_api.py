"""Claims mode while the API server misbehaves: no address is lost, moves or flaps.

A proxy in front of the real one answers late, refuses, hangs up, or ends watches.
"""

import time
from functools import partial

import pytest

from tests.lab.api import GROUP
from tests.lab.api_proxy import ApiProxy
from tests.lab.probe import HICCUP_S
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS, MONITOR_S
from tests.system.wire import watched

RBAC = "rbac.authorization.k8s.io"
TRIO, MORE = IPS[:3], IPS[3:5]


@pytest.fixture
def proxy(idle_cluster, lab):
    with ApiProxy(lab) as proxy:
        idle_cluster.kubeconfig = proxy.kubeconfig
        yield proxy


@pytest.fixture
def cluster(idle_cluster, proxy):
    """Nothing runs yet."""
    return idle_cluster


def bring_up(cluster):
    cluster.start()
    cluster.serve(*TRIO)
    return cluster.placed()


def assert_untouched(cluster, wire, before):
    """Assert that the IPs are where they were, that no controller touched them, no client knew."""
    placed = cluster.placed()
    assert {ip: placed[ip] for ip in before} == before
    touched = cluster.address_changes()
    assert sorted(t for t in touched if t.split()[-1].split("/")[0] in before) == sorted(
        f"{node}: address_added {ip}/32" for ip, node in before.items()
    )
    assert {ip: wire.owners(ip) for ip in before} == {ip: {node} for ip, node in before.items()}
    assert max(wire.outages_s().values()) < HICCUP_S


def test_a_slow_api_server(cluster, proxy, lab, figures):
    """Two seconds for each answer, as long as a heartbeat; all flags are the defaults."""
    cluster.controller_flags = cluster.scheduler_flags = ()
    before = bring_up(cluster)
    with watched(lab, TRIO) as wire:
        with proxy.misbehaving(delay_s=2):
            time.sleep(6)
            lab.add_service("more", MORE, namespace=cluster.namespace, port=81)
            began_s = time.monotonic()
            cluster.wait_settled(*TRIO, *MORE)
            took_s = time.monotonic() - began_s
        time.sleep(4)
    figures(wire, new_service=took_s)
    assert_untouched(cluster, wire, before)
    cluster.wait_settled(*TRIO, *MORE)


def test_bursts_of_refusals(cluster, proxy, lab, figures):
    before = bring_up(cluster)
    with watched(lab, TRIO) as wire:
        for status, retry_after_s in ((429, 1), (500, None)):
            with proxy.misbehaving(status=status, retry_after_s=retry_after_s, watch_s=0):
                time.sleep(1.5 * MONITOR_S)
            time.sleep(0.5 * MONITOR_S)
        lab.add_service("more", MORE, namespace=cluster.namespace, port=81)
        began_s = time.monotonic()
        cluster.wait_settled(*TRIO, *MORE)
        took_s = time.monotonic() - began_s
        time.sleep(MONITOR_S)
    figures(wire, new_service=took_s)
    for status in (429, 500):
        assert proxy.answered(status, containing="/leases/extip-node-") >= 2 * len(lab.nodes)
    assert_untouched(cluster, wire, before)
    cluster.wait_settled(*TRIO, *MORE)


def test_a_right_that_is_taken_away_and_given_back_is_used_within_seconds(
    cluster, proxy, lab, figures
):
    """Nobody may read claims for half a minute; each doubling of a back-off was as long again."""
    before = bring_up(cluster)
    programs = (*cluster.schedulers, *cluster.controllers.values())

    def back():
        """Whether all watches hold again that were refused; they must do so for five seconds."""
        return all(
            {e["resource"] for e in program.events("watch_recovered")}
            >= {e["resource"] for e in program.events("watch_interrupted", reason="denied")}
            for program in programs
        )

    with watched(lab, TRIO) as wire:
        with proxy.misbehaving(about="/ipclaims", status=403, watch_s=0):
            for program in programs:
                program.wait_for_event("watch_interrupted", reason="denied")
            time.sleep(30)
        began_s = time.monotonic()
        lab.add_service("more", MORE, namespace=cluster.namespace, port=81)
        wait_until(back, "all watches to be back")
        took_s = time.monotonic() - began_s
        cluster.wait_settled(*TRIO, *MORE)
    figures(wire, back=took_s)
    assert took_s < 15
    assert_untouched(cluster, wire, before)


def test_watches_that_end_at_once_again_and_again(cluster, proxy, lab, figures):
    before = bring_up(cluster)
    with watched(lab, TRIO) as wire:
        opened = proxy.answered(200, containing="watch=1")
        with proxy.misbehaving(watch_s=0):
            time.sleep(1.5 * MONITOR_S)
            lab.add_service("more", MORE, namespace=cluster.namespace, port=81)
            began_s = time.monotonic()
            cluster.wait_settled(*TRIO, *MORE)
            took_s = time.monotonic() - began_s
        time.sleep(MONITOR_S)
    figures(wire, new_service=took_s)
    assert proxy.answered(200, containing="watch=1") >= 2 * opened
    assert_untouched(cluster, wire, before)
    cluster.wait_settled(*TRIO, *MORE)


def test_history_is_gone_when_watches_come_back(cluster, proxy, lab, figures):
    """Etcd was compacted while nobody watched: what happened meanwhile must be read anew."""
    before = bring_up(cluster)
    lab.add_service("gone", MORE[:1], namespace=cluster.namespace, port=81)
    cluster.wait_settled(*TRIO, MORE[0])
    with watched(lab, TRIO) as wire:
        with proxy.misbehaving(away=True):
            time.sleep(1.5 * MONITOR_S)
            lab.delete_service("gone", namespace=cluster.namespace)
            lab.add_service("new", MORE[1:], namespace=cluster.namespace, port=82)
            lab.etcd_compact()
            lab.api_server.restart()  # it remembers more than etcd does
        began_s = time.monotonic()
        cluster.wait_settled(*TRIO, MORE[1])
        took_s = time.monotonic() - began_s
        time.sleep(MONITOR_S)
    figures(wire, new_service=took_s)
    for program in (*cluster.schedulers, *cluster.controllers.values()):
        program.wait_for_event("watch_interrupted", reason="expired")
    assert_untouched(cluster, wire, before)
    cluster.wait_settled(*TRIO, MORE[1])


def test_a_hung_control_plane(cluster, lab, figures):
    """Connections stay open and nothing answers; without etcd, only what needs no etcd does."""
    cluster.kubeconfig = lab.kubeconfig
    before = bring_up(cluster)
    with watched(lab, TRIO) as wire:
        for daemon in (lab.control_plane.etcd, lab.api_server):
            daemon.freeze()
            time.sleep(1.5 * MONITOR_S)
            daemon.thaw()
            time.sleep(0.5 * MONITOR_S)
        lab.add_service("more", MORE, namespace=cluster.namespace, port=81)
        began_s = time.monotonic()
        cluster.wait_settled(*TRIO, *MORE)
        took_s = time.monotonic() - began_s
        time.sleep(MONITOR_S)
    figures(wire, new_service=took_s)
    assert_untouched(cluster, wire, before)
    cluster.wait_settled(*TRIO, *MORE)


def test_a_new_leader_that_has_not_heard_of_a_service_keeps_its_claims(cluster, proxy, lab):
    """Its watch of services is broken: to it, they look as if they were gone."""
    cluster.kubeconfig = lab.kubeconfig
    bring_up(cluster)
    (first,) = cluster.schedulers
    cluster.kubeconfig = proxy.kubeconfig
    second = cluster.start_scheduler("--log-level=debug")
    second.wait_for_event("leader_changed")
    cluster.wait_alive(second)
    with proxy.misbehaving(about="/api/v1/services", away=True):
        second.wait_for_event("watch_interrupted", resource="services")
        lab.add_service("more", MORE, namespace=cluster.namespace, port=81)
        cluster.wait_settled(*TRIO, *MORE)
        before = cluster.placed()
        assert first.process.terminate() == 0
        second.wait_for_event("leadership_acquired")
        second.wait_for_event("decision_was_stale", count=2 * len(MORE))
        assert cluster.placed() == before
    second.wait_for_event("watch_recovered", resource="services")
    cluster.wait_settled(*TRIO, *MORE)
    assert not [change for change in cluster.address_changes() if "deleted" in change]
    lab.delete_service("more", namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)


def test_one_node_is_told_to_come_back_later(cluster, proxy, lab, figures):
    """One heartbeat in a while is refused: its node may not be silent for as long as it is told."""
    before = bring_up(cluster)
    (scheduler,) = cluster.schedulers
    with watched(lab, TRIO) as wire:
        for _ in range(2):
            count = proxy.answered(429)
            with proxy.misbehaving(about="/extip-node-n1", status=429, retry_after_s=60):
                wait_until(partial(refused_since, proxy, count), "a refusal")
            time.sleep(1.5 * MONITOR_S)
    figures(wire)
    assert not scheduler.events("node_liveness_changed", node="n1", state="dead")
    assert_untouched(cluster, wire, before)


def refused_since(proxy, count):
    return proxy.answered(429) > count


@pytest.fixture
def right(lab):
    """Make an account that may do everything, while the right is given."""
    name, role = "extip-test-deaf", {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole"}
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    lab.kubectl("create", "serviceaccount", name)
    lab.apply(role | {"metadata": {"name": name}, "rules": everything})
    right = Right(lab, name)
    right.give()
    lab.kubectl("create", "rolebinding", name, *right.grant, "-n", "kube-system")  # for its Lease
    yield right
    lab.kubectl("delete", "clusterrole,clusterrolebinding", name)
    lab.kubectl("delete", "rolebinding", name, "-n", "kube-system")
    lab.kubectl("delete", "serviceaccount", name)


class Right:
    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.grant = (f"--clusterrole={name}", f"--serviceaccount=default:{name}")

    def give(self):
        self.lab.kubectl("create", "clusterrolebinding", self.name, *self.grant)

    def take(self):
        self.lab.kubectl("delete", "clusterrolebinding", self.name)


def test_a_controller_that_may_not_read_its_claims_any_more_is_given_none(cluster, right, lab):
    """And keeps what it has. A watch that runs goes on without the right: the next is refused."""
    cluster.kubeconfig = lab.service_account_kubeconfig("default", right.name)
    deaf = cluster.start_controller("n1")
    cluster.kubeconfig = lab.kubeconfig
    cluster.start_controller("n2")
    cluster.start_controller("n3")
    cluster.wait_alive(cluster.start_scheduler())
    cluster.wait_ready()
    lab.add_service("web", TRIO, namespace=cluster.namespace)
    cluster.wait_settled(*TRIO)
    before = cluster.placed()
    assert set(before.values()) == set(lab.nodes)

    right.take()
    lab.api_server.restart()  # ends every watch
    wait_until(lambda: "cannot be read" in deaf.http("/readyz"), "readiness to tell")
    wait_until(lambda: reason(lab, "n1") == "ClaimsUnread", "the IpNode to tell")
    lab.add_service("more", MORE, namespace=cluster.namespace, port=81)
    cluster.wait_settled(*TRIO, *MORE)
    placed = cluster.placed()
    assert {ip: placed[ip] for ip in before} == before
    assert {placed[ip] for ip in MORE} <= {"n2", "n3"}

    right.give()
    wait_until(lambda: deaf.http("/readyz").strip() == "ok", "it to be ready")
    wait_until(lambda: reason(lab, "n1") == "Eligible", "the IpNode to tell")
    lab.add_service("last", IPS[5:6], namespace=cluster.namespace, port=82)
    cluster.wait_settled(*TRIO, *MORE, IPS[5])
    assert cluster.placed()[IPS[5]] == "n1"
    assert not [change for change in cluster.address_changes() if "deleted" in change]


def reason(lab, node):
    found = lab.api.get(f"{GROUP}/ipnodes/{node}")
    conditions = found.get("status", {}).get("conditions", [])
    return next((c["reason"] for c in conditions if c["type"] == "Ready"), "")
