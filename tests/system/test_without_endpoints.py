"""IPs whose services have no ready endpoint go down with `--without-endpoints withdraw`."""

import pytest

from extip.endpoints.readiness import SETTLE_S
from tests.lab.wait import wait_until
from tests.system.claims_cluster import IPS, ClaimsCluster

PODS_ON = ["n1"]
IP = IPS[0]


@pytest.fixture
def withdrawing(idle_cluster):
    idle_cluster.scheduler_flags += ("--without-endpoints=withdraw",)
    idle_cluster.start()
    return idle_cluster


def remove_pod(cluster: ClaimsCluster) -> None:
    cluster.lab.api.discard(f"/api/v1/namespaces/{cluster.namespace}/pods/backend-n1")


def add_pod(cluster: ClaimsCluster) -> None:
    cluster.lab.add_backends(cluster.namespace, PODS_ON)


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
    remove_pod(withdrawing)
    wait_until(lambda: withdrawing.up() == {}, "the IP to go")
    assert withdrawing.placed() == {IP: node}
    wait_until(
        lambda: up_condition(withdrawing) == ("False", "NoReadyEndpoint"), "the claim to say it"
    )
    wait_until(lambda: events(withdrawing), "an Event")
    assert all(message.startswith(f"{IP} is taken down") for message in events(withdrawing))
    add_pod(withdrawing)
    withdrawing.wait_settled(IP)
    assert withdrawing.placed() == {IP: node}
    withdrawing.lab.wait_for_http(IP)


def test_a_pod_that_is_replaced_takes_no_ip_down(withdrawing):
    withdrawing.serve(IP)
    before = withdrawing.address_changes()
    remove_pod(withdrawing)
    add_pod(withdrawing)
    withdrawing.lab.wait_for_http(IP)
    with withdrawing.lab.probe(IP) as probe:
        probe.wait_for_answer()
        wait_until(
            lambda: probe.answers[-1].ended_s > probe.answers[0].sent_s + SETTLE_S + 1, "time"
        )
    assert withdrawing.address_changes() == before
