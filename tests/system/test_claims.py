"""Claims mode on a real cluster: IPs are spread over live nodes, and move when one is gone."""

import time
from collections import Counter
from functools import partial

import pytest

from tests.lab.extip import Extip
from tests.lab.wait import wait_until

IPS = [f"10.88.3.{n}" for n in range(1, 7)]
FAST = ("--hb=300ms", "--address-ttl=3s")
MONITOR_S = 1.0


class ClaimsCluster:
    """Controllers on all nodes, schedulers beside the API server."""

    def __init__(self, lab, namespace):
        self.lab = lab
        self.namespace = namespace
        self.controllers = {}
        self.schedulers = []

    def start_controller(self, name, *flags):
        self.controllers[name] = Extip(
            self.lab.nodes[name],
            "controller",
            *FAST,
            *flags,
            kubeconfig=self.lab.kubeconfig,
            env={"EXTIP_CONTROLLER_HOSTNAME": name},
        )
        return self.controllers[name]

    def start_scheduler(self, *flags):
        number = len(self.schedulers)
        scheduler = Extip(
            self.lab.switch,
            "scheduler",
            "--leader-elect",
            f"--monitor={MONITOR_S}s",
            "--leader-elect-lease-duration=3s",
            "--leader-elect-renew-deadline=2s",
            "--leader-elect-retry-period=500ms",
            f"--http=127.0.0.1:{9200 + number}",
            *flags,
            kubeconfig=self.lab.kubeconfig,
        )
        self.schedulers.append(scheduler)
        return scheduler

    def claims(self):
        return self.lab.api.get("/apis/ipcontroller.ext/v1/ipclaims")["items"]

    def placed(self):
        """Return the node of each IP as the claims have it."""
        return {
            c["spec"]["cidr"].split("/")[0]: c["spec"].get("nodeName", "") for c in self.claims()
        }

    def up(self):
        """Return the nodes that have each IP on their interface."""
        found: dict[str, set[str]] = {}
        for name, node in self.lab.nodes.items():
            for address in node.addresses("eth0"):
                if address.proto == 225:
                    found.setdefault(address.ip, set()).add(name)
        return found

    def settled(self, *ips):
        """Whether exactly these IPs are up, each on the one node of its claim."""
        return self.up() == {ip: {node} for ip, node in self.placed().items()} and set(
            self.placed()
        ) == set(ips)

    def wait_settled(self, *ips, timeout=60):
        wait_until(partial(self.settled, *ips), f"{len(ips)} IPs settled", timeout=timeout)


@pytest.fixture
def cluster(lab, namespace):
    """Three controllers and one scheduler."""
    lab.switch.run(["extip", "crds", "--apply", f"--kubeconfig={lab.kubeconfig}"])
    made = ClaimsCluster(lab, namespace)
    for name in lab.nodes:
        made.start_controller(name).wait_for_event("heartbeat_started")
    made.start_scheduler().wait_for_event("node_liveness_changed", state="alive", count=3)
    yield made
    for started in [*made.schedulers, *made.controllers.values()]:
        started.process.kill()
        started.process.wait()
    for kind in ("ipclaims", "ipnodes"):
        lab.kubectl("delete", kind, "--all")
    lab.kubectl("-n", "kube-system", "delete", "lease", "--all")


def test_ips_are_spread_evenly_and_answer(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    assert Counter(cluster.placed().values()) == {"n1": 2, "n2": 2, "n3": 2}
    for ip in IPS:
        assert lab.wait_for_http(ip) in lab.nodes
    assert {c["metadata"]["name"] for c in cluster.claims()} == {
        f"{ip.replace('.', '-')}-32" for ip in IPS
    }


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
            observer.wait_for_announcement(ip, timeout=20)
    for ip, node in kept.items():
        assert cluster.placed()[ip] == node, "moved without need"
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
        process.thaw()
        time.sleep(2)
        assert cluster.settled(*IPS), "it came back for what it had lost"


def test_carrier_loss_moves_at_once(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    lab.nodes["n3"].carrier_down()
    wait_until(lambda: "n3" not in cluster.placed().values(), "the moves")
    lab.nodes["n3"].carrier_up()
    cluster.wait_settled(*IPS)


def test_when_all_are_dead_nothing_moves(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    before = cluster.placed()
    for controller in cluster.controllers.values():
        controller.process.freeze()
    time.sleep(3 * MONITOR_S)
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
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    before = cluster.placed()
    for ip in IPS:
        lab.wait_for_http(ip)
    with lab.probe(IPS) as probe:
        lab.api_server.stop()
        time.sleep(8)
        lab.api_server.start()
        time.sleep(8)
    assert cluster.placed() == before
    assert cluster.settled(*IPS)
    assert [probe.longest_outage_s(ip) for ip in IPS] == [0] * 6


def test_an_ordered_stop_hands_over_without_a_gap(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    for ip in IPS:
        lab.wait_for_http(ip)
    with lab.probe(IPS) as probe:
        assert cluster.controllers["n1"].process.terminate() == 0
        cluster.wait_settled(*IPS)
    assert "n1" not in cluster.placed().values()
    assert max(probe.longest_outage_s(ip) for ip in IPS) < 0.5
