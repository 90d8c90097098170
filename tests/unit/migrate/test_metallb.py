"""Objects of MetalLB → pools and annotations that do the same, and a line on all that differs."""

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

LAYER2 = """
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: everything, namespace: metallb-system}
"""
EDGE = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: edge, namespace: metallb-system, labels: {zone: dmz}}
spec:
  addresses: [10.20.30.64/28]
"""


def pool(name, *addresses, labels=None, **spec):
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": name, "namespace": "metallb-system", "labels": labels or {}},
        "spec": {"addresses": list(addresses) or ["10.20.30.64/28"], **spec},
    }


def advertisement(name="adv", kind="L2Advertisement", **spec):
    return {
        "apiVersion": "metallb.io/v1beta1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "metallb-system"},
        "spec": spec,
    }


def test_a_pool_that_is_announced_becomes_a_pool_of_the_same_name():
    result = converted("metallb", f"{EDGE}---{LAYER2}", segments=["10.20.30.0/24"])
    assert result.manifests() == [
        {
            "apiVersion": "ipcontroller.ext/v1",
            "kind": "IpClaimPool",
            "metadata": {"name": "edge"},
            "spec": {"cidr": "10.20.30.0/24", "ranges": [["10.20.30.64", "10.20.30.79"]]},
        }
    ]
    assert result.remarks == []
    assert result.complete


def test_the_fields_of_a_pool_have_their_counterparts():
    result = converted("metallb", pool("p", autoAssign=False, avoidBuggyIPs=True), LAYER2)
    spec = spec_of(result, "p")
    assert spec["autoAssign"] is False
    assert spec["avoidNetworkAddresses"] is True
    assert result.complete


def test_the_priority_is_turned_round_and_pools_for_some_services_come_before_others():
    """MetalLB uses the smallest number first, then those without one, then pools for everybody."""
    allocations = {"first": {"priority": 1}, "second": {"priority": 50}, "third": {}}
    pools = [pool(name, serviceAllocation=spec) for name, spec in allocations.items()]
    result = converted("metallb", pool("last"), *reversed(pools), LAYER2)
    found = {one.metadata.name: one.spec.priority for one in result.pools}
    assert sorted(found, key=lambda name: -found[name]) == ["first", "second", "third", "last"]
    assert len({*found.values()}) == 4


def test_namespaces_become_a_selector_of_their_names():
    allocation = {"namespaces": ["shop", "lab"], "serviceSelectors": [{"matchLabels": {"a": "b"}}]}
    spec = spec_of(converted("metallb", pool("p", serviceAllocation=allocation), LAYER2), "p")
    assert spec["namespaceSelector"] == {
        "matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["lab", "shop"]}
        ]
    }
    assert spec["serviceSelector"] == {"matchLabels": {"a": "b"}}


def test_namespaces_by_name_or_by_label_get_a_label_of_their_own():
    allocation = {"namespaces": ["shop"], "namespaceSelectors": [{"matchLabels": {"team": "x"}}]}
    result = converted("metallb", pool("p", serviceAllocation=allocation), LAYER2)
    assert spec_of(result, "p")["namespaceSelector"] == {
        "matchLabels": {"pool.ipcontroller.ext/p": "true"}
    }
    (line,) = lost(result)
    assert "kubectl label namespaces -l 'team=x' pool.ipcontroller.ext/p=true" in line
    assert "-l 'kubernetes.io/metadata.name=shop'" in line


def test_an_advertisement_gives_its_pools_nodes_preferences_and_interface():
    given = advertisement(
        ipAddressPools=["p"],
        nodeSelectors=[
            {"matchLabels": {"kubernetes.io/hostname": "n1"}},
            {"matchLabels": {"kubernetes.io/hostname": "n2"}},
        ],
        preferredNodeSelectors=[
            {"weight": 80, "preference": {"matchLabels": {"rack": "a"}}},
        ],
        interfaces=["eth1"],
    )
    result = converted("metallb", pool("p"), pool("q"), given)
    spec = spec_of(result, "p")
    assert spec["nodeSelector"] == {
        "matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1", "n2"]}
        ]
    }
    assert spec["preferredNodes"] == [{"weight": 80, "selector": {"matchLabels": {"rack": "a"}}}]
    assert spec["link"] == "eth1"
    assert any("an --iface that has eth1" in line for line in notes(result))
    # The other pool is announced nowhere, and extip would announce it.
    assert [one.metadata.name for one in result.pools] == ["p"]
    assert any("IPAddressPool metallb-system/q: no advertisement" in one for one in lost(result))


def test_one_advertisement_from_all_nodes_counts_more_than_one_from_some():
    some = advertisement(nodeSelectors=[{"matchLabels": {"a": "b"}}], interfaces=["eth1"])
    spec = spec_of(converted("metallb", pool("p"), some, advertisement("every")), "p")
    assert "nodeSelector" not in spec
    assert "link" not in spec


def test_nodes_that_one_selector_cannot_say_get_a_label_of_their_own():
    given = advertisement(
        nodeSelectors=[{"matchLabels": {"edge": ""}}, {"matchLabels": {"role": "gateway"}}]
    )
    result = converted("metallb", pool("p"), given)
    assert spec_of(result, "p")["nodeSelector"] == {
        "matchLabels": {"pool.ipcontroller.ext/p": "true"}
    }
    (line,) = lost(result)
    assert "kubectl label nodes -l 'role=gateway' pool.ipcontroller.ext/p=true" in line


def test_pools_are_selected_by_their_labels():
    dmz = advertisement(ipAddressPoolSelectors=[{"matchLabels": {"zone": "dmz"}}])
    result = converted("metallb", pool("in", labels={"zone": "dmz"}), pool("out"), dmz)
    assert [one.metadata.name for one in result.pools] == ["in"]


def test_without_any_advertisement_in_a_file_pools_are_taken_and_it_is_told():
    result = converted("metallb", EDGE)
    assert [one.metadata.name for one in result.pools] == ["edge"]
    assert result.complete
    assert any("no advertisement was read" in line for line in notes(result))


def test_a_pool_of_bgp_alone_is_left_out():
    bgp = advertisement("uplink", "BGPAdvertisement", ipAddressPools=["p"], localPref=100)
    result = converted("metallb", pool("p"), bgp)
    assert result.pools == []
    (line,) = lost(result)
    assert "exported by BGP alone, and left out here (BGPAdvertisement uplink)" in line
    assert "docs/ecmp.md" in line


def test_a_pool_of_both_is_taken_and_the_bgp_is_told():
    bgp = advertisement("uplink", "BGPAdvertisement")
    result = converted("metallb", pool("p"), LAYER2, bgp)
    assert [one.metadata.name for one in result.pools] == ["p"]
    assert "it is also exported (BGPAdvertisement uplink)" in lost(result)[0]


@pytest.mark.parametrize("kind", ["BGPPeer", "BFDProfile", "Community"])
def test_each_other_object_of_bgp_gets_a_line(kind):
    result = converted("metallb", EDGE, LAYER2, advertisement("one", kind))
    (line,) = lost(result)
    assert line.startswith(f"{kind} metallb-system/one: extip speaks no BGP")


@pytest.mark.parametrize("prefix", ["metallb.io", "metallb.universe.tf"])
def test_annotations_become_those_of_extip(prefix):
    web = service(
        "web",
        annotations={
            f"{prefix}/address-pool": "edge",
            f"{prefix}/loadBalancerIPs": "10.20.30.65, 10.20.30.66",
            f"{prefix}/allow-shared-ip": "front",
            f"{prefix}/ip-allocated-from-pool": "edge",
        },
    )
    result = converted("metallb", EDGE, LAYER2, web, service("plain"))
    assert annotations_of(result) == {
        "shop/web": {
            "ipcontroller.ext/pool": "edge",
            "ipcontroller.ext/addresses": "10.20.30.65,10.20.30.66",
            "ipcontroller.ext/sharing-key": "front",
        }
    }
    assert result.complete


def test_the_annotation_that_is_not_deprecated_counts_more():
    both = {
        "metallb.universe.tf/loadBalancerIPs": "10.20.30.66",
        "metallb.io/loadBalancerIPs": "10.20.30.65",
    }
    result = converted("metallb", EDGE, LAYER2, service("web", annotations=both))
    assert annotations_of(result)["shop/web"] == {"ipcontroller.ext/addresses": "10.20.30.65"}


def test_a_service_asks_by_name_for_the_address_that_it_has():
    """Otherwise it gets another one, as soon as extip hears MetalLB answer for this one."""
    by_pool = {"metallb.io/address-pool": "edge"}
    names = {"metallb.io/loadBalancerIPs": "10.20.30.65"}
    services = [
        service("plain", ips=["10.20.30.67"]),
        service("pool", annotations=by_pool, ips=["10.20.30.66"]),
        service("pool", annotations=by_pool, ips=["10.20.30.66"]),
        service("named", annotations=names, ips=["10.20.30.68"]),
        service("field", ips=["10.20.30.69"], loadBalancerIP="10.20.30.69"),
        service("own", annotations={"ipcontroller.ext/addresses": "10.20.30.70"}),
        service("fresh"),
    ]
    result = converted("metallb", EDGE, LAYER2, *services)
    addresses = "ipcontroller.ext/addresses"
    assert annotations_of(result) == {
        "shop/plain": {addresses: "10.20.30.67"},
        "shop/pool": {"ipcontroller.ext/pool": "edge", addresses: "10.20.30.66"},
        "shop/named": {addresses: "10.20.30.65"},
    }
    assert any("Service shop/plain, shop/pool: it asks by name" in line for line in notes(result))


def test_a_service_whose_address_is_of_no_pool_does_not_ask_for_it():
    result = converted("metallb", EDGE, LAYER2, service("web", ips=["10.20.30.67", "10.99.0.1"]))
    assert annotations_of(result) == {}


def test_an_annotation_of_extip_that_is_there_stays():
    own = {"ipcontroller.ext/addresses": "10.20.30.70", "metallb.io/loadBalancerIPs": "10.20.30.65"}
    result = converted("metallb", EDGE, LAYER2, service("web", annotations=own))
    assert annotations_of(result) == {}
    assert any("10.20.30.70 already, and keeps it" in line for line in notes(result))


def test_an_annotation_on_a_service_that_is_no_load_balancer_means_nothing():
    inner = service("web", annotations={"metallb.io/address-pool": "edge"}, type="ClusterIP")
    assert annotations_of(converted("metallb", EDGE, LAYER2, inner)) == {}


def test_an_annotation_that_cannot_be_read_is_told():
    web = service("web", annotations={"metallb.io/loadBalancerIPs": "10.20.30.65,web.example"})
    result = converted("metallb", EDGE, LAYER2, web)
    assert annotations_of(result) == {}
    (line,) = lost(result)
    assert line.startswith(
        "Service shop/web, annotation metallb.io/loadBalancerIPs: 'web.example' is no IP address"
    )


def test_a_pool_that_is_not_there_is_told():
    web = service("web", annotations={"metallb.io/address-pool": "gone"})
    result = converted("metallb", EDGE, LAYER2, web)
    assert annotations_of(result) == {}
    assert "there is no pool gone among those printed here" in lost(result)[0]


def test_a_service_whose_address_is_of_no_pool_is_told():
    result = converted("metallb", EDGE, LAYER2, service("web", ips=["10.99.0.1"]))
    (line,) = lost(result)
    assert line.startswith("Service shop/web: its address 10.99.0.1 is of no pool printed here")


def test_a_pool_whose_address_namespaces_share_lets_them():
    """MetalLB's sharing keys know no namespaces."""
    key = {"metallb.io/allow-shared-ip": "front"}
    web = service("web", "shop", annotations=key, ips=["10.20.30.65"])
    dns = service("dns", "infra", annotations=key, ips=["10.20.30.65"])
    result = converted("metallb", EDGE, pool("other", "10.20.31.1/32"), LAYER2, web, dns)
    assert spec_of(result, "edge")["sharing"] == "Cluster"
    assert "sharing" not in spec_of(result, "other")
    assert any("infra/dns, shop/web" in line for line in notes(result))
    alone = converted("metallb", EDGE, LAYER2, web, service("b", annotations=key))
    assert "sharing" not in spec_of(alone, "edge")


