"""What the claims of a node ask of its interface, and what they are told."""

from dataclasses import replace
from ipaddress import ip_address, ip_interface

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from extip.api.conditions import find_condition
from extip.api.ipcontroller_v1 import IpClaim, IpClaimSpec, IpClaimStatus, ServiceReference
from extip.api.meta_v1 import NO_FIELD_OWNERS, Condition, FullObjectMeta
from extip.api.names import MANAGED_BY, MANAGED_BY_LABEL, POOL_LABEL
from extip.claims.policy.claims import prefix_annotation, with_annotations
from extip.claims.policy.node_claims import (
    Outcome,
    bring_together,
    held_claim,
    of_another_mask,
    outcomes,
    status_after,
    status_patch,
    stopped,
    with_conflicts,
)
from extip.guard.policy.admission import Admission, admit
from extip.guard.policy.rules import Guard, Surroundings, Verdicts
from extip.net.link_selection import LinkSelection
from extip.services.policy.refusal import Reason, Refusal
from extip.services.policy.requests import Masks, Rejection
from tests.fakes.conditions import condition_of
from tests.fakes.interfaces import ETH0

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def claim(name, cidr, *, created="2026-01-01T00:00:00Z", link="", services=(), **fields):
    return IpClaim(
        metadata=FullObjectMeta(
            name=name, uid=f"uid-{name}", creation_timestamp=created, generation=3
        ),
        spec=IpClaimSpec(cidr=cidr, node_name="n1", link=link, services=tuple(services)),
        **fields,
    )


def together(*claims, kept=()):
    return bring_together(
        map(held_claim, claims),
        links=ETH0,
        kept=[held_claim(claim) for claim in kept],
    )


def judge(found, *, up=(), problem="", around=None):
    admission = admit(found.requests, Verdicts(Guard(), around or Surroundings()))
    return outcomes(
        found,
        admission,
        up=frozenset(map(ip_address, up)),
        links=ETH0,
        problem=problem,
    )


def wanted(found):
    return set(map(str, found.requests.wanted))


def test_each_claim_brings_its_own_prefix_length():
    found = together(claim("a", "10.0.0.1/24"), claim("b", "fd00::1/64"))
    assert wanted(found) == {"10.0.0.1/24", "fd00::1/64"}


@pytest.mark.parametrize(
    ("masks", "cidr", "differs"),
    [
        (Masks.from_flags(v4=24, v6=None), "10.0.0.1/32", True),
        (Masks.from_flags(v4=24, v6=None), "10.0.0.1/24", False),
        (Masks.from_flags(v4=24, v6=None), "fd00::1/64", False),
        (Masks.from_flags(v4=None, v6=64), "fd00::1/128", True),
        (Masks.from_flags(v4=32, v6=None), "10.0.0.1/24", True),
        (Masks.from_flags(v4=None, v6=None), "10.0.0.1/24", False),  # the default says nothing
    ],
)
def test_a_mask_that_claims_do_not_have_is_noticed(masks, cidr, differs):
    found = of_another_mask(together(claim("z", "nonsense"), claim("a", cidr)), masks)
    assert (found is not None) is differs
    assert found is None or found.name == "a"


def of_scheduler(cidr, *, pool="", told=frozenset()):
    labels = {MANAGED_BY_LABEL: MANAGED_BY} | ({POOL_LABEL: pool} if pool else {})
    made = claim("a", cidr)
    made = structs.replace(made, metadata=structs.replace(made.metadata, labels=labels))
    return with_annotations(made, prefix_annotation(made, told))


MASK_24, MASK_V6_64 = Masks.from_flags(v4=24, v6=None), Masks.from_flags(v4=None, v6=64)


