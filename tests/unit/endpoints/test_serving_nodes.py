"""Where a service is served, as both versions of EndpointSlice say it."""

import msgspec
import pytest

from extip.api.core_v1 import DetailedService
from extip.api.discovery_v1 import EndpointSlice
from extip.endpoints.policy.serving_nodes import keeps_local, nodes_by_service, serving_nodes

METADATA = {"namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}
ENDPOINTS: list[tuple[dict[str, bool], str]] = [
    ({"ready": True}, "n1"),
    ({"ready": False}, "n2"),
    ({}, "n3"),
    ({"ready": True}, ""),
]
V1 = [{"conditions": ready, "nodeName": node or None} for ready, node in ENDPOINTS]
V1BETA1 = [
    {"conditions": ready, "topology": {"kubernetes.io/hostname": node} if node else {}}
    for ready, node in ENDPOINTS
]


@pytest.mark.parametrize("found", [V1, V1BETA1], ids=["v1", "v1beta1"])
def test_nodes_with_ready_endpoints_serve(found):
    piece = msgspec.convert({"metadata": METADATA, "endpoints": found}, EndpointSlice)
    assert serving_nodes(piece) == ("shop/web", frozenset({"n1", "n3"}))


def test_slices_of_no_service_say_nothing():
    assert (
        serving_nodes(msgspec.convert({"metadata": {"namespace": "shop"}}, EndpointSlice)) is None
    )
    assert serving_nodes(EndpointSlice()) is None


def test_slices_of_one_service_add_up():
    pieces = [("a/b", frozenset({"n1"})), ("a/c", frozenset({"n2"})), ("a/b", frozenset({"n3"}))]
    assert nodes_by_service(pieces) == {"a/b": {"n1", "n3"}, "a/c": {"n2"}}


@pytest.mark.parametrize(("policy", "expected"), [("Local", True), ("Cluster", False), ("", False)])
def test_who_keeps_traffic_local(policy, expected):
    spec = {"externalTrafficPolicy": policy}
    assert keeps_local(msgspec.convert({"spec": spec}, DetailedService)) is expected
