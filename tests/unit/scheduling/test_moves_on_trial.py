"""A move for balance whose IP does not come up is taken back, and its node left out for a while."""

import pytest

from extip.api.ipcontroller_v1 import ACCEPTED, UP, IpClaim, IpClaimSpec, IpClaimStatus
from extip.api.meta_v1 import Condition, FullObjectMeta
from extip.claims.policy.same_ip import DUPLICATE
from extip.scheduling.policy.moves_on_trial import AVOIDED_S, JUDGED_S, STAYS_S, MovesOnTrial
from extip.scheduling.policy.placement import Move

MOVE = Move(claim="a", source="n1", target="n2")
STEADY = frozenset({"n1", "n2", "n3"})


def told(kind, status, *, generation=1, reason="NotAllowed"):
    return Condition(
        type=kind,
        status=status,
        reason=reason,
        message="it is refused",
        observed_generation=generation,
    )


def claim(node, *conditions, holder="n1", generation=1, withdrawn=False):
    return IpClaim(
        metadata=FullObjectMeta(name="a", generation=generation),
        spec=IpClaimSpec(cidr="10.0.0.1/32", node_name=node, withdrawn=withdrawn),
        status=IpClaimStatus(conditions=conditions, holder=holder),
    )


BEFORE = claim("n1", told(UP, "True"))
REFUSED = claim("n2", told(ACCEPTED, "False", generation=2), told(UP, "True"), generation=2)


def begun(before=BEFORE):
    trials = MovesOnTrial()
    trials.begin(MOVE, before, 0.0)
    return trials


def failed(trials, found, now, steady=STEADY):
    return list(trials.failed({} if found is None else {"a": found}, steady, now))


@pytest.mark.parametrize("kind", [ACCEPTED, UP])
def test_a_move_that_its_node_reports_to_fail_is_taken_back_after_a_moment(kind):
    trials = begun()
    found = claim("n2", told(kind, "False", generation=2), generation=2)
    assert failed(trials, BEFORE, 5.0) == [], "it is not written yet"
    assert failed(trials, found, 6.0) == []
    assert trials.under_way
    assert failed(trials, found, 6.0 + JUDGED_S) == [(MOVE, "it is refused")]
    assert failed(trials, BEFORE, 7.0 + JUDGED_S) == []
    assert not trials.under_way


def test_it_is_taken_back_until_its_claim_has_left_the_node_for_minutes():
    """The write may be lost. The node is avoided from its first report on."""
    trials = begun()
    failed(trials, REFUSED, 1.0)
    for passed_s in range(0, 300, 20):
        assert failed(trials, REFUSED, 2.0 + passed_s) == [(MOVE, "it is refused")]
    assert trials.again_s(2.0) == AVOIDED_S
    assert failed(trials, REFUSED, 303.0) == []
    assert not trials.under_way


def test_a_later_report_of_the_same_failure_is_not_needed():
    """A change of the claim, such as another standby, leaves the report behind for a moment."""
    trials = begun()
    failed(trials, REFUSED, 1.0)
    failed(trials, REFUSED, 2.0)
    changed = claim("n2", told(ACCEPTED, "False", generation=2), generation=3)
    assert failed(trials, changed, 3.0) == [(MOVE, "it is refused")]


def test_a_report_counts_however_late_it_is_looked_at():
    """The scheduler may make other writes for minutes."""
    trials = begun()
    failed(trials, REFUSED, 1.0)
    assert failed(trials, REFUSED, 500.0) == [(MOVE, "it is refused")]
    assert "n2" not in trials.trusted(STEADY, 500.0)


@pytest.mark.parametrize(
    "found",
    [claim("n2", told(UP, "True", generation=2), holder="n2", generation=2), None],
    ids=["it is up", "it is gone"],
)
def test_a_failure_that_is_over_is_not_taken_back_any_more(found):
    trials = begun()
    failed(trials, REFUSED, 1.0)
    failed(trials, REFUSED, 2.0)
    assert failed(trials, found, 3.0) == []
    assert not trials.under_way


@pytest.mark.parametrize(
    "found",
    [
        claim("n2", told(UP, "True", generation=2), holder="n2", generation=2),
        claim("n3", told(UP, "False", generation=2), generation=2),
        None,
    ],
    ids=["it is up", "it was moved on", "it is gone"],
)
def test_a_move_that_is_over_is_not_taken_back(found):
    trials = begun()
    failed(trials, claim("n2", told(UP, "True"), generation=2), 1.0)
    assert failed(trials, found, 1.0 + JUDGED_S) == []
    assert not trials.under_way


@pytest.mark.parametrize(
    "found",
    [
        claim("n2", told(UP, "False"), generation=2),
        claim("n2", told(ACCEPTED, "False", generation=2, reason=DUPLICATE), generation=2),
        claim("n2", told(UP, "False", generation=2), generation=2, withdrawn=True),
    ],
    ids=["of before", "another claim has it up", "nobody is to answer"],
)
def test_such_a_report_is_no_failure(found):
    trials = begun()
    failed(trials, found, 1.0)
    assert failed(trials, found, 1.0 + JUDGED_S) == []


def test_an_ip_that_was_not_up_has_nothing_to_lose():
    trials = begun(claim("n1", told(UP, "False")))
    assert not trials.under_way


def test_a_node_that_is_not_well_any_more_gets_nothing_back_before_it_is():
    trials = begun()
    failed(trials, REFUSED, 1.0)
    assert failed(trials, REFUSED, 1.0 + JUDGED_S, STEADY - {"n1"}) == []
    assert failed(trials, REFUSED, 60.0) != []
    assert "n2" not in trials.trusted(STEADY, 2.0)


def test_the_node_is_avoided_for_a_while_and_the_claim_stays_for_longer():
    trials = begun()
    assert trials.trusted(STEADY, 0.0) == STEADY
    failed(trials, REFUSED, 1.0)
    failed(trials, REFUSED, 2.0)
    assert trials.trusted(STEADY, 2.0) == STEADY - {"n2"}
    assert trials.again_s(2.0) == AVOIDED_S
    assert trials.trusted(STEADY, 2.0 + AVOIDED_S) == STEADY
    assert trials.again_s(2.0 + AVOIDED_S) is None
    assert trials.staying(1.0 + STAYS_S) == {"a"}
    assert trials.staying(2.0 + STAYS_S) == set()


def test_a_node_that_was_away_begins_anew():
    """Its controller was started again, perhaps with other flags."""
    trials = begun()
    failed(trials, REFUSED, 1.0)
    failed(trials, REFUSED, 2.0)
    assert trials.trusted(STEADY - {"n2"}, 3.0) == STEADY - {"n2"}
    assert trials.trusted(STEADY, 4.0) == STEADY


def test_a_move_that_nothing_is_heard_of_is_forgotten():
    trials = begun()
    assert failed(trials, claim("n2", generation=2), 1.0) == []
    assert failed(trials, claim("n2", generation=2), 100.0) == []
    assert not trials.under_way