def test_a_class_is_told_since_it_cannot_be_changed():
    result = converted("metallb", EDGE, LAYER2, service("web", loadBalancerClass="example.org/lb"))
    assert result.complete
    assert any("--lb-class example.org/lb" in line for line in notes(result))


@pytest.mark.parametrize(
    ("manifest", "line"),
    [
        (
            pool("p", "10.0.0.0/33", "10.0.0.1/32"),
            "IPAddressPool metallb-system/p: '10.0.0.0/33' is no network",
        ),
        (
            pool("p", "10.0.0.9-10.0.0.1", "10.0.0.1/32"),
            "IPAddressPool metallb-system/p: '10.0.0.9-10.0.0.1' is reversed",
        ),
        (
            {**pool("p"), "spec": {"addresses": "10.0.0.0/24"}},
            "IPAddressPool metallb-system/p: it cannot be read: Expected `array | null`, got `str`",
        ),
        (
            pool("p", colour="red"),
            "IPAddressPool metallb-system/p, spec.colour: this field is not known",
        ),
        (
            advertisement("a", interfaces=["eth1", "eth2"]),
            "IPAddressPool metallb-system/edge: it is announced on eth1, eth2, and extip has an",
        ),
        (
            advertisement("a", serviceSelectors=[{"matchLabels": {"a": "b"}}]),
            "L2Advertisement metallb-system/a, spec.serviceSelectors: extip announces each service",
        ),
        (
            {**pool("edge"), "metadata": {"name": "edge", "namespace": "other"}},
            "IPAddressPool other/edge: there is another pool of that name",
        ),
        (
            {"apiVersion": "metallb.io/v1beta2", "kind": "AddressPool", "metadata": {"name": "o"}},
            "AddressPool o: it is of MetalLB before 0.13",
        ),
        ({**pool("p"), "spec": {}}, "IPAddressPool metallb-system/p: it has no addresses"),
        ("- a list\n- of words", "a file, document 2: it is no Kubernetes object"),
        ("just words", "a file, document 2: it is no Kubernetes object"),
    ],
)
def test_bad_input_gets_one_line(manifest, line):
    layer2 = [] if "L2" in str(manifest) else [LAYER2]
    result = converted("metallb", EDGE, manifest, *layer2)
    (told,) = lost(result)
    assert told.startswith(line)
    assert addresses_of(result, "edge")  # the rest goes on


