"""The manifests on a real cluster: the API server takes them, and extip can live on what they give.

Here is simple mode; `test_claims_manifests` has the other one.
"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.api import GROUP
from tests.lab.cluster import Lab
from tests.lab.network import external_v4, external_v6
from tests.lab.node import Node
from tests.lab.wait import wait_until
from tests.meta.manifests import MODES, Workload, build
from tests.system import pods
from tests.system.pods import answers, apply, delete, denied_nothing, serves
from tests.system.pooled_cluster import LOAD_BALANCER, SINGLE, pool

IPS = (external_v4(0), external_v6(0))
REFUSED, REASON = "10.88.255.255", "BroadcastAddress"  # of the nodes' own network
CAPABILITIES = {"NET_ADMIN": 12, "NET_RAW": 13}  # linux/capability.h
SINCE = {"PodDisruptionBudget": 21}
"""Minor version of the first server that has a kind in the version of its API that we use."""
CEL, CEL_SINCE = "x-kubernetes-validations", 25
"""Servers before leave it out of definitions."""


@pytest.fixture
def installed(lab: Lab) -> Iterator[Workload]:
    """Install all of simple mode but its workload, and return that."""
    with pods.installed(lab, "simple") as found:
        yield found["simple"]


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    """Pick a node, on which no ServiceAccount is left mounted."""
    node = lab.nodes["n1"]
    yield node
    node.run(["rm", "-rf", "/run/secrets"])


def wait_ready(node: Node, workload: Workload) -> None:
    wait_until(
        lambda: serves(node, workload, "readinessProbe") == "ok", "extip to be ready", poll_s=0.05
    )


def is_up(node: Node, ip: str) -> bool:
    return ip in {str(address.ip) for address in node.addresses(node.interface)}


def refusals(lab: Lab, namespace: str) -> list[tuple[str, str, int]]:
    """Return service, reason and count of the Warnings in a namespace."""
    items = lab.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return [
        (item["involvedObject"]["name"], item["reason"], item["count"])
        for item in items
        if item["type"] == "Warning"
        if item["source"].get("component") == "extip"  # others write some, too
    ]


def _are_refusals(lab: Lab, namespace: str, expected: list[tuple[str, str, int]]) -> bool:
    return refusals(lab, namespace) == expected


def missing(whole: Any, part: Any, path: str = "") -> list[str]:
    """Return the paths at which `whole` does not have what `part` says; lists entry by entry."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return [
            found
            for key, value in part.items()
            for found in missing(whole.get(key), value, f"{path}.{key}")
        ]
    if isinstance(part, list) and isinstance(whole, list) and len(whole) == len(part):
        pairs = zip(whole, part, strict=True)
        return [f for n, (w, p) in enumerate(pairs) for f in missing(w, p, f"{path}[{n}]")]
    zero_left_out = type(part) is int and part == 0 and whole is None
    return [] if whole == part or zero_left_out else [f"{path}: {part!r} became {whole!r}"]


def without(manifest: Any, key: str) -> Any:
    """Return the manifest without a key, wherever it is."""
    if isinstance(manifest, dict):
        return {name: without(value, key) for name, value in manifest.items() if name != key}
    if isinstance(manifest, list):
        return [without(value, key) for value in manifest]
    return manifest