@pytest.mark.parametrize(
    ("made", "masks", "cidr"),
    [
        (of_scheduler("10.0.0.1/32"), MASK_24, "10.0.0.1/24"),
        (of_scheduler("fd00::1/128"), MASK_V6_64, "fd00::1/64"),
        (of_scheduler("fd00::1/128"), MASK_24, "fd00::1/128"),  # of the other family
        (of_scheduler("10.0.0.1/32"), Masks.from_flags(v4=None, v6=None), "10.0.0.1/32"),
        (of_scheduler("10.0.0.1/28"), MASK_24, "10.0.0.1/28"),  # so the scheduler was told
        (of_scheduler("10.0.0.1/32", told={4}), MASK_24, "10.0.0.1/32"),
        (of_scheduler("fd00::1/128", told={4}), MASK_V6_64, "fd00::1/64"),
        (of_scheduler("10.0.0.1/32", pool="edge", told={4}), MASK_24, "10.0.0.1/32"),
        (of_scheduler("10.0.0.1/32", pool="edge"), MASK_24, "10.0.0.1/32"),
        (claim("a", "10.0.0.1/32"), MASK_24, "10.0.0.1/32"),  # made by hand
    ],
)
def test_a_prefix_length_that_somebody_said_counts_more_than_a_default(made, masks, cidr):
    held = held_claim(made, masks)
    assert (str(held.interface), held.cidr) == (cidr, made.spec.cidr)


def test_the_mark_of_an_explicit_prefix_length_goes_when_the_scheduler_is_told_none():
    marked = of_scheduler("10.0.0.1/32", told={4})
    assert prefix_annotation(marked, {4}) == {}
    unmarked = with_annotations(marked, prefix_annotation(marked, frozenset()))
    assert unmarked.metadata.annotations is None
    assert prefix_annotation(claim("a", "10.0.0.1/32"), {4}) == {}, "a person's claim is left alone"


def test_claim_and_services_hear_of_a_refusal():
    service = ServiceReference(namespace="default", name="web", uid="u")
    found = together(claim("a", "10.0.0.1/24", services=[service]))
    (owners,) = found.requests.wanted.values()
    assert [(o.kind, str(o), o.uid) for o in owners] == [
        ("IpClaim", "a", "uid-a"),
        ("Service", "default/web", "u"),
    ]


def test_a_claim_that_cannot_be_read_hides_no_other():
    found = together(claim("bad", "fakeclaim"), claim("worse", ""), claim("good", "10.0.0.1/24"))
    assert wanted(found) == {"10.0.0.1/24"}
    judged = judge(found, up=["10.0.0.1"])
    assert judged["good"].up
    for name in ("bad", "worse"):
        assert (judged[name].accepted, judged[name].reason) == (False, "MalformedCidr")


def test_the_older_of_two_claims_holds_the_ip():
    old = claim("b", "10.0.0.1/32", created="2026-01-01T00:00:00Z")
    new = claim("a", "10.0.0.1/24", created="2026-01-01T00:00:01Z")
    for found in (together(old, new), together(new, old)):
        assert wanted(found) == {"10.0.0.1/32"}
        judged = judge(found, up=["10.0.0.1"])
        assert judged["b"].up
        assert (judged["a"].accepted, judged["a"].reason) == (False, "DuplicateAddress")
        assert "b" in judged["a"].message


def test_what_the_scheduler_refused_stays_down_and_says_why():
    told = Condition(
        type="Assigned", status="False", reason="DuplicateAddress", message="claim b holds it"
    )
    refused = claim("a", "10.0.0.1/32", status=IpClaimStatus(conditions=(told,)))
    found = together(refused)
    assert wanted(found) == set()
    judged = judge(found)
    assert (judged["a"].accepted, judged["a"].up) == (False, False)
    assert (judged["a"].reason, judged["a"].message) == ("DuplicateAddress", "claim b holds it")
    assert held_claim(refused) != held_claim(claim("a", "10.0.0.1/32")), "a change that matters"
    younger = claim("b", "10.0.0.1/24", created="2026-01-01T00:00:01Z")
    assert wanted(together(refused, younger)) == {"10.0.0.1/24"}


def test_of_two_kept_addresses_of_one_ip_one_stays():
    old = claim("b", "10.0.0.1/32", created="2026-01-01T00:00:00Z")
    new = claim("a", "10.0.0.1/24", created="2026-01-01T00:00:01Z")
    assert wanted(together(kept=[new, old])) == {"10.0.0.1/32"}


