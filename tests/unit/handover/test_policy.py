"""An address stays until another node has it up, and never without a bound."""

import pytest

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpClaimStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.handover.policy import UNKNOWN_S, Fate, fate, keep_until, version_of


def claim(assigned, *, holder="", up="", seen=0, generation=5):
    conditions = (Condition(type="Up", status=up, observed_generation=seen),) if up else None
    return IpClaim(
        metadata=FullObjectMeta(name="a", generation=generation),
        spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=assigned),
        status=IpClaimStatus(conditions=conditions, holder=holder),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (claim("n2", holder="n2", up="True", seen=5), Fate.ARRIVED),
        (claim("n2", holder="n2", up="True"), Fate.ARRIVED),  # of one who counts no generations
        (claim("n2", holder="n1", up="True", seen=4), Fate.MOVING),
        (claim("n2", holder="n2", up="False", seen=5), Fate.MOVING),
        (claim("n2", holder="n2"), Fate.MOVING),
        (claim("n3", holder="n2", up="True", seen=5), Fate.MOVING),
        (claim("n2", holder="n2", up="True", seen=4), Fate.MOVING),
        (claim("", holder="n2", up="True", seen=5), Fate.MOVING),
        (claim("n1", holder="n1", up="True", seen=5), Fate.MOVING),
    ],
)
def test_only_the_holder_of_this_very_assignment_counts(found, expected):
    assert fate(found, node="n1") is expected


@pytest.mark.parametrize(
    ("assigned", "reason", "seen", "expected"),
    [
        ("n2", "DuplicateAddress", 5, Fate.ARRIVED),
        ("n2", "DuplicateAddress", 4, Fate.MOVING),
        ("n2", "AddressInUse", 5, Fate.MOVING),
        ("n1", "DuplicateAddress", 5, Fate.MOVING),
    ],
)
def test_nobody_waits_for_a_claim_whose_ip_another_one_holds_there(
    assigned, reason, seen, expected
):
    refused = Condition(type="Accepted", status="False", reason=reason, observed_generation=seen)
    found = IpClaim(
        metadata=FullObjectMeta(name="a", generation=5),
        spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=assigned),
        status=IpClaimStatus(conditions=(refused,), holder="n1"),
    )
    assert fate(found, node="n1") is expected


def test_bounds():
    assert keep_until(Fate.UNKNOWN, left_at=10, timeout_s=5) == 10 + UNKNOWN_S
    assert keep_until(Fate.UNKNOWN, left_at=10, timeout_s=0) == 10
    assert keep_until(Fate.MOVING, left_at=10, timeout_s=5) == 15
    assert keep_until(Fate.GONE, left_at=10, timeout_s=5) is None
    assert keep_until(Fate.ARRIVED, left_at=10, timeout_s=5) is None


@pytest.mark.parametrize(("text", "version"), [("12", 12), ("", 0), ("x", 0)])
def test_versions_are_numbers(text, version):
    assert version_of(IpClaim(metadata=FullObjectMeta(resource_version=text))) == version