def as_taken_by(version: str, manifests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a server of that version can take of manifests, as the comments there say."""
    minor = int(version.split(".")[1].rstrip("+"))
    taken = [m for m in manifests if minor >= SINCE.get(m["kind"], 0)]
    return taken if minor >= CEL_SINCE else [without(manifest, CEL) for manifest in taken]


@pytest.mark.parametrize("folder", MODES, ids=lambda folder: folder.name)
def test_the_api_server_takes_every_field_as_written(lab: Lab, folder: Path) -> None:
    manifests = build(folder)
    expected = as_taken_by(lab.server_version, manifests)
    kinds = {manifest["kind"] for manifest in expected}
    sent = [manifest for manifest in manifests if manifest["kind"] in kinds]
    namespaces = [manifest for manifest in manifests if manifest["kind"] == "Namespace"]
    apply(lab, namespaces)  # a dry run does not make the one that the others are in
    try:
        # The server is asked, and not kubectl: see the comment in claims/kustomization.yaml.
        command = ("apply", "--dry-run=server", "--validate=false", "-f", "-")
        answer = lab.kubectl_json(*command, stdin=yaml.safe_dump_all(sent))
        answered = {(item["kind"], item["metadata"]["name"]): item for item in answer["items"]}
        for manifest in expected:
            identity = manifest["kind"], manifest["metadata"]["name"]
            assert missing(answered[identity], manifest) == [], identity
    finally:
        delete(lab, namespaces)


def test_simple_mode_lives_on_what_its_pod_gets(
    lab: Lab, namespace: str, installed: Workload, node: Node
) -> None:
    lab.add_service("wanted", IPS, namespace=namespace)
    lab.add_service("unfit", [REFUSED], namespace=namespace)
    extip = pods.start(lab, node, installed)
    for ip in IPS:
        lab.wait_for_http(ip)
        assert is_up(node, ip)
    wait_ready(node, installed)
    assert serves(node, installed, "livenessProbe") == "ok"
    wait_until(lambda: refusals(lab, namespace), "an Event about the refused IP")
    assert refusals(lab, namespace) == [("unfit", REASON, 1)]

    status = Path(f"/proc/{extip.pid}/status").read_text()
    words = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(words["CapEff"], 16) == sum(1 << bit for bit in CAPABILITIES.values())
    assert words["NoNewPrivs"] == "1"
    assert words["Seccomp"] == "2"  # a filter
    assert denied_nothing(node)

    assert extip.terminate() == 0
    assert not any(is_up(node, ip) for ip in IPS)
    levels = {json.loads(line)["level"] for line in extip.lines().splitlines()}
    assert "error" not in levels, extip.output()


def test_addresses_of_others_stay_though_no_sysctl_can_be_written(
    lab: Lab, namespace: str, installed: Workload, node: Node
) -> None:
    """In a container /proc/sys is read-only; `promote_secondaries` is switched on all the same."""
    other = f"{external_v4(9)}/24"
    for scope in (node.interface, "all"):
        node.run(["sysctl", "-qw", f"net.ipv4.conf.{scope}.promote_secondaries=0"])
    lab.add_service("wanted", IPS[:1], namespace=namespace)
    extip = pods.start(lab, node, installed, "--mask=24")
    wait_until(lambda: is_up(node, IPS[0]), f"{IPS[0]} to be up, as the subnet's primary address")
    node.run(["ip", "address", "add", other, "dev", node.interface])
    try:
        assert extip.terminate() == 0
        assert not is_up(node, IPS[0])
        assert is_up(node, external_v4(9))
    finally:
        node.run(["ip", "address", "del", other, "dev", node.interface], check=False)
    assert "secondaries_promoted" in extip.output()


def test_a_known_event_may_be_counted_up(
    lab: Lab, namespace: str, installed: Workload, node: Node
) -> None:
    """Only the second start needs the verbs get and patch on Events."""
    lab.add_service("unfit", [REFUSED], namespace=namespace)
    for count in (1, 2):
        extip = pods.start(lab, node, installed)
        expected = [("unfit", REASON, count)]
        wait_until(partial(_are_refusals, lab, namespace, expected), f"{count} in the Event")
        wait_ready(node, installed)
        assert denied_nothing(node)
        assert extip.terminate() == 0


def test_a_namespace_selector_needs_no_more_permissions(
    lab: Lab, namespace: str, installed: Workload, node: Node
) -> None:
    """Here with a kubeconfig, as a person runs it, instead of the mounted files."""
    mine, other = external_v4(1), external_v4(2)
    lab.kubectl("label", "namespace", namespace, "edge=yes")
    lab.create_namespace(f"{namespace}-other")
    lab.add_service("mine", [mine], namespace=namespace)
    lab.add_service("other", [other], namespace=f"{namespace}-other")
    kubeconfig = lab.service_account_kubeconfig(installed.namespace, installed.service_account)
    extip = node.start(
        [
            *("extip", installed.command, *installed.flags),
            *("--kubeconfig", kubeconfig, "--namespace-selector", "edge=yes"),
        ]
    )
    wait_until(lambda: is_up(node, mine), f"{mine} to be up")
    wait_ready(node, installed)
    assert not is_up(node, other)
    assert denied_nothing(node)

    lab.kubectl("label", "namespace", f"{namespace}-other", "edge=yes")
    wait_until(lambda: is_up(node, other), f"{other} to be up once its namespace has the label")
    lab.kubectl("label", "namespace", namespace, "edge-")
    wait_until(lambda: not is_up(node, mine), f"{mine} to go once its namespace has no label")
    assert denied_nothing(node)
    assert extip.terminate() == 0


def test_a_permission_that_is_taken_away_is_missed(
    lab: Lab, namespace: str, installed: Workload, node: Node
) -> None:
    """What the other tests rely on: a request that RBAC denies is counted and told."""
    (role,) = (item for item in installed.beside if item["kind"] == "ClusterRole")
    rules = [rule for rule in role["rules"] if "events" not in rule["resources"]]
    assert len(rules) == len(role["rules"]) - 1
    apply(lab, [{**role, "rules": rules}])
    lab.add_service("wanted", IPS[:1], namespace=namespace)
    lab.add_service("unfit", [REFUSED], namespace=namespace)
    extip = pods.start(lab, node, installed)
    wait_until(lambda: "403" in answers(node), "a request to be denied")
    wait_until(lambda: is_up(node, IPS[0]), f"{IPS[0]} to be up all the same")
    assert "events" in extip.wait_for_output(".*event_not_written.*").group()
    assert extip.terminate() == 0


def test_simple_mode_gives_addresses_of_a_pool_with_the_rights_of_its_pod(
    lab: Lab, namespace: str, installed: Workload, node: Node
) -> None:
    lab.install_definitions()
    try:
        lab.apply(pool("v4", "10.88.7.0/28"))
        lab.add_service("web", namespace=namespace, spec={**SINGLE, **LOAD_BALANCER})
        pods.start(lab, node, installed, "--load-balancers")
        assert lab.wait_for_http("10.88.7.1") in lab.nodes
        path = f"{GROUP}/ipclaimpools/v4"
        allocated = {"10.88.7.1": f"{namespace}/web"}
        wait_until(
            lambda: lab.api.get(path).get("status", {}).get("allocated") == allocated,
            "the pool to tell of it",
        )
        assert denied_nothing(node)
    finally:
        lab.discard_claims()
