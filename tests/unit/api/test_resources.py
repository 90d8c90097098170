"""Paths and types are what the API server has."""

import msgspec
import pytest

from extip.api.core_v1 import Event, Namespace, Node, Service
from extip.api.meta_v1 import KubernetesObject
from extip.api.resources import EVENTS, NAMESPACES, NODES, SERVICES, Resource


@pytest.mark.parametrize(
    ("resource", "options", "path"),
    [
        (SERVICES, {}, "/api/v1/services"),
        (SERVICES, {"namespace": "ns"}, "/api/v1/namespaces/ns/services"),
        (
            SERVICES,
            {"namespace": "ns", "name": "a", "subresource": "status"},
            "/api/v1/namespaces/ns/services/a/status",
        ),
        (NODES, {"name": "n1"}, "/api/v1/nodes/n1"),
        (NODES, {"name": "n1", "namespace": "ignored"}, "/api/v1/nodes/n1"),
        (NAMESPACES, {}, "/api/v1/namespaces"),
        (EVENTS, {"namespace": "ns"}, "/api/v1/namespaces/ns/events"),
    ],
)
def test_paths_of_the_core_group(resource, options, path):
    assert resource.path(**options) == path


def test_paths_of_named_groups():
    claims = Resource(
        group="ipcontroller.ext",
        version="v1",
        plural="ipclaims",
        kind="IpClaim",
        namespaced=False,
        type=KubernetesObject,
    )
    assert claims.api_version == "ipcontroller.ext/v1"
    assert claims.path(name="a") == "/apis/ipcontroller.ext/v1/ipclaims/a"


@pytest.mark.parametrize("kind", [Service, Node, Namespace, Event])
def test_a_bookmark_decodes_as_any_kind(kind):
    body = b'{"kind":"X","metadata":{"resourceVersion":"7","creationTimestamp":null},"spec":{}}'
    assert msgspec.json.decode(body, type=kind).metadata.resource_version == "7"


def test_a_service_decodes_with_what_is_used():
    body = b"""{
      "metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "7",
                   "labels": null, "managedFields": [{"x": 1}]},
      "spec": {"type": "LoadBalancer", "externalIPs": ["10.0.0.1", "x"],
               "loadBalancerClass": "c", "ports": [{"port": 80}]},
      "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.2", "ipMode": "VIP"}]}}}"""
    service = msgspec.json.decode(body, type=Service)
    assert service.metadata.key == "b/a"
    assert service.spec.external_ips == ("10.0.0.1", "x")
    assert service.spec.load_balancer_class == "c"
    ingress = service.status.load_balancer.ingress
    assert ingress is not None
    assert [(i.ip, i.ip_mode) for i in ingress] == [("10.0.0.2", "VIP")]


def test_defaults_are_left_out_when_encoding():
    assert msgspec.json.encode(Event(reason="x")) == b'{"reason":"x"}'
