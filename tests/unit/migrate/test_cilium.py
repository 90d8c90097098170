"""Cilium's pools, L2 policies and annotations → those of extip, and a line on all that differs."""

import pytest

from tests.unit.migrate.manifests import (
    addresses_of,
    annotations_of,
    converted,
    lost,
    notes,
    service,
    spec_of,
)


def pool(name="blue", version="v2", **spec):
    spec.setdefault("blocks", [{"start": "10.4.0.5", "stop": "10.4.0.6"}])
    return {
        "apiVersion": f"cilium.io/{version}",
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": name},
        "spec": spec,
    }


def policy(name="all", **spec):
    return {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumL2AnnouncementPolicy",
        "metadata": {"name": name},
        "spec": {"loadBalancerIPs": True, **spec},
    }


@pytest.mark.parametrize("version", ["v2", "v2alpha1"])
def test_blocks_become_networks_of_both_families(version):
    blocks = [
        {"cidr": "10.4.0.8/31"},
        {"start": "10.4.1.100", "stop": "10.4.1.102"},
        {"start": "1.2.3.4"},
        {"cidr": "fd00:4::8/127"},
    ]
    result = converted("cilium", pool(version=version, blocks=blocks), policy())
    assert set(addresses_of(result, "blue")) == {
        "10.4.0.8",
        "10.4.0.9",
        "10.4.1.100",
        "10.4.1.101",
        "10.4.1.102",
        "1.2.3.4",
        "fd00:4::8",
        "fd00:4::9",
    }
    assert result.complete


def test_the_older_name_of_blocks_is_read():
    given = pool(version="v2alpha1", blocks=[], cidrs=[{"cidr": "10.4.0.8/31"}])
    assert addresses_of(converted("cilium", given, policy()), "blue") == ["10.4.0.8", "10.4.0.9"]


@pytest.mark.parametrize(
    ("allowed", "first", "last"), [("No", 17, 30), ("Yes", 16, 31), (None, 16, 31)]
)
def test_the_ends_of_a_network_are_given_where_cilium_gives_them(allowed, first, last):
    field = {"allowFirstLastIPs": allowed} if allowed else {}
    given = pool(blocks=[{"cidr": "10.4.0.16/28"}], **field)
    for segments in ((), ("10.4.0.0/24",)):
        result = converted("cilium", given, policy(), segments=segments)
        assert sorted(addresses_of(result, "blue")) == sorted(
            f"10.4.0.{n}" for n in range(first, last + 1)
        )


def test_a_pool_that_is_disabled_is_closed():
    assert spec_of(converted("cilium", pool(disabled=True), policy()), "blue")["allocation"] == (
        "Closed"
    )


