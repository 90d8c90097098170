"""Whose a claim is: its node's, or its standby's since that node was found dead."""

from typing import Any

import pytest

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpNode, IpNodeStatus
from extip.api.meta_v1 import FullObjectMeta
from extip.api.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    NODE_LABEL,
    PREVIOUS_NODE_LABEL,
)
from extip.claims.policy.assignment import assignment_patch, on_its_node, taken_over

NAMED = {"n1": IpNode(status=IpNodeStatus(failed_over={"a": 3}))}


def claim(*, name="a", node="n1", standby="n2", generation=3, managed=True):
    labels = {MANAGED_BY_LABEL: MANAGED_BY} if managed else {}
    return IpClaim(
        metadata=FullObjectMeta(name=name, labels=labels, generation=generation),
        spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=node, standby=standby),
    )


def test_the_standby_has_a_claim_that_the_node_of_its_dead_node_names():
    assert on_its_node(claim(), NAMED).spec.node_name == "n2"


@pytest.mark.parametrize(
    "other",
    [
        claim(name="b"),
        claim(generation=4),
        claim(node="n3"),
        claim(standby=""),
        claim(managed=False),  # a person pinned it
    ],
)
def test_any_other_claim_is_where_it_says(other):
    assert on_its_node(other, NAMED) is other


def test_a_standby_that_takes_a_claim_goes_on_watching_it_as_its_standby():
    """So it cannot miss the claim, whichever of its two watches is the first."""
    patch: Any = assignment_patch(claim(), "n2")
    assert patch["spec"] == {"nodeName": "n2"}
    assert patch["metadata"]["labels"] == {"ipnode": "n2", "ip-previous-node": "n1"}


def test_a_claim_that_its_standby_took_is_written_anew_where_that_one_finds_it():
    found = taken_over(claim(), NAMED)
    assert found.spec.node_name == "n2"
    assert found.metadata.labels == {
        MANAGED_BY_LABEL: MANAGED_BY,
        NODE_LABEL: "n2",
        PREVIOUS_NODE_LABEL: "n1",
    }
    other = claim(generation=4)
    assert taken_over(other, NAMED) is other
