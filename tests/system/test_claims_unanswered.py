"""Writes that are never answered, by an admission webhook that hangs: they delay no fail-over."""

import time
from datetime import datetime

from tests.lab.wait import wait_until
from tests.system.hanging_webhook import hanging

GROUP = "ipcontroller.ext"
MOVED_S = 4.0
"""From the verdict to the last move, on a loaded machine; that many writes that hang, in turn, take
15 s and more."""

COUNT = 30
LOAD_BALANCER = {"type": "LoadBalancer", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
POOL = {
    "apiVersion": f"{GROUP}/v1",
    "kind": "IpClaimPool",
    "metadata": {"name": "p"},
    "spec": {"cidr": "10.88.7.0/25"},
}


def block(number):
    return [f"10.88.{number}.{last}" for last in range(1, COUNT + 1)]


def explained(cluster):
    """Return the names of claims whose condition Assigned is true, of its present node."""
    return {
        claim["metadata"]["name"]
        for claim in cluster.claims()
        for one in claim.get("status", {}).get("conditions", [])
        if one["type"] == "Assigned" and claim["spec"].get("nodeName", "-") in one["message"]
    }


def fail_over(cluster, name):
    """Kill a node's controller; return once its claims name others: soon after it is found dead."""
    assert name in cluster.placed().values()
    cluster.controllers[name].process.kill()
    scheduler = cluster.schedulers[0]
    verdict = scheduler.wait_for_event("node_liveness_changed", node=name, state="dead")
    wait_until(lambda: name not in cluster.placed().values(), f"the claims of {name} to move")
    moves = [e for e in scheduler.events("claim_assigned") if e["before"] == name]
    taken_s = logged(moves[-1]) - logged(verdict)
    assert taken_s < MOVED_S, f"{taken_s:.1f} s\n{cluster.logs()}"


def logged(event):
    return datetime.fromisoformat(event["timestamp"]).timestamp()


def come_back(cluster, name):
    """Start the controller anew; returns when the scheduler has heard it."""
    cluster.start_controller(name)
    cluster.wait_alive(cluster.schedulers[0], name)


def test_fail_over_waits_for_no_write_that_is_not_answered(cluster, lab):
    """Of services, of what is said of claims, or of one claim; and all others are explained."""
    namespace = cluster.namespace
    lab.apply(POOL)
    names = [f"lb-{number}" for number in range(COUNT)]
    with hanging(lab, "services", "services/status"):
        for name in names:
            lab.add_service(name, namespace=namespace, spec=LOAD_BALANCER)
        wait_until(lambda: len(cluster.placed()) == COUNT, "all addresses to be claimed")
        fail_over(cluster, "n1")
        wait_until(lambda: len(explained(cluster)) == COUNT, "all claims to be explained")
        wait_until(
            lambda: cluster.schedulers[0].events("writes_failed"), "the scheduler to say what hangs"
        )
        assert not cluster.schedulers[0].events("nothing_answered")
    come_back(cluster, "n1")

    with hanging(lab, "ipclaims/status", group=GROUP):
        lab.add_service("web", block(8), namespace=namespace)
        wait_until(lambda: len(cluster.placed()) == 2 * COUNT, "all IPs to be claimed")
        time.sleep(1)  # so that what is to be said of them is on its way
        fail_over(cluster, "n2")
    come_back(cluster, "n2")

    claim = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "IpClaim",
        "metadata": {"name": "by-hand", "labels": {"lab": "hangs"}},
        "spec": {"cidr": "10.88.9.9/32"},
    }
    with hanging(lab, "ipclaims", group=GROUP, labels={"lab": "hangs"}):
        lab.apply(claim)
        lab.add_service("more", block(10), namespace=namespace)
        fail_over(cluster, "n3")
        wait_until(lambda: len(explained(cluster)) == 3 * COUNT, "the others to be explained")
        assert not cluster.placed()["10.88.9.9"]
    wait_until(lambda: cluster.placed()["10.88.9.9"], "the claim that hung to be given to a node")

    def told():
        items = lab.api.get(f"/api/v1/namespaces/{namespace}/services")["items"]
        return {s["metadata"]["name"] for s in items if s["status"]["loadBalancer"]} == {*names}

    wait_until(told, "all services to say their addresses")