def test_keys_for_the_namespace_become_a_selector_of_namespaces():
    selector = {
        "matchLabels": {"io.kubernetes.service.namespace": "tenant-a"},
        "matchExpressions": [{"key": "color", "operator": "In", "values": ["blue", "cyan"]}],
    }
    result = converted("cilium", pool(serviceSelector=selector), policy())
    spec = spec_of(result, "blue")
    assert spec["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "tenant-a"}}
    assert spec["serviceSelector"] == {"matchExpressions": selector["matchExpressions"]}
    assert result.complete


def test_a_pool_for_services_of_a_name_is_not_opened_to_others():
    selector = {"matchLabels": {"io.kubernetes.service.name": "web"}}
    result = converted("cilium", pool(serviceSelector=selector), policy())
    spec = spec_of(result, "blue")
    assert "serviceSelector" not in spec
    assert spec["autoAssign"] is False
    (line,) = lost(result)
    assert "it selects services by their name" in line
    assert "ipcontroller.ext/pool: blue" in line


def test_a_policy_gives_pools_its_nodes_and_its_interface():
    nodes = {"matchExpressions": [{"key": "role", "operator": "DoesNotExist"}]}
    result = converted("cilium", pool(), policy(nodeSelector=nodes, interfaces=["^eth1$"]))
    spec = spec_of(result, "blue")
    assert spec["nodeSelector"] == nodes
    assert spec["link"] == "eth1"
    assert result.complete


def test_a_policy_for_some_services_counts_for_pools_for_the_same_services():
    red = {"matchLabels": {"color": "red"}}
    nodes = {"matchLabels": {"role": "edge"}}
    pools = pool("red", serviceSelector=red), pool("blue", blocks=[{"start": "10.4.9.9"}])
    result = converted("cilium", *pools, policy(serviceSelector=red, nodeSelector=nodes))
    assert spec_of(result, "red")["nodeSelector"] == nodes
    assert "nodeSelector" not in spec_of(result, "blue")
    assert any("blue: no CiliumL2AnnouncementPolicy was read" in line for line in notes(result))
    assert result.complete


def test_one_policy_for_all_nodes_counts_more_than_one_for_some():
    some = policy("some", nodeSelector={"matchLabels": {"role": "edge"}}, interfaces=["eth1"])
    spec = spec_of(converted("cilium", pool(), some, policy()), "blue")
    assert "nodeSelector" not in spec
    assert "link" not in spec


def test_a_policy_without_load_balancers_announces_no_pool():
    given = policy(loadBalancerIPs=False, externalIPs=True, interfaces=["eth1"])
    result = converted("cilium", pool(), given)
    assert "link" not in spec_of(result, "blue")
    assert any("it announces spec.externalIPs" in line for line in notes(result))


@pytest.mark.parametrize(
    ("ips", "key"),
    [
        ("lbipam.cilium.io/ips", "lbipam.cilium.io/sharing-key"),
        ("io.cilium/lb-ipam-ips", "io.cilium/lb-ipam-sharing-key"),
    ],
)
def test_annotations_become_those_of_extip(ips, key):
    web = service("web", annotations={ips: "10.4.0.5,10.4.0.6", key: "1234"})
    result = converted("cilium", pool(), policy(), web)
    assert annotations_of(result) == {
        "shop/web": {
            "ipcontroller.ext/addresses": "10.4.0.5,10.4.0.6",
            "ipcontroller.ext/sharing-key": "1234",
        }
    }


def test_sharing_across_namespaces_is_the_pools():
    across = {
        "lbipam.cilium.io/sharing-key": "k",
        "lbipam.cilium.io/sharing-cross-namespace": "*",
    }
    services = [service("web", name, annotations=across, ips=["10.4.0.5"]) for name in ("a", "b")]
    result = converted("cilium", pool(), policy(), *services)
    assert spec_of(result, "blue")["sharing"] == "Cluster"
    assert any("Service a/web, b/web, annotation" in line for line in notes(result))


@pytest.mark.parametrize(
    ("manifests", "line"),
    [
        (
            [pool(blocks=[{"cidr": "10.0.0.0/99"}, {"start": "10.4.0.5"}])],
            "CiliumLoadBalancerIPPool blue: '10.0.0.0/99' is no network",
        ),
        ([pool(blocks=[{}, {"start": "10.4.0.5"}])], "CiliumLoadBalancerIPPool blue: '' is no"),
        (
            [pool(), pool("empty", blocks=[])],
            "CiliumLoadBalancerIPPool empty: it has no addresses that can be read",
        ),
        (
            [pool(), policy("regex", interfaces=["^eth[0-9]+"])],
            "CiliumLoadBalancerIPPool blue: it is announced on the interfaces ^eth[0-9]+",
        ),
        (
            [pool(), policy("x", serviceSelector={"matchLabels": {"color": "red"}})],
            "CiliumL2AnnouncementPolicy x: it is for services with color=red",
        ),
        (
            [
                pool(),
                {"apiVersion": "cilium.io/v2", "kind": "CiliumBGPAdvertisement", "metadata": {}},
            ],
            "CiliumBGPAdvertisement without a name: extip speaks no BGP",
        ),
        ([pool(), pool("p", blocks="all")], "CiliumLoadBalancerIPPool p: it cannot be read:"),
        ([pool(nodeSelector={})], "CiliumLoadBalancerIPPool blue, spec.nodeSelector: this field"),
    ],
)
def test_what_cannot_be_carried_over_gets_one_line(manifests, line):
    every = [] if "L2" in str(manifests) else [policy()]
    result = converted("cilium", *manifests, *every)
    (told,) = lost(result)
    assert told.startswith(line)
    assert "10.4.0.5" in addresses_of(result, "blue")


def test_other_objects_mean_nothing():
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cilium-config"}}
    result = converted("cilium", pool(), policy(), other)
    assert result.complete
    assert any("ConfigMap cilium-config: it is nothing" in line for line in notes(result))
