"""What belongs together is on one node: claims of the same IP, and with first-alive all of them."""

from functools import partial

from tests.lab.api import GROUP
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS

PATH = f"{GROUP}/ipclaims"


def make(lab, name, cidr, *, node=""):
    """Write a claim as a person does."""
    spec = {"cidr": cidr, **({"nodeName": node} if node else {})}
    claim = {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": "IpClaim",
        "metadata": {"name": name},
        "spec": spec,
    }
    lab.api.request("POST", PATH, claim)


def node_name(lab, name):
    return lab.api.get(f"{PATH}/{name}")["spec"].get("nodeName", "")


def told(lab, name, kind):
    conditions = lab.api.get(f"{PATH}/{name}").get("status", {}).get("conditions", [])
    found: dict[str, str] = next((c for c in conditions if c["type"] == kind), {})
    return found.get("status"), found.get("reason"), found.get("message", "")


def is_refused(lab, name, *, by):
    wanted = "False", "DuplicateAddress", f"claim {by} holds the same IP"
    return told(lab, name, "Accepted") == wanted


def is_up_on(cluster, ip, node):
    return cluster.up() == {ip: {node}}


def test_claims_of_the_same_ip_are_on_the_same_node(cluster, lab):
    make(lab, "hand-a", f"{IPS[0]}/32")
    make(lab, "hand-b", f"{IPS[0]}/24")
    wait_until(partial(is_refused, lab, "hand-b", by="hand-a"), "the younger to be refused")
    node = node_name(lab, "hand-a")
    assert node_name(lab, "hand-b") == node
    wait_until(partial(is_up_on, cluster, IPS[0], node), "the IP to be up")

    lab.nodes[node].die()
    wait_until(lambda: cluster.up().get(IPS[0], set()) - {node}, "another node to have the IP")
    wait_until(
        lambda: node not in (node_name(lab, "hand-a"), node_name(lab, "hand-b")), "both to move"
    )
    assert node_name(lab, "hand-a") == node_name(lab, "hand-b")


def test_of_claims_that_people_pinned_to_two_nodes_one_is_refused_and_says_why(cluster, lab):
    make(lab, "hand-a", f"{IPS[0]}/32", node="n1")
    wait_until(partial(is_up_on, cluster, IPS[0], "n1"), "the first one to be up")
    make(lab, "hand-b", f"{IPS[0]}/24", node="n2")
    wait_until(partial(is_refused, lab, "hand-b", by="hand-a"), "the second one to be refused")
    assert told(lab, "hand-b", "Assigned")[:2] == ("False", "DuplicateAddress")
    assert "DuplicateAddress" in lab.kubectl("get", "ipclaim", "hand-b")
    assert cluster.up() == {IPS[0]: {"n1"}}
    assert not cluster.controllers["n2"].events("address_added"), "it never was up"

    lab.api.request("DELETE", f"{PATH}/hand-a")
    wait_until(partial(is_up_on, cluster, IPS[0], "n2"), "the second one to be up")
    assert node_name(lab, "hand-b") == "n2"


def test_first_alive_brings_together_what_fair_has_spread(cluster, lab):
    lab.add_service("web", IPS, namespace=cluster.namespace)
    cluster.wait_settled(*IPS)
    assert len(set(cluster.placed().values())) == 3
    assert cluster.schedulers[0].process.terminate() == 0
    scheduler = cluster.start_scheduler("--nodefilter=first-alive", "--rebalance-after=2s")
    wait_until(lambda: len(set(cluster.placed().values())) == 1, "all IPs on one node")
    cluster.wait_settled(*IPS)
    assert len(scheduler.events("claim_assigned")) == 4
