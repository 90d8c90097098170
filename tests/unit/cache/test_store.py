"""A store holds exactly what it was last told, and names every key that changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extip.api.core_v1 import Node, NodeMeta, Service, ServiceMeta
from extip.cache.store import Store


def service(name, version="1"):
    meta = ServiceMeta(name=name, namespace="ns", resource_version=str(version))
    return Service(metadata=meta)


def test_keys_are_namespace_and_name_or_name_alone():
    nodes: Store[Node] = Store()
    assert nodes.put(Node(metadata=NodeMeta(name="n1", resource_version="1"))) == "n1"
    services: Store[Service] = Store()
    assert services.put(service("a")) == "ns/a"
    assert services["ns/a"] == services.get("ns/a") == service("a")
    assert services.get("ns/b") is None
    with pytest.raises(KeyError):
        services["ns/b"]


def test_putting_the_same_version_again_changes_nothing():
    store: Store[Service] = Store()
    assert store.put(service("a")) == "ns/a"
    assert store.put(service("a")) is None
    assert store.put(service("a", 2)) == "ns/a"


def test_removing_says_whether_it_was_there():
    store: Store[Service] = Store()
    store.put(service("a"))
    assert store.remove(service("a", 9)) == "ns/a"
    assert store.remove(service("a", 9)) is None
    assert len(store) == 0


def test_replacing_keeps_what_it_is_told_to_but_only_if_nothing_newer_came():
    store: Store[Service] = Store()
    store.replace([service("a"), service("b")])
    assert store.replace([service("b", 2)], keep={"ns/a", "ns/b", "ns/never-seen"}) == ["ns/b"]
    assert dict(store) == {"ns/a": service("a"), "ns/b": service("b", 2)}


CONTENTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3))


@given(before=CONTENTS, after=CONTENTS)
def test_replace_reports_exactly_the_differences(before, after):
    store: Store[Service] = Store()
    store.replace(service(name, version) for name, version in before.items())
    changed = store.replace(service(name, version) for name, version in after.items())
    versions = {o.metadata.name: int(o.metadata.resource_version) for o in store.values()}
    assert versions == after
    assert list(store.values()) == [store[key] for key in store]
    differences = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
    assert sorted(changed) == sorted(f"ns/{name}" for name in differences)
