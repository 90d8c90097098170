"""`extip drain` and IPs that go on to a third node before the second one has them up."""

import subprocess
import sys

import pytest

from tests.lab.api import GROUP, MERGE_PATCH
from tests.lab.wait import wait_until

CLAIM = "10-88-3-77-32"
PATH = f"{GROUP}/ipclaims/{CLAIM}"


def drain(lab, node, *args):
    kubeconfig = f"--kubeconfig={lab.outside_kubeconfig()}"
    return subprocess.Popen(
        [sys.executable, "-m", "extip", "drain", node, kubeconfig, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def claim(lab):
    """No program runs: the test says what schedulers and controllers would."""
    lab.install_definitions()
    labels = {"ipnode": "n1", "app.kubernetes.io/managed-by": "extip"}
    kinds = {"apiVersion": "ipcontroller.ext/v1", "kind": "IpNode"}
    lab.apply(kinds | {"metadata": {"name": "n1"}})
    lab.apply(
        kinds
        | {"kind": "IpClaim", "metadata": {"name": CLAIM, "labels": labels}}
        | {"spec": {"cidr": "10.88.3.77/32", "nodeName": "n1"}}
    )
    holds(lab, "n1")
    yield
    lab.discard_claims()


def move(lab, node, before):
    metadata = {"labels": {"ipnode": node, "ip-previous-node": before}}
    body = {"metadata": metadata, "spec": {"nodeName": node}}
    lab.api.request("PATCH", PATH, body, content_type=MERGE_PATCH)


def holds(lab, node):
    body = {"status": {"holder": node}}
    lab.api.request("PATCH", f"{PATH}/status", body, content_type=MERGE_PATCH)


@pytest.mark.usefixtures("claim")
def test_a_node_is_not_drained_while_an_ip_of_it_moved_twice_and_nobody_else_has_it_up(lab):
    """From n1 to n2, which dies, to n3: neither of its labels names n1 any more."""

    def draining():
        node = lab.api.get(f"{GROUP}/ipnodes/n1")
        return node.get("spec", {}).get("draining")

    running = drain(lab, "n1", "--wait=2m")
    wait_until(draining, "the drain")
    move(lab, "n2", "n1")
    move(lab, "n3", "n2")
    late = drain(lab, "n1", "--wait=1s")
    _, told = late.communicate(timeout=100)
    assert late.returncode == 1
    assert "10.88.3.77/32 (given to n3, which does not have it up" in told
    assert running.poll() is None
    holds(lab, "n3")
    assert running.communicate(timeout=100) == ("n1 is drained\n", "")
    assert running.returncode == 0
