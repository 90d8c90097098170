"""An instance of extip sees and makes only its own objects."""

import msgspec
import pytest

from extip.api.coordination_v1 import Lease
from extip.api.core_v1 import Node, NodeMeta
from extip.api.ipcontroller_v1 import IpClaim, IpClaimPool
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import HEARTBEAT_SELECTOR, INSTANCE_LABEL
from extip.api.resources import (
    DETAILED_SERVICES,
    ENDPOINT_SLICES,
    IP_CLAIM_POOLS,
    IP_CLAIMS,
    IP_NODES,
    LEASES,
    NODES,
    SERVICES,
)
from extip.kube.instance import Instance

BLUE, PLAIN = Instance("blue"), Instance()


def labels_of(made):
    return msgspec.to_builtins(made.metadata).get("labels")


@pytest.mark.parametrize(
    "resource", [SERVICES, DETAILED_SERVICES, IP_CLAIMS, IP_NODES, IP_CLAIM_POOLS]
)
def test_what_belongs_to_an_instance_is_selected(resource):
    assert BLUE.narrowed(resource, "") == f"{INSTANCE_LABEL}=blue"
    assert BLUE.narrowed(resource, "ipnode=n1") == f"ipnode=n1,{INSTANCE_LABEL}=blue"
    assert PLAIN.narrowed(resource, "") == f"!{INSTANCE_LABEL}"


def test_heartbeats_are_selected_and_other_leases_and_kinds_are_not():
    assert BLUE.narrowed(LEASES, HEARTBEAT_SELECTOR).endswith(f",{INSTANCE_LABEL}=blue")
    for instance in (BLUE, PLAIN):
        assert instance.narrowed(LEASES, "") == ""
        assert instance.narrowed(NODES, "") == ""
        assert instance.narrowed(ENDPOINT_SLICES, "a=b") == "a=b"


def test_what_an_instance_makes_has_its_label_beside_others():
    claim = IpClaim(metadata=FullObjectMeta(name="c", labels={"ipnode": "n1"}))
    assert labels_of(BLUE.marked(IP_CLAIMS, claim)) == {"ipnode": "n1", INSTANCE_LABEL: "blue"}
    lease = Lease(metadata=FullObjectMeta(name="l"))
    assert labels_of(BLUE.marked(LEASES, lease)) == {INSTANCE_LABEL: "blue"}
    assert PLAIN.marked(IP_CLAIMS, claim) is claim


def test_what_people_make_is_left_as_it_is():
    pool = IpClaimPool(metadata=FullObjectMeta(name="p"))
    assert BLUE.marked(IP_CLAIM_POOLS, pool) is pool
    node = Node(metadata=NodeMeta(name="n"))
    assert BLUE.marked(NODES, node) is node


def test_its_lease_has_its_name():
    assert (BLUE.lease("extip-scheduler"), PLAIN.lease("extip-scheduler")) == (
        "extip-scheduler-blue",
        "extip-scheduler",
    )


def test_whose_an_object_is():
    assert BLUE.has({INSTANCE_LABEL: "blue"})
    assert not BLUE.has({INSTANCE_LABEL: "red"})
    assert not BLUE.has(None)
    assert PLAIN.has(None)
    assert not PLAIN.has({INSTANCE_LABEL: "blue"})