@pytest.mark.parametrize(
    ("manifest", "line"),
    [
        ({"kind": "Deployment", "metadata": {"name": "d"}}, "note: Deployment d: it is nothing"),
        (
            {"metadata": {"name": "\x1b[31mred\n"}},
            r"note: an object without a kind \x1b[31mred\n: it",
        ),
        ({}, "note: an object without a kind without a name: it is nothing"),
        (
            advertisement("a", ipAddressPools=["edge", "gone"]),
            "note: L2Advertisement metallb-system/a: there is no IPAddressPool gone",
        ),
    ],
)
def test_input_that_means_nothing_gets_one_line(manifest, line):
    told = notes(converted("metallb", EDGE, LAYER2, manifest))
    assert sum(one.startswith(line) for one in told) == 1


def test_reports_of_metallb_itself_are_passed_over():
    report = advertisement("l2-x", "ServiceL2Status")
    result = converted("metallb", pool("p", "10.0.0.1/32"), LAYER2, report)
    assert result.remarks == []


def test_objects_in_lists_are_found():
    """As kubectl prints them, and as the API server does, where items do not say their kind."""
    inner = {key: value for key, value in pool("p").items() if key not in ("apiVersion", "kind")}
    typed = {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPoolList", "items": [inner]}
    plain = {"apiVersion": "v1", "kind": "List", "items": [pool("q"), None, 7]}
    result = converted("metallb", typed, plain, LAYER2)
    assert [one.metadata.name for one in result.pools] == ["p", "q"]
    assert len(lost(result)) == 1  # the 7
