"""What is read of a cluster."""

import msgspec
from msgspec.structs import replace

from extip.definitions.install import wanted_definitions
from extip.doctor.cluster import _outdated


def without(kind, *path):
    spec = msgspec.json.decode(kind.spec)
    node = spec["versions"][0]["schema"]["openAPIV3Schema"]
    for name in path[:-1]:
        node = node["properties"][name]
    del node["properties"][path[-1]]
    return replace(kind, spec=msgspec.Raw(msgspec.json.encode(spec)))


def test_a_definition_that_lacks_a_field_is_older():
    kinds = wanted_definitions()
    assert [lacking for _, lacking in _outdated(kinds)] == [(), (), ()]
    names = [kind.metadata.name for kind in kinds]
    older = [
        without(kind, "status", "silent") if "nodes" in kind.metadata.name else kind
        for kind in kinds
    ]
    assert dict(_outdated(older)) == dict.fromkeys(names, ()) | {
        "ipnodes.ipcontroller.ext": ("status.silent",)
    }
    assert len(_outdated(kinds[:1])) == 1  # a missing one is another finding