def test_another_interface_is_not_this_controllers():
    found = together(claim("a", "10.0.0.1/32", link="eth7"), claim("b", "10.0.0.2/32", link="eth0"))
    assert wanted(found) == {"10.0.0.2/32"}
    judged = judge(found)
    assert (judged["a"].accepted, judged["a"].up, judged["a"].reason) == (
        True,
        False,
        "LinkMismatch",
    )


def test_addresses_between_two_holders_stay_beside_the_claims():
    found = together(claim("a", "10.0.0.1/32"), kept=[claim("gone", "10.0.0.2/24")])
    assert wanted(found) == {"10.0.0.1/32", "10.0.0.2/24"}
    assert set(judge(found, up=["10.0.0.1", "10.0.0.2"])) == {"a"}


def test_a_claim_of_the_same_ip_comes_before_what_is_kept():
    found = together(claim("new", "10.0.0.1/32"), kept=[claim("old", "10.0.0.1/24")])
    assert wanted(found) == {"10.0.0.1/32"}


def test_a_refusal_is_told_with_its_reason():
    around = Surroundings(gateways=frozenset({ip_address("10.0.0.1")}))
    judged = judge(together(claim("a", "10.0.0.1/32")), around=around)
    assert (judged["a"].accepted, judged["a"].up) == (False, False)
    assert judged["a"].reason == "GatewayAddress"


def test_nothing_is_said_of_what_no_pass_has_decided():
    found = together(claim("a", "10.0.0.1/32"))
    undecided = Admission(wanted=frozenset(), rejected=frozenset())
    assert outcomes(found, undecided, up=frozenset(), links=ETH0, problem="") == {}


def test_an_ip_is_established_once_a_node_reported_it_up():
    """A label alone may tell of a node that never brought it up."""
    holder = IpClaimStatus(holder="n2")
    found = together(
        claim("up", "10.0.0.1/32", status=holder),
        claim("new", "10.0.0.2/32"),
        claim("bad", "fakeclaim", status=holder),
    )
    assert found.requests.established == {ip_address("10.0.0.1")}
    before, after = (
        held_claim(claim("up", "10.0.0.1/32", status=status))
        for status in (IpClaimStatus(), holder)
    )
    assert before == after, "no news for whoever compares them"


def test_a_claim_that_waits_says_for_what_and_one_that_is_probed_nothing():
    found = together(*(claim(name, f"10.0.0.{n}/32") for n, name in enumerate("abc", 1)))
    first, second, third = (ip_interface(f"10.0.0.{n}/32") for n in (1, 2, 3))
    admission = Admission(
        wanted=frozenset(),
        rejected=frozenset(),
        waiting=frozenset({first}),
        probed=frozenset({second}),
        unasked=frozenset({third}),
    )
    judged = outcomes(found, admission, up=frozenset(), links=ETH0, problem="")
    assert set(judged) == {"a", "c"}
    for name, reason in (("a", "NoCarrier"), ("c", "ProbeNotSent")):
        outcome = judged[name]
        assert (outcome.accepted, outcome.up, outcome.reason) == (True, False, reason)
        assert "eth0" in outcome.message


def test_an_address_that_is_wanted_and_not_there():
    judged = judge(together(claim("a", "10.0.0.1/32")), problem="interface eth0 does not exist")
    assert (judged["a"].accepted, judged["a"].up) == (True, False)
    assert judged["a"].message == "interface eth0 does not exist"


UP = Outcome(cidr="10.0.0.1/32", accepted=True, up=True, reason="", message="", link="eth0")
DOWN = Outcome(cidr="10.0.0.1/32", accepted=True, up=False, reason="AddressMissing", message="why")


def report(one, outcome, now=NOW, node="n1"):
    return status_after(one, outcome, node=node, now=now)


def with_status(status):
    return claim("a", "10.0.0.1/32", status=status)


def test_up_names_holder_interface_and_time():
    status = report(claim("a", "10.0.0.1/32"), UP)
    assert (status.holder, status.link, status.since) == ("n1", "eth0", NOW)
    up = condition_of(status.conditions, "Up")
    assert (up.status, up.reason, up.observed_generation) == ("True", "AddressUp", 3)
    assert up.last_transition_time == NOW
    assert condition_of(status.conditions, "Accepted").status == "True"


