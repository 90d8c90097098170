"""The definitions on a real server: made when missing, kept to, and open to old manifests."""

import json
import subprocess
import sys

EXTIP = [sys.executable, "-m", "extip"]

POOL = """
apiVersion: ipcontroller.ext/v1
kind: IpClaimPool
metadata:
  name: test-pool
spec:
  cidr: 192.168.16.248/29
  ranges:
  - ['192.168.16.250', '192.168.16.252']
"""

POOL_OF_NETWORKS = """
apiVersion: ipcontroller.ext/v1
kind: IpClaimPool
metadata:
  name: test-networks
spec:
  networks:
  - cidr: 10.1.0.0/24
  - cidr: fd00::/64
"""

CLAIM = """
apiVersion: ipcontroller.ext/v1
kind: IpClaim
metadata:
  name: testclaim
  labels:
    ipnode: node-1
spec:
  cidr: 10.10.0.2/24
  nodeName: node-1
"""


NO_CIDR = ("fakeclaim", "10.0.0.1", "10.0.0.256/24", "10.0.0.1/33", "fd00::1:/64", "::1/129", "1/2")


def extip(lab, *args):
    return subprocess.run(
        [*EXTIP, "crds", *args, "--kubeconfig", lab.outside_kubeconfig()],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def dry_run(lab, kind, **spec):
    """Return what the server says of an object, without keeping it."""
    manifest = {
        "apiVersion": "ipcontroller.ext/v1",
        "kind": kind,
        "metadata": {"name": "test"},
        "spec": spec,
    }
    command = [
        str(lab.binaries.kubectl),
        f"--kubeconfig={lab.outside_kubeconfig()}",
        *("create", "--dry-run=server", "-f", "-"),
    ]
    found = subprocess.run(
        command,
        input=json.dumps(manifest),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return found.stdout + found.stderr


def preferring(weight):
    term = {"weight": weight, "selector": {"matchLabels": {"rack": "a"}}}
    return {"cidr": "10.0.0.0/24", "preferredNodes": [term]}


def test_definitions_are_applied_old_manifests_fit_and_malformed_ones_do_not(private_lab):
    lab = private_lab(nodes=1)
    applied = extip(lab, "--apply")
    assert applied.returncode == 0, applied.stderr
    assert applied.stdout.count(" created\n") == 3
    again = extip(lab, "--apply")
    assert again.stdout.count(" unchanged\n") == 3

    for name in ("ipclaims", "ipnodes", "ipclaimpools"):
        definition = lab.kubectl_json("get", "crd", f"{name}.ipcontroller.ext")
        conditions = {c["type"]: c["status"] for c in definition["status"]["conditions"]}
        assert conditions["Established"] == "True"
        assert "NonStructuralSchema" not in conditions

    lab.apply(POOL)
    lab.apply(CLAIM)
    pool = lab.kubectl_json("get", "ipp", "test-pool")
    assert pool["spec"]["ranges"] == [["192.168.16.250", "192.168.16.252"]]
    assert pool["spec"]["autoAssign"] is True
    lab.apply(POOL_OF_NETWORKS)
    rows = lab.kubectl("get", "ipp", "--no-headers").splitlines()
    assert [row.split()[:2] for row in rows] == [
        ["test-networks", "10.1.0.0/24"],
        ["test-pool", "192.168.16.248/29"],
    ]
    claim = lab.kubectl_json("get", "ipc", "testclaim")
    assert claim["spec"] == {"cidr": "10.10.0.2/24", "nodeName": "node-1"}
    header, row = lab.kubectl("get", "ipc").splitlines()
    assert header.split() == ["NAME", "IP", "NODE", "UP", "REASON", "SINCE", "SERVICE", "AGE"]
    assert row.split()[:3] == ["testclaim", "10.10.0.2/24", "node-1"]
    assert "testclaim" in lab.kubectl("get", "extip")

    for kind, spec, complaint in (
        *(("IpClaim", {"cidr": text}, f'must be of type cidr: "{text}"') for text in NO_CIDR),
        ("IpClaim", {"nodeName": "n1"}, "cidr"),
        ("IpClaim", {"cidr": "10.0.0.1/24", "nodeName": "Node_1"}, "spec.nodeName"),
        ("IpClaim", {"cidr": "10.0.0.1/24", "link": "a-name-that-is-too-long"}, "spec.link"),
        ("IpClaimPool", {"cidr": "10.0.0.0/24", "ranges": [["10.0.0.1"]]}, "spec.ranges"),
        ("IpClaimPool", {"cidr": "10.0.0.0/24", "ranges": [["10.0.0.1", "x"]]}, "spec.ranges"),
        ("IpClaimPool", {"cidr": "10.0.0.0/24", "rebalance": "Often"}, "spec.rebalance"),
        ("IpClaimPool", preferring(weight=0), "weight"),
        ("IpClaimPool", {"cidr": "10.0.0.0/24", "allocation": "Shut"}, "spec.allocation"),
    ):
        said = dry_run(lab, kind, **spec)
        assert complaint in said, (spec, said)
        assert "created" not in said, spec
    for kind, accepted in (
        ("IpClaim", {"cidr": "fd00::1/128", "nodeName": "node.example", "link": "eth1"}),
        ("IpNode", {}),
        ("IpNode", {"draining": True}),
        ("IpClaimPool", preferring(weight=100)),
    ):
        assert "created" in dry_run(lab, kind, **accepted), accepted


def test_without_permission_one_line_says_what_is_missing(lab):
    lab.kubectl("create", "serviceaccount", "test-bare")
    node = next(iter(lab.nodes.values()))
    kubeconfig = lab.service_account_kubeconfig("default", "test-bare")
    refused = node.run([*EXTIP, "crds", "--apply", "--kubeconfig", str(kubeconfig)], check=False)
    assert refused.returncode == 5
    (line,) = refused.stderr.splitlines()
    assert "RBAC does not allow it" in line
    assert "customresourcedefinitions" in line


def test_kubectl_applies_a_folder_for_this_server_without_a_warning(private_lab, tmp_path):
    """With kubectl's own check, on definitions that `extip crds --apply` has made before."""
    lab = private_lab(nodes=1)
    assert extip(lab, "--apply").returncode == 0
    version = lab.server_version.removeprefix("v").rpartition(".")[0]
    folder = tmp_path / "mine"
    options = ("--image=extip", "--iface=eth0", f"--kubernetes={version}")
    subprocess.run([*EXTIP, "manifests", "claims", str(folder), *options], check=True, timeout=60)
    namespace = folder / "claims" / "namespace.yaml"
    for what in (("-f", namespace), ("-k", folder)):
        said = kubectl(lab, "apply", *what)
        assert (said.returncode, said.stderr) == (0, "")
    again = kubectl(lab, "apply", "-k", folder)
    assert (again.returncode, again.stderr) == (0, "")
    assert "poddisruptionbudget.policy/extip-scheduler unchanged" in again.stdout
    assert kubectl(lab, "delete", "-k", folder).returncode == 0


def kubectl(lab, *arguments):
    command = [lab.binaries.kubectl, f"--kubeconfig={lab.outside_kubeconfig()}", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
