"""Two clusters on one segment that were given the same IP: in the end one of them has it."""

import sys
import time

from tests.lab.api import GROUP
from tests.lab.extip import Extip
from tests.lab.wait import wait_until

IP = "10.88.3.77"
CIDR = f"{IP}/32"
LONG_S = 5.0
"""Longer than a trial, and than a loser takes to ask again for the first time."""

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"externalIPs": [IP], "ports": [{"port": 80}]},
}


def condition(api, kind):
    """Return the condition of the claim of the IP at that API server; empty for none."""
    claims = api.get(f"{GROUP}/ipclaims")["items"]
    found = [c for claim in claims for c in claim.get("status", {}).get("conditions", [])]
    return next((c for c in found if c["type"] == kind), {})


def test_of_two_clusters_that_take_an_ip_over_one_is_left_with_it_and_both_say_so(
    idle_cluster, lab
):
    """Its controller dies. One cluster finds the IP free; the other one gives it to its next node.

    The kernel of the dead controller's node answers questions, so nobody suspects that node, and
    the next node takes the IP over without a probe.
    """
    cluster = idle_cluster
    scheduler = cluster.start_scheduler()
    for name in ("n1", "n2"):
        cluster.start_controller(name)
    cluster.wait_alive(scheduler)
    lab.add_service("web", [IP], namespace=cluster.namespace)
    cluster.wait_settled(IP)
    (holder,) = cluster.up()[IP]
    next_holder = {"n1": "n2", "n2": "n1"}[holder]
    survivor = cluster.controllers[next_holder]

    api, kubeconfig = lab.control_plane.another_cluster()
    lab.switch.run([sys.executable, "-m", "extip", "crds", "--apply", f"--kubeconfig={kubeconfig}"])
    Extip(lab.switch, "scheduler", "--http=127.0.0.1:9300", kubeconfig=kubeconfig)
    rival = Extip(lab.nodes["n3"], "controller", "--hostname=rival", kubeconfig=kubeconfig)
    wait_until(lambda: api.get("/api/v1/namespaces/default"), "its namespace")
    api.request("POST", "/api/v1/namespaces/default/services", SERVICE)
    refused = wait_until(lambda: condition(api, "Accepted"), "the claim of the other cluster")
    assert (refused["reason"], lab.nodes[holder].mac in refused["message"]) == (
        "AddressInUse",
        True,
    )
    assert cluster.up() == {IP: {holder}}

    scheduler.process.freeze()  # the other cluster is the quicker one
    cluster.controllers[holder].process.kill()
    rival.wait_for_addresses(CIDR)
    time.sleep(LONG_S)  # otherwise both are on trial, and the MACs decide
    scheduler.process.thaw()
    survivor.wait_for_event("address_added", address=CIDR)
    survivor.wait_for_event("address_ceased", address=IP, mac=lab.nodes["n3"].mac)
    survivor.wait_for_addresses()
    rival.wait_for_event("address_conflict", address=IP, mac=lab.nodes[next_holder].mac)
    time.sleep(LONG_S)
    assert (survivor.addresses(), rival.addresses()) == (set(), {CIDR})
    said = wait_until(
        lambda: (c := condition(lab.api, "Accepted")).get("reason") == "AddressInUse" and c,
        "the claim to say who has its IP",
    )
    assert lab.nodes["n3"].mac in said["message"]
    assert cluster.placed() == {IP: next_holder}  # nothing is moved around for it