def test_what_stands_there_already_is_not_written_again():
    status = report(claim("a", "10.0.0.1/32"), UP)
    assert report(with_status(status), UP, now=LATER) is None


def test_times_move_only_with_what_they_tell():
    first = report(claim("a", "10.0.0.1/32"), UP)
    down = report(with_status(first), DOWN, now=LATER)
    assert (down.holder, down.link, down.since) == ("", "", "")
    assert condition_of(down.conditions, "Up").last_transition_time == LATER
    assert condition_of(down.conditions, "Accepted").last_transition_time == NOW


def test_another_holder_stays_until_this_one_is_up():
    theirs = report(claim("a", "10.0.0.1/32"), UP, node="n2")
    down = report(with_status(theirs), DOWN, now=LATER)
    assert (down.holder, down.since) == ("n2", NOW)
    up = report(with_status(theirs), UP, now=LATER)
    assert (up.holder, up.since) == ("n1", LATER)


def test_conditions_of_others_stay_as_they_are():
    assigned = Condition(type="Assigned", status="True", reason="Assigned", message="to n1")
    status = report(with_status(IpClaimStatus(conditions=(assigned,))), UP)
    assert condition_of(status.conditions, "Assigned") == assigned


def test_the_patch_removes_what_is_no_more_and_conflicts_when_stale():
    one = IpClaim(metadata=FullObjectMeta(name="a", resource_version="7"))
    patch = status_patch(one, IpClaimStatus(conditions=()))
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert patch["status"] == {"conditions": (), "holder": None, "link": None, "since": None}
    made = FullObjectMeta(name="a", resource_version="7", labels={MANAGED_BY_LABEL: MANAGED_BY})
    patch = status_patch(IpClaim(metadata=made), IpClaimStatus(conditions=()))
    assert patch["metadata"] == {"resourceVersion": "7", "managedFields": NO_FIELD_OWNERS}


def test_a_stopped_controller_holds_nothing():
    assert (stopped(UP).up, stopped(UP).reason) == (False, "ControllerStopped")
    assert stopped(DOWN) == DOWN


texts = st.sampled_from(["10.0.0.1/24", "10.0.0.1/32", "10.0.0.2/32", "fd00::1/64", "nonsense", ""])
claim_lists = st.lists(
    st.builds(
        claim,
        st.sampled_from("abcdef"),
        texts,
        created=st.sampled_from([NOW, LATER]),
        link=st.sampled_from(["", "eth0", "eth7"]),
    ),
    unique_by=lambda c: c.metadata.name,
    max_size=6,
)


