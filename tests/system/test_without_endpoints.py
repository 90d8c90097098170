"""IPs whose services have no ready endpoint go down with `--without-endpoints withdraw`."""

import pytest

from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS, ClaimsCluster

PODS_ON = ["n1", "n2"]
IP = IPS[0]


@pytest.fixture
def withdrawing(idle_cluster):
    idle_cluster.scheduler_flags += ("--without-endpoints=withdraw",)
    idle_cluster.start()
    return idle_cluster


def remove_pods(cluster: ClaimsCluster, *nodes: str) -> None:
    """Delete the pods of these nodes; returns when they are gone, and may be made again."""
    path = f"/api/v1/namespaces/{cluster.namespace}/pods"
    names = {f"backend-{node}" for node in nodes}
    for name in names:
        cluster.lab.api.discard(f"{path}/{name}")
    wait_until(
        lambda: names.isdisjoint(p["metadata"]["name"] for p in cluster.lab.api.get(path)["items"]),
        f"{names} to go",
    )


def add_pods(cluster: ClaimsCluster, *nodes: str) -> None:
    cluster.lab.add_backends(cluster.namespace, nodes)


def ready_pods(cluster: ClaimsCluster) -> int:
    found = cluster.lab.api.get(f"/api/v1/namespaces/{cluster.namespace}/endpoints/web")
    return sum(len(subset.get("addresses") or ()) for subset in found.get("subsets") or ())


def up_condition(cluster: ClaimsCluster) -> tuple[str, str]:
    (claim,) = cluster.claims()
    found = [c for c in claim["status"]["conditions"] if c["type"] == "Up"]
    return (found[0]["status"], found[0]["reason"])


def events(cluster: ClaimsCluster) -> list[str]:
    items = cluster.lab.api.get(f"/api/v1/namespaces/{cluster.namespace}/events")["items"]
    return [event["message"] for event in items if event["reason"] == "NoReadyEndpoint"]


def test_an_ip_without_endpoints_goes_and_comes_back_to_its_node(withdrawing):
    withdrawing.serve(IP)
    (node,) = withdrawing.up()[IP]
    remove_pods(withdrawing, *PODS_ON)
    wait_until(lambda: withdrawing.up() == {}, "the IP to go")
    assert withdrawing.placed() == {IP: node}
    wait_until(
        lambda: up_condition(withdrawing) == ("False", "NoReadyEndpoint"), "the claim to say it"
    )
    wait_until(lambda: events(withdrawing), "an Event")
    assert all(message.startswith(f"{IP} is taken down") for message in events(withdrawing))
    add_pods(withdrawing, *PODS_ON)
    withdrawing.wait_settled(IP)
    assert withdrawing.placed() == {IP: node}
    withdrawing.lab.wait_for_http(IP)


def test_a_rolling_restart_takes_no_ip_down(withdrawing):
    withdrawing.serve(IP)
    before = withdrawing.address_changes()
    for node in PODS_ON:
        remove_pods(withdrawing, node)
        wait_until(lambda: ready_pods(withdrawing) == len(PODS_ON) - 1, "a pod to go")
        add_pods(withdrawing, node)
        wait_until(lambda: ready_pods(withdrawing) == len(PODS_ON), "the pod to be back")
    withdrawing.lab.wait_for_http(IP)
    assert withdrawing.address_changes() == before
