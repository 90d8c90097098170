"""The schemas are structural, say what each field means, and fit the structs that use them."""

import re
from ipaddress import ip_address, ip_interface

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.api import crds
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool, IpNode
from extip.api.names import is_node_name
from extip.api.resources import IP_CLAIM_POOLS, IP_CLAIMS, IP_NODES
from extip.plan.claims import parse_cidr

KINDS = [
    (crds.IP_CLAIM, IP_CLAIMS),
    (crds.IP_NODE, IP_NODES),
    (crds.IP_CLAIM_POOL, IP_CLAIM_POOLS),
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


def struct_fields(type_):
    """Return field names as they go on the wire, with the structs below them."""
    found = {}
    for field in msgspec.structs.fields(type_):
        inner = re.findall(r"extip\.api\.\w+\.(\w+)", str(field.type))
        found[field.encode_name] = inner
    return found


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


@pytest.mark.parametrize(("definition", "resource"), KINDS)
def test_schemas_and_structs_have_the_same_fields(definition, resource):
    from extip.api import ipcontroller_v1, meta_v1

    def compare(schema, type_, path):
        fields = struct_fields(type_)
        assert set(fields) == set(schema["properties"]), path
        for name, inner in fields.items():
            sub = schema["properties"][name]
            if inner:
                named = getattr(ipcontroller_v1, inner[0], None) or getattr(meta_v1, inner[0])
                compare(
                    sub.get("items", sub.get("additionalProperties", sub)), named, f"{path}.{name}"
                )

    for part in ("spec", "status"):
        type_ = next(
            field.type
            for field in msgspec.structs.fields(resource.type)
            if field.encode_name == part
        )
        compare(schema_of(definition)["properties"][part], type_, part)


@given(
    st.one_of(
        st.ip_addresses(v=4).flatmap(lambda ip: st.integers(0, 32).map(lambda n: f"{ip}/{n}")),
        st.ip_addresses(v=6).flatmap(lambda ip: st.integers(0, 128).map(lambda n: f"{ip}/{n}")),
    )
)
def test_every_cidr_that_extip_writes_is_accepted(text):
    written = ip_interface(text).with_prefixlen
    assert pattern_of(crds.IP_CLAIM, "spec", "cidr").search(written)
    assert pattern_of(crds.IP_CLAIM_POOL, "spec", "cidr").search(written)


@pytest.mark.parametrize(
    "text",
    ["", "fakeclaim", "10.0.0.1", "10.0.0.256/24", "10.0.0.1/33", "010.0.0.1/24", "::1/129", "1/2"],
)
def test_what_is_no_cidr_is_rejected(text):
    assert not pattern_of(crds.IP_CLAIM, "spec", "cidr").search(text)


@given(st.text(alphabet="0123456789abcdef:./", max_size=30))
def test_what_is_accepted_for_ipv4_can_be_read(text):
    if pattern_of(crds.IP_CLAIM, "spec", "cidr").search(text) and ":" not in text:
        assert parse_cidr(text) is not None


@given(st.ip_addresses())
def test_every_address_can_bound_a_range(ip):
    pattern = pattern_of(crds.IP_CLAIM_POOL, "spec", "ranges", "[]", "[]")
    assert pattern.search(str(ip))
    assert ip_address(str(ip)) == ip


@pytest.mark.parametrize("name", ["n1", "node.example.org", "N1", "n_1", "n.", "-n", "a..b"])
def test_node_names_are_those_that_a_controller_can_have(name):
    pattern = pattern_of(crds.IP_CLAIM, "spec", "nodeName")
    assert bool(pattern.search(name)) == is_node_name(name)
    assert pattern.search("")


def test_defaults_of_schemas_are_those_of_structs():
    for type_, definition in ((IpClaimPool, crds.IP_CLAIM_POOL), (IpNode, crds.IP_NODE)):
        spec = type_().spec
        for name, schema in schema_of(definition)["properties"]["spec"]["properties"].items():
            if "default" in schema:
                (field,) = [f for f in msgspec.structs.fields(type(spec)) if f.encode_name == name]
                assert getattr(spec, field.name) == schema["default"]


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
