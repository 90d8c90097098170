"""Whatever stands in a manifest: lines for a person, objects that can be read, no traceback."""

import copy

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from extip.pools.policy.pools import compile_pools
from tests.unit.migrate import test_cilium as cilium
from tests.unit.migrate import test_kube_vip as kube_vip
from tests.unit.migrate import test_metallb as metallb
from tests.unit.migrate import test_predecessor as predecessor
from tests.unit.migrate.manifests import converted, service

WHOLE = {
    "metallb": [
        metallb.pool(
            "p",
            "10.20.30.64/28",
            "10.20.31.5-10.20.31.9",
            "fd00::10-fd00::20",
            autoAssign=False,
            serviceAllocation={
                "priority": 3,
                "namespaces": ["shop"],
                "namespaceSelectors": [{"matchLabels": {"a": "b"}}],
                "serviceSelectors": [
                    {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
                ],
            },
        ),
        metallb.advertisement(
            ipAddressPools=["p"],
            ipAddressPoolSelectors=[{"matchLabels": {"a": "b"}}],
            nodeSelectors=[{"matchLabels": {"a": "b"}}, {"matchLabels": {"c": "d"}}],
            interfaces=["eth1"],
            preferredNodeSelectors=[{"weight": 5, "preference": {"matchLabels": {"a": "b"}}}],
        ),
        metallb.advertisement("b", "BGPAdvertisement", ipAddressPools=["q"]),
        service("web", annotations={"metallb.io/loadBalancerIPs": "10.20.30.65"}),
    ],
    "kube-vip": [
        kube_vip.config(
            cidr_global="10.1.0.8/29,fd00::/126", range_lab="10.2.0.1-10.2.0.9", interface_lab="e"
        ),
        service("web", "lab", annotations={"kube-vip.io/loadbalancerIPs": "10.2.0.1"}),
    ],
    "cilium": [
        cilium.pool(
            blocks=[{"cidr": "10.4.0.0/24"}, {"start": "10.5.0.1", "stop": "10.5.0.9"}],
            serviceSelector={"matchLabels": {"io.kubernetes.service.namespace": "shop"}},
        ),
        cilium.policy(interfaces=["^eth1$"], nodeSelector={"matchLabels": {"a": "b"}}),
        service("web", annotations={"lbipam.cilium.io/ips": "10.4.0.9"}, ips=["10.4.0.9"]),
    ],
    "externalipcontroller": [
        *yaml.safe_load_all(predecessor.POOL),
        predecessor.claim("192.168.16.249/29"),
        predecessor.service("got", "192.168.16.249", auto=True),
        predecessor.workload("DaemonSet", "ipmanager", "c", "--hb=500ms"),
    ],
}

texts = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["10.20.30.64/28", "::/0", "0.0.0.0/0", "1.2.3.4-", "fe80::1%eth0", "-", "/"]),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts, st.integers()), inner)
    ),
    max_leaves=4,
)


def places(node, path=()):
    """Return the path of each value in a document."""
    found = [path] if path else []
    if isinstance(node, dict | list):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in items:
            found += places(child, (*path, key))
    return found


def changed(document, path, value):
    """Return the document with another value in one place."""
    document = copy.deepcopy(document)
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return document


@pytest.mark.parametrize("program", WHOLE)
@given(data=st.data())
def test_no_value_in_any_place_ends_in_a_traceback(program, data):
    documents = list(WHOLE[program])
    number = data.draw(st.integers(0, len(documents) - 1))
    path = data.draw(st.sampled_from(places(documents[number])))
    documents[number] = changed(documents[number], path, data.draw(values))
    result = converted(program, *documents)
    for remark in result.remarks:
        assert str(remark).isprintable()
    for pool in compile_pools(result.pools).ordered:
        assert pool.problem == ""
    yaml.safe_dump_all(result.manifests())
    msgspec.json.encode([result.manifests(), result.remarks])
