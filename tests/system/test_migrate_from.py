"""`extip migrate from` on a real API server: its output is accepted, and services stay reachable.

The objects are shaped as MetalLB's; its programs do not run. The other programs' objects become the
same kinds, so that the API server accepts them as well.
"""

import json
import subprocess
import sys
import time
from functools import partial

import pytest
import yaml

from tests.lab.api import ApiStatusError
from tests.lab.errors import LabError
from tests.lab.wait import wait_until
from tests.system.pooled_cluster import LOAD_BALANCER
from tests.system.test_pools import AUTO, PREDECESSORS_POOL
from tests.unit.migrate.test_any_input import WHOLE
from tests.unit.migrate.test_kube_vip import config

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
KINDS = {"ipaddresspools": "IPAddressPool", "l2advertisements": "L2Advertisement"}
SEGMENT = "10.88.0.0/16"
APPLY = ("apply", "--server-side", "--field-manager=extip-migrate", "-f", "-")

ASKED, GIVEN = "10.88.7.213", "10.88.7.217"

METALLB = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: edge, namespace: kube-system}
spec:
  addresses: [10.88.7.208/29, 10.88.7.217-10.88.7.219]
  avoidBuggyIPs: true
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: edge, namespace: kube-system}
spec:
  ipAddressPools: [edge]
  interfaces: [eth0]
"""


def definition(plural, kind):
    """Return a definition that is as lenient as can be."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1beta1", "served": True, "storage": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.metallb.io"},
        "spec": {
            "group": "metallb.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
        },
    }


@pytest.fixture
def metallb(lab):
    """Make objects of MetalLB, which nothing acts on."""
    for plural, kind in KINDS.items():
        lab.apply(definition(plural, kind))

    def served():
        try:
            return [lab.api.get(f"/apis/metallb.io/v1beta1/{plural}") for plural in KINDS]
        except ApiStatusError:
            return None

    wait_until(served, "the kinds to be served")
    lab.apply(METALLB)
    yield
    for plural in KINDS:
        lab.api.discard(f"{DEFINITIONS}/{plural}.metallb.io")


@pytest.fixture
def cluster(pooled):
    """Return a cluster where extip's programs do not run yet."""
    return pooled


def migrate(lab, *args, stdin=""):
    kubeconfig = f"--kubeconfig={lab.outside_kubeconfig()}"
    command = [sys.executable, "-m", "extip", "migrate", "from", kubeconfig, *args]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, input=stdin
    )


def add_as_a_person(cluster, name, annotations, **spec):
    """Apply a service as kubectl does: then it knows which fields the manifest had."""
    metadata = {"name": name, "namespace": cluster.namespace, "annotations": annotations}
    ports = [{"port": 80, "targetPort": 8080}]
    cluster.lab.apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": {"app": "backend"}, "ports": ports, **LOAD_BALANCER, **spec},
        }
    )


def refused(cluster, name):
    """Whether a node found that another station has the address of a service."""
    return any(reason == "AddressInUse" for reason, _ in cluster.events(name))


def test_services_of_metallb_keep_their_addresses_and_answer(
    cluster, lab, metallb, record_property
):
    """One asks for its address by an annotation, the other one has what MetalLB gave to it."""
    add_as_a_person(cluster, "asked", {"metallb.universe.tf/loadBalancerIPs": ASKED})
    add_as_a_person(cluster, "given", {"metallb.io/address-pool": "edge"})
    shown = {"status": {"loadBalancer": {"ingress": [{"ip": GIVEN}]}}}
    cluster.merge("given", shown, subresource="status")
    before = cluster.service("asked")["spec"]

    told = migrate(lab, "metallb", f"--network={SEGMENT}")
    assert (told.returncode, "Traceback" in told.stderr) == (0, False), told.stderr
    assert "an --iface that has eth0" in told.stderr
    assert "controllers" not in told.stdout  # objects alone, so that it can be piped
    lab.kubectl(*APPLY, "--dry-run=server", stdin=told.stdout)
    assert lab.api.get("/apis/ipcontroller.ext/v1/ipclaimpools")["items"] == []
    lab.kubectl(*APPLY, stdin=told.stdout)
    after = cluster.service("asked")
    assert after["spec"] == before
    assert after["metadata"]["annotations"]["ipcontroller.ext/addresses"] == ASKED

    # While MetalLB's speakers still answer, extip's nodes ask, hear that, and wait.
    for ip in (ASKED, GIVEN):
        lab.client.run(["ip", "address", "add", f"{ip}/32", "dev", "eth0"])
    try:
        cluster.start()
        for name, ip in (("asked", ASKED), ("given", GIVEN)):
            wait_until(partial(refused, cluster, name), f"{ip} to be found in use")
            cluster.wait_ingress(name, ip)
        assert cluster.up() == {}
    finally:
        for ip in (ASKED, GIVEN):
            lab.client.run(["ip", "address", "del", f"{ip}/32", "dev", "eth0"])
    stopped = time.monotonic()
    cluster.wait_settled(ASKED, GIVEN)
    record_property("up after the speakers, s", f"{time.monotonic() - stopped:.1f}")
    cluster.wait_ingress("asked", ASKED)
    cluster.wait_ingress("given", GIVEN)
    for ip in (ASKED, GIVEN):
        assert lab.wait_for_http(ip) in lab.nodes
        (node,) = cluster.up()[ip]
        assert f"{ip}/16" in cluster.controllers[node].addresses()

    # Where controllers run, their nodes tell the segment; and what is there already stays.
    again = migrate(lab, "metallb", "--output=json")
    told = json.loads(again.stdout)
    assert again.returncode == 0
    assert [one["kind"] for one in told["objects"]] == ["IpClaimPool"]
    assert told["objects"][0]["spec"]["cidr"] == SEGMENT