@given(claim_lists, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_each_ip_is_asked_for_once(claims, chance):
    found = together(*claims)
    shuffled = list(claims)
    chance.shuffle(shuffled)
    assert together(*shuffled) == found
    ips = [interface.ip for interface in found.requests.wanted]
    assert len(ips) == len(set(ips))


@given(claim_lists, st.sets(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"])))
def test_every_claim_is_told_something_once(claims, up):
    found = together(*claims)
    judged = judge(found, up=up)
    assert set(judged) == {c.metadata.name for c in claims}
    for one in claims:
        outcome = judged[one.metadata.name]
        status = report(one, outcome)
        again = claim(one.metadata.name, one.spec.cidr, link=one.spec.link, status=status)
        assert report(again, outcome, now=LATER) is None
        assert outcome.up == (status.holder == "n1")


@pytest.mark.parametrize("cidr", ["10.0.0.1/24", "fd00::1/64"])
def test_the_interface_is_that_of_the_cidr(cidr):
    assert held_claim(claim("a", cidr)).interface == ip_interface(cidr)


def test_a_conflict_is_a_condition_until_it_is_over():
    one = claim("a", "10.0.0.1/24")
    found = together(one, claim("b", "10.0.0.2/24"))
    judged = judge(found, up=["10.0.0.1"])
    ips = {ip_address(f"10.0.0.{n}"): f"02:00:00:00:00:0{n}" for n in (1, 2, 3)}
    marked = with_conflicts(judged, found, ips)
    assert marked["b"] == judged["b"], "an IP that is not up is in no conflict"
    assert with_conflicts(judged, found, {}) == judged
    status = status_after(one, marked["a"], node="n1", now=NOW)
    assert status is not None
    condition = condition_of(status.conditions, "Conflict")
    assert (condition.status, condition.reason) == ("True", "AddressConflict")
    assert "02:00:00:00:00:01" in condition.message
    after = msgspec.structs.replace(one, status=status)
    over = status_after(after, judged["a"], node="n1", now=LATER)
    assert over is not None
    assert condition_of(over.conditions, "Conflict").status == "False"
    calm = msgspec.structs.replace(after, status=over)
    assert status_after(calm, judged["a"], node="n1", now=LATER) is None


def test_a_claim_that_was_never_in_conflict_says_nothing_about_it():
    one = claim("a", "10.0.0.1/24")
    judged = judge(together(one), up=["10.0.0.1"])
    status = status_after(one, judged["a"], node="n1", now=NOW)
    assert status is not None
    assert find_condition(status.conditions, "Conflict") is None
    assert stopped(with_conflicts(judged, together(one), {ip_address("10.0.0.1"): "m"})["a"]) == (
        stopped(judged["a"])
    )


def test_an_ip_that_is_a_pods_on_its_next_node_is_in_conflict_and_up_where_it_was():
    pods = Outcome(
        cidr="10.0.0.1/32", accepted=False, up=False, reason="AddressOnOtherLink", message="cali1"
    )
    moved = claim("a", "10.0.0.1/32", status=IpClaimStatus(holder="n0", link="eth0", since=NOW))
    after = status_after(moved, pods, node="n1", now=LATER)
    assert after is not None
    assert (after.holder, after.since) == ("n0", NOW)
    conflict = condition_of(after.conditions, "Conflict")
    assert (conflict.status, conflict.message) == ("True", "cali1")
    never = status_after(claim("a", "10.0.0.1/32"), pods, node="n1", now=LATER)
    assert never is not None
    assert find_condition(never.conditions, "Conflict") is None


def test_the_first_node_that_has_an_ip_up_says_that_it_was_assigned():
    """Then the scheduler has nothing to write; what the scheduler has said stays."""
    up = Outcome(cidr="10.0.0.1/32", accepted=True, up=True, reason="", message="", link="eth0")
    new = claim("a", "10.0.0.1/32")
    told = status_after(new, up, node="n1", now=NOW)
    assert told is not None
    said = find_condition(told.conditions, "Assigned")
    assert said is not None
    assert (said.status, said.reason, said.message) == ("True", "Assigned", "to n1")
    assert said.observed_generation == new.metadata.generation

    ours = Condition(type="Assigned", status="True", reason="Assigned", message="to n1; placed")
    known = claim("a", "10.0.0.1/32", status=IpClaimStatus(conditions=(ours,)))
    after = status_after(known, up, node="n1", now=NOW)
    assert after is not None
    assert find_condition(after.conditions, "Assigned") == ours


def test_a_node_that_does_not_have_an_ip_up_says_nothing_of_where_it_belongs():
    down = Outcome(cidr="10.0.0.1/32", accepted=True, up=False, reason="NoCarrier", message="")
    told = status_after(claim("a", "10.0.0.1/32"), down, node="n1", now=NOW)
    assert told is not None
    assert find_condition(told.conditions, "Assigned") is None


def test_an_ip_that_lost_its_first_trial_is_not_in_conflict():
    """Whether its claim said meanwhile that it is up, or not; nobody knows it yet."""
    base = Outcome(
        cidr="10.0.0.1/32", accepted=False, up=False, reason="AddressInUse", message="02:00 has it"
    )
    lost = replace(base, lost_on_trial=True)
    up = Outcome(cidr="10.0.0.1/32", accepted=True, up=True, reason="", message="", link="eth0")
    told = status_after(claim("a", "10.0.0.1/32"), up, node="n1", now=NOW)
    for before in (IpClaimStatus(), told):
        held = claim("a", "10.0.0.1/32", status=before)
        after = status_after(held, lost, node="n1", now=NOW)
        assert after is not None
        assert after.holder == ""
        assert find_condition(after.conditions, "Conflict") is None
        again = claim("a", "10.0.0.1/32", status=after)
        assert status_after(again, base, node="n1", now=LATER) is None
    # One that was in conflict earlier had been up before that.
    held = claim("a", "10.0.0.1/32", status=told)
    conflict = status_after(held, base, node="n1", now=NOW)
    back = status_after(claim("a", "10.0.0.1/32", status=conflict), up, node="n1", now=LATER)
    for before in (conflict, back):
        held = claim("a", "10.0.0.1/32", status=before)
        after = status_after(held, lost, node="n1", now=LATER) or before
        assert after is not None
        assert condition_of(after.conditions, "Conflict").status == "True"


def test_an_ip_that_turned_out_to_be_anothers_after_it_was_up_is_in_conflict_and_nobody_holds_it():
    """Also across a restart of the controller; one that was never up is only in use."""
    taken = Outcome(
        cidr="10.0.0.1/32", accepted=False, up=False, reason="AddressInUse", message="02:00 has it"
    )
    held = claim("a", "10.0.0.1/32", status=IpClaimStatus(holder="n0", link="eth0", since=NOW))
    fresh = claim("a", "10.0.0.1/32")
    lost = status_after(held, taken, node="n1", now=NOW)
    assert lost is not None
    assert (lost.holder, lost.since) == ("", "")
    conflict = condition_of(lost.conditions, "Conflict")
    assert (conflict.status, conflict.message) == ("True", "02:00 has it")
    again = claim("a", "10.0.0.1/32", status=lost)
    assert status_after(again, taken, node="n1", now=LATER) is None
    never = status_after(fresh, taken, node="n1", now=NOW)
    assert never is not None
    assert find_condition(never.conditions, "Conflict") is None
    up = Outcome(cidr="10.0.0.1/32", accepted=True, up=True, reason="", message="", link="eth0")
    back = status_after(again, up, node="n1", now=LATER)
    assert back is not None
    assert condition_of(back.conditions, "Conflict").status == "False"


def test_a_withdrawn_claim_is_down_and_says_why():
    down = claim("a", "10.0.0.1/24")
    down = structs.replace(down, spec=structs.replace(down.spec, withdrawn=True))
    found = together(down, claim("b", "10.0.0.2/24"))
    assert wanted(found) == {"10.0.0.2/24"}
    outcome = judge(found, up=["10.0.0.2"])["a"]
    assert (outcome.accepted, outcome.up, outcome.reason) == (True, False, "NoReadyEndpoint")


def test_a_withdrawn_claim_that_left_is_not_kept_up_for_its_next_holder():
    down = claim("a", "10.0.0.1/24")
    down = structs.replace(down, spec=structs.replace(down.spec, withdrawn=True))
    assert wanted(together(kept=[down])) == set()


def test_a_claim_may_name_any_interface_that_the_controller_may_have():
    several = LinkSelection.parse("eth*")
    one, two = claim("a", "10.0.0.1/32", link="eth1"), claim("b", "10.0.0.2/32", link="bond0")
    found = bring_together(map(held_claim, (one, two)), links=several)
    assert wanted(found) == {"10.0.0.1/32"}
    assert found.requests.links == {ip_address("10.0.0.1"): "eth1"}
    interface = ip_interface("10.0.0.1/32")
    admission = Admission(
        wanted=frozenset({interface}), rejected=frozenset(), links={interface: "eth1"}
    )
    up = frozenset({interface.ip})
    judged = outcomes(found, admission, up=up, links=several, problem="")
    assert (judged["a"].up, judged["a"].link) == (True, "eth1")
    assert judged["b"].reason == "LinkMismatch"


def test_an_ip_that_no_interface_may_have_is_down_and_not_refused():
    found = together(claim("a", "10.0.0.1/32"))
    refusal = Refusal(Reason.NO_LINK, "no interface of this node has a subnet")
    owner = found.claims[0].owners[0]
    admission = Admission(
        wanted=frozenset(), rejected=frozenset({Rejection("10.0.0.1", owner, refusal)})
    )
    judged = outcomes(found, admission, up=frozenset(), links=ETH0, problem="")
    assert (judged["a"].accepted, judged["a"].reason) == (True, "LinkMismatch")
