"""Services that are replaced, or held while they are deleted, keep their IPs where they are."""

import time
from collections.abc import Iterator

import pytest

from tests.lab.cluster import Lab
from tests.lab.network import external_v4
from tests.lab.wait import wait_until
from tests.system.claims_cluster import ClaimsCluster
from tests.system.guard_world import MODES, World

IP = external_v4(0)
FINALIZER = "example.org/hold"
LONGER_THAN_IT_LINGERS_S = 3.0


@pytest.fixture(params=MODES)
def world(request: pytest.FixtureRequest, lab: Lab, namespace: str) -> Iterator[World]:
    made = World(lab, request.param, namespace)
    yield made
    made.end()


def set_finalizers(lab: Lab, path: str, finalizers: list[str] | None) -> None:
    patch = {"metadata": {"finalizers": finalizers}}
    lab.api.request("PATCH", path, patch, content_type="application/merge-patch+json")


def test_an_ip_stays_up_while_its_service_is_replaced_or_held(world: World) -> None:
    lab, path = world.lab, f"/api/v1/namespaces/{world.namespace}/services/web"
    world.start()
    world.add("web", IP)
    world.wait_up(IP)
    lab.wait_for_http(IP)
    before = lab.api.get(path)["metadata"]["uid"]
    lab.delete_service("web", namespace=world.namespace)
    world.add("web", IP)
    assert lab.api.get(path)["metadata"]["uid"] != before
    set_finalizers(lab, path, [FINALIZER])
    time.sleep(LONGER_THAN_IT_LINGERS_S)
    lab.delete_service("web", namespace=world.namespace)
    time.sleep(LONGER_THAN_IT_LINGERS_S)
    assert lab.api.get(path)["metadata"]["deletionTimestamp"]
    assert world.up() == {IP}
    assert lab.client.http_get(IP)
    assert world.changes("address_deleted") == []
    set_finalizers(lab, path, None)
    world.wait_up()


def test_a_pool_gives_a_replaced_service_the_same_address(cluster: ClaimsCluster) -> None:
    lab, path = cluster.lab, f"/api/v1/namespaces/{cluster.namespace}/services/web"
    spec = {"type": "LoadBalancer", "ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
    lab.apply(
        {
            "apiVersion": "ipcontroller.ext/v1",
            "kind": "IpClaimPool",
            "metadata": {"name": "p"},
            "spec": {"cidr": "10.88.7.0/28"},
        }
    )

    def given() -> list[str]:
        ways = lab.api.get(path)["status"]["loadBalancer"].get("ingress", [])
        return [way["ip"] for way in ways]

    lab.add_service("web", namespace=cluster.namespace, spec=spec)
    wait_until(lambda: given() == ["10.88.7.1"], "an address")
    cluster.wait_settled("10.88.7.1")
    (claim,) = cluster.claims()
    lab.delete_service("web", namespace=cluster.namespace)
    lab.add_service("web", namespace=cluster.namespace, spec=spec)
    wait_until(lambda: given() == ["10.88.7.1"], "the same address")
    time.sleep(LONGER_THAN_IT_LINGERS_S)
    (now,) = cluster.claims()
    assert now["metadata"]["uid"] == claim["metadata"]["uid"]
    assert now["spec"]["nodeName"] == claim["spec"]["nodeName"]
    uid = lab.api.get(path)["metadata"]["uid"]
    assert [one["uid"] for one in now["spec"]["services"]] == [uid]
    assert not [change for change in cluster.address_changes() if "address_deleted" in change]
