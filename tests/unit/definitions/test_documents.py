"""The schemas are structural, say what each field means, and fit the structs that use them."""

import re
from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.names import is_node_name
from extip.api.resources import IP_CLAIM_POOLS, IP_CLAIMS, IP_NODES
from extip.definitions.documents import definitions

IP_CLAIM, IP_NODE, IP_CLAIM_POOL = definitions()

KINDS = [
    (IP_CLAIM, IP_CLAIMS),
    (IP_NODE, IP_NODES),
    (IP_CLAIM_POOL, IP_CLAIM_POOLS),
]


def schema_of(definition):
    (version,) = definition["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def walk(schema, path=""):
    yield path, schema
    for name, sub in schema.get("properties", {}).items():
        yield from walk(sub, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from walk(schema[key], f"{path}[]")


def pattern_of(definition, *path):
    schema = schema_of(definition)
    for name in path:
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    return re.compile(schema["pattern"])


@pytest.mark.parametrize(("definition", "resource"), KINDS)
def test_the_definition_is_the_one_of_the_resource(definition, resource):
    spec = definition["spec"]
    assert definition["metadata"]["name"] == f"{resource.plural}.{resource.group}"
    assert spec["group"] == resource.group
    assert spec["names"]["plural"] == resource.plural
    assert spec["names"]["kind"] == resource.kind
    assert spec["scope"] == "Cluster"
    assert not resource.namespaced
    assert spec["versions"][0]["name"] == resource.version
    assert spec["versions"][0]["subresources"] == {"status": {}}


@pytest.mark.parametrize(("definition", "_resource"), KINDS)
def test_every_field_has_a_type_and_says_what_it_means(definition, _resource):
    for path, schema in walk(schema_of(definition)):
        assert schema["type"], path
        if path in (".apiVersion", ".kind", ".metadata") or path.endswith("[]"):
            continue
        assert schema["description"].endswith("."), path


@pytest.mark.parametrize(("definition", "_resource"), KINDS)
def test_every_required_field_exists_and_every_list_of_objects_is_bounded_or_keyed(
    definition, _resource
):
    for path, schema in walk(schema_of(definition)):
        assert set(schema.get("required", [])) <= set(schema.get("properties", {})), path
        if schema["type"] == "array":
            assert "maxItems" in schema or "x-kubernetes-list-type" in schema, path


@pytest.mark.parametrize("definition", [IP_CLAIM, IP_CLAIM_POOL])
def test_the_server_reads_a_cidr_and_refuses_anything_else_in_words(definition):
    """`tests/system/test_crds.py` has what a server says."""
    spec = schema_of(definition)["properties"]["spec"]["properties"]
    assert spec["cidr"]["format"] == "cidr"
    assert "pattern" not in spec["cidr"]


@given(st.ip_addresses())
def test_every_address_can_bound_a_range(ip):
    pattern = pattern_of(IP_CLAIM_POOL, "spec", "ranges", "[]", "[]")
    assert pattern.search(str(ip))
    assert ip_address(str(ip)) == ip


@pytest.mark.parametrize("name", ["n1", "node.example.org", "N1", "n_1", "n.", "-n", "a..b"])
def test_node_names_are_those_that_a_controller_can_have(name):
    pattern = pattern_of(IP_CLAIM, "spec", "nodeName")
    assert bool(pattern.search(name)) == is_node_name(name)
    assert pattern.search("")


def test_defaults_are_those_of_the_struct():
    spec = schema_of(IP_CLAIM_POOL)["properties"]["spec"]["properties"]
    defaults = {name: field["default"] for name, field in spec.items() if "default" in field}
    assert defaults == {
        "priority": 0,
        "autoAssign": True,
        "sharing": "Namespace",
        "rebalance": "WhenQuiet",
        "placement": "OneNode",
        "allocation": "Open",
        "drainSeconds": 300,
        "avoidNetworkAddresses": False,
    }


def test_what_the_api_server_would_refuse_is_decoded_all_the_same():
    """It may have been written before there was such a rule, or by a server that drops rules."""
    claim = msgspec.json.decode(
        b'{"spec":{"cidr":"fakeclaim","nodeName":"No_Node","link":"a/b c","later":{}},'
        b'"status":{"conditions":[{"type":"Up","status":"Maybe","observedGeneration":-1}]}}',
        type=IpClaim,
    )
    assert (claim.spec.cidr, claim.spec.node_name) == ("fakeclaim", "No_Node")
    pool = msgspec.json.decode(b'{"spec":{"ranges":[["10.0.0.9"],[]]}}', type=IpClaimPool)
    assert pool.spec.ranges == (("10.0.0.9",), ())
    assert msgspec.json.decode(b"{}", type=IpNode) == IpNode()


def test_a_claim_as_the_predecessors_users_write_it_decodes():
    claim = msgspec.json.decode(
        b'{"apiVersion":"ipcontroller.ext/v1","kind":"IpClaim","metadata":{"name":"c","labels":'
        b'{"ipnode":"n1"}},"spec":{"cidr":"10.10.0.2/24","nodeName":"n1"}}',
        type=IpClaim,
    )
    assert (claim.spec.cidr, claim.spec.node_name, claim.managed) == ("10.10.0.2/24", "n1", False)
    pool = msgspec.json.decode(
        b'{"metadata":{"name":"p"},"spec":{"cidr":"192.168.16.248/29",'
        b'"ranges":[["192.168.16.250","192.168.16.252"]]}}',
        type=IpClaimPool,
    )
    assert pool.spec.ranges == (("192.168.16.250", "192.168.16.252"),)
    assert pool.spec.auto_assign


def test_no_column_has_a_priority_that_the_server_leaves_out():
    """A list that differs from the server's is a conflict for whoever applies the same one."""
    written = msgspec.json.decode(msgspec.json.encode(definitions()))
    versions = [one["spec"]["versions"][0] for one in written]
    columns = [column for version in versions for column in version["additionalPrinterColumns"]]
    assert {column.get("priority") for column in columns} == {None, 1}
