"""The manifests on a real cluster: the API server takes them, and extip can live on what they give.

Nothing here runs containers. `in_pod` makes what matters of one: the ServiceAccount's files where
the kubelet mounts them, no capability but the manifest's, no way to gain one, and nothing writable.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.cluster import Lab
from tests.lab.network import external_v4, external_v6
from tests.lab.node import Node
from tests.lab.process import Process
from tests.lab.wait import wait_until
from tests.meta.manifests import KUSTOMIZATIONS, MANIFESTS, WORKLOADS, Workload, build, workloads

IPS = (external_v4(0), external_v6(0))
REFUSED, REASON = "10.88.255.255", "BroadcastAddress"  # of the nodes' own network
CAPABILITIES = {"NET_ADMIN": 12, "NET_RAW": 13}  # linux/capability.h
CONTAINER = """
for mount in / /run /tmp /var/tmp; do
  if mountpoint -q $mount; then mount -o remount,bind,ro $mount; fi
done
exec "$@"
"""


def apply(lab: Lab, manifests: Sequence[dict[str, Any]]) -> None:
    lab.apply(yaml.safe_dump_all(manifests))


def delete(lab: Lab, manifests: Sequence[dict[str, Any]]) -> None:
    """Delete objects and wait until they are gone, a namespace with all that is in it."""
    lab.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=yaml.safe_dump_all(manifests))


@pytest.fixture
def installed(lab: Lab) -> Iterator[Workload]:
    """Install all of simple mode but its workload, and return that."""
    (workload,) = workloads(MANIFESTS / "simple")
    permissions = [manifest for manifest in workload.beside if manifest["kind"] not in WORKLOADS]
    apply(lab, permissions)
    yield workload
    delete(lab, permissions)


@pytest.fixture
def node(lab: Lab) -> Iterator[Node]:
    """Pick a node, on which no ServiceAccount is left mounted."""
    node = lab.nodes["n1"]
    yield node
    node.run(["rm", "-rf", "/run/secrets"])


def in_pod(lab: Lab, node: Node, workload: Workload, *flags: str) -> Process:
    """Start the workload's container on a node, with flags added, as the kubelet would."""
    environment = lab.mount_service_account(node, workload.namespace, workload.service_account)
    added = [name.lower() for name in workload.container["securityContext"]["capabilities"]["add"]]
    only = ",".join(["-all", *(f"+{name}" for name in added)])
    confine = ["setpriv", f"--bounding-set={only}", f"--inh-caps={only}", "--no-new-privs"]
    argv = ["extip", workload.command, *workload.flags, *flags]
    return node.start(
        ["unshare", "--mount", "sh", "-ec", CONTAINER, "sh", *confine, *argv],
        env=environment,
        name="extip",
    )


def serves(node: Node, workload: Workload, probe: str) -> str:
    """Probe as the kubelet does; OSError while nothing listens."""
    action = workload.container[probe]["httpGet"]
    (port,) = (
        declared["containerPort"]
        for declared in workload.container["ports"]
        if declared["name"] == action["port"]
    )
    return node.http_get(action["host"], port, path=action["path"])


def wait_ready(node: Node, workload: Workload) -> None:
    wait_until(
        lambda: serves(node, workload, "readinessProbe") == "ok", "extip to be ready", poll_s=0.05
    )


def answers(node: Node) -> set[str]:
    """Return the HTTP codes that the API server has answered extip with."""
    text = node.http_get("127.0.0.1", 9188, path="/metrics")
    return set(re.findall(r'(?m)^extip_api_requests_total{.*code="(\d+)"', text))


def denied_nothing(node: Node) -> bool:
    """Tell whether all that extip asked for was granted."""
    codes = answers(node)
    return "200" in codes and not codes & {"401", "403"}


def is_up(node: Node, ip: str) -> bool:
    return ip in {str(address.ip) for address in node.addresses(node.interface)}


def refusals(lab: Lab, namespace: str) -> list[tuple[str, str, int]]:
    """Return service, reason and count of the Warnings in a namespace."""
    items = lab.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return [
        (item["involvedObject"]["name"], item["reason"], item["count"])
        for item in items
        if item["type"] == "Warning"
    ]


def _are_refusals(lab: Lab, namespace: str, expected: list[tuple[str, str, int]]) -> bool:
    return refusals(lab, namespace) == expected


def contains(whole: Any, part: Any) -> bool:
    """Tell whether all that `part` says is in `whole`; lists are compared entry by entry."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


@pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)
def test_the_api_server_takes_every_field_as_written(lab: Lab, folder: Path) -> None:
    manifests = build(folder)
    namespaces = [manifest for manifest in manifests if manifest["kind"] == "Namespace"]
    apply(lab, namespaces)  # a dry run does not make the one that the others are in
    try:
        answer = lab.kubectl_json(
            "apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(manifests)
        )
        answered = {(item["kind"], item["metadata"]["name"]): item for item in answer["items"]}
        for manifest in manifests:
            assert contains(answered[manifest["kind"], manifest["metadata"]["name"]], manifest)
    finally:
        delete(lab, namespaces)


def test_simple_mode_lives_on_what_its_pod_gets(
    lab: Lab, namespace: str, installed: Workload, node: Node
) -> None:
    lab.add_service("wanted", IPS, namespace=namespace)
    lab.add_service("unfit", [REFUSED], namespace=namespace)
    extip = in_pod(lab, node, installed)
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
    assert denied_nothing(node)

    assert extip.terminate() == 0
    assert not any(is_up(node, ip) for ip in IPS)
    levels = {json.loads(line)["level"] for line in extip.output().splitlines()}
    assert "error" not in levels, extip.output()


def test_a_known_event_may_be_counted_up(
    lab: Lab, namespace: str, installed: Workload, node: Node
) -> None:
    """Only the second start needs the verbs get and patch on Events."""
    lab.add_service("unfit", [REFUSED], namespace=namespace)
    for count in (1, 2):
        extip = in_pod(lab, node, installed)
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
    extip = in_pod(lab, node, installed)
    wait_until(lambda: "403" in answers(node), "a request to be denied")
    wait_until(lambda: is_up(node, IPS[0]), f"{IPS[0]} to be up all the same")
    assert "events" in extip.wait_for_output(".*event_not_written.*").group()
    assert extip.terminate() == 0
