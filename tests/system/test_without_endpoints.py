"""IPs whose services have no ready endpoint go down with `--without-endpoints withdraw`."""

import time
from collections.abc import Sequence

import pytest

from tests.lab.cluster import Lab
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS, ClaimsCluster
from tests.system.pooled_cluster import DUAL, LOAD_BALANCER, pool
from tests.system.test_simple_pools import extip_status

PODS_ON = ["n1", "n2"]
IP = IPS[0]
V4, V6 = "10.88.7.1", "fd00:88::7:1"


@pytest.fixture
def withdrawing(idle_cluster):
    idle_cluster.scheduler_flags += ("--without-endpoints=withdraw",)
    idle_cluster.start()
    return idle_cluster


def remove_pods(lab: Lab, namespace: str, *nodes: str) -> None:
    """Delete the pods of these nodes; returns when they are gone, and may be made again."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    names = {f"backend-{node}" for node in nodes}
    for name in names:
        lab.api.discard(f"{path}/{name}")
    wait_until(
        lambda: names.isdisjoint(p["metadata"]["name"] for p in lab.api.get(path)["items"]),
        f"{names} to go",
    )


def ready_pods(lab: Lab, namespace: str) -> int:
    found = lab.api.get(f"/api/v1/namespaces/{namespace}/endpoints/web")
    return sum(len(subset.get("addresses") or ()) for subset in found.get("subsets") or ())


def replace_pods(lab: Lab, namespace: str, nodes: Sequence[str]) -> None:
    """Delete and make the pods of these nodes, one after the other, as a rolling restart does."""
    for node in nodes:
        remove_pods(lab, namespace, node)
        wait_until(lambda: ready_pods(lab, namespace) == len(nodes) - 1, "a pod to go")
        lab.add_backends(namespace, [node])
        wait_until(lambda: ready_pods(lab, namespace) == len(nodes), "the pod to be back")


def up_condition(cluster: ClaimsCluster) -> tuple[str, str]:
    (claim,) = cluster.claims()
    found = [c for c in claim["status"]["conditions"] if c["type"] == "Up"]
    return (found[0]["status"], found[0]["reason"])


def told(ip: str) -> str:
    return (
        f"{ip} is down until an endpoint is ready: no service of it has one "
        "(--without-endpoints withdraw)"
    )


def events(lab: Lab, namespace: str) -> list[str]:
    items = lab.api.get(f"/api/v1/namespaces/{namespace}/events")["items"]
    return [event["message"] for event in items if event["reason"] == "NoReadyEndpoint"]


def test_an_ip_without_endpoints_goes_and_comes_back_to_its_node(withdrawing):
    lab, namespace = withdrawing.lab, withdrawing.namespace
    withdrawing.serve(IP)
    (node,) = withdrawing.up()[IP]
    remove_pods(lab, namespace, *PODS_ON)
    wait_until(lambda: withdrawing.up() == {}, "the IP to go")
    assert withdrawing.placed() == {IP: node}
    wait_until(
        lambda: up_condition(withdrawing) == ("False", "NoReadyEndpoint"), "the claim to say it"
    )
    wait_until(lambda: events(lab, namespace), "an Event")
    assert events(lab, namespace) == [told(IP)]
    lab.add_backends(namespace, PODS_ON)
    withdrawing.wait_settled(IP)
    assert withdrawing.placed() == {IP: node}
    lab.wait_for_http(IP)


def test_a_rolling_restart_takes_no_ip_down(withdrawing):
    withdrawing.serve(IP)
    before = withdrawing.address_changes()
    replace_pods(withdrawing.lab, withdrawing.namespace, PODS_ON)
    withdrawing.lab.wait_for_http(IP)
    assert withdrawing.address_changes() == before


@pytest.fixture
def load_balancer(pooled, lab):
    """Make a service that gets an address of each family."""
    lab.apply(pool("v4", "10.88.7.0/28"))
    lab.apply(pool("v6", "fd00:88::7:0/112"))
    pooled.add("web", **LOAD_BALANCER, **DUAL)


def test_simple_mode_takes_ips_without_endpoints_down_and_brings_them_back(
    load_balancer, lab, namespace, simple
):
    flags = ("--load-balancers", "--without-endpoints=withdraw")
    both = (f"{V4}/32", f"{V6}/128")
    extip = simple(*flags)
    extip.wait_for_addresses(*both)
    for ip in (V4, V6):
        assert lab.wait_for_http(ip) in PODS_ON
        assert lab.wait_for_http(ip, host=lab.far_client) in PODS_ON

    remove_pods(lab, namespace, *PODS_ON)
    extip.wait_for_addresses()
    wait_until(lambda: sorted(events(lab, namespace)) == [told(V4), told(V6)], "Events")
    status = extip_status(lab, "-n", namespace, check=False)
    assert status.count(" down ") == 2
    assert status.count("none of its services has a ready endpoint") == 2

    assert extip.process.terminate() == 0
    with lab.observe([V4, V6]) as observer:
        again = simple(*flags)
        again.wait_for_event("reconcile_succeeded")
        began_s = time.monotonic()
        wait_until(lambda: observer.questions(after_s=began_s) >= 100, "questions")
        assert [*observer.owners(V4), *observer.owners(V6)] == []
    assert again.addresses() == set()

    lab.add_backends(namespace, PODS_ON)
    again.wait_for_addresses(*both)
    for ip in (V4, V6):
        assert lab.wait_for_http(ip) in PODS_ON
        assert lab.wait_for_http(ip, host=lab.far_client) in PODS_ON
    wait_until(
        lambda: extip_status(lab, "-n", namespace, check=False).count(" given ") == 2,
        "the status to say so",
    )


def test_simple_mode_takes_no_ip_down_in_a_rolling_restart(load_balancer, lab, namespace, simple):
    both = (f"{V4}/32", f"{V6}/128")
    extip = simple("--load-balancers", "--without-endpoints=withdraw")
    extip.wait_for_addresses(*both)
    replace_pods(lab, namespace, PODS_ON)
    for ip in (V4, V6):
        lab.wait_for_http(ip)
    assert extip.addresses() == set(both)
    assert extip.events("address_withdrawn") == []
