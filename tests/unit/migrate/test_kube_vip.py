"""kube-vip's ConfigMap and annotations → pools and annotations, and a line on all that differs."""

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


def config(**data):
    """Return the ConfigMap of the cloud provider; ``_`` in keys stands for ``-``."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "kubevip", "namespace": "kube-system"},
        "data": {key.replace("_", "-"): value for key, value in data.items()},
    }


def namespaces(result, name):
    (part,) = spec_of(result, name)["namespaceSelector"]["matchExpressions"]
    assert part["key"] == "kubernetes.io/metadata.name"
    return part["operator"], part["values"]


def test_each_namespace_has_its_pool_and_the_others_have_the_global_one():
    data = {"cidr_global": "10.1.0.8/29", "cidr_lab": "10.2.0.4/31,10.2.0.9/32"}
    result = converted("kube-vip", config(**data))
    assert sorted(addresses_of(result, "kubevip-global")) == sorted(
        f"10.1.0.{n}" for n in range(8, 16)
    )
    assert addresses_of(result, "kubevip-lab") == ["10.2.0.4", "10.2.0.5", "10.2.0.9"]
    assert namespaces(result, "kubevip-lab") == ("In", ["lab"])
    assert namespaces(result, "kubevip-global") == ("NotIn", ["lab"])
    assert result.complete


def test_a_global_pool_alone_is_for_everybody():
    result = converted("kube-vip", config(range_global="10.1.0.5-10.1.0.7"))
    assert "namespaceSelector" not in spec_of(result, "kubevip-global")
    assert addresses_of(result, "kubevip-global") == ["10.1.0.5", "10.1.0.6", "10.1.0.7"]


def test_both_families_are_in_one_pool():
    result = converted("kube-vip", config(range_global="10.1.0.5-10.1.0.6,fd00::10-fd00::11"))
    assert addresses_of(result, "kubevip-global") == [
        "10.1.0.5",
        "10.1.0.6",
        "fd00::10",
        "fd00::11",
    ]


@pytest.mark.parametrize("hiding", ["cidr_lab", "cidr_global"])
def test_a_range_that_kube_vip_never_reads_is_left_out(hiding):
    result = converted("kube-vip", config(range_lab="10.9.0.1-10.9.0.2", **{hiding: "10.1.0.4/32"}))
    assert len(result.pools) == 1
    assert any("kube-vip never reads it" in line for line in notes(result))


def test_the_interface_of_a_namespace_counts_more_than_the_global_one():
    data = {"cidr_a": "10.1.0.1/32", "cidr_b": "10.2.0.1/32", "interface_b": "eth2"}
    result = converted("kube-vip", config(interface_global="eth1", **data))
    assert spec_of(result, "kubevip-a")["link"] == "eth1"
    assert spec_of(result, "kubevip-b")["link"] == "eth2"
    assert any("an --iface that has eth2" in line for line in notes(result))


def test_annotations_become_those_of_extip():
    web = service(
        "web",
        "lab",
        annotations={
            "kube-vip.io/loadbalancerIPs": "10.1.0.5,fd00::10",
            "kube-vip.io/serviceInterface": "eth1",
            "kube-vip.io/vipHost": "n1",
            "kube-vip.io/egress": "false",
        },
        loadBalancerIP="10.1.0.5",
    )
    pools = config(range_global="10.1.0.5-10.1.0.6,fd00::10-fd00::11")
    result = converted("kube-vip", pools, web)
    assert annotations_of(result) == {
        "lab/web": {
            "ipcontroller.ext/addresses": "10.1.0.5,fd00::10",
            "ipcontroller.ext/link": "eth1",
        }
    }
    assert result.complete


def test_namespaces_that_share_an_address_go_on():
    key = "kube-vip.io/loadbalancerIPs"
    services = [service("a", name, annotations={key: "10.1.0.5"}) for name in ("lab", "shop")]
    data = config(range_global="10.1.0.5-10.1.0.6", allow_share_global="true")
    result = converted("kube-vip", data, *services)
    assert spec_of(result, "kubevip-global")["sharing"] == "Cluster"
    (line,) = lost(result)
    assert "services of extip share an address only when they say so" in line


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"cidr_lab": "10.0.0.0/40"}, "cidr-lab: '10.0.0.0/40' is no network"),
        ({"cidr_lab": "0.0.0.0/32"}, "cidr-lab: 0.0.0.0 stands for DHCP"),
        ({"cidr_lab": " , "}, "cidr-lab: it has no addresses"),
        ({"range_lab": "10.0.0.9-10.0.0.1"}, "range-lab: '10.0.0.9-10.0.0.1' is reversed"),
        ({"cidr_LAB": "10.0.0.1/32"}, "cidr-LAB: 'LAB' cannot be the name of a namespace"),
        ({"search_order": "desc"}, "search-order: extip gives the smallest address first"),
        ({"interface_lab": "eth3"}, "interface-lab: namespace lab has no pool of its own"),
        (
            {"cidr_lab": "10.0.0.1/32", "interface_lab": "a name"},
            "cidr-lab: 'a name' is no name of an interface",
        ),
    ],
)
def test_what_cannot_be_carried_over_gets_one_line(data, line):
    result = converted("kube-vip", config(cidr_other="10.5.0.1/32", **data))
    (told,) = lost(result)
    assert told.startswith(f"ConfigMap kube-system/kubevip, {line}")
    assert addresses_of(result, "kubevip-other") == ["10.5.0.1"]


@pytest.mark.parametrize(
    ("annotation", "value", "why"),
    [
        ("loadbalancerIPs", "0.0.0.0", "0.0.0.0 stands for DHCP"),  # noqa: S104
        ("loadbalancerIPs", "nowhere", "'nowhere' is no IP address"),
        ("serviceInterface", "no/interface", "'no/interface' is no name of an interface"),
        ("ignore", "true", "extip knows no mark on a service that it is to leave alone"),
        ("egress", "true", "extip does not change the source address"),
        ("egress-ipv6", "true", "extip does not change the source address"),
        ("serviceVLAN", "200", "extip makes no interfaces"),
        ("forwardUPNP", "true", "extip opens no ports of routers"),
        ("brand-new", "1", "it is not known to extip migrate"),
    ],
)
def test_an_annotation_without_a_counterpart_gets_one_line(annotation, value, why):
    web = service("web", annotations={f"kube-vip.io/{annotation}": value})
    result = converted("kube-vip", config(cidr_global="10.5.0.1/32"), web)
    (told,) = lost(result)
    assert told.startswith(f"Service shop/web, annotation kube-vip.io/{annotation}: {why}")
    assert annotations_of(result) == {}


def test_other_config_maps_and_keys_mean_nothing():
    other = {**config(cidr_global="10.6.0.1/32"), "metadata": {"name": "other"}}
    data = {"cidr_global": "10.5.0.1/32", "skip_end_ips_in_cidr": "true", "colour": "red"}
    result = converted("kube-vip", other, config(**data), {"kind": "Pod", "metadata": {}})
    assert addresses_of(result, "kubevip-global") == ["10.5.0.1"]
    assert notes(result) == [
        "note: ConfigMap kube-system/kubevip, colour: it is no key of kube-vip's cloud provider",
        "note: Pod without a name: it is nothing that is carried over from kube-vip",
    ]


def test_of_two_config_maps_the_first_one_counts():
    other = {**config(cidr_global="10.6.0.1/32"), "metadata": {"name": "kubevip"}}
    result = converted("kube-vip", config(cidr_global="10.5.0.1/32"), other)
    assert addresses_of(result, "kubevip-global") == ["10.5.0.1"]
    assert lost(result)[0].startswith("ConfigMap kubevip: ConfigMap kube-system/kubevip counts")
