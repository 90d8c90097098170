"""`extip doctor` on a cluster and on its nodes: it finds what is wrong, and nothing else."""

import json
import subprocess
import sys

from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS


def doctor(lab, *args, node="", env=None):
    """Run it on a node, or outside of the cluster; return its findings by check."""
    where = lab.kubeconfig if node else lab.outside_kubeconfig()
    command = [
        *(sys.executable, "-m", "extip", "doctor", f"--kubeconfig={where}", "-o", "json"),
        *args,
    ]
    if node:
        text = lab.nodes[node].run(command, env=env, check=False).stdout
    else:
        text = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=120
        ).stdout
    told = json.loads(text)
    assert told["unread"] == []
    found: dict[str, list[str]] = {}
    for one in told["findings"]:
        found.setdefault(one["check"], []).append(f"{one['severity']}: {one['what']}")
    return found


def wait_well(lab):
    """Wait until it finds nothing: a scheduler writes within seconds that nodes are ready."""
    wait_until(lambda: doctor(lab) == {}, "a cluster that is well")


def test_a_cluster_that_is_well(cluster, lab):
    cluster.serve(*IPS[:2])
    wait_well(lab)
    for name in lab.nodes:
        assert doctor(lab, "--iface=eth0", node=name, env={"NODE_NAME": name}) == {}
    wrong = doctor(lab, "--iface=eth0", "--hostname=n9", node="n1", env={"NODE_NAME": "n1"})
    assert "n9" in wrong["hostname"][0]  # what a person says counts more


def test_a_node_that_sends_from_an_external_ip(cluster, lab):
    cluster.serve(IPS[0])
    name = cluster.placed()[IPS[0]]
    node, env = lab.nodes[name], {"NODE_NAME": name}
    wait_well(lab)
    assert doctor(lab, "--iface=eth0", node=name, env=env) == {}
    route = ("192.0.2.0/24", "dev", "eth0", "src", IPS[0])
    node.run(["ip", "route", "add", *route])
    try:
        found = doctor(lab, "--iface=eth0", node=name, env=env)
    finally:
        node.run(["ip", "route", "del", *route])
    (said,) = found["source address"]
    assert said == f"warning: this node sends to 192.0.2.1 from {IPS[0]}, an external IP"
    assert doctor(lab, "--iface=eth0", node=name, env=env) == {}


def test_a_node_that_may_hold_no_ips(cluster, lab):
    cluster.serve(IPS[0])
    wait_well(lab)
    cluster.controllers["n3"].process.kill()
    lost = {"nodes": ["warning: n3: its controller sends no heartbeats"]}
    wait_until(lambda: doctor(lab) == lost, "a dead node to be found")


def workload(namespace, name, image, *args):
    labels = {"app": name}
    container = {"name": "main", "image": image, "args": list(args)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def test_what_is_wrong_with_a_cluster(cluster, lab):
    here = cluster.namespace
    lab.apply(workload(here, "speaker", "quay.io/metallb/speaker:v1"))
    lab.apply(workload(here, "extip", "own/extip:1", "scheduler", "--monitor=4"))
    lab.apply(
        {
            "apiVersion": "ipcontroller.ext/v1",
            "kind": "IpNode",
            "metadata": {"name": "n1.example.com"},
        }
    )
    found = doctor(lab)
    assert found["other software"] == ["warning: MetalLB is installed here"]
    assert found["node names"] == [
        "warning: controller n1.example.com has the name of no Kubernetes node; is it n1?"
    ]
    (misfit,) = found["figures"]
    assert misfit.startswith(f"error: {here}/extip: --monitor: '4' is not a duration")
    wrong = doctor(lab, "--iface=eth7", "--hostname=n1", node="n1")
    assert wrong["interface"] == ["error: there is no interface eth7"]


def test_an_account_without_rights(cluster, lab):
    lab.kubectl("create", "serviceaccount", "bare", f"--namespace={cluster.namespace}")
    where = lab.service_account_kubeconfig(cluster.namespace, "bare")
    command = [sys.executable, "-m", "extip", "doctor", f"--kubeconfig={where}"]
    told = lab.nodes["n1"].run([*command, "--role=scheduler"], check=False)
    assert told.returncode == 1
    assert "ERROR permissions: this account may not list ipclaims.ipcontroller.ext" in told.stdout
    assert "not checked: heartbeats: list leases: " in told.stdout
    assert told.stderr == ""


def test_a_second_owner_on_the_wire_is_found(cluster, lab):
    """The node that has the address, too, has no controller any more.

    A running one would name the address in its IpNode. The guard would then refuse the IP.
    """
    cluster.serve(IPS[0])
    holder = cluster.placed()[IPS[0]]
    other = next(name for name in lab.nodes if name != holder)
    cluster.controllers[other].process.kill()
    lab.nodes[other].run(["ip", "address", "add", f"{IPS[0]}/32", "dev", "eth0"])
    try:
        found = doctor(lab, "--iface=eth0", f"--hostname={holder}", node=holder)
        assert found["owners"] == [
            f"error: {IPS[0]} is up here, and node {other} answers for it, too"
        ]
    finally:
        lab.nodes[other].run(["ip", "address", "delete", f"{IPS[0]}/32", "dev", "eth0"])