def test_patches_of_services_are_refused_where_they_would_replace(cluster, lab, metallb):
    """As the head of the output says: nothing is lost where somebody forgets --server-side."""
    add_as_a_person(cluster, "asked", {"metallb.io/loadBalancerIPs": ASKED})
    before = cluster.service("asked")
    patches = [
        one
        for one in yaml.safe_load_all(migrate(lab, "metallb").stdout)
        if one["kind"] == "Service"
    ]
    with pytest.raises(LabError, match="ports"):
        lab.apply(patches[0])
    after = cluster.service("asked")
    assert after["metadata"]["annotations"] == before["metadata"]["annotations"]
    assert after["spec"] == before["spec"]


def test_a_cluster_without_the_program_has_nothing_to_carry_over(cluster, lab):
    add_as_a_person(cluster, "web", {})
    for program in ("metallb", "kube-vip", "cilium", "externalipcontroller"):
        told = migrate(lab, program)
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.count("\n") == 1
        assert "there is nothing of" in told.stderr


def test_a_config_map_in_the_cluster_becomes_pools_that_the_server_accepts(cluster, lab):
    data = {"cidr_global": "10.88.7.208/29,fd00:88::7:10/127", "range_lab": "10.1.0.1-10.1.0.2"}
    lab.apply(config(**data))
    try:
        told = migrate(lab, "kube-vip")
    finally:
        lab.kubectl("delete", "configmap", "kubevip", "-n", "kube-system")
    assert told.returncode == 0, told.stderr
    lab.kubectl(*APPLY, stdin=told.stdout)
    (pool,) = lab.api.get("/apis/ipcontroller.ext/v1/ipclaimpools")["items"]
    assert pool["metadata"]["name"] == "kubevip-global"


@pytest.mark.parametrize("program", WHOLE)
def test_what_is_made_of_each_program_is_accepted(cluster, lab, program):
    """Its services are not there, so their patches are left out."""
    manifests = yaml.safe_dump_all(WHOLE[program])
    told = migrate(lab, program, "-f", "-", stdin=manifests)
    objects = [one for one in yaml.safe_load_all(told.stdout) if one["kind"] != "Service"]
    assert objects
    lab.kubectl(*APPLY, "--dry-run=server", stdin=yaml.safe_dump_all(objects))


def test_the_predecessors_addresses_go_on_where_it_left_them(cluster, lab):
    """It has stopped, and its address is gone from n2, where its claim still has it."""
    ip, network = "192.168.16.250", "29"
    lab.apply(PREDECESSORS_POOL)
    lab.apply(
        {
            "apiVersion": "ipcontroller.ext/v1",
            "kind": "IpClaim",
            "metadata": {"name": f"192-168-16-250-{network}", "labels": {"ipnode": "n2"}},
            "spec": {"cidr": f"{ip}/{network}", "nodeName": "n2"},
        }
    )
    cluster.add("web", metadata=AUTO, externalIPs=[ip])
    told = migrate(lab, "externalipcontroller")
    assert told.returncode == 0, told.stderr
    lab.kubectl(*APPLY, stdin=told.stdout)
    cluster.start()
    cluster.wait_settled(ip)
    assert cluster.service("web")["spec"]["externalIPs"] == [ip]
    (claim,) = cluster.claims()
    assert claim["metadata"]["name"] == f"192-168-16-250-{network}"
    (holder,) = cluster.up()[ip]

    # It is no person's claim: it moves when its node dies, and goes with its service.
    cluster.controllers[holder].process.kill()
    wait_until(lambda: cluster.placed().get(ip) not in (holder, "", None), "the claim to move")
    lab.delete_service("web", namespace=cluster.namespace)
    wait_until(lambda: cluster.claims() == [], "the claim to go")
