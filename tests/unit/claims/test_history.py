"""The condition Assigned keeps why an IP is where it is: a fact of the past, with its time."""

import pytest

from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpClaimStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.claims.policy.history import Placed, placed
from extip.scheduling.policy.assigned import assigned_condition
from extip.scheduling.policy.schedule import Schedule

T = "2026-01-01T01:00:00Z"
NOTHING = Schedule(writes=(), waiting={}, in_the_way={})
WAITING = Schedule(writes=(), waiting={"a": "n2: it is drained"}, in_the_way={})
MOVED = placed("n2", before="n1", why="it was drained", now=T)
HISTORY = f"to n2; moved from n1 at {T}: it was drained"


def claim(message="", status="True", reason="Assigned", node="n2"):
    said = Condition(type="Assigned", status=status, reason=reason, message=message)
    return IpClaim(
        metadata=FullObjectMeta(name="a"),
        spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=node),
        status=IpClaimStatus(conditions=(said,) if message else None),
    )


@pytest.mark.parametrize(
    ("before", "past", "message"),
    [
        (claim(), MOVED, HISTORY),
        (claim(), placed("n2", before="", why="it had no node", now=T), f"to n2; placed at {T}"),
        (claim(), None, "to n2"),
        (claim("to n1; moved from n2 at some time: it was drained"), MOVED, HISTORY),
        (claim("to n1; moved from n2 at some time: it was drained"), None, "to n2"),
        (claim("to n20; moved from n1 at some time: it was drained"), None, "to n2"),
        # Another process has given it to this node since.
        (claim(), Placed(node="n3", text="moved from n2"), "to n2"),
    ],
)
def test_why_a_claim_is_on_its_node(before, past, message):
    found = assigned_condition(before, NOTHING, past=past)
    assert found is not None
    assert (found.status, found.message) == ("True", message)


@pytest.mark.parametrize("past", [None, MOVED, Placed(node="n3", text="moved from n2")])
def test_what_is_written_stays_also_when_another_process_leads(past):
    assert assigned_condition(claim(HISTORY), NOTHING, past=past) is None


def test_a_claim_that_nobody_can_take_says_so_and_then_is_there_as_before():
    waiting = assigned_condition(claim(HISTORY), WAITING, past=MOVED)
    assert waiting is not None
    assert (waiting.status, waiting.message) == ("False", "n2: it is drained")
    again = assigned_condition(claim(waiting.message, "False", waiting.reason), NOTHING, past=MOVED)
    assert again is not None
    assert again.message == HISTORY
