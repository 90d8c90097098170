"""Why a node is not empty yet, and no untruth about what it holds."""

import pytest

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpClaimStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL
from extip.draining.policy import DrainBlocker, drain_blockers, held_before

REFUSED = Condition(
    type="Accepted", status="False", reason="X", message="it is a gateway", observed_generation=2
)
DOWN = Condition(
    type="Up", status="False", reason="X", message="on n2: no carrier", observed_generation=2
)
BEFORE = Condition(
    type="Up", status="False", reason="X", message="on n1: it was removed", observed_generation=1
)
NOBODY = Condition(
    type="Assigned", status="False", reason="NoEligibleNode", message="n2: it is off"
)


def claim(*conditions, node="n1", holder="n1", cidr="10.0.0.1/32", managed=True):
    return IpClaim(
        metadata=FullObjectMeta(
            name=cidr, generation=2, labels={MANAGED_BY_LABEL: MANAGED_BY} if managed else None
        ),
        spec=IpClaimSpec(cidr=cidr, node_name=node),
        status=IpClaimStatus(conditions=conditions, holder=holder),
    )


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (claim(), "no scheduler has moved it yet"),
        (claim(NOBODY), "n2: it is off"),
        (claim(managed=False), "pinned by hand: its spec.nodeName names this node"),
        (claim(node="n2"), "given to n2, which does not have it up: it has not reported yet"),
        (claim(BEFORE, node="n2"), "given to n2, which does not have it up: it has not reported"),
        (claim(REFUSED, DOWN, node="n2"), "given to n2, which does not have it up: it is a gate"),
        (claim(DOWN, node="n2"), "given to n2, which does not have it up: on n2: no carrier"),
        (claim(NOBODY, node=""), "no node has it now: n2: it is off"),
    ],
)
def test_each_claim_that_is_left_has_its_reason(found, why):
    (one,) = drain_blockers("n1", [found, found])  # it may have both labels
    assert one.why.startswith(why)
    assert one.pinned is (not found.managed)


def test_what_another_node_has_up_is_not_left():
    assert (
        drain_blockers("n1", [claim(node="n2", holder="n2"), claim(node="n3", holder="n2")]) == []
    )


def test_they_come_in_order():
    found = drain_blockers("n1", [claim(cidr="10.0.0.2/32"), claim(cidr="10.0.0.1/32")])
    assert [one.cidr for one in found] == ["10.0.0.1/32", "10.0.0.2/32"]
    assert isinstance(found[0], DrainBlocker)


def test_what_a_node_has_up_is_known_wherever_it_was_given_since():
    moved_twice = claim(node="n3", cidr="10.0.0.3/32")
    assert held_before("n1", [moved_twice, claim(node="n1", holder="n2")]) == {"10.0.0.3/32"}
    assert [one.name for one in drain_blockers("n1", [moved_twice])] == ["10.0.0.3/32"]
